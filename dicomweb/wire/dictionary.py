"""Look-ups in the data dictionary (PS3.6): tag, keyword, VR, and the key an attribute has in DICOM JSON.

A key is the tag as eight upper-case hexadecimal digits (PS3.18 F.2.2).
"""

from collections.abc import Mapping
from functools import cache

from dicomweb.definitions.attributes import ATTRIBUTES, REPEATERS


class _Keys(dict[int, str]):
    """Tag -> key; unknown tags are formatted and not remembered, so that data cannot make it grow."""

    def __missing__(self, tag: int) -> str:
        return f"{tag:08X}"


KEYS: Mapping[int, str] = _Keys({tag: f"{tag:08X}" for tag in ATTRIBUTES})


@cache
def _tags() -> dict[str, int]:
    return {keyword: tag for tag, (_, keyword) in ATTRIBUTES.items() if keyword}


def tag_of(keyword: str) -> int | None:
    """The tag of an attribute's keyword, None when the dictionary has no such keyword."""
    return _tags().get(keyword)


def key_of(keyword: str) -> str:
    """The DICOM JSON key of an attribute's keyword.

    Raises:
        KeyError: the dictionary has no such keyword.
    """
    return KEYS[_tags()[keyword]]


def _repeater(tag: int) -> tuple[str, str] | None:
    for mask, pattern, vr, keyword in REPEATERS:
        if tag & mask == pattern:
            return vr, keyword
    return None


def entry_of(tag: int) -> tuple[str, str] | None:
    """(VR as the dictionary has it, keyword), repeating groups too; None for private and unknown tags."""
    return ATTRIBUTES.get(tag) or _repeater(tag)


def keyword_of(tag: int) -> str | None:
    """The keyword of a tag, None for private and unknown tags."""
    entry = entry_of(tag)
    return entry[1] if entry else None


def vr_of(tag: int) -> str:
    """The VR of a tag without knowing the data set: the first of a choice, UN when unknown (PS3.5 §6.2.2)."""
    if tag >> 16 & 1:
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
    entry = entry_of(tag)
    return entry[0].partition(" or ")[0] if entry else "UN"
