"""A data set's bytes into Explicit VR Little Endian, with some attributes changed (PS3.5 §7.1, Annex A).

For instances that are answered in another transfer syntax than they are stored in. What is Explicit VR Little
Endian already is copied in whole pieces; Implicit VR gets the VRs of the dictionary, Big Endian its bytes
turned around. Left out: group lengths, trailing padding, and what described the old coding of the pixels.
"""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct

from dicomweb.wire.faults import TooComplex, Truncated, UnreadableDataSet
from dicomweb.wire.file_meta import PREAMBLE_BYTES
from dicomweb.wire.implicit_vr import LUT_DESCRIPTOR, PIXEL_REPRESENTATION, VR_BYTES, implicit_vr
from dicomweb.wire.walk import (
    EXPLICIT_LITTLE,
    EXTENDED_LENGTHS,
    EXTENDED_OFFSETS,
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_END,
    LONG_FORM,
    MAX_DEPTH,
    PIXELS,
    SEQUENCE_END,
    TRAILING_PADDING,
    UNDEFINED,
    Buffer,
    Level,
    Syntax,
    Walk,
)

# Bytes of a number, by VR: what Big Endian turns around. Pixels of 32 bits in OW are seen to by their reader.
WIDTH: Mapping[bytes, int] = {
    **dict.fromkeys((b"AT", b"OW", b"SS", b"US"), 2),
    **dict.fromkeys((b"FL", b"OF", b"OL", b"SL", b"UL"), 4),
    **dict.fromkeys((b"FD", b"OD", b"OV", b"SV", b"UV"), 8),
}
_WORDS: Mapping[int, str] = {2: "H", 4: "I", 8: "Q"}
ENCAPSULATED_VALUE_LENGTH = 0x7FE00003
OF_OLD_CODING = frozenset({EXTENDED_OFFSETS, EXTENDED_LENGTHS, ENCAPSULATED_VALUE_LENGTH})
LONGEST_SHORT_FORM = 0xFFFE
_SHORT, _LONG, _ITEM = Struct("<HH2sH").pack, Struct("<HH2sHL").pack, Struct("<HHL").pack
_SEQUENCE_END = _ITEM(0xFFFE, 0xE0DD, 0)
_ITEM_BEGIN, _ITEM_END = _ITEM(0xFFFE, 0xE000, UNDEFINED), _ITEM(0xFFFE, 0xE00D, 0)
_NUMBER = Struct("<H").unpack_from

Changes = Mapping[int, bytes | None]  # tag of the top level -> the element as `element` makes it; None: none


def turned_around(data: bytes, width: int) -> bytes:
    """Each number of `width` bytes with its bytes in the other order; what is over at the end as it is."""
    if width not in _WORDS:
        return data
    whole = len(data) // width * width
    words = array(_WORDS[width], data[:whole])
    words.byteswap()
    return words.tobytes() + data[whole:]


def element_head(tag: int, vr: bytes, length: int) -> bytes:
    """Tag, VR and length in Explicit VR Little Endian (PS3.5 §7.1.2)."""
    if vr in LONG_FORM:
        return _LONG(tag >> 16, tag & 0xFFFF, vr, 0, length)
    return _SHORT(tag >> 16, tag & 0xFFFF, vr, length)


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """One element; the value is padded to an even length (PS3.5 §6.2)."""
    value += (b"\0" if vr in (b"UI", b"OB", b"UN") else b" ") * (len(value) % 2)
    return element_head(tag, vr, len(value)) + value


@dataclass(frozen=True, slots=True)
class PixelElement:
    """The pixel data element where the rewriting stopped."""

    tag: int
    vr: bytes
    value_offset: int
    length: int  # UNDEFINED when encapsulated


@dataclass(slots=True)
class _Found:
    """Bytes under way, and where they ended."""

    pieces: list[bytes] = field(default_factory=list)
    pixels: PixelElement | None = None


def rewrite(
    buffer: Buffer, start: int, syntax: Syntax, changes: Changes
) -> tuple[bytes, PixelElement | None]:
    """The elements of `buffer` from `start` up to its pixel data or its end, and that pixel data element.

    `buffer` may end right behind the head of the pixel data. `changes` that lie behind the end are added.

    Raises:
        UnreadableDataSet: it is not the data set that it was when it was stored.
    """
    found = _Found()
    left = dict(sorted(changes.items()))
    level = Level(Walk(buffer), syntax, len(buffer))
    at = _copy_plain if syntax is EXPLICIT_LITTLE else _convert
    for tag, head, pos, stop in elements_of(level, start):
        if tag in PIXELS and head.length:
            found.pixels = PixelElement(tag, head.vr, head.start, head.length)
            break
        while left and next(iter(left)) < tag:
            found.pieces.append(left.pop(next(iter(left))) or b"")
        if tag in left:
            found.pieces.append(left.pop(tag) or b"")
        elif tag not in OF_OLD_CODING:
            found.pieces += at(level, tag, head, (pos, stop))
    found.pieces += [each for each in left.values() if each]
    return b"".join(found.pieces), found.pixels


def rewrite_file_meta(head: bytes, data_set_offset: int, transfer_syntax_uid: str) -> bytes:
    """Preamble and file meta of the same instance in another transfer syntax (PS3.10 §7.1).

    The preamble is empty: what made another file format of it pointed into the old bytes.
    """
    changes = {0x00020010: element(0x00020010, b"UI", transfer_syntax_uid.encode("ascii"))}
    begins = PREAMBLE_BYTES + 4
    elements, _ = rewrite(head[:data_set_offset], begins, EXPLICIT_LITTLE, changes)
    group_length = element(0x00020000, b"UL", len(elements).to_bytes(4, "little"))
    return bytes(PREAMBLE_BYTES) + b"DICM" + group_length + elements


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before a value."""

    vr: bytes
    start: int  # of the value
    length: int


def elements_of(level: Level, pos: int) -> Iterator[tuple[int, Head, int, int]]:
    """Tag, head, first byte and end of each element of a level; not of group lengths and padding."""
    while pos + 8 <= level.end:
        tag, head = read_head(level, pos)
        if tag == ITEM_END and level.open_ended:
            level.end = head.start
            return
        if tag == 0 and not level.depth:  # zeros behind the data set
            return
        if tag in PIXELS and head.length and not level.depth:
            yield tag, head, pos, head.start
            return
        stop = end_of(level, tag, head)
        if stop > level.end:
            raise Truncated(f"attribute {tag:08X} reaches over the end of what holds it")
        if tag & 0xFFFF and tag != TRAILING_PADDING:
            yield tag, head, pos, stop
        pos = stop
    if level.open_ended:
        raise Truncated("an item has no delimitation item")


def read_head(level: Level, pos: int) -> tuple[int, Head]:
    """The tag of the element at `pos`, and what stands before its value."""
    buffer, syntax = level.walk.buffer, level.syntax
    if not syntax.explicit:
        group, number, length = syntax.element(buffer, pos)
        tag = group << 16 | number
        vr = VR_BYTES.get(tag) or implicit_vr(level, tag, length)
        return tag, Head(vr, pos + 8, length)
    group, number, vr, length = syntax.element(buffer, pos)
    tag = group << 16 | number
    if group == 0xFFFE or vr in syntax.short:  # unknown VRs have the long form (PS3.5 §6.2.2)
        return tag, Head(vr, pos + 8, length)
    if pos + 12 > level.end:
        if tag == 0:  # the last zeros of a padding
            return tag, Head(vr, pos + 8, 0)
        raise Truncated(f"attribute {tag:08X} is cut off")
    return tag, Head(vr, pos + 12, syntax.length(buffer, pos + 8)[0])


def end_of(level: Level, tag: int, head: Head) -> int:
    """Where the element ends; of a value without length, behind its delimiter."""
    if head.length != UNDEFINED:
        return head.start + head.length
    if head.vr in (b"OB", b"OW"):
        if not level.walk.passes_coded:
            raise UnreadableDataSet(f"attribute {tag:08X} holds coded pixels within a sequence")
        return _end_of_fragments(level, head)
    syntax = IMPLICIT_LITTLE if head.vr == b"UN" else level.syntax
    end = head.start
    for end in _items(level, syntax, head):  # noqa: B007 - the last one counts
        pass
    return end


def _end_of_fragments(level: Level, head: Head) -> int:
    """Where coded pixels end, behind their delimiter (PS3.5 §A.4)."""
    pos = head.start
    while True:
        tag, length = read_item_head(level, level.syntax, pos)
        pos += 8
        if tag == SEQUENCE_END:
            return pos
        if length == UNDEFINED:
            raise UnreadableDataSet("coded pixels hold something that is no fragment")
        pos += length


def _items(level: Level, syntax: Syntax, head: Head) -> Iterator[int]:
    """Walk over the items of a sequence without a length; yields positions, the last is its end."""
    pos = head.start
    while True:
        tag, length = read_item_head(level, syntax, pos)
        pos += 8
        if tag == SEQUENCE_END:
            yield pos
            return
        if length != UNDEFINED:
            pos += length
        else:
            item = item_level(level, syntax, level.end)
            for _ in elements_of(item, pos):
                pass
            pos = item.end
        yield pos


def read_item_head(level: Level, syntax: Syntax, pos: int) -> tuple[int, int]:
    """Tag and length of an item, or of the delimiter of its sequence."""
    if pos + 8 > level.end:
        raise Truncated("a sequence is cut off")
    group, number, length = syntax.item(level.walk.buffer, pos)
    tag = group << 16 | number
    if tag not in (ITEM, SEQUENCE_END):
        raise UnreadableDataSet("a sequence holds something that is no item")
    return tag, length


def item_level(level: Level, syntax: Syntax, end: int, *, is_open: bool = True) -> Level:
    """The level of an item within `level`; `is_open`: it has no length of its own."""
    if level.depth >= MAX_DEPTH:
        raise TooComplex(f"sequences nest deeper than {MAX_DEPTH}")
    item = Level(level.walk, syntax, end, level)
    item.open_ended = is_open
    return item


def _copy_plain(level: Level, _tag: int, _head: Head, span: tuple[int, int]) -> Iterator[bytes]:
    yield bytes(level.walk.buffer[span[0] : span[1]])


def _convert(level: Level, tag: int, head: Head, span: tuple[int, int]) -> Iterator[bytes]:
    """One element of another syntax."""
    stop = span[1]
    if head.vr == b"SQ" or head.length == UNDEFINED:
        yield from converted_sequence(level, tag, head, stop)
        return
    value = bytes(level.walk.buffer[head.start : stop])
    if not level.syntax.explicit:
        _remember(level, tag, value)
        vr = head.vr if head.vr in LONG_FORM or len(value) <= LONGEST_SHORT_FORM else b"UN"
    else:
        vr, value = head.vr, turned_around(value, WIDTH.get(head.vr, 1))
    yield element_head(tag, vr, len(value))
    yield value


def converted_sequence(level: Level, tag: int, head: Head, stop: int) -> Iterator[bytes]:
    """A sequence and its items, none with a length of its own."""
    syntax = IMPLICIT_LITTLE if head.vr == b"UN" else level.syntax
    yield element_head(tag, b"SQ", UNDEFINED)
    pos = head.start
    while pos < stop:
        item_tag, length = read_item_head(level, syntax, pos)
        pos += 8
        if item_tag == SEQUENCE_END:
            break
        is_open = length == UNDEFINED
        if not is_open and pos + length > stop:
            raise Truncated("an item reaches over the end of its sequence")
        item = item_level(level, syntax, stop if is_open else pos + length, is_open=is_open)
        yield _ITEM_BEGIN
        for tag_within, head_within, first, end in elements_of(item, pos):
            yield from _convert(item, tag_within, head_within, (first, end))
        yield _ITEM_END
        pos = item.end
    yield _SEQUENCE_END


def _remember(level: Level, tag: int, value: bytes) -> None:
    """What later VRs depend on (PS3.5 A.1): Pixel Representation and LUT Descriptor."""
    key = {0x00280103: PIXEL_REPRESENTATION, 0x00283002: LUT_DESCRIPTOR}.get(tag)
    if key is not None and len(value) >= 2:
        level.out[key] = {"Value": list(_NUMBER(value))}
