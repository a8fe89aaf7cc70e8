"""Quantities: compared where their units allow (FHIRPath N1 §4.1.8).

Units convert within the table below; others compare only with themselves. UCUM as a whole is the business of
the terminology package.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

CALENDAR_UNITS: Mapping[str, str] = {
    name: unit
    for unit in ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
    for name in (unit, f"{unit}s")
}
# UCUM's codes of definite durations; calendar years and months are not definite (FHIRPath N1 §4.1.8)
_CALENDAR_OF_UCUM = {
    "wk": "week",
    "d": "day",
    "h": "hour",
    "min": "minute",
    "s": "second",
    "ms": "millisecond",
}
_FACTORS: Mapping[str, tuple[str, Decimal]] = {
    **{
        unit: ("time", Decimal(factor))
        for unit, factor in (
            ("week", "604800"),
            ("day", "86400"),
            ("hour", "3600"),
            ("minute", "60"),
            ("second", "1"),
            ("millisecond", "0.001"),
            ("us", "0.000001"),
        )
    },
    **{
        f"{prefix}{base}": (base, Decimal(factor))
        for base in ("g", "m", "L")
        for prefix, factor in (
            ("", "1"), ("k", "1000"), ("d", "0.1"), ("c", "0.01"), ("m", "0.001"), ("u", "0.000001"),
            ("n", "0.000000001"),
        )
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with a unit: UCUM's code or a calendar word; `system` where it is another code system's."""

    value: Decimal
    unit: str
    system: str | None = None

    def canonical(self) -> tuple[str | None, str, Decimal]:
        """What two equal quantities have in common: (system, base unit, value in it)."""
        unit = _CALENDAR_OF_UCUM.get(self.unit, self.unit)
        base, factor = _FACTORS.get(unit, (unit, Decimal(1)))
        return self.system, base, self.value * factor


def compare_quantities(one: Quantity, other: Quantity) -> int | None:
    """-1, 0 or 1; None: their units do not compare."""
    left_system, left_base, left = one.canonical()
    right_system, right_base, right = other.canonical()
    if (left_system, left_base) != (right_system, right_base):
        return None
    return (left > right) - (left < right)
