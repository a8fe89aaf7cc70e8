"""Forms in which values are compared."""

import pytest

from dicomweb.normal_forms import LAST_MOMENT, fold, name_groups, normal_date, normal_time


@pytest.mark.parametrize(
    ("sent", "normal"),
    [("20260115", "20260115"), ("2026.01.15", "20260115"), ("", ""), ("2026", ""), ("unknown", "")],
)
def test_normal_date(sent: str, normal: str) -> None:
    assert normal_date(sent) == normal


@pytest.mark.parametrize(
    ("sent", "first", "last"),
    [
        ("10", "100000.000000", "105959.999999"),
        ("1015", "101500.000000", "101559.999999"),
        ("101530", "101530.000000", "101530.999999"),
        ("101530.5", "101530.500000", "101530.599999"),
        ("101530.123456", "101530.123456", "101530.123456"),
        ("10:15:30", "101530.000000", "101530.999999"),
        ("1", "", ""),
        ("noon", "", ""),
        ("", "", ""),
    ],
)
def test_normal_time(sent: str, first: str, last: str) -> None:
    assert (normal_time(sent), normal_time(sent, LAST_MOMENT)) == (first, last)


@pytest.mark.parametrize(
    ("sent", "folded"),
    [
        ("Müller^Jörg", "muller^jorg"),
        ("MÜLLER^JÖRG^^^", "muller^jorg"),
        ("  van  der Berg ^ Jan ", "van der berg^jan"),
        ("Straße", "strasse"),
        ("Doe^^Middle", "doe^^middle"),
        ("がんか", "がんか"),
        ("김^희중", "김^희중"),
        ("a\x00b", "ab"),
        ("", ""),
    ],
)
def test_fold(sent: str, folded: str) -> None:
    assert fold(sent) == folded


def test_name_groups_and_words() -> None:
    name = {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    groups = name_groups({"00100010": {"vr": "PN", "Value": [name]}}, "00100010")
    assert (groups.ideographic, groups.phonetic, groups.words) == (
        "山田^太郎",
        "やまだ^たろう",
        "yamada tarou",
    )
    assert name_groups({"00100010": {"vr": "PN", "Value": [None]}}, "00100010").words == ""
