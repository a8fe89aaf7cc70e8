from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from dicomweb.worklist.instants import Span, comparable, parse_instant, parse_span

DAY_US = 86_400_000_000
FIRST = int(datetime(2026, 1, 15, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("20260115", Span(FIRST, FIRST + DAY_US - 1)),
        ("2026011512", Span(FIRST + DAY_US // 2, FIRST + DAY_US // 2 + 3_600_000_000 - 1)),
        ("20260115000000.25", Span(FIRST + 250_000, FIRST + 259_999)),
        ("20260115000000.000001", Span(FIRST + 1, FIRST + 1)),
        ("20260115+0100", Span(FIRST - 3_600_000_000, FIRST - 3_600_000_000 + DAY_US - 1)),
        ("202612-", Span(FIRST + 320 * DAY_US, None)),
        ("-20260114", Span(None, FIRST - 1)),
        ("20260115-20260116", Span(FIRST, FIRST + 2 * DAY_US - 1)),
        ("20260115+0000-20260115+0000", Span(FIRST, FIRST + DAY_US - 1)),
        ("9999", Span(253_370_764_800_000_000, None)),
        ("20260115-0100", Span(FIRST + 3_600_000_000, FIRST + 3_600_000_000 + DAY_US - 1)),  # an offset
    ],
)
def test_dt_or_range_is_a_span(text: str, span: Span) -> None:
    assert parse_span(text, UTC) == span


@pytest.mark.parametrize(
    "text", ["", "-", "2", "20261301", "20260230", "20260115T12", "x-y", "99991231-x", "20260115+9900"]
)
def test_no_dt(text: str) -> None:
    assert parse_span(text, UTC) is None


def test_value_without_offset_is_of_the_sites_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert parse_instant("20260115", berlin) == Span(
        FIRST - 3_600_000_000, FIRST - 3_600_000_000 + DAY_US - 1
    )


def test_text_compares_as_instants_do() -> None:
    assert comparable(-5) < comparable(9) < comparable(10) < comparable(FIRST) < comparable(1 << 62)
