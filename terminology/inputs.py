"""The input parameters of a terminology operation (FHIR R4 operations.html#request).

By name: the values or resources, in order. What came in a URL is text; what came in Parameters is JSON.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from terminology.context import Inputs
from terminology.issues import InvalidInput

Json = Any

_FLAGS: Mapping[Json, bool] = {"true": True, "false": False, True: True, False: False}
_MAX_DIGITS = 9  # of a count or an offset


def one_of(inputs: Inputs, *names: str) -> Json | None:
    """The only value of a parameter, which may have several names; None: it is not there.

    Raises:
        InvalidInput: it is there more than once.
    """
    if inputs.keys().isdisjoint(names):
        return None
    values = [value for name in names for value in inputs.get(name, ())]
    if len(values) > 1:
        raise InvalidInput(f"The parameter '{names[0]}' may be there once.")
    return values[0] if values else None


def text_of(inputs: Inputs, *names: str) -> str | None:
    """A parameter that is a string, code, uri or canonical; None: it is not there, or empty.

    Raises:
        InvalidInput: it is something else.
    """
    value = one_of(inputs, *names)
    if value is not None and not isinstance(value, str):
        raise InvalidInput(f"The parameter '{names[0]}' is text.")
    return value or None


def texts_of(inputs: Inputs, *names: str) -> Sequence[str]:
    """A parameter that may be there often, each a string, code, uri or canonical.

    Raises:
        InvalidInput: one is something else.
    """
    values = [value for name in names for value in inputs.get(name, ())]
    if not all(isinstance(value, str) for value in values):
        raise InvalidInput(f"The parameter '{names[0]}' is text.")
    return values


def flag_of(inputs: Inputs, name: str) -> bool | None:
    """A parameter that is true or false; None: it is not there.

    Raises:
        InvalidInput: it is neither.
    """
    value = one_of(inputs, name)
    if value is None:
        return None
    if not isinstance(value, str | bool) or value not in _FLAGS:
        raise InvalidInput(f"The parameter '{name}' is 'true' or 'false'.")
    return _FLAGS[value]


def number_of(inputs: Inputs, name: str) -> int | None:
    """A parameter that is a whole number from zero; None: it is not there.

    Raises:
        InvalidInput: it is something else, or larger than any that makes sense.
    """
    value = one_of(inputs, name)
    if value is None:
        return None
    text = str(value)
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS:
        raise InvalidInput(f"The parameter '{name}' is a whole number from zero.")
    return int(text)


def element_of(inputs: Inputs, name: str) -> Json | None:
    """A parameter that is a Coding, a CodeableConcept or a resource; None: it is not there.

    Raises:
        InvalidInput: it is something else.
    """
    value = one_of(inputs, name)
    if value is not None and not isinstance(value, dict):
        raise InvalidInput(f"The parameter '{name}' cannot be given like this: it has elements.")
    return value
