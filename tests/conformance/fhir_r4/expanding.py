"""What the tests of `$expand` share: a small world of definitions, and ways to look at an answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from terminology.context import Context
from terminology.expand import expand
from terminology.in_request import GivenDefinitions
from terminology.library import Library

Json = Any

TREES = "http://example.org/trees"
WOODS = "http://example.org/woods"
NOW = "2026-11-26T07:00:00Z"
FIRS = "http://example.org/ValueSet/firs"
SOFT, OAK, RARE = (
    "http://example.org/ValueSet/soft",
    "http://example.org/ValueSet/oaks",
    "http://example.org/ValueSet/rare",
)


def coded(name: str, **properties: Json) -> list[Json]:
    """CodeSystem.concept.property of one concept."""
    kinds = {bool: "valueBoolean", int: "valueInteger", str: "valueCode"}
    return [{"code": code, kinds[type(value)]: value} for code, value in properties.items()]


def system(version: str, *more: Json) -> Json:
    """A code system of trees: two families with kinds below them, one of them felled."""
    return {
        "resourceType": "CodeSystem",
        "url": TREES,
        "version": version,
        "status": "active",
        "language": "en",
        "content": "complete",
        "caseSensitive": True,
        "property": [{"code": "height", "uri": "http://example.org/height", "type": "integer"}],
        "concept": [
            {
                "code": "conifer",
                "display": "Conifer",
                "property": coded("conifer", notSelectable=True),
                "concept": [
                    {"code": "fir", "display": "Fir", "property": coded("fir", height=60)},
                    {"code": "yew", "display": "Yew", "property": coded("yew", status="retired")},
                ],
            },
            {
                "code": "oak",
                "display": "Oak",
                "definition": "A tree with acorns",
                "property": coded("oak", height=40),
                "designation": [
                    {"language": "de", "value": "Eiche"},
                    {"language": "de-CH", "value": "Eich"},
                    {"use": {"system": WOODS, "code": "poetic"}, "value": "King of the wood"},
                ],
                "concept": [{"code": "cork-oak", "display": "Cork oak"}],
            },
            *more,
        ],
    }


def value_set(url: str, compose: Json, **more: Json) -> Json:
    """A value set."""
    return {"resourceType": "ValueSet", "url": url, "status": "active", "compose": compose, **more}


def filtered(name: str, operator: str, value: str) -> Json:
    """An include of trees with one filter."""
    return {"system": TREES, "filter": [{"property": name, "op": operator, "value": value}]}


def named(*codes: str, **more: Json) -> Json:
    """An include of trees that names codes."""
    return {"system": TREES, "concept": [{"code": code} for code in codes], **more}


ALL = {"include": [{"system": TREES}]}
WORLD = (
    system("1"),
    system("2", {"code": "elm", "display": "Elm"}),
    value_set(SOFT, {"include": [filtered("concept", "is-a", "conifer")]}, version="1"),
    value_set(OAK, {"include": [filtered("concept", "is-a", "oak")]}, version="1"),
    value_set(OAK, {"include": [named("oak")]}, version="2"),
    value_set(FIRS, {"include": [{"valueSet": [SOFT]}], "exclude": [named("yew")]}),
    value_set(RARE, {"include": [named("yew", "elm")], "inactive": False}),
)


async def expand_it(
    wanted: Json, *definitions: Json, within: Context | None = None, **parameters: Json
) -> Json:
    """The answer to `$expand` of a compose, a ValueSet, or the URL of one, among the world's definitions.

    Names of parameters have `_` for `-`; a list is a parameter that is there more than once.
    """
    inputs: dict[str, Sequence[Json]] = {
        name.replace("_", "-"): value if isinstance(value, list) else [value]
        for name, value in parameters.items()
    }
    if isinstance(wanted, str):
        inputs["url"] = [wanted]
    elif wanted is not None:
        inputs["valueSet"] = [
            wanted if "resourceType" in wanted else value_set("http://example.org/vs", wanted)
        ]
    library = Library([GivenDefinitions([*definitions, *WORLD])])
    return await expand(inputs, library, within or in_context())


def in_context(**more: Any) -> Context:
    """A request at a time of its own."""
    return Context(lambda: NOW, lambda: "urn:uuid:00000000-0000-4000-8000-000000000000", **more)


def codes(answer: Json) -> list[str]:
    """The codes of an answer in order, those within others after them."""
    return [each["code"] for each in entries(answer)]


def entries(answer: Json) -> list[Json]:
    """All entries of an answer, those within others after them."""
    found, waiting = [], list(reversed(answer["expansion"].get("contains", ())))
    while waiting:
        entry = waiting.pop()
        found.append(entry)
        waiting += reversed(entry.get("contains", ()))
    return found


def shape(contains: Sequence[Json]) -> list[Any]:
    """Codes, each with what lies within it."""
    return [
        (each["code"], shape(each["contains"])) if "contains" in each else each["code"] for each in contains
    ]


def entry_of(answer: Json, code: str) -> Json:
    """The entry of a code."""
    return next(each for each in entries(answer) if each["code"] == code)


def told(answer: Json) -> Mapping[str, list[Json]]:
    """ValueSet.expansion.parameter: values by name."""
    found: dict[str, list[Json]] = {}
    for each in answer["expansion"].get("parameter", ()):
        value = next(value for name, value in each.items() if name.startswith("value"))
        found.setdefault(each["name"], []).append(value)
    return found


def properties(element: Json) -> dict[str, Json]:
    """The properties that extensions of R5's elements tell: values, or URIs, by code."""
    found = {}
    for each in element.get("extension", ()):
        if each["url"].endswith(".property"):
            parts = {
                part["url"]: next(v for n, v in part.items() if n.startswith("value"))
                for part in each["extension"]
            }
            found[parts["code"]] = parts.get("value", parts.get("uri"))
    return found
