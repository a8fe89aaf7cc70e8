"""Primitive types: what JSON value each one is (FHIR R4 datatypes.html#primitive, json.html#primitive).

The regular expressions are the specification's, except where one could be made to backtrack for long
(base64Binary, markdown): there a linear check says the same.
"""

import binascii
import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal

from fhir.model.validation.definitions import structure_of

Fits = Callable[[object], bool]

MAX_STRING_CHARACTERS = 1024 * 1024  # FHIR R4 datatypes.html#string: at most 1 MB
MAX_INTEGER = 2**31 - 1

_BY_PATTERN = ("code", "id", "oid", "time", "uuid")
_BLANKS = str.maketrans("", "", " \t\r\n")


def is_string(value: object) -> bool:
    """`string`, and what is a string without further form: never empty."""
    return type(value) is str and 0 < len(value) <= MAX_STRING_CHARACTERS


def is_boolean(value: object) -> bool:
    """`boolean`: a JSON boolean, never text."""
    return value is True or value is False


def is_decimal(value: object) -> bool:
    """`decimal`: any finite JSON number."""
    return type(value) is int or (type(value) is Decimal and value.is_finite())


def is_base64(value: object) -> bool:
    """`base64Binary`: RFC 4648 with padding; white space may stand anywhere, as in the published pattern."""
    if type(value) is not str or not value:
        return False
    try:
        binascii.a2b_base64(value.translate(_BLANKS).encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        return False
    return True


def _between(low: int, high: int) -> Fits:
    def fits(value: object) -> bool:
        return type(value) is int and low <= value <= high

    return fits


def _matches(pattern: str) -> Fits:
    match = re.compile(pattern, re.ASCII).fullmatch

    def fits(value: object) -> bool:
        return type(value) is str and match(value) is not None

    return fits


def _is_real_date(pattern: str) -> Fits:
    """The pattern, and a day that its month has."""
    match = re.compile(pattern, re.ASCII).fullmatch

    def fits(value: object) -> bool:
        if type(value) is not str or match(value) is None:
            return False
        return value[8:10] <= "28" or _has_day(value)

    return fits


def _has_day(value: str) -> bool:
    try:
        date(int(value[:4]), int(value[5:7]), int(value[8:10]))
    except ValueError:
        return False
    return True


def _published_pattern(type_name: str) -> str:
    pattern = structure_of(type_name).pattern
    if pattern is None:
        raise LookupError(f"R4 publishes no pattern for {type_name}")
    return pattern


FITS: Mapping[str, Fits] = {
    "base64Binary": is_base64,
    "boolean": is_boolean,
    "decimal": is_decimal,
    "integer": _between(-MAX_INTEGER - 1, MAX_INTEGER),
    "positiveInt": _between(1, MAX_INTEGER),
    "unsignedInt": _between(0, MAX_INTEGER),
    "string": is_string,
    "markdown": is_string,
    "xhtml": is_string,  # its content is the business of fhir.model.narrative
    **dict.fromkeys(("uri", "url", "canonical"), _matches(r"\S+")),
    **{name: _is_real_date(_published_pattern(name)) for name in ("date", "dateTime", "instant")},
    **{name: _matches(_published_pattern(name)) for name in _BY_PATTERN},
}
