"""Value bytes to DICOM JSON elements, one reader per VR (PS3.5 §6.2, PS3.18 F.2.3 to F.2.7).

A reader takes (value bytes, the `Context` of the data set, tag) and returns the JSON object of the attribute.
It refuses no value: what does not fit its VR is kept in the nearest legal form and flagged. Only how many
values stand beside others is bounded, by the context: an element of 64 bytes may become 5 kB. These functions
run once per element of each stored instance, so they are flat and allocate little.
"""

import math
from binascii import b2a_base64
from collections.abc import Callable, Mapping
from decimal import Decimal
from struct import Struct
from typing import Any, Protocol

Json = Any
SAFE_NUMBER_CHARACTERS = (
    15  # decimal digits that a double keeps exactly: up to here float() cannot change a value
)
MAX_NUMBER_CHARACTERS = 64  # a DS has 16 (PS3.5 §6.2); longer text is not tried as a number
MAX_SAFE_INTEGER = 2**53  # above, JSON readers lose digits
PADDING = "\0 "
# Units of memory, of about 32 bytes, that one of several values takes: a number, a text, a name.
NUMBER_UNITS, TEXT_UNITS, NAME_UNITS = 1, 2, 8


class Context(Protocol):
    """What a reader needs to know of the data set around a value."""

    decode: Callable[[bytes], str]

    def decode_anyway(self, raw: bytes, tag: int) -> str:
        """Text of bytes that `decode` refused, flagged."""
        ...

    def warn(self, code: str, tag: int) -> None:
        """Note that something was read leniently."""
        ...

    def spend_values(self, units: int) -> None:
        """Account for what the values of an attribute take in memory; may refuse the instance."""
        ...


Reader = Callable[[bytes, Context, int], dict[str, Json]]


def _without_nul(text: str, context: Context, tag: int) -> str:
    """No NUL inside text: databases cannot hold it and no repertoire has it (PS3.5 §6.1.3)."""
    context.warn("nul-in-text", tag)
    return text.replace("\0", "\ufffd")


def _text(raw: bytes, context: Context, tag: int) -> str:
    try:
        text = context.decode(raw).rstrip(PADDING)
    except UnicodeDecodeError:
        text = context.decode_anyway(raw, tag).rstrip(PADDING)
    return _without_nul(text, context, tag) if "\0" in text else text


def text_reader(vr: str) -> Reader:
    """SH, LO, UC: text of one or more values in the data set's character set."""

    def read(raw: bytes, context: Context, tag: int) -> dict[str, Json]:
        text = _text(raw, context, tag)
        if not text:
            return {"vr": vr}
        if "\\" not in text:
            return {"vr": vr, "Value": [text]}
        parts = text.split("\\")
        context.spend_values(TEXT_UNITS * len(parts))
        return {"vr": vr, "Value": [value.rstrip(PADDING) or None for value in parts]}

    return read


def long_text_reader(vr: str) -> Reader:
    """ST, LT, UT: one text; a backslash is text (PS3.5 §6.2)."""

    def read(raw: bytes, context: Context, tag: int) -> dict[str, Json]:
        text = _text(raw, context, tag)
        return {"vr": vr, "Value": [text]} if text else {"vr": vr}

    return read


GROUPS_OF_NAME = ("Alphabetic", "Ideographic", "Phonetic")


def person_name(text: str) -> dict[str, str] | None:
    """The component groups of a PN value (PS3.18 F.2.2, PS3.5 §6.2.1.1), None when there is none."""
    if "=" not in text:
        text = text.rstrip(PADDING)
        return {"Alphabetic": text} if text else None
    groups = (group.rstrip(PADDING) for group in text.split("="))
    named = {name: group for name, group in zip(GROUPS_OF_NAME, groups, strict=False) if group}
    return named or None


def read_person_name(raw: bytes, context: Context, tag: int) -> dict[str, Json]:
    """PN: component groups kept apart."""
    text = _text(raw, context, tag)
    if not text:
        return {"vr": "PN"}
    parts = text.split("\\")
    context.spend_values(NAME_UNITS * len(parts))
    return {"vr": "PN", "Value": [person_name(value) for value in parts]}


def _plain(raw: bytes, context: Context, tag: int) -> str:
    """Text of the default repertoire, without the padding that is not significant."""
    text = raw.decode("latin_1").strip(PADDING)
    if not text.isascii():
        context.warn("text-outside-repertoire", tag)
    return _without_nul(text, context, tag) if "\0" in text else text


def plain_reader(vr: str) -> Reader:
    """AE, AS, CS, DA, DT, TM, UI: values of the default repertoire, kept as sent."""

    def read(raw: bytes, context: Context, tag: int) -> dict[str, Json]:
        text = _plain(raw, context, tag)
        if not text:
            return {"vr": vr}
        if "\\" not in text:
            return {"vr": vr, "Value": [text]}
        parts = text.split("\\")
        context.spend_values(TEXT_UNITS * len(parts))
        return {"vr": vr, "Value": [value.strip(PADDING) or None for value in parts]}

    return read


def read_uri(raw: bytes, context: Context, tag: int) -> dict[str, Json]:
    """UR: one URI or URL."""
    text = _plain(raw, context, tag)
    return {"vr": "UR", "Value": [text]} if text else {"vr": "UR"}


def decimal_value(text: str) -> float | str | None:
    """One DS: a number when a double keeps it exactly, else the text (PS3.18 F.2.3 allows both)."""
    text = text.strip(PADDING)
    if not text or len(text) > MAX_NUMBER_CHARACTERS or "_" in text:
        return text or None
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    exact = len(text) <= SAFE_NUMBER_CHARACTERS or Decimal(text) == Decimal(repr(number))
    return number if exact else text


def integer_value(text: str) -> int | str | None:
    """One IS: a number when it is one that JSON readers keep, else the text (PS3.18 F.2.3 allows both)."""
    text = text.strip(PADDING)
    if not text or len(text) > MAX_NUMBER_CHARACTERS or "_" in text:
        return text or None
    try:
        number = int(text)
    except ValueError:
        decimal = decimal_value(text)  # "1.0" and "1E3" are written by some, and are whole numbers
        if isinstance(decimal, float) and decimal.is_integer() and abs(decimal) <= MAX_SAFE_INTEGER:
            return int(decimal)
        return text
    return number if abs(number) <= MAX_SAFE_INTEGER else text


def _number_string_reader(vr: str, parse: type[int | float], careful: Callable[[str], Json]) -> Reader:
    def read(raw: bytes, context: Context, tag: int) -> dict[str, Json]:
        text = _plain(raw, context, tag)
        if not text:
            return {"vr": vr}
        parts = text.split("\\")
        context.spend_values(NUMBER_UNITS * len(parts))
        try:
            if max(map(len, parts)) <= SAFE_NUMBER_CHARACTERS and "_" not in text:
                numbers = list(map(parse, parts))
                if all(map(math.isfinite, numbers)):
                    return {"vr": vr, "Value": numbers}
        except ValueError:
            pass
        values = list(map(careful, parts))
        if any(isinstance(value, str) for value in values):
            context.warn("number-kept-as-text", tag)
        return {"vr": vr, "Value": values}

    return read


def _spelled(number: float) -> float | str:
    """JSON has no such numbers; they travel as text."""
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _opaque(raw: bytes, context: Context, tag: int) -> dict[str, Json]:
    """Bytes that do not divide into values of their VR, as UN."""
    context.warn("value-length", tag)
    return {"vr": "UN", "InlineBinary": b2a_base64(raw, newline=False).decode("ascii")}


def number_reader(vr: str, layout: str, *, real: bool = False) -> Reader:
    """Binary numbers: `layout` is the struct format of one."""
    one = Struct(layout)
    size, unpack, iterate = one.size, one.unpack, one.iter_unpack

    def read(raw: bytes, context: Context, tag: int) -> dict[str, Json]:
        if not raw:
            return {"vr": vr}
        if len(raw) == size:
            values = list(unpack(raw))
        elif len(raw) % size:
            return _opaque(raw, context, tag)
        else:
            context.spend_values(NUMBER_UNITS * (len(raw) // size))
            values = [value for (value,) in iterate(raw)]
        if real and not all(map(math.isfinite, values)):
            context.warn("number-not-finite", tag)
            values = [_spelled(value) for value in values]
        return {"vr": vr, "Value": values}

    return read


def tag_reader(order: str) -> Reader:
    """AT: tags as eight hexadecimal digits."""
    pair = Struct(f"{order}HH")

    def read(raw: bytes, context: Context, tag: int) -> dict[str, Json]:
        if len(raw) % 4:
            return _opaque(raw, context, tag)
        context.spend_values(TEXT_UNITS * (len(raw) // 4))
        values = [f"{group:04X}{element:04X}" for group, element in pair.iter_unpack(raw)]
        return {"vr": "AT", "Value": values} if values else {"vr": "AT"}

    return read


def binary_reader(vr: str, swap: int = 1) -> Reader:
    """OB, OW, … UN inline (PS3.18 F.2.7): base64, little endian; `swap`: bytes of a big endian word."""

    def read(raw: bytes, context: Context, tag: int) -> dict[str, Json]:
        if not raw:
            return {"vr": vr}
        if len(raw) % swap:
            return _opaque(raw, context, tag)
        if swap > 1:
            raw = b"".join(raw[at : at + swap][::-1] for at in range(0, len(raw), swap))
        return {"vr": vr, "InlineBinary": b2a_base64(raw, newline=False).decode("ascii")}

    return read


WORD_BYTES: Mapping[str, int] = {"OB": 1, "OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8, "UN": 1}
NUMBERS: Mapping[str, str] = {
    "US": "H",
    "SS": "h",
    "UL": "L",
    "SL": "l",
    "FL": "f",
    "FD": "d",
    "UV": "Q",
    "SV": "q",
}
REALS = frozenset({"FL", "FD"})
PLAIN = ("AE", "AS", "CS", "DA", "DT", "TM", "UI")


def readers(order: str) -> dict[bytes, Reader]:
    """VR as on the wire -> reader, for a byte order given as struct writes it: "<" or ">"."""
    table: dict[str, Reader] = {
        **{vr: plain_reader(vr) for vr in PLAIN},
        **{vr: text_reader(vr) for vr in ("SH", "LO", "UC")},
        **{vr: long_text_reader(vr) for vr in ("ST", "LT", "UT")},
        **{vr: number_reader(vr, order + code, real=vr in REALS) for vr, code in NUMBERS.items()},
        **{vr: binary_reader(vr, size if order == ">" else 1) for vr, size in WORD_BYTES.items()},
        "PN": read_person_name,
        "UR": read_uri,
        "AT": tag_reader(order),
        "DS": _number_string_reader("DS", float, decimal_value),
        "IS": _number_string_reader("IS", int, integer_value),
    }
    return {vr.encode("ascii"): read for vr, read in table.items()}
