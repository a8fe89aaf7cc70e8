"""Collections as single values (FHIRPath N1 §4.5)."""

from typing import Any

from fhir.fhirpath.errors import EvaluationFailed
from fhir.fhirpath.items import Collection, Item, system_value


def single(items: Collection) -> Any:
    """The one value, as System value where it converts; None: there is none.

    Raises:
        EvaluationFailed: there are several.
    """
    if not items:
        return None
    if len(items) > 1:
        raise EvaluationFailed("One value is needed here, and there are several.")
    return system_value(items[0])


def boolean(items: Collection) -> bool | None:
    """The one truth value; a value of another type counts as true (§4.5).

    Raises:
        EvaluationFailed: there are several values.
    """
    if not items:
        return None
    value = items[0]
    if value is True or value is False:
        if len(items) == 1:
            return bool(value)
    elif type(value) is Item and value.kind.system == "Boolean":
        value = value.value
    else:
        value = True
    if len(items) > 1:
        raise EvaluationFailed("One truth value is needed here, and there are several.")
    return None if value is None else bool(value)


def truth(items: Collection) -> bool:
    """Whether a criterion holds: only if it is true."""
    return boolean(items) is True


def text(items: Collection) -> str | None:
    """The one string.

    Raises:
        EvaluationFailed: several values, or no string.
    """
    value = single(items)
    if value is None or type(value) is str:
        return value
    raw = items[0].value if type(items[0]) is Item else None
    if type(raw) is str:
        return raw  # a date is text where text is needed
    raise EvaluationFailed("A string is needed here.")


def integer(items: Collection) -> int | None:
    """The one integer.

    Raises:
        EvaluationFailed: several values, or no integer.
    """
    value = single(items)
    if value is None or type(value) is int:
        return value
    raise EvaluationFailed("An integer is needed here.")
