"""The meter of the terminology ecosystem's cases must itself be right: what it lets pass, and what not."""

from typing import Any

import pytest

from tests.conformance.tx_ecosystem.compare import differences

Json = Any


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        pytest.param({"a": [1, 2]}, {"a": [2, 1]}, id="order of an array"),
        pytest.param({"a": "$uuid$"}, {"a": "urn:uuid:8acdbfdc-e9d2-11ed-a05b-0242ac120003"}, id="a form"),
        pytest.param({"a": "$choice:x|y$"}, {"a": "y"}, id="one of several"),
        pytest.param({"a": "$external:1:mid$"}, {"a": "a mid b"}, id="a text of our own with what is asked"),
        pytest.param({"$optional-properties$": ["b"], "a": 1}, {"a": 1, "b": 2}, id="allowed property"),
        pytest.param([{"$optional$": True, "a": 1}, {"b": 1}], [{"b": 1}], id="optional entry missing"),
        pytest.param({"a": [{"$optional$": True, "b": 1}]}, {}, id="array of what is optional"),
        pytest.param({"$count-arrays$": ["a"], "a": [1, 2]}, {"a": [3, 4]}, id="only the number counts"),
    ],
)
def test_agrees(expected: Json, actual: Json) -> None:
    assert list(differences(expected, actual)) == []


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        pytest.param({"a": 1}, {"a": 1, "b": 2}, id="property too many"),
        pytest.param({"a": 1}, {}, id="property missing"),
        pytest.param({"a": [1]}, {"a": [1, 1]}, id="entry too many"),
        pytest.param({"a": [1, 2]}, {"a": [1, 1]}, id="entry missing"),
        pytest.param({"a": True}, {"a": 1}, id="another type"),
        pytest.param({"a": "$uuid$"}, {"a": "x"}, id="another form"),
        pytest.param({"a": "$external:1:mid$"}, {"a": "other"}, id="a text without what is asked"),
        pytest.param({"$count-arrays$": ["a"], "a": [1, 2]}, {"a": [3]}, id="another number"),
    ],
)
def test_differs(expected: Json, actual: Json) -> None:
    assert list(differences(expected, actual))
