"""FHIR JSON to values and back, exactly (FHIR R4 json.html, RFC 8259).

A decimal keeps the precision it was sent with (FHIR R4 datatypes.html#decimal): `1.00` reads as
`Decimal("1.00")` and writes as `1.00`. What two readers could understand differently is refused: repeated
names in one object, NUL, lone surrogates. Floats never occur: numbers are `int` or `Decimal`.
"""

import json
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from server.kernel.faults import Fault, FaultKind

Json = Any  # raw JSON: dict, list, str, int, Decimal, bool, None

MAX_DEPTH = (
    64  # of objects and arrays; FHIR's own examples stay under 20, recursion of ours under Python's limit
)
MAX_NUMBER_CHARACTERS = 320  # as written; FHIR's own example has 247 digits, double precision ends at 309
MAX_DECIMAL_EXPONENT = (
    308  # decimal exponent of the first digit; beyond it a database cannot index the number
)

_LARGEST_INTEGER = 10 ** (MAX_DECIMAL_EXPONENT + 1)


class InvalidJson(Fault):
    """The body is no JSON object that every reader understands alike; the message never contains a value."""

    kind = FaultKind.INVALID


def decode_json(data: bytes) -> dict[str, Any]:
    """The JSON object that `data` is, with exact numbers.

    Raises:
        InvalidJson: not UTF-8, not JSON, not an object, deeper than `MAX_DEPTH`, a number beyond the limits,
            a name twice in one object, or a string with NUL or a lone surrogate.
    """
    value = _decode(data)
    if not isinstance(value, dict):
        raise InvalidJson("A JSON object is required.")
    _check(data, value)
    return value


def decode_value(data: bytes) -> Json:
    """The JSON value that `data` is, of any kind; raises as `decode_json`."""
    value = _decode(data)
    _check(data, value)
    return value


def _decode(data: bytes) -> Json:
    try:
        return _DECODER.decode(data)
    except msgspec.DecodeError as error:
        raise InvalidJson(f"The body is not acceptable JSON: {error}.") from None
    except UnicodeDecodeError as error:
        raise InvalidJson(f"The body is not UTF-8 (byte {error.start}).") from None
    except RecursionError:
        raise InvalidJson(f"JSON is nested deeper than {MAX_DEPTH}.") from None


def _check(data: bytes, value: Json) -> None:
    _check_depth_and_numbers([[value]])
    if _may_be_ambiguous(data, value):
        _check_names_and_strings(data)


def require_shallow(value: Json) -> None:
    """Let pass what `decode_json` would read again: a value that was put together may be deeper.

    Raises:
        InvalidJson: it is deeper than `MAX_DEPTH`.
    """
    _check_depth_and_numbers([[value]])


def encode_json(value: Json) -> bytes:
    """Compact UTF-8 JSON of dicts, lists, str, int, Decimal, bool and None; names keep their order.

    Raises:
        ValueError: a Decimal is NaN or infinite.
    """
    encoded = _ENCODER.encode(value)
    if (b"NaN" in encoded or b"Infinity" in encoded) and not _all_finite(value):
        raise ValueError("JSON has no NaN and no infinity")
    return encoded


def _exact_decimal(written: str) -> Decimal:
    """The number as written; msgspec passes what is no plain integer."""
    try:
        number = Decimal(written)
    except InvalidOperation:  # an exponent that not even Decimal holds
        number = None
    if (
        number is None
        or len(written) > MAX_NUMBER_CHARACTERS
        or abs(number.adjusted()) > MAX_DECIMAL_EXPONENT
    ):
        raise InvalidJson("A number is longer or larger than this server keeps.")
    return number


_DECODER = msgspec.json.Decoder(float_hook=_exact_decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def _check_depth_and_numbers(level: list[Any]) -> None:
    """Walk level by level from a list that holds the value, so that no nesting can exhaust our own stack."""
    for _ in range(MAX_DEPTH + 1):
        level = _next_level(level)
        if not level:
            return
    raise InvalidJson(f"JSON is nested deeper than {MAX_DEPTH}.")


def _next_level(level: list[Any]) -> list[Any]:
    below: list[Any] = []
    for node in level:
        for child in node.values() if type(node) is dict else node:
            kind = type(child)
            if kind is dict or kind is list:
                below.append(child)
            elif kind is int and not -_LARGEST_INTEGER < child < _LARGEST_INTEGER:
                raise InvalidJson("A number is longer or larger than this server keeps.")
    return below


def _may_be_ambiguous(data: bytes, value: Json) -> bool:
    """Whether the slower check is needed: NUL can only be escaped, and a dropped name takes its colon along.

    An escaped colon could hide the missing one, so any escape that can spell a colon or NUL counts.
    """
    return b"\\u00" in data or data.count(b":") != _ENCODER.encode(value).count(b":")


def _check_names_and_strings(data: bytes) -> None:
    try:  # a dropped duplicate may be nested deeper than what was kept
        json.loads(data, object_pairs_hook=_unique_names, parse_float=str, parse_int=str)
    except RecursionError:
        raise InvalidJson(f"JSON is nested deeper than {MAX_DEPTH}.") from None
    if any("\x00" in text for text in _strings(_DECODER.decode(data))):
        raise InvalidJson("A string contains NUL.")


def _unique_names(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise InvalidJson("An object has the same name twice.")


def _strings(value: Json) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for child in value.values():
            yield from _strings(child)
    elif isinstance(value, list):
        for child in value:
            yield from _strings(child)


def _all_finite(value: Json) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite()
    if isinstance(value, dict):
        return all(_all_finite(child) for child in value.values())
    return not isinstance(value, list) or all(_all_finite(child) for child in value)
