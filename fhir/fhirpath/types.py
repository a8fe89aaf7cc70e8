"""Type specifiers: whether a value is of a named type (FHIRPath N1 §6.3, FHIR R4 fhirpath.html#types)."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from fhir.fhirpath.errors import InvalidExpression
from fhir.fhirpath.items import Item
from fhir.fhirpath.kinds import is_known
from fhir.fhirpath.quantity import Quantity
from fhir.fhirpath.temporal import Temporal

_PYTHON_TYPES = {"Boolean": bool, "String": str, "Integer": int, "Decimal": Decimal, "Quantity": Quantity}
_TEMPORAL_KINDS = {"Date": "date", "DateTime": "dateTime", "Time": "time"}
SYSTEM_TYPES = frozenset({*_PYTHON_TYPES, *_TEMPORAL_KINDS, "Any"})


def is_of_type(name: str) -> Callable[[Any], bool]:
    """The test for the type that a specifier names.

    Without a namespace, FHIR's types come first. `Boolean` alone also names FHIR's `boolean`, and `string`
    also the System's `String`: R4's own invariants write them so.

    Raises:
        InvalidExpression: there is no such type.
    """
    namespace, _, bare = name.rpartition(".")
    if namespace == "System" and bare in SYSTEM_TYPES:
        return lambda value: _is_system(value, bare)
    if namespace in ("FHIR", "") and is_known(bare):
        system = bare[0].upper() + bare[1:]
        return lambda value: _is_fhir(value, bare) or (not namespace and _is_system(value, system))
    if not namespace and bare in SYSTEM_TYPES:
        return lambda value: (
            _is_system(value, bare)
            or (type(value) is Item and value.kind.is_primitive and value.kind.system == bare)
        )
    raise InvalidExpression("The expression names a type that FHIR R4 does not have.")


def _is_fhir(value: Any, name: str) -> bool:
    return type(value) is Item and name in value.kind.ancestors


def _is_system(value: Any, name: str) -> bool:
    if type(value) is Temporal:
        return _TEMPORAL_KINDS.get(name) == value.kind or name == "Any"
    return type(value) is not Item and (type(value) is _PYTHON_TYPES.get(name) or name == "Any")
