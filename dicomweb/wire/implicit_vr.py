"""The VR of an attribute when it is not on the wire (PS3.5 §6.2.2, A.1)."""

from collections.abc import Mapping

from dicomweb.definitions.attributes import ATTRIBUTES
from dicomweb.wire.dictionary import entry_of
from dicomweb.wire.walk import UNDEFINED, Level

PIXEL_REPRESENTATION, LUT_DESCRIPTOR, LUT_DATA = "00280103", "00283002", 0x00283006
# VRs that the dictionary gives without a choice, as they are on the wire.
VR_BYTES: Mapping[int, bytes] = {
    tag: vr.encode("ascii") for tag, (vr, _) in ATTRIBUTES.items() if len(vr) == 2
}


def _is_signed(level: Level) -> bool:
    """Whether the nearest Pixel Representation says two's complement."""
    at: Level | None = level
    while at is not None:
        representation = at.out.get(PIXEL_REPRESENTATION)
        if representation is not None:
            values: object = representation.get("Value")
            return values == [1]
        at = at.parent
    return False


def _has_one_entry(level: Level) -> bool:
    first: object = level.out.get(LUT_DESCRIPTOR, {}).get("Value", (0,))[0]
    return first == 1


def implicit_vr(level: Level, tag: int, length: int) -> bytes:
    """The VR of an attribute whose VR is not on the wire ; "--" for delimiters."""
    if tag >> 16 == 0xFFFE:
        return b"--"
    if not tag & 0xFFFF:
        return b"UL"
    if tag >> 16 & 1:
        if 0x10 <= tag & 0xFFFF <= 0xFF:
            return b"LO"
        return b"SQ" if length == UNDEFINED else b"UN"
    entry = entry_of(tag)
    if entry is None:
        return b"SQ" if length == UNDEFINED else b"UN"
    choice = entry[0]
    if choice == "US or SS":
        return b"SS" if _is_signed(level) else b"US"
    if tag == LUT_DATA:
        return b"US" if _has_one_entry(level) else b"OW"
    if length == UNDEFINED and choice == "OB or OW":
        return b"OB"
    return choice.rpartition(" or ")[2].encode("ascii")  # of bytes or words, words (PS3.5 A.1)
