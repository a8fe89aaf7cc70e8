"""The shape of what a request brings along: types of what is read, nothing more (FHIR R4 json.html)."""

from copy import deepcopy
from typing import Any

import pytest

from terminology.issues import InvalidInput
from terminology.structure import require_codeable_concept, require_coding, require_definition

Json = Any


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "ValueSet"},
        {"resourceType": "ValueSet", "compose": {"include": [{"valueSet": ["http://x"], "unknown": 1}]}},
        {"resourceType": "CodeSystem", "content": "fragment", "concept": [{"code": "a", "concept": []}]},
        {
            "resourceType": "ConceptMap",
            "group": [{"element": [{"target": [{}]}]}],
            "sourceScopeUri": "http://x",
        },
    ],
)
def test_taken(resource: Json) -> None:
    as_it_came = deepcopy(resource)
    require_definition(resource, "tx-resource")  # raises where it is not taken
    assert resource == as_it_came


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("text", "tx-resource"),
        ({"resourceType": "Patient"}, "tx-resource"),
        ({"resourceType": ["ValueSet"]}, "tx-resource"),
        ({"resourceType": "ValueSet", "url": 1}, "ValueSet.url"),
        ({"resourceType": "ValueSet", "experimental": "true"}, "ValueSet.experimental"),
        ({"resourceType": "ValueSet", "compose": []}, "ValueSet.compose"),
        ({"resourceType": "ValueSet", "compose": {"include": {}}}, "ValueSet.compose.include"),
        ({"resourceType": "ValueSet", "compose": {"include": ["x"]}}, "ValueSet.compose.include"),
        (
            {"resourceType": "ValueSet", "expansion": {"contains": [{"contains": [{"code": 1}]}]}},
            "ValueSet.expansion.contains.contains.code",
        ),
        ({"resourceType": "ValueSet", "contained": [1]}, "ValueSet.contained"),
        (
            {"resourceType": "ValueSet", "contained": [{"resourceType": "CodeSystem", "concept": [{}]}]},
            "CodeSystem.concept.code",
        ),
        ({"resourceType": "CodeSystem", "concept": [{"display": "x"}]}, "CodeSystem.concept.code"),
        (
            {
                "resourceType": "CodeSystem",
                "concept": [{"code": "a", "property": [{"code": "x", "valueCoding": "y"}]}],
            },
            "CodeSystem.concept.property.valueCoding",
        ),
        ({"resourceType": "CodeSystem", "content": "some"}, "CodeSystem.content"),
        (
            {"resourceType": "ConceptMap", "group": [{"element": [{"target": {}}]}]},
            "ConceptMap.group.element.target",
        ),
    ],
)
def test_refused_with_its_path(resource: Json, path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        require_definition(resource, "tx-resource")
    assert refused.value.issues[0].expression == path


def test_depth() -> None:
    concept: Json = {"code": "a"}
    for _ in range(100):
        concept = {"code": "a", "concept": [concept]}
    with pytest.raises(InvalidInput):
        require_definition({"resourceType": "CodeSystem", "concept": [concept]}, "tx-resource")


def test_codings() -> None:
    require_coding({"system": "http://x", "code": "a"}, "coding")
    require_codeable_concept({"text": "x", "coding": [{}]}, "codeableConcept")
    for value in ({"system": 1}, ["x"], {"userSelected": "true"}):
        with pytest.raises(InvalidInput):
            require_coding(value, "coding")
    with pytest.raises(InvalidInput):
        require_codeable_concept({"coding": {}}, "codeableConcept")
