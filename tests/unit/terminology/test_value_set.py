"""What a ValueSet says, read once (FHIR R4 valueset.html#compositions)."""

from typing import Any

import pytest

from terminology.canonical import Canonical
from terminology.code_system import Filter, FilterOperator
from terminology.issues import InvalidDefinition, InvalidFilter, TerminologyFault
from terminology.value_set import (
    EXPANSION_PARAMETERS,
    SUPPLEMENT,
    NamedConcept,
    NamedConcepts,
    parse_value_set,
    read_value_set,
)

Json = Any
COLOURS = "http://example.org/colours"


def of_include(include: Json) -> Json:
    """A value set with one include."""
    return {"resourceType": "ValueSet", "url": "http://example.org/vs", "compose": {"include": [include]}}


def test_an_include_keeps_what_it_names() -> None:
    include = read_value_set(
        of_include(
            {
                "system": COLOURS,
                "version": "1",
                "concept": [{"code": "red", "display": "Red!"}, {"code": "blue"}],
                "valueSet": ["http://example.org/warm|2", "#cold"],
            }
        )
    ).include[0]
    assert (include.system, include.version, include.path) == (COLOURS, "1", "ValueSet.compose.include[0]")
    assert list(include.concepts) == ["red", "blue"]
    assert include.concepts["red"].display == "Red!"
    assert include.value_sets == (Canonical("http://example.org/warm", "2"), Canonical("#cold"))


def test_filters_are_values() -> None:
    asked = {"property": "concept", "op": "is-a", "value": "red"}
    include = read_value_set(of_include({"system": COLOURS, "filter": [asked]})).include[0]
    assert include.filters == (Filter("concept", FilterOperator.IS_A, "red"),)


@pytest.mark.parametrize(
    ("include", "fault", "expression"),
    [
        pytest.param(
            {"system": COLOURS, "filter": [{"property": "concept", "op": "is-a"}]},
            InvalidFilter,
            "ValueSet.compose.include[0].filter[0]",
            id="a filter without value",
        ),
        pytest.param(
            {"system": COLOURS, "filter": [{"property": "concept", "op": "like", "value": "x"}]},
            InvalidFilter,
            "ValueSet.compose.include[0].filter[0].op",
            id="an unknown operator",
        ),
        pytest.param({}, InvalidDefinition, "ValueSet.compose.include[0]", id="nothing named"),
        pytest.param(
            {"valueSet": ["http://example.org/x"], "concept": [{"code": "red"}]},
            InvalidDefinition,
            "ValueSet.compose.include[0]",
            id="concepts of no system",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(
    include: Json, fault: type[TerminologyFault], expression: str
) -> None:
    with pytest.raises(fault) as caught:
        read_value_set(of_include(include))
    assert caught.value.issues[0].expression == expression


def test_supplements_and_parameters_come_from_extensions() -> None:
    asked = {
        "url": EXPANSION_PARAMETERS[0],
        "extension": [
            {"url": "name", "valueCode": "displayLanguage"},
            {"url": "value", "valueCode": "de"},
        ],
    }
    value_set = read_value_set(
        {
            "resourceType": "ValueSet",
            "extension": [{"url": SUPPLEMENT, "valueCanonical": "http://example.org/s|1"}],
            "compose": {"extension": [asked], "include": [{"system": COLOURS}]},
        }
    )
    assert value_set.supplements == (Canonical("http://example.org/s", "1"),)
    assert value_set.parameters == {"displayLanguage": ["de"]}


def test_the_same_resource_is_read_once() -> None:
    resource = of_include({"system": COLOURS})
    assert parse_value_set(resource) is parse_value_set(resource)
    assert parse_value_set(dict(resource)) is not parse_value_set(resource)


def test_concepts_of_an_include_are_read_when_they_are_asked_for() -> None:
    entries: list[Json] = [
        {"code": "a", "display": "Alpha"},
        {"display": "no code"},
        {"code": "b"},
        {"code": "a"},
    ]
    concepts = NamedConcepts(entries)
    assert (list(concepts), len(concepts), "b" in concepts, "c" in concepts) == (["a", "b"], 2, True, False)
    assert concepts["a"] is concepts["a"]
    assert concepts["a"] == NamedConcept("a")  # the last one counts, as it did
    assert concepts.get("c") is None
    assert not NamedConcepts(())
