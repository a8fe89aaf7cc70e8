"""Dates and times, compared with the precision that they state (FHIRPath N1 §4.1.5 to §4.1.7, §6.2)."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

_DATE_TIME = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?(T(?:(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d+)?))?)?)?(Z|[+\-]\d\d:\d\d)?)?",
    re.ASCII,
)
_TIME = re.compile(r"(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d+)?))?)?", re.ASCII)
_DAY_PARTS = 3
_MICROSECOND = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Temporal:
    """A date, dateTime or time: as many parts as were stated, seconds with their fraction as one part."""

    kind: str  # "date", "dateTime", "time"
    parts: tuple[int | Decimal, ...]
    text: str  # as written
    offset_minutes: int | None = None  # None: no zone stated

    def comparable_parts(self) -> tuple[int | Decimal, ...]:
        """The parts in UTC where the zone is known."""
        if self.offset_minutes in (None, 0) or len(self.parts) <= _DAY_PARTS:
            return self.parts
        whole = [int(part) for part in self.parts]
        filled = datetime(*whole[:6], tzinfo=UTC)  # type: ignore[misc,arg-type]  # year, month and day are there
        try:
            moved = filled - timedelta(minutes=self.offset_minutes or 0)
        except OverflowError:
            return self.parts
        seconds = self.parts[5:] and (moved.second + self.parts[5] % 1,)
        return (*moved.timetuple()[: len(self.parts)][:5], *seconds)


def read_temporal(text: str, *, is_time: bool = False) -> Temporal | None:
    """The value that a text says; None: it is none."""
    if is_time:
        match = _TIME.fullmatch(text)
        return None if match is None else Temporal("time", _numbers(match.groups()), text)
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, with_time, *time, zone = match.groups()
    parts = _numbers((year, month, day, *time))
    try:
        date(*(int(p) for p in (*parts, 1, 1)[:3]))
    except ValueError:
        return None
    return Temporal("dateTime" if with_time else "date", parts, text, _offset(zone))


def _numbers(texts: tuple[str | None, ...]) -> tuple[int | Decimal, ...]:
    return tuple(Decimal(t) if "." in t else int(t) for t in texts if t is not None)


def _offset(zone: str | None) -> int | None:
    if zone is None:
        return None
    if zone == "Z":
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[4:6])
    return -minutes if zone[0] == "-" else minutes


def compare_temporals(one: Temporal, other: Temporal) -> int | None:
    """-1, 0 or 1; None where the precision, or a zone that only one states, leaves it open."""
    if (one.kind == "time") != (other.kind == "time"):
        return None
    both_zoned = one.offset_minutes is not None and other.offset_minutes is not None
    left, right = (
        (one.comparable_parts(), other.comparable_parts()) if both_zoned else (one.parts, other.parts)
    )
    for mine, theirs in zip(left, right, strict=False):
        if mine != theirs:
            return -1 if mine < theirs else 1
    return 0 if len(left) == len(right) else None


def add_to(temporal: Temporal, amount: Decimal, unit: str) -> Temporal | None:
    """The moment so much later, at the same precision (FHIRPath N1 §6.6.7); None: beyond the calendar."""
    if temporal.kind == "time":
        return _add_to_time(temporal, amount, unit)
    whole = int(amount)
    filled = [int(p) for p in temporal.parts] + [1, 1, 0, 0, 0][len(temporal.parts) - 1 :]
    try:
        if unit in ("year", "month"):
            moved = _add_months(filled, whole * (12 if unit == "year" else 1))
        else:
            delta = timedelta(seconds=float(amount * SECONDS_OF[unit]))
            moved = datetime(*filled[:6], tzinfo=UTC) + delta  # type: ignore[misc,arg-type]  # six parts
    except (ValueError, OverflowError):
        return None
    parts = _cut(moved, temporal)
    return Temporal(temporal.kind, parts, _written(temporal, parts), temporal.offset_minutes)


SECONDS_OF = {
    "week": Decimal(604_800),
    "day": Decimal(86_400),
    "hour": Decimal(3_600),
    "minute": Decimal(60),
    "second": Decimal(1),
    "millisecond": Decimal("0.001"),
}


def _add_months(filled: list[int], months: int) -> datetime:
    year, month = divmod(filled[0] * 12 + filled[1] - 1 + months, 12)
    for day in (filled[2], 30, 29, 28):
        try:
            hour, minute, second = filled[3:6]
            return datetime(year, month + 1, min(day, filled[2]), hour, minute, second, tzinfo=UTC)
        except ValueError:
            if day <= 28:
                raise
    raise OverflowError


def _cut(moved: datetime, like: Temporal) -> tuple[int | Decimal, ...]:
    parts: list[int | Decimal] = list(moved.timetuple()[: len(like.parts)])
    if len(parts) == 6 and isinstance(like.parts[5], Decimal):
        fraction = like.parts[5] % 1 + Decimal(moved.microsecond) * _MICROSECOND
        parts[5] = moved.second + fraction
    elif len(parts) == 6 and moved.microsecond:
        parts[5] = moved.second + Decimal(moved.microsecond) * _MICROSECOND
    return tuple(parts)


def _add_to_time(time: Temporal, amount: Decimal, unit: str) -> Temporal | None:
    if unit not in ("hour", "minute", "second", "millisecond"):
        return None
    factors = (3600, 60, 1)
    seconds = sum((Decimal(p) * f for p, f in zip(time.parts, factors, strict=False)), Decimal(0))
    total = (seconds + amount * SECONDS_OF[unit]) % 86_400
    whole = int(total)
    filled: list[int | Decimal] = [whole // 3600, whole // 60 % 60, whole % 60]
    if total != whole:
        filled[2] = total % 60
    parts = tuple(filled[: len(time.parts)])
    return Temporal("time", parts, ":".join(_two(p) for p in parts))


def _written(like: Temporal, parts: tuple[int | Decimal, ...]) -> str:
    day = "-".join([f"{parts[0]:04d}", *(_two(p) for p in parts[1:3])])
    if like.kind == "date":
        return day
    zone = like.text[len(like.text) - 6 :] if like.offset_minutes else "Z" if like.offset_minutes == 0 else ""
    return f"{day}T{':'.join(_two(p) for p in parts[3:])}{zone}"


def _two(part: int | Decimal) -> str:
    whole, dot, fraction = str(part).partition(".")
    return f"{int(whole):02d}{dot}{fraction}"
