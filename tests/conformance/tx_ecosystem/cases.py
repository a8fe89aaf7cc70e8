"""The test cases of HL7's terminology ecosystem guide, from a copy of its repository.

They are in R5 form; what differs in R4 is changed on the way, as the guide's page "R4" says. Nothing of them
is part of this project: `load_cases` reads them from a folder of the user's.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = Any

_EXPANSION_PROPERTY = "http://hl7.org/fhir/5.0/StructureDefinition/extension-ValueSet.expansion.property"
_CONTAINS_PROPERTY = (
    "http://hl7.org/fhir/5.0/StructureDefinition/extension-ValueSet.expansion.contains.property"
)
_EQUIVALENCE = {
    "related-to": "relatedto",
    "equivalent": "equivalent",
    "source-is-narrower-than-target": "wider",
    "source-is-broader-than-target": "narrower",
    "not-related-to": "disjoint",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One request, and what is expected of its answer."""

    suite: str
    name: str
    mode: str | None
    operation: str
    request: Json
    responses: Sequence[Json]  # any of them will do
    status: str  # "200", or "4xx"
    accept_language: str | None
    definitions: Sequence[Json]  # brought along as tx-resource

    def parameters(self) -> Json:
        """The Parameters to send."""
        given = [{"name": "tx-resource", "resource": each} for each in self.definitions]
        return {**self.request, "parameter": [*self.request.get("parameter", ()), *given]}


def load_cases(folder: Path, modes: Sequence[str]) -> Iterator[Case]:
    """The cases of those modes; `folder` has `test-cases.json`."""
    for suite in _read(folder / "test-cases.json")["suites"]:
        if suite.get("mode", "general") not in modes:
            continue
        definitions = [to_r4(_read(folder / name)) for name in suite.get("setup", ())]
        for test in suite["tests"]:
            if test.get("mode") in (None, *modes) and test["operation"] not in ("metadata", "term-caps"):
                yield _case(folder, suite["name"], test, definitions)


def _case(folder: Path, suite: str, test: Json, definitions: Sequence[Json]) -> Case:
    request = _read(folder / test["request"])
    profile = _read(folder / test.get("profile", "parameters-default.json"))
    if request["resourceType"] == "Parameters":
        request = {**request, "parameter": [*request.get("parameter", ()), *_others(profile)]}
    names = ("response", "response2", "response:flat")
    return Case(
        suite,
        test["name"],
        test.get("mode"),
        test["operation"],
        request,
        [_read(folder / test[name]) for name in names if name in test and (folder / test[name]).exists()],
        test.get("http-code", "200"),
        test.get("Accept-Language"),
        definitions,
    )


def _others(profile: Json) -> Sequence[Json]:
    return [each for each in profile.get("parameter", ()) if each["name"] != "uuid"]


def _read(path: Path) -> Json:
    return json.loads(path.read_text(encoding="utf-8-sig"))


def to_r4(resource: Json) -> Json:
    """A definition of R5 as R4 has it."""
    if resource["resourceType"] != "ConceptMap":
        return resource
    renamed = {
        {"sourceScopeUri": "sourceUri", "targetScopeUri": "targetUri"}.get(name, name): value
        for name, value in resource.items()
    }
    for group in renamed.get("group", ()):
        for element in group.get("element", ()):
            for target in element.get("target", ()):
                if "relationship" in target:
                    target["equivalence"] = _EQUIVALENCE[target.pop("relationship")]
    return renamed


def to_r5(answer: Json) -> Json:
    """An answer of R4 as the cases expect it: properties of an expansion are no extensions there."""
    if isinstance(answer, list):
        return [to_r5(each) for each in answer]
    if not isinstance(answer, dict):
        return answer
    plain = {name: to_r5(value) for name, value in answer.items()}
    extensions = plain.pop("extension", [])
    properties = [
        _property(each) for each in extensions if each.get("url") in (_EXPANSION_PROPERTY, _CONTAINS_PROPERTY)
    ]
    left = [each for each in extensions if each.get("url") not in (_EXPANSION_PROPERTY, _CONTAINS_PROPERTY)]
    if left:
        plain["extension"] = left
    if properties:
        plain["property"] = properties
    return plain


def _property(extension: Json) -> Json:
    found: dict[str, Json] = {}
    for part in extension.get("extension", ()):
        name, value = next((n, v) for n, v in part.items() if n.startswith("value"))
        found[name if part["url"] == "value" else part["url"]] = value
    return found
