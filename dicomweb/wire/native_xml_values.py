"""The text of a Value element to a value of DICOM JSON, by VR (PS3.19 Table A.1.5-2, PS3.18 F.2.3). Pure.

A reader takes text that is not empty; one that does not fit raises ValueError.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from dicomweb.wire.values import MAX_NUMBER_CHARACTERS, decimal_value, integer_value

Json = Any
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_REAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_NOT_FINITE: Mapping[str, str] = {  # as XML Schema and as JSON writers spell them → PS3.18 F.2.3
    "NaN": "NaN",
    "INF": "Infinity",
    "Infinity": "Infinity",
    "-INF": "-Infinity",
    "-Infinity": "-Infinity",
}
_BITS: Mapping[str, tuple[int, bool]] = {
    "US": (16, False),
    "SS": (16, True),
    "UL": (32, False),
    "SL": (32, True),
    "UV": (64, False),
    "SV": (64, True),
}
_LARGEST: Mapping[str, float] = {"FL": (2 - 2**-23) * 2.0**127, "FD": math.inf}


def _integer(bits: int, *, signed: bool) -> Callable[[str], int]:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)

    def read(text: str) -> int:
        text = text.strip()
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return read


def _real(largest: float) -> Callable[[str], float | str]:
    def read(text: str) -> float | str:
        text = text.strip()
        if text in _NOT_FINITE:
            return _NOT_FINITE[text]
        if len(text) > MAX_NUMBER_CHARACTERS or not _REAL.fullmatch(text):
            raise ValueError
        number = float(text)
        if abs(number) > largest or math.isinf(number):
            raise ValueError
        return number

    return read


def _tag(text: str) -> str:
    if not _TAG.fullmatch(text.strip()):
        raise ValueError
    return text.strip().upper()


_TEXT = ("AE", "AS", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT")
READERS: Mapping[str, Callable[[str], Json]] = {
    **dict.fromkeys(_TEXT, str),
    **{vr: _integer(bits, signed=signed) for vr, (bits, signed) in _BITS.items()},
    **{vr: _real(largest) for vr, largest in _LARGEST.items()},
    "DS": decimal_value,
    "IS": integer_value,
    "AT": _tag,
}
VALUE_VRS = frozenset(READERS)
