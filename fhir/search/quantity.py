"""Quantity parameters: `number`, `number|system|code`, `number||code-or-unit` (search.html#quantity).

Units are compared as written; nothing is converted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, or_

from fhir.search.number import (
    UNBOUNDED,
    NumberRange,
    as_float,
    bounds_of,
    compare_numbers,
    numbers_of_range,
    parse_number,
)
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
    bounded,
    split_escaped,
    split_prefix,
    unescape,
)
from fhir.tables import SearchQuantity
from server.kernel.rows import table_of

CURRENCY = "urn:iso:std:iso:4217"  # FHIR R4 datatypes.html#Money


class QuantityRange(msgspec.Struct, frozen=True):
    """A range of numbers in one unit."""

    numbers: NumberRange
    system: str = ""
    code: str = ""
    unit: str = ""


def quantities_of_quantity(quantity: Json, _around: Surroundings) -> Iterator[QuantityRange]:
    """A Quantity is a point, or all that its comparator says."""
    value = quantity.get("value")
    if value is None:
        return
    point = as_float(value)
    low_high = {
        "<": (-UNBOUNDED, point),
        "<=": (-UNBOUNDED, point),
        ">": (point, UNBOUNDED),
        ">=": (point, UNBOUNDED),
    }
    low, high = low_high.get(quantity.get("comparator"), (point, point))
    yield _in_unit_of(quantity, NumberRange(low, high))


def quantities_of_money(money: Json, _around: Surroundings) -> Iterator[QuantityRange]:
    """Money is a point in a currency."""
    if (value := money.get("value")) is not None:
        point = as_float(value)
        yield QuantityRange(NumberRange(point, point), CURRENCY, money.get("currency") or "")


def quantities_of_range(value: Json, around: Surroundings) -> Iterator[QuantityRange]:
    """A Range is in the unit of its low, else of its high."""
    for numbers in numbers_of_range(value, around):
        yield _in_unit_of(value.get("low") or value.get("high"), numbers)


def quantities_of_sampled_data(data: Json, _around: Surroundings) -> Iterator[QuantityRange]:
    """SampledData lies within its limits, in the unit of its origin."""
    low, high = data.get("lowerLimit"), data.get("upperLimit")
    if low is not None and high is not None:
        yield _in_unit_of(data.get("origin") or {}, NumberRange(as_float(low), as_float(high)))


QUANTITIES_OF = {
    "Quantity": quantities_of_quantity,
    "Age": quantities_of_quantity,
    "Duration": quantities_of_quantity,
    "Money": quantities_of_money,
    "Range": quantities_of_range,
    "SampledData": quantities_of_sampled_data,
}


def _in_unit_of(quantity: Json, numbers: NumberRange) -> QuantityRange:
    return QuantityRange(
        numbers, quantity.get("system") or "", quantity.get("code") or "", quantity.get("unit") or ""
    )


def row_of_quantity(value: QuantityRange) -> dict[str, Any]:
    """The columns of `SearchQuantity`."""
    return {
        "low": value.numbers.low,
        "high": value.numbers.high,
        "system": bounded(value.system),
        "code": bounded(value.code),
        "unit": bounded(value.unit),
    }


@dataclass(frozen=True, slots=True)
class Form:
    """How a quantity is asked for: prefix, and whether the unit's system and code are given."""

    prefix: Prefix
    system: bool = False
    code: bool = False


def read_quantity(asked: Asked) -> Term:
    """A number with prefix and, where given, the unit's system and code."""
    written, *unit = split_escaped(asked.text, "|")
    prefix, text = split_prefix(written)
    bounds = bounds_of(prefix, parse_number(asked, text))
    if not unit:
        return Term(Form(prefix), bounds)
    if len(unit) != 2:
        raise InvalidSearch(f"The value of '{asked.code}' is not number|system|code.")
    system, code = (bounded(unescape(part)) for part in unit)
    given = [part for part in (system, code) if part]
    return Term(Form(prefix, bool(system), bool(code)), (*bounds, *given))


def match_quantity(c: Columns, form: Form, values: Values) -> ColumnElement[bool]:
    """The rows of a form with these values."""
    low, high, *unit = values
    terms = [compare_numbers(c, form.prefix, low, high)]
    if form.system:
        terms.append(c.system == unit[0])
    if form.code:
        code = unit[-1]
        terms.append(c.code == code if form.system else or_(c.code == code, c.unit == code))
    return and_(*terms)


QUANTITY = Kind(
    table=table_of(SearchQuantity),
    values_of=QUANTITIES_OF,
    row_of=row_of_quantity,
    read=read_quantity,
    match=match_quantity,
    modifiers=frozenset(),
    sort_column="low",
    sort_column_descending="high",
)
