"""Input parameters of terminology operations: text of a URL, JSON of Parameters (FHIR R4 operations.html)."""

from collections.abc import Callable
from typing import Any

import pytest

from terminology.inputs import element_of, flag_of, number_of, one_of, text_of, texts_of
from terminology.issues import InvalidInput


@pytest.mark.parametrize(
    ("read", "values", "expected"),
    [
        (flag_of, [], None),
        (flag_of, ["true"], True),
        (flag_of, [False], False),
        (number_of, ["10"], 10),
        (number_of, [0], 0),
        (text_of, [""], None),
        (text_of, ["a"], "a"),
        (texts_of, ["a", "b"], ["a", "b"]),
        (element_of, [{"code": "a"}], {"code": "a"}),
        (one_of, [1], 1),
    ],
)
def test_read(read: Callable[..., Any], values: list[Any], expected: Any) -> None:
    assert read({"x": values}, "x") == expected


@pytest.mark.parametrize(
    ("read", "values"),
    [
        (flag_of, ["yes"]),
        (flag_of, [1]),
        (flag_of, [{}]),
        (number_of, ["-1"]),
        (number_of, ["1" * 10]),
        (text_of, [{"code": "a"}]),
        (texts_of, ["a", 1]),
        (element_of, ["a"]),
        (one_of, ["a", "b"]),
    ],
)
def test_refused(read: Callable[..., Any], values: list[Any]) -> None:
    with pytest.raises(InvalidInput, match="'x'"):
        read({"x": values}, "x")
