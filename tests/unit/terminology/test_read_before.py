"""What was read is kept by identity, and weighed by all the JSON that it holds on to."""

from typing import Any

import pytest

from terminology import read_before
from terminology.read_before import ReadBefore, elements_of

Json = Any


def test_the_same_object_is_read_once_and_an_equal_one_again() -> None:
    read: list[Json] = []
    kept = ReadBefore[Json](lambda resource: read.append(resource) or len(read))
    first, equal = {"url": "x"}, {"url": "x"}
    assert [kept.get(first), kept.get(first), kept.get(equal), kept.get(first)] == [1, 1, 2, 1]


def test_what_nobody_reads_weighs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_before, "MAX_KEPT_ELEMENTS", 1_000)
    kept = ReadBefore[Json](lambda resource: resource)
    for _ in range(20):
        kept.get({"useContext": [{"code": {"code": "x"}}] * 100})
    assert kept.elements <= 1_000


def test_one_that_is_larger_than_the_bound_is_kept_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_before, "MAX_KEPT_ELEMENTS", 10)
    kept = ReadBefore[Json](lambda _: object())
    large = {"concept": list(range(100))}
    assert kept.get(large) is kept.get(large)
    kept.get({})
    assert kept.elements == elements_of({})


@pytest.mark.parametrize(("resource", "elements"), [({}, 1), ({"a": [1, "b"]}, 4), ({"text": "x" * 500}, 12)])
def test_texts_weigh_by_their_length(resource: Json, elements: int) -> None:
    assert elements_of(resource) == elements
