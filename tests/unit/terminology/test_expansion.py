"""The codes of a ValueSet (FHIR R4 valueset.html#expansion), and of a hierarchy."""

from typing import Any

import pytest

from terminology.expansion import (
    MAX_CODES,
    Code,
    Known,
    Missing,
    Needed,
    NotUnderstood,
    TooCostly,
    above,
    below,
    expand,
)

S = "urn:s"


def concept(code: str, *inner: Any, **properties: Any) -> dict[str, Any]:
    listed = [
        {"code": name, ("valueBoolean" if isinstance(value, bool) else "valueCode"): value}
        for name, value in properties.items()
    ]
    return {"code": code, "concept": list(inner), "property": listed}


ANIMALS = {
    "url": S,
    "content": "complete",
    "concept": [
        concept("animal", concept("dog", concept("poodle"), tame=True), concept("cat", tame=True)),
        concept("wolf", parent="animal", kin="dog"),
        concept("rock"),
    ],
}
KNOWN: Known = {
    Needed("CodeSystem", S): ANIMALS,
    Needed("CodeSystem", "urn:part"): {"content": "fragment", "concept": [concept("x")]},
    Needed("ValueSet", "urn:tame"): {
        "compose": {"include": [{"system": S, "filter": [{"property": "tame", "op": "=", "value": "true"}]}]}
    },
    Needed("ValueSet", "urn:circle"): {"compose": {"include": [{"valueSet": ["urn:circle"]}]}},
    Needed("ValueSet", "urn:twice"): {
        "compose": {"include": [{"valueSet": ["urn:tame"]}, {"system": S, "concept": [{"code": "rock"}]}]}
    },
}


def codes(*include: Any, exclude: Any = ()) -> str:
    value_set = {"compose": {"include": list(include), "exclude": list(exclude)}}
    return " ".join(sorted(code for _, code in expand(value_set, KNOWN)))


def by(op: str, value: str, name: str = "concept") -> dict[str, Any]:
    return {"system": S, "filter": [{"property": name, "op": op, "value": value}]}


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        ({"system": S, "concept": [{"code": "dog"}, {"code": "nowhere"}]}, "dog nowhere"),
        ({"system": S}, "animal cat dog poodle rock wolf"),
        (by("is-a", "animal"), "animal cat dog poodle wolf"),
        (by("descendent-of", "animal"), "cat dog poodle wolf"),
        (by("is-not-a", "dog"), "animal cat rock wolf"),
        (by("generalizes", "poodle"), "animal dog poodle"),
        (by("=", "true", "tame"), "cat dog"),
        (by("in", "dog,cat", "kin"), "wolf"),
        (by("in", "dog,rock", "code"), "dog rock"),
        ({"valueSet": ["urn:tame"]}, "cat dog"),
        ({"valueSet": ["urn:twice"]}, "cat dog rock"),
        ({"valueSet": ["urn:tame", "urn:twice"]}, "cat dog"),
        ({**by("is-a", "dog"), "valueSet": ["urn:tame"]}, "dog"),
    ],
)
def test_what_is_included(include: Any, expected: str) -> None:
    assert codes(include) == expected


def test_filters_hold_together_and_includes_are_joined() -> None:
    both = {"system": S, "filter": [*by("is-a", "dog")["filter"], *by("=", "true", "tame")["filter"]]}
    assert codes(both, {"system": S, "concept": [{"code": "rock"}]}) == "dog rock"


def test_what_is_excluded() -> None:
    assert (
        codes(by("is-a", "animal"), exclude=[by("is-a", "dog"), {"valueSet": ["urn:tame"]}]) == "animal wolf"
    )


def test_an_expansion_without_compose_is_taken() -> None:
    inner = [{"system": S, "code": "dog"}]
    expanded = {"expansion": {"contains": [{"abstract": True, "contains": inner}, {"code": "own"}]}}
    assert expand(expanded, {}) == {Code(S, "dog"), Code("", "own")}


def test_hierarchies() -> None:
    assert {code for _, code in below(S, "animal", KNOWN)} == {"animal", "cat", "dog", "poodle", "wolf"}
    assert {code for _, code in above(S, "wolf", KNOWN)} == {"wolf", "animal"}
    assert below(S, "nowhere", KNOWN) == {Code(S, "nowhere")}


@pytest.mark.parametrize(
    ("include", "fault"),
    [
        ({"system": "urn:unknown"}, Missing),
        ({"valueSet": ["urn:unknown|1"]}, Missing),
        ({"system": "urn:part"}, NotUnderstood),
        ({"valueSet": ["urn:circle"]}, NotUnderstood),
        (by("regex", "."), NotUnderstood),
        ({"system": S, "concept": [{"code": f"c{n}"} for n in range(MAX_CODES + 1)]}, TooCostly),
    ],
)
def test_what_cannot_be_told(include: Any, fault: type[Exception]) -> None:
    with pytest.raises(fault):
        codes(include)


def test_a_circle_of_concepts_ends() -> None:
    circle = {"content": "complete", "concept": [concept("a", parent="b"), concept("b", parent="a")]}
    assert len(below("urn:o", "a", {Needed("CodeSystem", "urn:o"): circle})) == 2
