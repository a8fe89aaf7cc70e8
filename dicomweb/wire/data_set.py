"""A data set's bytes to the DICOM JSON Model (PS3.5 §7, PS3.18 F.2), checked while it is walked.

Rules: every length lies within what holds it; the data set ends exactly at the end of the bytes; sequences
nest at most `MAX_DEPTH` deep; at most `MAX_ELEMENTS` elements and items. An attribute twice in one data set
is refused, since readers differ in which one they believe. Attributes out of order, unknown VRs, a value that
does not fit its VR and undecodable text are read leniently and flagged. Group lengths and trailing padding
are left out of the JSON.
"""

from dicomweb.wire.dictionary import KEYS
from dicomweb.wire.faults import TooComplex, Truncated, UnreadableDataSet
from dicomweb.wire.implicit_vr import VR_BYTES, implicit_vr
from dicomweb.wire.values import Json
from dicomweb.wire.walk import (
    BINARY,
    BULK_PREFIX,
    IMPLICIT_LITTLE,
    INLINE_BINARY_BYTES,
    INLINE_VALUE_BYTES,
    ITEM,
    ITEM_END,
    LONG_FORM,
    MAX_DEPTH,
    MAX_ELEMENTS,
    PIXEL_DATA,
    PIXELS,
    SEQUENCE_END,
    SHORT_VALUE_BYTES,
    SPECIFIC_CHARACTER_SET,
    TRAILING_PADDING,
    UNDEFINED,
    BulkValue,
    Level,
    Syntax,
)

ZEROS_CHUNK_BYTES = 1 << 20  # of padding looked at in one go


def read_data_set(level: Level, pos: int) -> int:
    """Read elements from `pos` into `level.out`; returns where the data set stops.

    That is `level.end`, or behind the item delimiter when the level is open-ended.

    Raises:
        UnreadableDataSet: the bytes are not a data set that ends there.
    """
    pos = _read_explicit(level, pos) if level.syntax.explicit else _read_implicit(level, pos)
    level.walk.spend(len(level.out))
    return pos


def _over_the_end(level: Level, tag: int) -> Truncated:
    return Truncated(f"{level.path}{KEYS[tag]} reaches over the end of what holds it")


# The two loops run once per element of every stored instance. Short values are read in line; the range bounds
# the count of elements without a test of its own.


def _read_explicit(level: Level, pos: int) -> int:
    walk, buffer, out, end = level.walk, level.walk.buffer, level.out, level.end
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
        start = pos + 8
        if read is None:
            if tag == ITEM_END and level.open_ended:
                return start
            pos = _read_long_form(level, tag, vr, pos)
            continue
        if length > SHORT_VALUE_BYTES:
            pos = _read_value(level, tag, vr, start, length)
            continue
        pos = start + length
        if pos > end:
            raise _over_the_end(level, tag)
        if element:
            out[KEYS[tag]] = read(buffer[start:pos], level, tag)
            if tag == SPECIFIC_CHARACTER_SET:
                level.use_character_set()
    return _ended(level, pos)


def _read_implicit(level: Level, pos: int) -> int:
    walk, buffer, out, end = level.walk, level.walk.buffer, level.out, level.end
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
        vr = VR_BYTES.get(tag) or implicit_vr(level, tag, length)
        read = table.get(vr)
        start = pos + 8
        if read is None or length > SHORT_VALUE_BYTES or tag in PIXELS:
            if tag == ITEM_END and level.open_ended:
                return start
            pos = _read_value(level, tag, vr, start, length)
            continue
        pos = start + length
        if pos > end:
            raise _over_the_end(level, tag)
        if element:
            out[KEYS[tag]] = read(buffer[start:pos], level, tag)
            if tag == SPECIFIC_CHARACTER_SET:
                level.use_character_set()
    return _ended(level, pos)


def _ended(level: Level, pos: int) -> int:
    """Fewer than eight bytes are left: none should be, and an open item should have ended before."""
    if pos + 8 <= level.end:
        raise TooComplex(f"more than {MAX_ELEMENTS} elements and items")
    if level.open_ended:
        raise Truncated(f"item {level.path} has no delimitation item")
    if pos < level.end:
        _skip_zeros(level, pos)
    return level.end


def _skip_zeros(level: Level, pos: int) -> None:
    """Bytes behind the last element: some writers pad the file with zeros.

    Raises:
        Truncated: the bytes are something else, so an element is cut off.
    """
    buffer, end = level.walk.buffer, level.end
    chunks = (buffer[at : min(at + ZEROS_CHUNK_BYTES, end)] for at in range(pos, end, ZEROS_CHUNK_BYTES))
    if level.depth or any(chunk.strip(b"\0") for chunk in chunks):
        raise Truncated(f"the bytes at {pos} are no element")
    level.warn("zeros-after-data-set", 0)


def _read_long_form(level: Level, tag: int, vr: bytes, pos: int) -> int:
    """An explicit VR with a 32-bit length, or something that is no element (PS3.5 §7.1.2)."""
    if tag >> 16 == 0xFFFE:
        raise UnreadableDataSet(f"delimiter {tag:08X} at {pos} where an attribute is due")
    if tag == 0 and vr == b"\0\0":
        _skip_zeros(level, pos)
        return level.end
    if vr not in LONG_FORM:
        if not (vr.isalpha() and vr.isupper()):
            raise UnreadableDataSet(f"attribute {level.path}{KEYS[tag]} has no value representation")
        level.warn("unknown-vr", tag)
        vr = b"UN"  # unknown VRs have this form (PS3.5 §6.2.2)
    if pos + 12 > level.end:
        raise _over_the_end(level, tag)
    (length,) = level.syntax.length(level.walk.buffer, pos + 8)
    return _read_value(level, tag, vr, pos + 12, length)


def _read_value(level: Level, tag: int, vr: bytes, start: int, length: int) -> int:
    """A value that may be a sequence, pixel data, unknown or bulk; returns the position behind it."""
    if length == UNDEFINED:
        return _read_undefined(level, tag, vr, start)
    if tag >> 16 == 0xFFFE:
        raise UnreadableDataSet(f"delimiter {tag:08X} at {start - 8} where an attribute is due")
    stop = start + length
    if stop > level.end:
        raise _over_the_end(level, tag)
    if not tag & 0xFFFF or tag == TRAILING_PADDING:
        return stop
    if tag >> 16 == 0x7FE0 and not level.depth:
        level.walk.spans[tag] = (start, length)
    if vr == b"SQ":
        return _read_sequence(level, tag, level.syntax, start, stop)
    if vr == b"UN" and level.syntax.explicit and level.syntax.resolves_unknown:
        return _read_unknown(level, tag, start, stop)
    _store_value(level, tag, vr, start, stop)
    return stop


def _store_value(level: Level, tag: int, vr: bytes, start: int, stop: int) -> None:
    """Put a value inline, or note it as bulk data."""
    length = stop - start
    limit = INLINE_BINARY_BYTES if vr in BINARY else INLINE_VALUE_BYTES
    walk = level.walk
    if length > limit or (tag in PIXELS and length) or length > walk.inline_left:
        _store_bulk(level, tag, vr, start, stop)
        return
    walk.inline_left -= length
    level.out[KEYS[tag]] = level.syntax.readers[vr](walk.buffer[start:stop], level, tag)
    if tag == SPECIFIC_CHARACTER_SET:
        level.use_character_set()


def _store_bulk(level: Level, tag: int, vr: bytes, start: int, stop: int) -> None:
    key = KEYS[tag]
    path = level.path + key
    level.walk.bulk.append(BulkValue(path, start, stop - start))
    level.out[key] = {"vr": vr.decode("ascii"), "BulkDataURI": BULK_PREFIX + path}


def _read_unknown(level: Level, tag: int, start: int, stop: int) -> int:
    """UN of defined length: Implicit VR Little Endian of an attribute we may know (PS3.5 §6.2.2 note 2)."""
    vr = implicit_vr(level, tag, stop - start)
    if vr != b"SQ":
        _store_value(level, tag, vr, start, stop)
        return stop
    mark = len(level.walk.bulk)
    try:
        return _read_sequence(level, tag, IMPLICIT_LITTLE, start, stop)
    except UnreadableDataSet:  # opaque bytes may be anything; they are kept as they came
        del level.walk.bulk[mark:]
        level.warn("unknown-vr", tag)
        _store_value(level, tag, b"UN", start, stop)
        return stop


def _read_undefined(level: Level, tag: int, vr: bytes, start: int) -> int:
    """A value that ends with a delimitation item: a sequence or encapsulated pixels (PS3.5 §7.5.2, A.4)."""
    if vr == b"SQ":
        return _read_sequence(level, tag, level.syntax, start, None)
    if vr == b"UN":
        return _read_sequence(level, tag, IMPLICIT_LITTLE, start, None)
    if tag == PIXEL_DATA and vr in (b"OB", b"OW"):
        return _read_fragments(level, tag, vr, start)
    raise UnreadableDataSet(f"{level.path}{KEYS[tag]} has no length and is neither sequence nor pixel data")


def _read_sequence(level: Level, tag: int, syntax: Syntax, pos: int, stop: int | None) -> int:
    """The items of a sequence that ends at `stop`, or (None) with its delimitation item."""
    if level.depth >= MAX_DEPTH:
        raise TooComplex(f"sequences nest deeper than {MAX_DEPTH}")
    key = KEYS[tag]
    walk, item_at, end = level.walk, syntax.item, level.end if stop is None else stop
    items: list[dict[str, Json]] = []
    while stop is None or pos < stop:
        if pos + 8 > end:
            raise _over_the_end(level, tag)
        group, element, length = item_at(walk.buffer, pos)
        item_tag = group << 16 | element
        if item_tag == SEQUENCE_END and stop is None:
            pos += 8
            break
        if item_tag != ITEM:
            raise UnreadableDataSet(f"sequence {level.path}{key} holds something that is no item")
        walk.spend(1)
        item = Level(walk, syntax, end, level, f"{level.path}{key}/{len(items) + 1}/")
        pos = _read_item(item, pos + 8, length)
        items.append(item.out)
    level.out[key] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
    return pos


def _read_item(item: Level, start: int, length: int) -> int:
    """One item of defined or undefined length; its level ends where the sequence does."""
    if length == UNDEFINED:
        item.open_ended = True
    elif start + length > item.end:
        raise Truncated(f"item {item.path} reaches over the end of its sequence")
    else:
        item.end = start + length
    return read_data_set(item, start)


def _read_fragments(level: Level, tag: int, vr: bytes, start: int) -> int:
    """The items of encapsulated pixel data: the offset table, then the fragments (PS3.5 A.4)."""
    walk, item_at = level.walk, level.syntax.item
    fragments: list[tuple[int, int]] = []
    pos = start
    while True:
        if pos + 8 > level.end:
            raise Truncated(f"{level.path}{KEYS[tag]} has no sequence delimitation item")
        group, element, length = item_at(walk.buffer, pos)
        pos += 8
        item_tag = group << 16 | element
        if item_tag == SEQUENCE_END:
            break
        if item_tag != ITEM or length == UNDEFINED:
            raise UnreadableDataSet(f"{level.path}{KEYS[tag]} holds something that is no fragment")
        if pos + length > level.end:
            raise Truncated(f"a fragment of {level.path}{KEYS[tag]} reaches over the end")
        walk.spend(1)
        fragments.append((pos, length))
        pos += length
    _store_bulk(level, tag, vr, start, pos)
    if not level.depth:
        walk.fragments = fragments
    return pos
