"""Values that an administrator gives, checked by their VR (PS3.5 Table 6.2-1). Pure.

Stricter than Store, which takes what devices send: what is typed anew can be typed right.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from dicomweb.wire.character_sets import character_set
from dicomweb.wire.dictionary import vr_of
from dicomweb.wire.instance import is_uid
from dicomweb.wire.value_writers import WRITERS, NotOfVr
from dicomweb.wire.values import GROUPS_OF_NAME, readers

Json = Any

MAX_ITEMS = 64  # of a sequence that is corrected
MAX_SEQUENCE_DEPTH = 4  # RequestAttributesSequence with its codes has two
MAX_VALUES = 64  # of one attribute
MAX_NAME_CHARACTERS = 64  # of a component group
NAME_COMPONENTS = 5

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONTROL_OF_TEXT = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")  # of ST, LT, UT: lines and form feeds stay


def _line(most: int) -> Callable[[str], bool]:
    return lambda text: len(text) <= most and not _CONTROL.search(text)


def _text(most: int) -> Callable[[str], bool]:
    return lambda text: len(text) <= most and not _CONTROL_OF_TEXT.search(text)


def _matches(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


def _is_date(text: str) -> bool:
    try:
        return bool(re.fullmatch(r"\d{8}", text)) and bool(date(int(text[:4]), int(text[4:6]), int(text[6:])))
    except ValueError:
        return False


_TIME = r"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?"
_OFFSET = r"([+-](0\d|1[0-4])[0-5]\d)?"
RULES: Mapping[str, Callable[[str], bool]] = {
    "AE": _matches(r"[ -\[\]-~]{1,16}"),
    "AS": _matches(r"\d{3}[DWMY]"),
    "CS": _matches(r"[A-Z0-9 _]{1,16}"),
    "DA": _is_date,
    "DS": _matches(r" *[+-]?(\d+(\.\d*)?|\.\d+)([Ee][+-]?\d+)? *"),
    "DT": _matches(rf"\d{{4}}(\d\d(\d\d({_TIME})?)?)?{_OFFSET}"),
    "IS": _matches(r" *[+-]?\d{1,10} *"),
    "LO": _line(64),
    "LT": _text(10240),
    "SH": _line(16),
    "ST": _text(1024),
    "TM": _matches(_TIME),
    "UC": _line(10240),
    "UI": is_uid,
    "UT": _text(10240),
}


def normal_attribute(key: str, said: Json, *, several: bool, depth: int = 0) -> dict[str, Json]:
    """An attribute as Store would have read it from a file; without values it is empty.

    Raises:
        NotOfVr: a value breaks the rules of its VR; the message says which, without the value.
    """
    vr = vr_of(int(key, 16))
    if not isinstance(said, dict) or not said.keys() <= {"vr", "Value"} or said.get("vr", vr) != vr:
        raise NotOfVr(f'it must be of the form {{"vr": "{vr}", "Value": […]}}')
    values = said.get("Value", [])
    if not isinstance(values, list) or len(values) > MAX_VALUES:
        raise NotOfVr(f"'Value' must be an array of at most {MAX_VALUES} values")
    if vr == "SQ":
        return _sequence(values, depth)
    if len(values) > 1 and not several:
        raise NotOfVr("it has one value only")
    if vr == "PN":
        values = [_name(value) for value in values]
    elif vr not in RULES:
        raise NotOfVr(f"values of {vr} are not corrected here")
    else:
        values = [_one(vr, value) for value in values]
    written = WRITERS[vr](values)
    return readers("<")[vr.encode("ascii")](written.strip() and written, _Reading(), 0)


class _Reading:
    """The context of a value that is known to fit."""

    def __init__(self) -> None:
        self.decode = character_set(["ISO_IR 192"]).decode

    def decode_anyway(self, raw: bytes, tag: int) -> str:  # noqa: ARG002  the signature
        return self.decode(raw)

    def warn(self, code: str, tag: int) -> None:
        pass

    def spend_values(self, units: int) -> None:  # there are `MAX_VALUES` at most
        pass


def _one(vr: str, value: Json) -> Json:
    if vr in ("DS", "IS") and isinstance(value, int | float) and not isinstance(value, bool):
        return value  # the writer checks it
    if not isinstance(value, str):
        raise NotOfVr(f"a value is not the text of a {vr}")
    if vr == "DS" and len(value) > 16:
        raise NotOfVr("a value is longer than a DS")
    if not RULES[vr](value) or (not value.strip() and value):
        raise NotOfVr(f"a value is no {vr} (PS3.5 Table 6.2-1)")
    return value


def _name(value: Json) -> dict[str, str]:
    """A PN by its component groups (PS3.18 F.2.2), or as text that has one group."""
    groups = {"Alphabetic": value} if isinstance(value, str) else value
    if not isinstance(groups, dict) or not groups or not groups.keys() <= set(GROUPS_OF_NAME):
        raise NotOfVr("a PN is an object of Alphabetic, Ideographic and Phonetic")
    for group in groups.values():
        if not isinstance(group, str) or not _line(MAX_NAME_CHARACTERS)(group):
            raise NotOfVr(f"a component group has at most {MAX_NAME_CHARACTERS} characters")
        if "=" in group or "\\" in group or group.count("^") >= NAME_COMPONENTS:
            raise NotOfVr("a component group has at most five components, and no '=' or backslash")
    return groups


def _sequence(items: Sequence[Json], depth: int) -> dict[str, Json]:
    if depth >= MAX_SEQUENCE_DEPTH or len(items) > MAX_ITEMS:
        raise NotOfVr(f"a sequence has at most {MAX_ITEMS} items, {MAX_SEQUENCE_DEPTH} deep")
    made = []
    for item in items:
        if not isinstance(item, dict) or not all(re.fullmatch(r"[0-9A-Fa-f]{8}", key) for key in item):
            raise NotOfVr("an item is an object of attributes by tag")
        made.append(
            {
                key.upper(): normal_attribute(key, item[key], several=True, depth=depth + 1)
                for key in sorted(item, key=str.upper)
            }
        )
    return {"vr": "SQ", "Value": made} if made else {"vr": "SQ"}
