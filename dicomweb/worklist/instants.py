"""DT values and ranges as instants in UTC microseconds (PS3.5 §6.2, PS3.4 C.2.2.2.5). Pure.

A value of low precision is the span that it names. Without an offset it is of the zone that the caller says.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from server.kernel.clock import SECOND_US
from server.kernel.site import Site

_DT = r"\d{4}(?:\d{2}(?:\d{2}(?:\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?)?)?"
_ONE = re.compile(rf"({_DT})([+-]\d{{4}})?")
_RANGE = re.compile(rf"({_DT}(?:[+-](?:0\d|1[0-4])[0-5]\d(?=-|$))?)?-({_DT}(?:[+-]\d{{4}})?)?")
_FIRST = "00000101000000.000000"  # fills what a value leaves out
_UNITS = {4: "year", 6: "month", 8: "day", 10: "hour", 12: "minute", 14: "second"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST_OFFSET = timedelta(hours=14)


@dataclass(frozen=True, slots=True)
class Span:
    """First and last microsecond, both included; None leaves a side open."""

    first_us: int | None
    last_us: int | None


def zone_of(site: Site) -> tzinfo:
    """The zone of values that state none: the site's, else UTC."""
    return ZoneInfo(site.timezone) if site.timezone else UTC


def parse_instant(text: str, zone: tzinfo) -> Span | None:
    """The span that a DT names; None: it is no DT."""
    found = _ONE.fullmatch(text.strip())
    if found is None:
        return None
    digits, offset = found.groups()
    try:
        tz = _offset(offset) if offset else zone
        first = datetime.strptime(digits + _FIRST[len(digits) :], "%Y%m%d%H%M%S.%f").replace(tzinfo=tz)
    except ValueError:
        return None
    try:
        return Span(_us(first), _us(_after(first, len(digits))) - 1)
    except (ValueError, OverflowError):  # the last span of the year 9999
        return Span(_us(first), None)


def parse_span(text: str, zone: tzinfo) -> Span | None:
    """A DT or a range of DT; None: it is neither. "2026-0500" is a year with an offset (PS3.5 §6.2)."""
    if single := parse_instant(text, zone):
        return single
    found = _RANGE.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        return None
    low, high = (parse_instant(each, zone) if each else Span(None, None) for each in found.groups())
    return Span(low.first_us, high.last_us) if low and high else None


def comparable(instant_us: int) -> str:
    """An instant as text of one length, so that text compares as instants do."""
    return f"{max(instant_us, 0):020d}"


def _offset(text: str) -> tzinfo:
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[3:]))
    if offset > _LARGEST_OFFSET:
        raise ValueError("no offset from UTC")
    return timezone(-offset if text[0] == "-" else offset)


def _after(first: datetime, digits: int) -> datetime:
    """The first moment after the span that so many digits name."""
    unit = _UNITS.get(digits)
    if unit == "year":
        return first.replace(year=first.year + 1)
    if unit == "month":
        month = first.month % 12 + 1
        return first.replace(month=month, year=first.year + (month == 1))
    if unit is not None:
        return first + timedelta(**{f"{unit}s": 1})
    return first + timedelta(microseconds=10 ** max(21 - digits, 0))  # YYYYMMDDHHMMSS.FFFFFF has 21


def _us(moment: datetime) -> int:
    elapsed = moment - _EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * SECOND_US + elapsed.microseconds
