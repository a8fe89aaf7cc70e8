"""A data set's bytes to the DICOM JSON Model (PS3.5 §7, PS3.18 F.2), checked while it is walked.

Rules: every length lies within what holds it; the data set ends exactly at the end of the bytes; sequences nest at
most `MAX_DEPTH` deep; at most `MAX_ELEMENTS` elements and items. An attribute twice in one data set is refused, since
readers differ in which one they believe. Attributes out of order, unknown VRs, a value that does not fit its VR and
undecodable text are read leniently and flagged. Group lengths and trailing padding are left out of the JSON.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

from dicomweb.definitions.attributes import ATTRIBUTES
from dicomweb.wire.character_sets import DEFAULT, CharacterSet, character_set
from dicomweb.wire.dictionary import KEYS, entry_of
from dicomweb.wire.faults import TooComplex, Truncated, UnreadableDataSet
from dicomweb.wire.values import Json, Reader, readers

MAX_DEPTH = 32  # nested sequences; real objects stay under ten
MAX_ELEMENTS = 1_000_000  # elements and items; a 10 000-frame enhanced object has about 600 000
MAX_WARNINGS = 64  # kept of one instance
INLINE_BINARY_BYTES = 1024  # of OB, OW, … UN; longer values become bulk data
INLINE_VALUE_BYTES = 65536  # of any other VR; Contour Data and LUTs of common size stay in the JSON

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
SPECIFIC_CHARACTER_SET, PIXEL_REPRESENTATION, LUT_DESCRIPTOR = 0x00080005, "00280103", "00283002"
LUT_DATA, TRAILING_PADDING = 0x00283006, 0xFFFCFFFC
PIXEL_DATA, EXTENDED_OFFSETS, EXTENDED_LENGTHS = 0x7FE00010, 0x7FE00001, 0x7FE00002
PIXELS = frozenset({PIXEL_DATA, 0x7FE00008, 0x7FE00009})  # always bulk, whatever their length
BINARY = frozenset({b"OB", b"OW", b"OF", b"OL", b"OD", b"OV", b"UN"})
LONG_FORM = BINARY | {
    b"SQ",
    b"UC",
    b"UR",
    b"UT",
    b"SV",
    b"UV",
}  # explicit VRs with a 32-bit length (Table 7.1-1)
DEFINED_LENGTH_ONLY = "a value of undefined length that is neither a sequence nor pixel data"

Buffer = Any  # bytes | bytearray | mmap: what slices to bytes-like with `decode` and what struct reads


@dataclass(frozen=True, slots=True)
class Syntax:
    """How elements are written: byte order and whether the VR is there (PS3.5 §7.1, Annex A)."""

    explicit: bool
    element: Callable[[Buffer, int], tuple[Any, ...]]
    item: Callable[[Buffer, int], tuple[int, int, int]]
    length: Callable[[Buffer, int], tuple[int]]
    short: Mapping[bytes, Reader]  # readers of the VRs with a 16-bit length
    readers: Mapping[bytes, Reader]


def _syntax(order: str, *, explicit: bool) -> Syntax:
    table = readers(order)
    return Syntax(
        explicit=explicit,
        element=Struct(order + ("HH2sH" if explicit else "HHL")).unpack_from,
        item=Struct(order + "HHL").unpack_from,
        length=Struct(order + "L").unpack_from,
        short={vr: read for vr, read in table.items() if vr not in LONG_FORM},
        readers=table,
    )


EXPLICIT_LITTLE = _syntax("<", explicit=True)
EXPLICIT_BIG = _syntax(">", explicit=True)
IMPLICIT_LITTLE = _syntax("<", explicit=False)
# VRs that the dictionary gives without a choice, as they are on the wire.
_VR_BYTES: Mapping[int, bytes] = {
    tag: vr.encode("ascii") for tag, (vr, _) in ATTRIBUTES.items() if len(vr) == 2
}


@dataclass(frozen=True, slots=True)
class BulkValue:
    """A value kept out of the JSON: `length` bytes at `offset` of the file, value bytes only.

    Of encapsulated pixel data that is the whole sequence of fragments, its delimitation item included.
    """

    path: str  # keys and item numbers from 1: "7FE00010", "00540016/1/00189999"
    offset: int
    length: int


@dataclass(slots=True)
class Walk:
    """The state of one file's walk."""

    buffer: Buffer
    bulk: list[BulkValue] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)  # in order of appearance, once each
    budget: int = MAX_ELEMENTS
    spans: dict[int, tuple[int, int]] = field(
        default_factory=dict
    )  # tag -> (offset, length), group 7FE0 of the top
    fragments: list[tuple[int, int]] | None = None  # (offset, length) of each, the offset table first
    trailing: int = 0  # bytes of zeros after the last element

    def spend(self, count: int) -> None:
        """Count elements and items.

        Raises:
            TooComplex: more than `MAX_ELEMENTS`.
        """
        self.budget -= count
        if self.budget < 0:
            raise TooComplex(f"more than {MAX_ELEMENTS} elements and items")


class Level:
    """One data set under way: the file's own or a sequence item's."""

    __slots__ = ("characters", "decode", "depth", "out", "parent", "path", "syntax", "walk")

    def __init__(self, walk: Walk, syntax: Syntax, parent: "Level | None" = None, path: str = "") -> None:
        self.walk, self.syntax, self.parent, self.path = walk, syntax, parent, path
        self.out: dict[str, Json] = {}
        self.depth: int = parent.depth + 1 if parent else 0
        self.characters: CharacterSet = parent.characters if parent else DEFAULT
        self.decode = self.characters.decode

    def warn(self, code: str, tag: int) -> None:
        """Note once that something was read leniently."""
        if len(self.walk.warnings) < MAX_WARNINGS:
            self.walk.warnings[f"{code} {self.path}{KEYS[tag]}"] = None

    def decode_anyway(self, raw: bytes, tag: int) -> str:
        """Text of bytes that the character set does not have, flagged; nothing is refused for its text."""
        self.warn("undecodable-text", tag)
        return self.characters.decode_anyway(raw)

    def use_character_set(self) -> None:
        """Read what follows by (0008,0005); the JSON itself is UTF-8 and says so (PS3.18 F.2)."""
        key = KEYS[SPECIFIC_CHARACTER_SET]
        self.characters = character_set(self.out[key].get("Value", ()))
        self.decode = self.characters.decode
        if not self.characters.known:
            self.warn("unknown-character-set", SPECIFIC_CHARACTER_SET)
        self.out[key] = {"vr": "CS", "Value": ["ISO_IR 192"]}

    def check_order(self, tag: int) -> None:
        """A tag that is not above the ones before it (PS3.5 §7.1).

        Raises:
            UnreadableDataSet: the data set has that attribute already.
        """
        if KEYS[tag] in self.out:
            raise UnreadableDataSet(f"attribute {self.path}{KEYS[tag]} occurs twice")
        self.warn("attributes-out-of-order", tag)


def read_data_set(level: Level, pos: int, end: int, *, open_ended: bool = False) -> int:
    """Read elements from `pos` into `level.out`; returns where the data set stops.

    That is `end`, or behind the item delimiter when `open_ended`.

    Raises:
        UnreadableDataSet: the bytes are not a data set that ends there.
    """
    read = _read_explicit if level.syntax.explicit else _read_implicit
    pos = read(level, pos, end, open_ended)
    level.walk.spend(len(level.out))
    return pos


def _read_explicit(level: Level, pos: int, end: int, open_ended: bool) -> int:  # noqa: C901, FBT001 - the hot loop
    walk, buffer, out = level.walk, level.walk.buffer, level.out
    element_at, short = level.syntax.element, level.syntax.short
    last = -1
    for _ in range(walk.budget + 1):
        if pos + 8 > end:
            break
        group, element, vr, length = element_at(buffer, pos)
        tag = group << 16 | element
        if tag > last:
            last = tag
        else:
            level.check_order(tag)
        read = short.get(vr)
        if read is None:
            if tag == ITEM_END and open_ended:
                return pos + 8
            pos = _read_long_form(level, tag, vr, pos, end)
            continue
        start = pos + 8
        pos = start + length
        if pos > end:
            raise Truncated(f"value of {level.path}{KEYS[tag]} reaches over the end")
        if element:
            out[KEYS[tag]] = read(buffer[start:pos], level, tag)
            if tag == SPECIFIC_CHARACTER_SET:
                level.use_character_set()
    return _ended(level, pos, end, open_ended)


def _read_implicit(level: Level, pos: int, end: int, open_ended: bool) -> int:  # noqa: FBT001 - as _read_explicit
    walk, buffer, out = level.walk, level.walk.buffer, level.out
    element_at, table = level.syntax.element, level.syntax.readers
    last = -1
    for _ in range(walk.budget + 1):
        if pos + 8 > end:
            break
        group, element, length = element_at(buffer, pos)
        tag = group << 16 | element
        if tag > last:
            last = tag
        else:
            level.check_order(tag)
        vr = _VR_BYTES.get(tag) or implicit_vr(level, tag, length)
        read = table.get(vr)
        if read is None or length > INLINE_BINARY_BYTES or tag in PIXELS:
            if tag == ITEM_END and open_ended:
                return pos + 8
            pos = _read_value(level, tag, vr, pos + 8, length, end)
            continue
        start = pos + 8
        pos = start + length
        if pos > end:
            raise Truncated(f"value of {level.path}{KEYS[tag]} reaches over the end")
        if element:
            out[KEYS[tag]] = read(buffer[start:pos], level, tag)
            if tag == SPECIFIC_CHARACTER_SET:
                level.use_character_set()
    return _ended(level, pos, end, open_ended)


def _ended(level: Level, pos: int, end: int, open_ended: bool) -> int:  # noqa: FBT001 - as _read_explicit
    """Fewer than eight bytes are left: none should be, and an open item should have ended before."""
    if pos + 8 <= end:
        raise TooComplex(f"more than {MAX_ELEMENTS} elements and items")
    if open_ended:
        raise Truncated(f"item {level.path} has no delimitation item")
    if pos < end:
        _skip_zeros(level, pos, end)
    return end


def _skip_zeros(level: Level, pos: int, end: int) -> None:
    """Bytes behind the last element: some writers pad the file with zeros.

    Raises:
        Truncated: the bytes are something else, so an element is cut off.
    """
    chunk = 1 << 20
    buffer = level.walk.buffer
    if level.depth or any(buffer[at : min(at + chunk, end)].strip(b"\0") for at in range(pos, end, chunk)):
        raise Truncated(f"bytes at {pos} are no element")
    level.warn("zeros-after-data-set", 0)


def _read_long_form(level: Level, tag: int, vr: bytes, pos: int, end: int) -> int:
    """An explicit VR with a 32-bit length, or something that is no element (PS3.5 §7.1.2)."""
    if tag >> 16 == 0xFFFE:
        raise UnreadableDataSet(f"delimiter {tag:08X} at {pos} where an attribute is due")
    if tag == 0 and vr == b"\0\0":
        _skip_zeros(level, pos, end)
        return end
    if vr not in LONG_FORM:
        if not (vr.isalpha() and vr.isupper()):
            raise UnreadableDataSet(f"attribute {level.path}{KEYS[tag]} has no value representation")
        level.warn("unknown-vr", tag)
        vr = b"UN"  # unknown VRs have this form (PS3.5 §6.2.2)
    if pos + 12 > end:
        raise Truncated(f"header of {level.path}{KEYS[tag]} reaches over the end")
    (length,) = level.syntax.length(level.walk.buffer, pos + 8)
    return _read_value(level, tag, vr, pos + 12, length, end)


def _read_value(level: Level, tag: int, vr: bytes, start: int, length: int, end: int) -> int:  # noqa: PLR0913
    """A value that may be a sequence, pixel data, unknown or bulk; returns the position behind it."""
    if length == UNDEFINED:
        return _read_undefined(level, tag, vr, start, end)
    if tag >> 16 == 0xFFFE:
        raise UnreadableDataSet(f"delimiter {tag:08X} at {start - 8} where an attribute is due")
    stop = start + length
    if stop > end:
        raise Truncated(f"value of {level.path}{KEYS[tag]} reaches over the end")
    if not tag & 0xFFFF or tag == TRAILING_PADDING:
        return stop
    if tag >> 16 == 0x7FE0 and not level.depth:
        level.walk.spans[tag] = (start, length)
    if vr == b"SQ":
        return _read_sequence(level, tag, level.syntax, start, stop)
    if vr == b"UN" and level.syntax.explicit:
        return _read_unknown(level, tag, start, stop)
    _store_value(level, tag, vr, start, stop)
    return stop


def _store_value(
    level: Level, tag: int, vr: bytes, start: int, stop: int, table: Mapping[bytes, Reader] | None = None
) -> None:
    """Put a value inline, or note it as bulk data."""
    length = stop - start
    limit = INLINE_BINARY_BYTES if vr in BINARY else INLINE_VALUE_BYTES
    if length > limit or (tag in PIXELS and length):
        _store_bulk(level, tag, vr, start, length)
        return
    read = (table or level.syntax.readers)[vr]
    level.out[KEYS[tag]] = read(bytes(level.walk.buffer[start:stop]), level, tag)
    if tag == SPECIFIC_CHARACTER_SET:
        level.use_character_set()


BULK_PREFIX = "bulkdata/"  # of the relative BulkDataURI: `<instance>/bulkdata/<path>`


def _store_bulk(level: Level, tag: int, vr: bytes, offset: int, length: int) -> None:
    key = KEYS[tag]
    path = level.path + key
    level.walk.bulk.append(BulkValue(path, offset, length))
    level.out[key] = {"vr": vr.decode("ascii"), "BulkDataURI": BULK_PREFIX + path}


def _read_unknown(level: Level, tag: int, start: int, stop: int) -> int:
    """UN of defined length: Implicit VR Little Endian bytes of an attribute we may know (PS3.5 §6.2.2 note 2)."""
    vr = implicit_vr(level, tag, stop - start)
    if vr != b"SQ":
        _store_value(level, tag, vr, start, stop, IMPLICIT_LITTLE.readers)
        return stop
    mark = len(level.walk.bulk)
    try:
        return _read_sequence(level, tag, IMPLICIT_LITTLE, start, stop)
    except UnreadableDataSet:  # opaque bytes may be anything; they are kept as they came
        del level.walk.bulk[mark:]
        level.warn("unknown-vr", tag)
        _store_value(level, tag, b"UN", start, stop)
        return stop


def _read_undefined(level: Level, tag: int, vr: bytes, start: int, end: int) -> int:
    """A value that ends with a delimitation item: a sequence, or encapsulated pixel data (PS3.5 §7.5.2, A.4)."""
    if vr == b"SQ":
        return _read_sequence(level, tag, level.syntax, start, None, end)
    if vr == b"UN":
        return _read_sequence(level, tag, IMPLICIT_LITTLE, start, None, end)
    if tag == PIXEL_DATA and vr in (b"OB", b"OW"):
        return _read_fragments(level, tag, vr, start, end)
    raise UnreadableDataSet(f"{level.path}{KEYS[tag]} has {DEFINED_LENGTH_ONLY}")


def _read_sequence(  # noqa: PLR0913
    level: Level, tag: int, syntax: Syntax, pos: int, stop: int | None, limit: int = 0
) -> int:
    """The items of a sequence that ends at `stop`, or (None) with its delimitation item before `limit`."""
    if level.depth >= MAX_DEPTH:
        raise TooComplex(f"sequences nest deeper than {MAX_DEPTH}")
    key = KEYS[tag]
    walk, item_at, end = level.walk, syntax.item, limit if stop is None else stop
    items: list[dict[str, Json]] = []
    while stop is None or pos < stop:
        if pos + 8 > end:
            raise Truncated(f"sequence {level.path}{key} reaches over the end")
        group, element, length = item_at(walk.buffer, pos)
        item_tag = group << 16 | element
        if item_tag == SEQUENCE_END and stop is None:
            pos += 8
            break
        if item_tag != ITEM:
            raise UnreadableDataSet(f"sequence {level.path}{key} holds something that is no item")
        walk.spend(1)
        item = Level(walk, syntax, level, f"{level.path}{key}/{len(items) + 1}/")
        pos = _read_item(item, pos + 8, length, end)
        items.append(item.out)
    level.out[key] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
    return pos


def _read_item(item: Level, start: int, length: int, end: int) -> int:
    """One item of defined or undefined length, within `end`."""
    if length == UNDEFINED:
        return read_data_set(item, start, end, open_ended=True)
    if start + length > end:
        raise Truncated(f"item {item.path} reaches over the end")
    return read_data_set(item, start, start + length)


def _read_fragments(level: Level, tag: int, vr: bytes, start: int, end: int) -> int:
    """The items of encapsulated pixel data: the offset table, then the fragments (PS3.5 A.4)."""
    walk, item_at = level.walk, level.syntax.item
    fragments: list[tuple[int, int]] = []
    pos = start
    while True:
        if pos + 8 > end:
            raise Truncated(f"{level.path}{KEYS[tag]} has no sequence delimitation item")
        group, element, length = item_at(walk.buffer, pos)
        pos += 8
        item_tag = group << 16 | element
        if item_tag == SEQUENCE_END:
            break
        if item_tag != ITEM or length == UNDEFINED:
            raise UnreadableDataSet(f"{level.path}{KEYS[tag]} holds something that is no fragment")
        if pos + length > end:
            raise Truncated(f"fragment of {level.path}{KEYS[tag]} reaches over the end")
        fragments.append((pos, length))
        pos += length
    walk.spend(len(fragments))
    _store_bulk(level, tag, vr, start, pos - start)
    if not level.depth:
        walk.fragments = fragments
    return pos


def _is_signed(level: Level) -> bool:
    """Whether the nearest Pixel Representation says two's complement."""
    at: Level | None = level
    while at is not None:
        representation = at.out.get(PIXEL_REPRESENTATION)
        if representation is not None:
            return representation.get("Value") == [1]
        at = at.parent
    return False


def _has_one_entry(level: Level) -> bool:
    return bool(level.out.get(LUT_DESCRIPTOR, {}).get("Value", (0,))[0] == 1)


def implicit_vr(level: Level, tag: int, length: int) -> bytes:
    """The VR of an attribute whose VR is not on the wire (PS3.5 §6.2.2, A.1)."""
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
