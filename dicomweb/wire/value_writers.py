"""Values of the DICOM JSON Model to bytes, Explicit VR Little Endian (PS3.18 F.2, PS3.5 §6.2). Pure.

Text is written in UTF-8. A value that its VR cannot hold is refused, never cut or guessed; only a DS that
needs more than 16 characters is rounded to as many digits as they hold.
"""

import math
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from struct import Struct
from struct import error as DoesNotFit  # noqa: N812  it is an exception
from typing import Any

from dicomweb.wire.values import GROUPS_OF_NAME, NUMBERS, PLAIN, REALS, WORD_BYTES

Json = Any
Writer = Callable[[Sequence[Json]], bytes]  # values, None where one is empty -> unpadded bytes

MAX_DS_CHARACTERS = 16  # PS3.5 Table 6.2-1
_SPELLED = frozenset({"NaN", "Infinity", "-Infinity"})
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")


class NotOfVr(ValueError):
    """A value that its VR cannot hold; the message says what is wrong, without the value."""


def _require(value: Json, *kinds: type) -> None:
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise NotOfVr("a value has not the JSON type of its VR")


def _one_text(value: Json) -> str:
    _require(value, str)
    if "\\" in value:
        raise NotOfVr("a value holds a backslash")
    return str(value)


def _joined(values: Sequence[Json], write: Callable[[Json], str]) -> str:
    return "\\".join("" if value is None else write(value) for value in values)


def _write_text(values: Sequence[Json]) -> bytes:
    """SH, LO, UC."""
    return _joined(values, _one_text).encode()


def _write_plain(values: Sequence[Json]) -> bytes:
    """AE, AS, CS, DA, DT, TM, UI: of the default repertoire."""
    text = _joined(values, _one_text)
    if not text.isascii():
        raise NotOfVr("a value holds characters outside its VR's repertoire")
    return text.encode("ascii")


def _write_long_text(values: Sequence[Json]) -> bytes:
    """ST, LT, UT, UR: one value, in which a backslash is text."""
    if len(values) > 1:
        raise NotOfVr("the VR has one value only")
    text = values[0] if values and values[0] is not None else ""
    _require(text, str)
    return str(text).encode()


def _one_name(value: Json) -> str:
    if isinstance(value, str):  # as some clients write a name that has one group only
        return _one_text(value)
    _require(value, dict)
    groups = [_one_text(value.get(group) or "") for group in GROUPS_OF_NAME]
    if any("=" in group for group in groups):
        raise NotOfVr("a component group holds an equals sign")
    return "=".join(groups).rstrip("=")


def _write_names(values: Sequence[Json]) -> bytes:
    return _joined(values, _one_name).encode()


def _one_integer_string(value: Json) -> str:
    _require(value, str, int, float)
    if isinstance(value, float) and not value.is_integer():
        raise NotOfVr("an IS is not a whole number")
    return _one_text(value) if isinstance(value, str) else str(int(value))


def decimal_string(number: float) -> str:
    """A DS of at most 16 characters, exact where they suffice (PS3.5 §6.2)."""
    for digits in range(17, 0, -1):
        exact = Decimal(f"{number:.{digits}g}") if digits < 17 else Decimal(repr(number))
        sign, mantissa, exponent = exact.normalize().as_tuple()
        whole = "-" * sign + "".join(map(str, mantissa))
        scaled = f"{whole}E{exponent}" if exponent else whole
        for text in (f"{exact.normalize():f}", scaled):
            if len(text) <= MAX_DS_CHARACTERS and math.isfinite(float(text)):
                return text
    raise NotOfVr("a DS does not fit 16 characters")  # no finite double is like that


def _one_decimal_string(value: Json) -> str:
    _require(value, str, int, float)
    if isinstance(value, str):
        return _one_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise NotOfVr("a DS is not finite")
    return decimal_string(value)


def _strings_writer(write: Callable[[Json], str]) -> Writer:
    def write_all(values: Sequence[Json]) -> bytes:
        text = _joined(values, write)
        if not text.isascii():
            raise NotOfVr("a number holds characters that are none of a number")
        return text.encode("ascii")

    return write_all


def _number(value: Json, *, real: bool) -> int | float:
    if isinstance(value, str):  # PS3.18 F.2.3: what JSON readers would not keep travels as text
        try:
            return float(value) if real and value in _SPELLED else int(value)
        except ValueError:
            raise NotOfVr("a number is not one") from None
    _require(value, int, float)
    if real:
        return float(value)
    if not math.isfinite(value) or int(value) != value:
        raise NotOfVr("a number is not whole")
    return int(value)


def _number_writer(layout: str, *, real: bool) -> Writer:
    pack = Struct(f"<{layout}").pack

    def write(values: Sequence[Json]) -> bytes:
        try:
            return b"".join(pack(_number(value, real=real)) for value in values)
        except (DoesNotFit, OverflowError):
            raise NotOfVr("a number is outside the range of its VR") from None

    return write


def _write_tags(values: Sequence[Json]) -> bytes:
    """AT: group, then element."""
    written = []
    for value in values:
        if not isinstance(value, str) or len(value) != 8 or not _HEXADECIMAL.issuperset(value):
            raise NotOfVr("an AT is not eight hexadecimal digits")
        written.append(bytes.fromhex(value[2:4] + value[:2] + value[6:] + value[4:6]))
    return b"".join(written)


def inline_binary(text: Json) -> bytes:
    """The bytes of an InlineBinary member (PS3.18 F.2.7).

    Raises:
        NotOfVr: it is not base64.
    """
    _require(text, str)
    try:
        return a2b_base64(text, strict_mode=True)
    except (NotBase64, ValueError):
        raise NotOfVr("InlineBinary is not base64") from None


# Of the VRs whose values stand in `Value`, sequences apart.
WRITERS: Mapping[str, Writer] = {
    **dict.fromkeys(PLAIN, _write_plain),
    **dict.fromkeys(("SH", "LO", "UC"), _write_text),
    **dict.fromkeys(("ST", "LT", "UT", "UR"), _write_long_text),
    **{vr: _number_writer(layout, real=vr in REALS) for vr, layout in NUMBERS.items()},
    "PN": _write_names,
    "DS": _strings_writer(_one_decimal_string),
    "IS": _strings_writer(_one_integer_string),
    "AT": _write_tags,
}
PADDING: Mapping[str, bytes] = {**dict.fromkeys(("UI", *WORD_BYTES), b"\0")}  # of others a blank
