"""Number parameters, and the ranges that numbers of a given precision stand for (FHIR R4 search.html#number).

A value asked for without prefix (or with eq, ne) stands for all that round to it: 100 is [99.5, 100.5). The
other prefixes take it as exact. Indexed values are points, or the bounds of a Range.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, not_

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
from fhir.tables import SearchQuantity
from server.kernel.rows import table_of

UNBOUNDED = 1.0e308  # beyond every indexed value; infinity is not portable SQL
MAX_EXPONENT = 300
_NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)
_APPROXIMATE = Decimal("0.1")


class NumberRange(msgspec.Struct, frozen=True):
    """Both bounds inclusive; a point has them equal."""

    low: float
    high: float


def numbers_of_decimal(value: Json, _around: Surroundings) -> Iterator[NumberRange]:
    """A decimal or an integer is a point."""
    point = as_float(value)
    yield NumberRange(point, point)


def numbers_of_range(value: Json, _around: Surroundings) -> Iterator[NumberRange]:
    """A Range runs from its low to its high; open where one is missing."""
    low, high = (value.get(end) or {} for end in ("low", "high"))
    if "value" in low or "value" in high:
        yield NumberRange(as_float(low.get("value", -UNBOUNDED)), as_float(high.get("value", UNBOUNDED)))


NUMBERS_OF = {"decimal": numbers_of_decimal, "integer": numbers_of_decimal, "Range": numbers_of_range}


def as_float(value: Json) -> float:
    """The number as the index holds it, at most `UNBOUNDED` either way."""
    return max(-UNBOUNDED, min(UNBOUNDED, float(value)))


def parse_number(asked: Asked, text: str) -> Decimal:
    """A decimal as FHIR writes it.

    Raises:
        InvalidSearch: it is none.
    """
    if _NUMBER.fullmatch(text):
        number = Decimal(text)
        if abs(number.adjusted()) <= MAX_EXPONENT or not number:
            return number
    raise InvalidSearch(f"The value of '{asked.code}' is no number.")


def bounds_of(prefix: Prefix, number: Decimal) -> tuple[float, float]:
    """Between what the prefix compares: what rounds to the number, what is near it, or the number itself."""
    if prefix in (Prefix.EQ, Prefix.NE):
        return _rounding_to(number)
    exact = as_float(number)
    margin = as_float(abs(number) * _APPROXIMATE) if prefix is Prefix.AP else 0.0
    return as_float(exact - margin), as_float(exact + margin)


def compare_numbers(c: Columns, prefix: Prefix, low: Any, high: Any) -> ColumnElement[bool]:
    """The prefixes' meanings between the indexed range and `bounds_of` a number."""
    within = and_(c.low >= low, c.low < high, c.high < high)
    meanings = {
        Prefix.EQ: within,
        Prefix.NE: not_(within),
        Prefix.GT: and_(c.high > high),
        Prefix.LT: and_(c.low < low),
        Prefix.GE: and_(c.high >= high),
        Prefix.LE: and_(c.low <= low),
        Prefix.SA: and_(c.low > high),
        Prefix.EB: and_(c.high < low),
        Prefix.AP: and_(c.low <= high, c.high >= low),
    }
    return meanings[prefix]


def _rounding_to(number: Decimal) -> tuple[float, float]:
    """The bounds of what rounds to a number of this precision: low inclusive, high exclusive."""
    exponent = number.as_tuple().exponent
    half = Decimal(5).scaleb(int(exponent) - 1)
    return as_float(number - half), as_float(number + half)


def read_number(asked: Asked) -> Term:
    """A number, with prefix."""
    prefix, text = split_prefix(asked.text)
    return Term(prefix, bounds_of(prefix, parse_number(asked, text)))


def match_number(c: Columns, form: Prefix, values: Values) -> ColumnElement[bool]:
    """The rows of a prefix with these bounds."""
    return compare_numbers(c, form, *values)


def row_of_number(value: NumberRange) -> dict[str, Any]:
    """The columns of `SearchQuantity`."""
    return {"low": value.low, "high": value.high, "system": "", "code": "", "unit": ""}


NUMBER = Kind(
    table=table_of(SearchQuantity),
    values_of=NUMBERS_OF,
    row_of=row_of_number,
    read=read_number,
    match=match_number,
    modifiers=frozenset(),
    sort_column="low",
    sort_column_descending="high",
)
