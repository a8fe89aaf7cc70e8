"""$translate there and back holds the code; unmapped codes are told as the map says (R4 conceptmap.html)."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from terminology.concept_map import EQUIVALENCES, parse_concept_map
from terminology.context import Context
from terminology.library import Library
from terminology.translate import translate

Json = Any

A, B = "http://example.org/a", "http://example.org/b"
NOW = Context(lambda: "2026-01-01T00:00:00Z", lambda: "urn:uuid:0")
CODES = st.sampled_from([f"c{n}" for n in range(6)])
TARGETS = st.fixed_dictionaries({"code": CODES, "equivalence": st.sampled_from(sorted(EQUIVALENCES))})
MAPS = st.dictionaries(CODES, st.lists(TARGETS, max_size=4))


def concept_map(mappings: dict[str, list[Json]]) -> Json:
    element = [{"code": code, "target": target} for code, target in mappings.items()]
    group = {"source": A, "target": B, "element": element}
    return {"resourceType": "ConceptMap", "url": "http://example.org/map", "group": [group]}


def matches(given_map: Json, system: str, code: str, **more: Json) -> list[tuple[str, str]]:
    inputs = {"conceptMap": [given_map], "coding": [{"system": system, "code": code}]}
    answer = asyncio.run(translate({**inputs, **{n: [v] for n, v in more.items()}}, Library([]), NOW))
    found = []
    for parameter in answer["parameter"]:
        if parameter["name"] == "match":
            parts = {part["name"]: part for part in parameter["part"]}
            coding = parts["concept"]["valueCoding"]
            found.append((coding["code"], parts["equivalence"]["valueCode"]))
    return found


@given(MAPS, CODES)
def test_there_and_back(mappings: dict[str, list[Json]], code: str) -> None:
    a_map = concept_map(mappings)
    for target, equivalence in matches(a_map, A, code):
        back = EQUIVALENCES[equivalence][0]
        assert (code, back) in matches(a_map, B, target, reverse=True)
    for source, equivalence in matches(a_map, B, code, reverse=True):
        assert (code, EQUIVALENCES[equivalence][0]) in matches(a_map, A, source)


@given(MAPS, CODES)
def test_every_mapping_is_told(mappings: dict[str, list[Json]], code: str) -> None:
    expected = [(each["code"], each["equivalence"]) for each in mappings.get(code, ())]
    assert matches(concept_map(mappings), A, code) == expected


def test_the_other_way_round_twice_is_the_same() -> None:
    for equivalence, (reversed_, _) in EQUIVALENCES.items():
        assert EQUIVALENCES[reversed_][0] == equivalence


def test_a_large_map_is_read_once() -> None:
    target = [{"code": "x", "equivalence": "equal"}]
    a_map = concept_map({f"c{n}": target for n in range(100_000)})
    first = parse_concept_map(a_map)
    assert parse_concept_map(a_map) is first
    assert matches(a_map, A, "c99999") == [("x", "equal")]
    assert len(matches(a_map, B, "x", reverse=True)) == 1_000
