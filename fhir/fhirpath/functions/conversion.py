"""Conversions between System types (FHIRPath N1 §5.5)."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from fhir.fhirpath.equality import is_number
from fhir.fhirpath.functions.function import Function
from fhir.fhirpath.operators import wrap
from fhir.fhirpath.quantity import CALENDAR_UNITS, Quantity
from fhir.fhirpath.singleton import single
from fhir.fhirpath.temporal import Temporal, read_temporal

Convert = Callable[[Any], Any]  # None: it does not convert

_TRUE = frozenset(("true", "t", "yes", "y", "1", "1.0"))
_FALSE = frozenset(("false", "f", "no", "n", "0", "0.0"))
_INTEGER = re.compile(r"[+\-]?\d{1,300}", re.ASCII)
_DECIMAL = re.compile(r"[+\-]?\d{1,300}(?:\.\d{1,300})?", re.ASCII)
_QUANTITY = re.compile(r"([+\-]?\d{1,300}(?:\.\d{1,300})?)(?:\s+(?:'([^']+)'|([a-z]+)))?", re.ASCII)


def to_string(value: Any) -> str | None:
    """A System value as text (§5.5.6)."""
    if type(value) is bool:
        return "true" if value else "false"
    if is_number(value):
        return format(value, "f") if type(value) is Decimal else str(value)
    if type(value) is Temporal:
        return value.text
    if type(value) is Quantity:
        unit = value.unit if value.unit in CALENDAR_UNITS else f"'{value.unit}'"
        return f"{value.value:f} {unit}"
    return value if type(value) is str else None


def _to_boolean(value: Any) -> bool | None:
    if type(value) is bool:
        return value
    text = to_string(value) if type(value) in (int, Decimal, str) else None
    lowered = (text or "").lower()
    return True if lowered in _TRUE else False if lowered in _FALSE else None


def _to_integer(value: Any) -> int | None:
    if type(value) in (bool, int):
        return int(value)
    return int(value) if type(value) is str and _INTEGER.fullmatch(value) else None


def _to_decimal(value: Any) -> Decimal | None:
    if type(value) in (bool, int, Decimal):
        return Decimal(value)
    return Decimal(value) if type(value) is str and _DECIMAL.fullmatch(value) else None


def _to_date(value: Any) -> Temporal | None:
    temporal = read_temporal(value) if type(value) is str else value
    if type(temporal) is not Temporal or temporal.kind == "time":
        return None
    return Temporal("date", temporal.parts[:3], temporal.text[:10])


def _to_date_time(value: Any) -> Temporal | None:
    temporal = read_temporal(value) if type(value) is str else value
    if type(temporal) is not Temporal or temporal.kind == "time":
        return None
    return Temporal("dateTime", temporal.parts, temporal.text, temporal.offset_minutes)


def _to_time(value: Any) -> Temporal | None:
    temporal = read_temporal(value, is_time=True) if type(value) is str else value
    return temporal if type(temporal) is Temporal and temporal.kind == "time" else None


def _to_quantity(value: Any) -> Quantity | None:
    if type(value) is Quantity:
        return value
    if type(value) in (bool, int, Decimal):
        return Quantity(Decimal(value), "1")
    match = _QUANTITY.fullmatch(value) if type(value) is str else None
    if match is None or (match[3] and match[3] not in CALENDAR_UNITS):
        return None
    return Quantity(Decimal(match[1]), match[2] or CALENDAR_UNITS.get(match[3] or "", "1"))


_CONVERSIONS: Mapping[str, Convert] = {
    "Boolean": _to_boolean,
    "Integer": _to_integer,
    "Decimal": _to_decimal,
    "String": to_string,
    "Date": _to_date,
    "DateTime": _to_date_time,
    "Time": _to_time,
    "Quantity": _to_quantity,
}


def _to(convert: Convert) -> Function:
    return Function(lambda items, _env, _args: wrap(convert(single(items))), 0, 1)


def _converts(convert: Convert) -> Function:
    return Function(lambda items, _env, _args: [convert(single(items)) is not None] if items else [], 0, 1)


FUNCTIONS: Mapping[str, Function] = {
    **{f"to{name}": _to(convert) for name, convert in _CONVERSIONS.items()},
    **{f"convertsTo{name}": _converts(convert) for name, convert in _CONVERSIONS.items()},
}
