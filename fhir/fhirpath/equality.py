"""Equality, equivalence and order of values (FHIRPath N1 §6.1, §6.2)."""

from collections.abc import Hashable
from decimal import Decimal
from typing import Any

from fhir.fhirpath.errors import EvaluationFailed
from fhir.fhirpath.items import Collection, Item, Json, system_value
from fhir.fhirpath.quantity import Quantity, compare_quantities
from fhir.fhirpath.temporal import Temporal, compare_temporals

_NUMBERS = (int, Decimal)


def is_number(value: Any) -> bool:
    """Whether a System value is an Integer or a Decimal; Python's bool is an int and is none here."""
    return type(value) in _NUMBERS


def equal(one: Any, other: Any) -> bool | None:
    """`=` of two values; None: one has no value, or their precision leaves it open."""
    left, right = system_value(one), system_value(other)
    if left is None or right is None:
        return None
    if is_number(left) and is_number(right):
        return bool(left == right)
    if type(left) is Temporal or type(right) is Temporal:
        return _equal_temporals(left, right)
    if type(left) is Quantity or type(right) is Quantity:
        return _equal_quantities(left, right)
    if type(left) is Item and type(right) is Item:
        return freeze(left.value) == freeze(right.value)
    return type(left) is type(right) and bool(left == right)


def _equal_temporals(left: Any, right: Any) -> bool | None:
    if type(left) is Temporal and type(right) is Temporal:
        compared = compare_temporals(left, right)
        return None if compared is None else compared == 0
    text, temporal = (right, left) if type(left) is Temporal else (left, right)
    return bool(text == temporal.text)  # a string literal beside a date: said the same


def _equal_quantities(left: Any, right: Any) -> bool | None:
    left, right = _as_quantity(left), _as_quantity(right)
    if left is None or right is None:
        return False
    compared = compare_quantities(left, right)
    return None if compared is None else compared == 0


def _as_quantity(value: Any) -> Quantity | None:
    if is_number(value):
        return Quantity(Decimal(value), "1")
    return value if type(value) is Quantity else None


def collections_equal(left: Collection, right: Collection) -> bool | None:
    """`=` of two collections, in order; None: either is empty or a pair is open."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    found = [equal(one, other) for one, other in zip(left, right, strict=True)]
    if False in found:
        return False
    return None if None in found else True


def collections_equivalent(left: Collection, right: Collection) -> bool:
    """`~` of two collections: whatever their order; two empty ones are equivalent."""
    if len(left) != len(right):
        return False
    rest = list(right)
    for one in left:
        match = next((at for at, other in enumerate(rest) if equivalent(one, other)), None)
        if match is None:
            return False
        del rest[match]
    return True


def equivalent(one: Any, other: Any) -> bool:
    """`~` of two values: text without case and repeated blanks, decimals to the lesser precision."""
    left, right = system_value(one), system_value(other)
    if type(left) is str and type(right) is str:
        return " ".join(left.split()).casefold() == " ".join(right.split()).casefold()
    if is_number(left) and is_number(right):
        return _rounded_equal(Decimal(left), Decimal(right))
    if type(left) is Temporal and type(right) is Temporal:
        return compare_temporals(left, right) == 0
    if type(left) is Item and type(right) is Item:
        return _loose(left.value) == _loose(right.value)
    return equal(left, right) is True


def _rounded_equal(left: Decimal, right: Decimal) -> bool:
    exponents = (left.as_tuple().exponent, right.as_tuple().exponent)
    places = min(max(0, -e) if isinstance(e, int) else 0 for e in exponents)
    return round(left, places) == round(right, places)


def _loose(value: Json) -> Hashable:
    if type(value) is dict:
        return frozenset((name, _loose(child)) for name, child in value.items())
    if type(value) is list:
        return frozenset(map(_loose, value))
    return value.casefold() if type(value) is str else freeze(value)


def compare(one: Any, other: Any) -> int | None:
    """-1, 0 or 1 of two values in order; None: left open.

    Raises:
        EvaluationFailed: their types have no common order.
    """
    left, right = system_value(one), system_value(other)
    if left is None or right is None:
        return None
    if is_number(left) and is_number(right):
        return int(left > right) - int(left < right)
    if type(left) is str and type(right) is str:
        return (left > right) - (left < right)
    if type(left) is Temporal and type(right) is Temporal:
        return compare_temporals(left, right)
    mine, theirs = _as_quantity(left), _as_quantity(right)
    if mine is not None and theirs is not None:
        return compare_quantities(mine, theirs)
    if type(left) is Item and left.kind.system == "Quantity":
        return None  # a quantity with a comparator, or without a value
    if type(right) is Item and right.kind.system == "Quantity":
        return None
    raise EvaluationFailed("Values of these types have no order.")


def key_of(value: Any) -> Hashable:
    """What two equal values share and others do not: for sets of them."""
    plain = system_value(value)
    if type(plain) is Temporal:
        zoned = plain.offset_minutes is not None
        return ("temporal", plain.kind == "time", zoned, plain.comparable_parts() if zoned else plain.parts)
    if type(plain) is Quantity:
        return ("quantity", *plain.canonical())
    if type(plain) is Item:
        return ("element", freeze(plain.value), freeze(plain.extra))
    if plain is None:
        return ("element", None, freeze(value.extra))
    return (_class_of(plain), plain)


def _class_of(value: Any) -> str:
    return "number" if is_number(value) else type(value).__name__


def freeze(value: Json) -> Hashable:
    """JSON as a value that hashes; 1.0 is 1, true is not."""
    if type(value) is dict:
        return frozenset((name, freeze(child)) for name, child in value.items())
    if type(value) is list:
        return tuple(map(freeze, value))
    return ("boolean", value) if type(value) is bool else value


def unique(items: Collection) -> Collection:
    """The first of each value, in order."""
    if len(items) < 2:
        return items
    found: dict[Hashable, Any] = {}
    for item in items:
        found.setdefault(key_of(item), item)
    return list(found.values())
