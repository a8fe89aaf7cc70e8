"""Date parameters: every value is a range, as wide as its precision (FHIR R4 search.html#date).

Ranges are UTC epoch microseconds, `low_us` inclusive, `high_us` exclusive. What states no zone is in the
site's.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, not_, or_

from fhir.search.value import (
    Asked,
    Columns,
    InvalidSearch,
    Json,
    Kind,
    Prefix,
    Surroundings,
    Term,
    Values,
    split_prefix,
)
from fhir.tables import SearchDate
from server.kernel.rows import table_of

EARLIEST_US = -(1 << 62)  # a period without start
LATEST_US = 1 << 62  # a period without end
LAST_DAY = (9999, 12, 31)
APPROXIMATE_SHARE = 10  # "ap" reaches a tenth of the way from now to the date

LONGEST_DATE = 40  # characters, with nine digits of a second and a zone
PARSED_KEPT = 4_096  # dates: one visit writes the same moments many times

_DATE = re.compile(
    r"(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d)"
    r"(T(?P<hour>\d\d):(?P<minute>\d\d)(:(?P<second>\d\d)(\.(?P<fraction>\d{1,9}))?)?"
    r"(?P<zone>Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class DateRange(msgspec.Struct, frozen=True):
    """From `low_us`, inclusive, to `high_us`, exclusive."""

    low_us: int
    high_us: int


def parse_date(text: str, zone: tzinfo) -> DateRange | None:
    """The range of a FHIR date, dateTime or instant of any precision; None: it is none."""
    return _parse(text, zone) if len(text) <= LONGEST_DATE else None


@lru_cache(PARSED_KEPT)
def _parse(text: str, zone: tzinfo) -> DateRange | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    try:
        return _range_of(match, zone)
    except (ValueError, OverflowError):
        return None


def _range_of(match: re.Match[str], zone: tzinfo) -> DateRange:
    year, month, day = int(match["year"]), int(match["month"] or 1), int(match["day"] or 1)
    if match["hour"] is None:
        low = datetime(year, month, day, tzinfo=zone)
        return DateRange(_micros(low), _end_of_day_or_longer(match, low))
    second = int(match["second"] or 0)
    second = 59 if second == 60 else second  # a leap second counts as the one before it
    place = _zone(match["zone"]) or zone
    low_us = _micros(
        datetime(year, month, day, int(match["hour"]), int(match["minute"]), second, tzinfo=place)
    )
    fraction = match["fraction"]
    if fraction is None:
        return DateRange(low_us, low_us + (1_000_000 if match["second"] else 60_000_000))
    low_us += int(fraction[:6].ljust(6, "0"))
    return DateRange(low_us, low_us + 10 ** max(6 - len(fraction), 0))


def _end_of_day_or_longer(match: re.Match[str], low: datetime) -> int:
    if (low.year, low.month if match["month"] else 12, low.day if match["day"] else 31) == LAST_DAY:
        return LATEST_US  # what follows has no date; it stands for "without end"
    if match["day"]:
        year, month, day = low.year, low.month, low.day
        following = datetime(year, month, day) + timedelta(days=1)  # noqa: DTZ001  the wall clock's next day
        return _micros(following.replace(tzinfo=low.tzinfo))
    if match["month"]:
        years, months = divmod(low.month, 12)
        return _micros(low.replace(year=low.year + years, month=months + 1))
    return _micros(low.replace(year=low.year + 1))


def _zone(text: str | None) -> tzinfo | None:
    if text is None:
        return None
    if text == "Z":
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return timezone(-offset if text[0] == "-" else offset)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def dates_of_text(text: Json, around: Surroundings) -> Iterator[DateRange]:
    """A date, dateTime or instant is its range; a string is one when it reads as a date."""
    if found := parse_date(text, around.zone):
        yield found


def dates_of_period(period: Json, around: Surroundings) -> Iterator[DateRange]:
    """A Period runs from the start of its start to the end of its end; open where one is missing."""
    start = parse_date(period.get("start") or "", around.zone)
    end = parse_date(period.get("end") or "", around.zone)
    if start or end:
        yield DateRange(start.low_us if start else EARLIEST_US, end.high_us if end else LATEST_US)


def dates_of_timing(timing: Json, around: Surroundings) -> Iterator[DateRange]:
    """A Timing is the one range from its first event to its last, or its bounds."""
    found = [r for event in timing.get("event") or () for r in dates_of_text(event, around)]
    bounds = (timing.get("repeat") or {}).get("boundsPeriod")
    if bounds:
        found += dates_of_period(bounds, around)
    if found:
        yield DateRange(min(r.low_us for r in found), max(r.high_us for r in found))


DATES_OF = {
    "date": dates_of_text,
    "dateTime": dates_of_text,
    "instant": dates_of_text,
    "string": dates_of_text,
    "Period": dates_of_period,
    "Timing": dates_of_timing,
}


def row_of_date(value: DateRange) -> dict[str, Any]:
    """The columns of `SearchDate`."""
    return {"low_us": value.low_us, "high_us": value.high_us}


def read_date(asked: Asked) -> Term:
    """A date with prefix: the prefix and the range asked for."""
    prefix, text = split_prefix(asked.text)
    # A "+" that a client forgot to encode arrives as a space.
    found = parse_date(text.replace(" ", "+"), asked.around.zone)
    if found is None:
        raise InvalidSearch(f"The value of '{asked.code}' is no date.")
    if asked.modifier == "overlaps":  # of `_filter`: as "ap", of the very range
        return Term(Prefix.AP, (found.low_us, found.high_us))
    wanted = _widened(prefix, found, asked.around.now_us)
    return Term(prefix, (wanted.low_us, wanted.high_us))


def match_date(c: Columns, form: Prefix, values: Values) -> ColumnElement[bool]:
    """The prefixes' meanings between two ranges."""
    return match_range(c.low_us, c.high_us, form, values)


def match_range(
    low: ColumnElement[int], high: ColumnElement[int], prefix: Prefix, values: Values
) -> ColumnElement[bool]:
    """The prefixes' meanings between the range of two columns and the range asked for."""
    low_us, high_us = values
    within = and_(low >= low_us, low < high_us, high <= high_us)
    meanings = {
        Prefix.EQ: within,
        Prefix.NE: not_(within),
        Prefix.GT: high > high_us,
        Prefix.LT: low < low_us,
        # Beyond or within, written so that an index of one bound helps: no range is empty.
        Prefix.GE: and_(high > low_us, or_(high > high_us, low >= low_us)),
        Prefix.LE: and_(low < high_us, or_(low < low_us, high <= high_us)),
        Prefix.SA: low >= high_us,
        Prefix.EB: high <= low_us,
        Prefix.AP: and_(low < high_us, high > low_us),
    }
    return meanings[prefix]


def _widened(prefix: Prefix, q: DateRange, now_us: int) -> DateRange:
    if prefix is not Prefix.AP:
        return q
    margin = abs(now_us - q.low_us) // APPROXIMATE_SHARE
    return DateRange(q.low_us - margin, q.high_us + margin)


DATE = Kind(
    table=table_of(SearchDate),
    values_of=DATES_OF,
    row_of=row_of_date,
    read=read_date,
    match=match_date,
    modifiers=frozenset(),
    sort_column="low_us",
    sort_column_descending="high_us",
)
