"""Definitions of our own to validate codes against: colours, in two versions, and value sets of them."""

from collections.abc import Sequence
from typing import Any

from terminology.context import Context
from terminology.in_request import GivenDefinitions
from terminology.library import Library

Json = Any

COLOURS = "http://example.org/CodeSystem/colours"
SHADES = "http://example.org/CodeSystem/shades"
FEW = "http://example.org/CodeSystem/few"  # a fragment
UNKNOWN = "http://example.org/CodeSystem/unknown"
SUPPLEMENT = "http://example.org/CodeSystem/colours-welsh"
SETS = "http://example.org/ValueSet/"

NOW = Context(lambda: "2026-01-01T00:00:00Z", lambda: "urn:uuid:00000000-0000-4000-8000-000000000000")


def code_system(url: str, version: str | None, concepts: Sequence[Json], **elements: Json) -> Json:
    """A CodeSystem; `concepts` are codes, or concepts as JSON."""
    return {
        "resourceType": "CodeSystem",
        "url": url,
        **({"version": version} if version else {}),
        "status": "active",
        "language": "en",
        "content": "complete",
        "caseSensitive": True,
        "concept": [
            {"code": each, "display": each.title()} if isinstance(each, str) else each for each in concepts
        ],
        **elements,
    }


def value_set(name: str, *includes: Json, exclude: Sequence[Json] = (), **elements: Json) -> Json:
    """A ValueSet of these includes."""
    compose = {"include": list(includes), **({"exclude": list(exclude)} if exclude else {})}
    compose |= elements.pop("compose", {})
    return {
        "resourceType": "ValueSet",
        "url": SETS + name,
        "status": "active",
        "compose": compose,
        **elements,
    }


def of(system: str = COLOURS, version: str | None = None, *codes: str, **elements: Json) -> Json:
    """An include of a code system."""
    return {
        "system": system,
        **({"version": version} if version else {}),
        **({"concept": [{"code": code} for code in codes]} if codes else {}),
        **elements,
    }


def imported(*names: str) -> Json:
    """An include of value sets."""
    return {"valueSet": [SETS + name for name in names]}


def filtered(operator: str, value: str, name: str = "concept") -> Json:
    """An include of the colours that a filter lets through."""
    return of(filter=[{"property": name, "op": operator, "value": value}])


COLOURS_2 = code_system(
    COLOURS,
    "2.0.0",
    [
        {
            "code": "warm",
            "display": "Warm colour",
            "property": [{"code": "notSelectable", "valueBoolean": True}],
            "concept": [
                {
                    "code": "red",
                    "display": "Red",
                    "designation": [
                        {"language": "de", "value": "Rot"},
                        {"language": "de-AT", "value": "Rot (Österreich)"},
                        {"value": "Ruddy"},
                        {
                            "language": "en",
                            "value": "Gules",
                            "extension": [
                                {
                                    "url": "http://hl7.org/fhir/StructureDefinition/structuredefinition-standards-status",
                                    "valueCode": "withdrawn",
                                }
                            ],
                        },
                    ],
                },
                {"code": "orange", "display": "Orange"},
            ],
        },
        {"code": "blue", "display": "Blue"},
        {"code": "mauve", "display": "Mauve", "property": [{"code": "status", "valueCode": "retired"}]},
        {
            "code": "ochre",
            "display": "Ochre",
            "designation": [{"language": "fr", "value": "Ocre jaune", "use": {"code": "poetic"}}],
            "extension": [
                {
                    "url": "http://hl7.org/fhir/StructureDefinition/structuredefinition-standards-status",
                    "valueCode": "deprecated",
                }
            ],
        },
        {"code": "nameless"},
        {"code": "taupe", "display": "Taupe", "property": [{"code": "status", "valueCode": "inactive"}]},
        {"code": "puce", "display": "Puce", "property": [{"code": "inactive", "valueBoolean": True}]},
    ],
    hierarchyMeaning="is-a",
)
COLOURS_1 = code_system(COLOURS, "1.0.0", [{"code": "red", "display": "Scarlet"}, "green"])
DEFINITIONS: Sequence[Json] = (
    COLOURS_2,
    COLOURS_1,
    code_system(SHADES, None, ["Dark", "Light", "red"], caseSensitive=False),
    code_system(FEW, "1", ["one"], content="fragment"),
    {
        "resourceType": "CodeSystem",
        "url": SUPPLEMENT,
        "version": "1",
        "content": "supplement",
        "supplements": COLOURS,
        "concept": [{"code": "red", "designation": [{"language": "cy", "value": "Coch"}]}],
    },
    value_set("all", of()),
    value_set("warm", filtered("is-a", "warm")),
    value_set("named", of(COLOURS, None, "red", "blue", "grey"), version="3"),
    value_set("shades", of(SHADES)),
    value_set("few", of(FEW)),
    value_set("of-two", of(), of(SHADES)),
    value_set("both", imported("warm", "named")),
    value_set("either", imported("warm"), imported("named")),
    value_set("without", of(), exclude=[of(COLOURS, None, "red"), imported("few")]),
    value_set("active", of(), compose={"inactive": False}),
    value_set("pinned", of(COLOURS, "1.0.0")),
    value_set("pattern", of(COLOURS, "1.x")),
    value_set("versions", of(COLOURS, "1.0.0"), of(COLOURS, "2.0.0")),
    value_set("of-unknown", of(UNKNOWN)),
    value_set("named-of-unknown", of(UNKNOWN, None, "x")),
    value_set("of-missing-version", of(COLOURS, "9")),
    value_set("imports-unknown", imported("nowhere")),
    value_set("circle", imported("circle-2")),
    value_set("circle-2", of(), exclude=[imported("circle")]),
    value_set("no-filter-value", of(filter=[{"property": "concept", "op": "is-a"}])),
    value_set(
        "welsh",
        of(),
        extension=[
            {
                "url": "http://hl7.org/fhir/StructureDefinition/valueset-supplement",
                "valueCanonical": SUPPLEMENT,
            }
        ],
    ),
    {
        "resourceType": "ValueSet",
        "url": SETS + "expanded",
        "status": "active",
        "expansion": {
            "contains": [
                {
                    "abstract": True,
                    "system": COLOURS,
                    "code": "warm",
                    "contains": [
                        {"system": COLOURS, "code": "red", "display": "Red"},
                        {"system": UNKNOWN, "code": "x", "display": "Ex"},
                    ],
                }
            ]
        },
    },
)


def library(*more: Json) -> Library:
    """All of them, after what a test adds."""
    return Library([GivenDefinitions(more), GivenDefinitions(DEFINITIONS)])


def told(parameters: Json) -> dict[str, Json]:
    """Output parameters by name, without the issues."""
    return {
        each["name"]: next(value for name, value in each.items() if name.startswith("value"))
        for each in parameters["parameter"]
        if "resource" not in each
    }


def issues_of(parameters: Json) -> list[tuple[str, str, str, str | None]]:
    """Severity, IssueType, tx-issue-type and expression of each issue, sorted."""
    outcome = next((each["resource"] for each in parameters["parameter"] if each["name"] == "issues"), {})
    return sorted(
        (
            each["severity"],
            each["code"],
            each["details"]["coding"][0]["code"],
            (each.get("expression") or [""])[0],
        )
        for each in outcome.get("issue", ())
    )
