"""Infix operators on two evaluated collections (FHIRPath N1 §6)."""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any

from fhir.fhirpath.equality import (
    collections_equal,
    collections_equivalent,
    compare,
    equal,
    is_number,
    unique,
)
from fhir.fhirpath.errors import EvaluationFailed, TooCostly
from fhir.fhirpath.items import Collection
from fhir.fhirpath.quantity import CALENDAR_UNITS, Quantity
from fhir.fhirpath.singleton import boolean, single, text
from fhir.fhirpath.temporal import Temporal, add_to

DIGITS = 50  # of the results of arithmetic
MAX_INTEGER_BITS = 1_024  # of an integer that an expression computes; N1 asks for 32
MAX_TEXT_CHARACTERS = 1 << 20  # of a string that an expression makes, as of one in a resource

Operator = Callable[[Collection, Collection], Collection]


def wrap(value: Any) -> Collection:
    """A value as a collection; None is the empty one."""
    return [] if value is None else [value]


def _equal(left: Collection, right: Collection) -> Collection:
    if len(left) == 1 and len(right) == 1:
        return wrap(equal(left[0], right[0]))
    return wrap(collections_equal(left, right))


def _not_equal(left: Collection, right: Collection) -> Collection:
    found = collections_equal(left, right)
    return [] if found is None else [not found]


def _ordered(fits: Callable[[int], bool]) -> Operator:
    def operator(left: Collection, right: Collection) -> Collection:
        if not left or not right:
            return []
        if len(left) > 1 or len(right) > 1:
            raise EvaluationFailed("One value is needed on each side of a comparison.")
        compared = compare(left[0], right[0])
        return [] if compared is None else [fits(compared)]

    return operator


def _contains(left: Collection, right: Collection) -> Collection:
    if not right:
        return []
    if len(right) > 1:
        raise EvaluationFailed("One value is needed to look for.")
    return [any(equal(each, right[0]) for each in left)]


def _and(left: Collection, right: Collection) -> Collection:
    one, other = boolean(left), boolean(right)
    if one is False or other is False:
        return [False]
    return [] if one is None or other is None else [True]


def _or(left: Collection, right: Collection) -> Collection:
    one, other = boolean(left), boolean(right)
    if one or other:
        return [True]
    return [] if one is None or other is None else [False]


def _xor(left: Collection, right: Collection) -> Collection:
    one, other = boolean(left), boolean(right)
    return [] if one is None or other is None else [one != other]


def _implies(left: Collection, right: Collection) -> Collection:
    one, other = boolean(left), boolean(right)
    if one is False or other is True:
        return [True]
    return [] if one is None or other is None else [False]


def _concatenate(left: Collection, right: Collection) -> Collection:
    return [bounded_text((text(left) or "") + (text(right) or ""))]


def bounded_text(made: str) -> str:
    """A string that an expression has made, if it is not too long; each could double the one before.

    Raises:
        TooCostly: it is.
    """
    if len(made) > MAX_TEXT_CHARACTERS:
        raise TooCostly(f"The expression makes a string longer than {MAX_TEXT_CHARACTERS} characters.")
    return made


def _arithmetic(compute: Callable[[Any, Any], Any]) -> Operator:
    def operator(left: Collection, right: Collection) -> Collection:
        one, other = single(left), single(right)
        if one is None or other is None:
            return []
        try:
            with localcontext() as precise:
                precise.prec = DIGITS
                return wrap(_bounded(compute(one, other)))
        except (InvalidOperation, OverflowError, ZeroDivisionError):
            return []  # what has no result is empty (§6.6)

    return operator


def _bounded(value: Any) -> Any:
    """A result, if it is not too large; integers beyond have none, as if they overflowed."""
    if type(value) is int and value.bit_length() > MAX_INTEGER_BITS:
        return None
    return bounded_text(value) if type(value) is str else value


def _numbers(one: Any, other: Any) -> tuple[Any, Any]:
    if is_number(one) and is_number(other):
        return one, other
    raise EvaluationFailed("Numbers are needed on both sides.")


def _add(one: Any, other: Any) -> Any:
    if type(one) is str and type(other) is str:
        return one + other
    if type(one) is Temporal and type(other) is Quantity:
        return _moved(one, other, 1)
    if type(one) is Quantity and type(other) is Quantity:
        return _added(one, other, 1)
    left, right = _numbers(one, other)
    return left + right


def _subtract(one: Any, other: Any) -> Any:
    if type(one) is Temporal and type(other) is Quantity:
        return _moved(one, other, -1)
    if type(one) is Quantity and type(other) is Quantity:
        return _added(one, other, -1)
    left, right = _numbers(one, other)
    return left - right


def _moved(temporal: Temporal, by: Quantity, sign: int) -> Temporal | None:
    unit = CALENDAR_UNITS.get(by.unit) or {"s": "second", "ms": "millisecond"}.get(by.unit)
    if unit is None:
        raise EvaluationFailed("A calendar duration is needed to add to a date.")
    return add_to(temporal, by.value * sign, unit)


def _added(one: Quantity, other: Quantity, sign: int) -> Quantity | None:
    if (one.unit, one.system) != (other.unit, other.system):
        return None
    return Quantity(one.value + sign * other.value, one.unit, one.system)


def _multiply(one: Any, other: Any) -> Any:
    left, right = _numbers(one, other)
    return left * right


def _divide(one: Any, other: Any) -> Any:
    left, right = _numbers(one, other)
    return Decimal(left) / Decimal(right)


def _whole_division(one: Any, other: Any) -> Any:
    left, right = _numbers(one, other)
    return int(Decimal(left) / Decimal(right))  # towards zero (§6.6.5)


def _modulo(one: Any, other: Any) -> Any:
    left, right = _numbers(one, other)
    rest = Decimal(left) % Decimal(right)  # the sign of the first, as truncation wants
    return int(rest) if type(left) is int and type(right) is int else rest


OPERATORS: Mapping[str, Operator] = {
    "=": _equal,
    "!=": _not_equal,
    "~": lambda left, right: [collections_equivalent(left, right)],
    "!~": lambda left, right: [not collections_equivalent(left, right)],
    "<": _ordered(lambda compared: compared < 0),
    "<=": _ordered(lambda compared: compared <= 0),
    ">": _ordered(lambda compared: compared > 0),
    ">=": _ordered(lambda compared: compared >= 0),
    "|": lambda left, right: unique([*left, *right]),
    "in": lambda left, right: _contains(right, left),
    "contains": _contains,
    "and": _and,
    "or": _or,
    "xor": _xor,
    "implies": _implies,
    "&": _concatenate,
    "+": _arithmetic(_add),
    "-": _arithmetic(_subtract),
    "*": _arithmetic(_multiply),
    "/": _arithmetic(_divide),
    "div": _arithmetic(_whole_division),
    "mod": _arithmetic(_modulo),
}
# The right side is left alone once the left decides; what it is then.
DECIDED: Mapping[str, tuple[bool, bool]] = {
    "and": (False, False),
    "or": (True, True),
    "implies": (False, True),
}
