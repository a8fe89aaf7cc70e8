"""Elements to bytes in the syntax of the data set that they go into (PS3.5 §7.1, §7.5, Annex A). Pure.

For values of text and sequences of them; sequences and items are written without lengths.
"""

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Any

from dicomweb.wire.value_writers import PADDING, WRITERS
from dicomweb.wire.walk import EXPLICIT_BIG, ITEM, ITEM_END, LONG_FORM, SEQUENCE_END, UNDEFINED, Syntax

Json = Any
EncodeText = Callable[[str], bytes]  # raises UnicodeEncodeError

LONGEST_SHORT_FORM = 0xFFFE
# The VRs whose values are text in the data set's character set, and those of the default repertoire.
TEXT_VRS = frozenset({b"LO", b"LT", b"PN", b"SH", b"ST", b"UC", b"UT"})
PLAIN_VRS = frozenset({b"AE", b"AS", b"CS", b"DA", b"DS", b"DT", b"IS", b"TM", b"UI", b"UR"})


class ElementWriter:
    """Writes elements in one syntax."""

    def __init__(self, syntax: Syntax, encode_text: EncodeText) -> None:
        order = ">" if syntax is EXPLICIT_BIG else "<"
        self._explicit, self._encode_text = syntax.explicit, encode_text
        self._implicit = Struct(order + "HHL").pack
        self._short, self._long = Struct(order + "HH2sH").pack, Struct(order + "HH2sHL").pack
        self.item, self.item_end, self.sequence_end = (
            self._implicit(tag >> 16, tag & 0xFFFF, length)
            for tag, length in ((ITEM, UNDEFINED), (ITEM_END, 0), (SEQUENCE_END, 0))
        )

    def head(self, tag: int, vr: bytes, length: int) -> bytes:
        """What stands before a value; one too long for a 16-bit length goes as UN (PS3.5 §6.2.2)."""
        if not self._explicit:
            return self._implicit(tag >> 16, tag & 0xFFFF, length)
        if vr not in LONG_FORM and length > LONGEST_SHORT_FORM:
            vr = b"UN"
        if vr in LONG_FORM:
            return self._long(tag >> 16, tag & 0xFFFF, vr, 0, length)
        return self._short(tag >> 16, tag & 0xFFFF, vr, length)

    def value(self, tag: int, vr: bytes, value: bytes) -> bytes:
        """An element with a value, padded to even length."""
        value += PADDING.get(vr.decode("ascii"), b" ") * (len(value) % 2)
        return self.head(tag, vr, len(value)) + value

    def sequence(self, tag: int, items: Sequence[bytes]) -> bytes:
        """A sequence of items, each the elements of one."""
        inner = b"".join(self.item + each + self.item_end for each in items)
        return self.head(tag, b"SQ", UNDEFINED) + inner + self.sequence_end

    def attribute(self, key: str, attribute: Mapping[str, Json]) -> bytes:
        """An attribute of DICOM JSON.

        Raises:
            UnicodeEncodeError: the character set does not have its text.
        """
        tag, vr = int(key, 16), str(attribute["vr"]).encode("ascii")
        values = attribute.get("Value", [])
        if vr == b"SQ":
            return self.sequence(tag, [self.data_set(item) for item in values])
        written = WRITERS[attribute["vr"]](values)
        if vr in TEXT_VRS:
            written = self._encode_text(written.decode())
        return self.value(tag, vr, written)

    def data_set(self, attributes: Mapping[str, Mapping[str, Json]]) -> bytes:
        """Attributes of DICOM JSON in the order of their tags."""
        return b"".join(self.attribute(key, attributes[key]) for key in sorted(attributes))
