"""Attribute paths of a query and what of an answer they name (PS3.18 8.3.4.1, 8.3.4.3)."""

from typing import Any

import pytest

from dicomweb.attributes import Level
from dicomweb.search.conditions import InvalidQuery
from dicomweb.search.fields import add_path, path_of, take_fields
from dicomweb.search.ordering import MAX_ORDER_KEYS
from dicomweb.search.query import parse_query

ITEM = {"00400009": {"vr": "SH", "Value": ["S"]}, "00401001": {"vr": "SH", "Value": ["R"]}}
DATA_SET = {
    "00080060": {"vr": "CS", "Value": ["CT"]},
    "00400275": {"vr": "SQ", "Value": [ITEM, {"00401001": {"vr": "SH"}}]},
    "00400260": {"vr": "SQ"},
}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("Modality", "00080060"),
        ("0008103e", "0008103E"),
        ("RequestAttributesSequence.00400009", "00400275.00400009"),
        ("RequestAttributesSequence.Nonsense", None),
        ("Modality.", None),
        (".".join(["00400275"] * 9), None),
    ],
)
def test_path(name: str, path: str | None) -> None:
    assert path_of(name) == path


@pytest.mark.parametrize(
    ("paths", "taken"),
    [
        (["00080060"], {"00080060": DATA_SET["00080060"]}),
        (["00400275"], {"00400275": DATA_SET["00400275"]}),
        (
            ["00400275.00400009"],
            {"00400275": {"vr": "SQ", "Value": [{"00400009": ITEM["00400009"]}, {}]}},
        ),
        (["00400275.00400009", "00400275"], {"00400275": DATA_SET["00400275"]}),
        (["00400275", "00400275.00400009"], {"00400275": DATA_SET["00400275"]}),
        (["00400260.00080100", "00080061"], {"00400260": {"vr": "SQ"}}),
        (["00080060.00080100"], {"00080060": {"vr": "CS"}}),
    ],
)
def test_taken_fields(paths: list[str], taken: dict[str, Any]) -> None:
    fields: dict[str, Any] = {}
    for path in paths:
        add_path(fields, path)
    assert take_fields(DATA_SET, fields) == taken


def test_orderby_of_too_many_attributes() -> None:
    for values in ([",".join(["StudyDate"] * (MAX_ORDER_KEYS + 1))], ["StudyDate"] * (MAX_ORDER_KEYS + 1)):
        with pytest.raises(InvalidQuery):
            parse_query(Level.STUDY, [("orderby", value) for value in values])
