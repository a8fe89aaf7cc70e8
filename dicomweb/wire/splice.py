"""Attributes replaced within the bytes of a data set, all else as it stands (PS3.3 C.12.1.1.9, PS3.5 §7).

The transfer syntax stays, and one long value (pixel data, a document) is not even looked at: what lies before
it and what lies behind are given, and given back. Group lengths of groups that change are left out. A value
that the file's character set does not have turns the file's text into UTF-8, which (0008,0005) then says.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from dicomweb.wire.character_sets import CharacterSet, character_set, encode_text
from dicomweb.wire.data_set import read_data_set
from dicomweb.wire.dictionary import KEYS
from dicomweb.wire.element_writer import TEXT_VRS, ElementWriter
from dicomweb.wire.faults import Truncated
from dicomweb.wire.overlay import (
    ORIGINAL_ATTRIBUTES_SEQUENCE,
    Change,
    Overlay,
    item_of,
    previous_values,
)
from dicomweb.wire.rewrite import (
    Head,
    converted_sequence,
    elements_of,
    end_of,
    item_level,
    read_head,
    read_item_head,
)
from dicomweb.wire.walk import (
    EXPLICIT_LITTLE,
    SEQUENCE_END,
    SPECIFIC_CHARACTER_SET,
    UNDEFINED,
    Buffer,
    Level,
    Syntax,
    Walk,
)
from server.kernel.faults import Fault, FaultKind

Json = Any
ORIGINALS, MODIFIED = int(ORIGINAL_ATTRIBUTES_SEQUENCE, 16), "04000550"
UTF_8 = "ISO_IR 192"
DELIMITER_BYTES = 8


class NotInCharacterSet(Fault):
    """A file cannot be given out corrected: its character set does not have the text."""

    kind = FaultKind.UNPROCESSABLE


@dataclass(frozen=True, slots=True)
class Around:
    """A file without its one long value: `head` ends where that begins, `rest` is what follows it."""

    head: Buffer
    start: int  # of the data set within `head`
    rest: Buffer = b""
    is_all: bool = True  # False: what is between holds texts too, so that they cannot become UTF-8


class _Element(NamedTuple):
    """One element of a data set."""

    level: Level  # of its buffer
    tag: int
    head: Head
    start: int
    stop: int

    @property
    def raw(self) -> bytes:
        return bytes(self.level.walk.buffer[self.start : self.stop])


def splice(around: Around, syntax: Syntax, overlay: Overlay) -> tuple[bytes, bytes]:
    """The same two pieces, with the overlay; what lies before the data set is as it was.

    Raises:
        UnreadableDataSet: it is not the data set that it was when it was stored.
        NotInCharacterSet: the text cannot be told in it, and not all of it is here to become UTF-8.
    """
    walks = [Walk(each, passes_coded=True) for each in (around.head, around.rest)]
    levels = [Level(walk, syntax, len(walk.buffer)) for walk in walks]
    pieces = [list(_top(levels[0], around.start)), list(_top(levels[1], 0))]
    try:
        splicing = _Splicing(syntax, overlay, [*pieces[0], *pieces[1]], may_convert=around.is_all)
    except UnicodeEncodeError:
        raise NotInCharacterSet("The corrected text is not in the character set of the file.") from None
    made = [splicing.piece(piece) for piece in pieces]
    has_value_between = bool(pieces[0]) and _is_open(levels[0], pieces[0][-1].head)
    made[1 if has_value_between else 0] += splicing.left()
    for at, (level, piece) in enumerate(zip(levels, pieces, strict=True)):
        ends = piece[-1].stop if piece else (around.start, 0)[at]
        made[at] += bytes(level.walk.buffer[ends:])  # zeros, if anything
    return bytes(around.head[: around.start]) + made[0], made[1]


def cut_behind_originals(buffer: Buffer, start: int, syntax: Syntax) -> int | None:
    """Where in the beginning of a file everything lies behind that an overlay changes; None: not in it."""
    try:
        for element in _top(Level(Walk(buffer, passes_coded=True), syntax, len(buffer)), start):
            if element.tag > ORIGINALS:
                return element.start
    except Truncated:
        pass
    return None


def _top(level: Level, pos: int) -> Iterator[_Element]:
    """The elements of the top level; the last may be the head of a value that is not there."""
    while pos + 8 <= level.end:
        tag, head = read_head(level, pos)
        if tag == 0 and not bytes(level.walk.buffer[pos:]).strip(b"\0"):  # behind the data set
            return
        stop = head.start if _is_open(level, head) else end_of(level, tag, head)
        if stop > level.end:
            raise Truncated(f"attribute {tag:08X} reaches over the end of what holds it")
        yield _Element(level, tag, head, pos, stop)
        pos = stop


def _is_open(level: Level, head: Head) -> bool:
    return head.start == level.end and head.length != 0


class _Splicing:
    """One data set under way."""

    def __init__(
        self, syntax: Syntax, overlay: Overlay, elements: list[_Element], *, may_convert: bool
    ) -> None:
        self._by_tag = {each.tag: each for each in reversed(elements)}  # the first of each
        self._terms = _terms(self._by_tag.get(SPECIFIC_CHARACTER_SET))
        self._characters = character_set(self._terms)
        try:
            self._is_converted = False
            self._prepare(syntax, overlay, self._terms)
        except UnicodeEncodeError:
            if not may_convert:
                raise
            self._is_converted = True
            self._prepare(syntax, overlay, [UTF_8])
        self._groups = {tag >> 16 for tag in self._made}
        self._left = dict(self._made)  # not written yet
        self._new = sorted(tag for tag in self._made if tag not in self._by_tag)
        self._says_characters = SPECIFIC_CHARACTER_SET not in self._by_tag  # by then texts may follow

    def _prepare(self, syntax: Syntax, overlay: Overlay, terms: list[str]) -> None:
        """Make every element that is to be there instead of another one, or anew."""
        self._writer = ElementWriter(syntax, lambda text: encode_text(text, terms))
        self._made: dict[int, bytes] = {}
        items = [item for change in overlay.changes if (item := self._change(change)) is not None]
        if not items:
            return
        if self._is_converted:
            self._made[SPECIFIC_CHARACTER_SET] = self._writer.value(
                SPECIFIC_CHARACTER_SET, b"CS", UTF_8.encode("ascii")
            )
        items_before = self._items_before(self._by_tag.get(ORIGINALS))
        head, end = self._writer.head(ORIGINALS, b"SQ", UNDEFINED), self._writer.sequence_end
        self._made[ORIGINALS] = head + items_before + b"".join(items) + end

    def _change(self, change: Change) -> bytes | None:
        """Its item of Original Attributes Sequence, with its elements made; None: it modifies nothing."""
        said = {KEYS[each.tag]: self._json(each) for each in self._known(change)}
        previous = previous_values(said, change)
        if not previous:
            return None
        for key in previous:
            if key in change.attributes:
                self._made[int(key, 16)] = self._writer.attribute(key, change.attributes[key])
        kept = b"".join(self._previous(key, attribute) for key, attribute in previous.items())
        modified = self._writer.sequence(int(MODIFIED, 16), [kept])
        others = {key: each for key, each in item_of({}, change).items() if key != MODIFIED}
        return self._writer.item + modified + self._writer.data_set(others) + self._writer.item_end

    def _known(self, change: Change) -> Iterable[_Element]:
        """The elements that the change may modify, and the issuer of the Patient ID."""
        tags = {int(key, 16) for key in change.attributes} | {0x00100021}
        return [self._by_tag[tag] for tag in sorted(tags) if tag in self._by_tag]

    def _json(self, element: _Element) -> Json:
        level = Level(Walk(element.level.walk.buffer), element.level.syntax, element.stop)
        level.characters, level.decode = self._characters, self._characters.decode
        read_data_set(level, element.start)
        return level.out[KEYS[element.tag]]

    def _previous(self, key: str, attribute: Mapping[str, Json]) -> bytes:
        element = self._by_tag.get(int(key, 16))
        return self._writer.attribute(key, attribute) if element is None else self._kept(element)

    def _kept(self, element: _Element) -> bytes:
        """An element as it stands, its text in UTF-8 where that of the file is to be."""
        if not self._is_converted or element.stop == element.head.start:
            return element.raw
        return _transcribed(self._writer, element, self._characters)

    def _items_before(self, element: _Element | None) -> bytes:
        """The items that the sequence has already, each with its delimiters."""
        if element is None:
            return b""
        if element.head.vr == b"UN":  # its items are Implicit VR (PS3.5 §6.2.2)
            element = _known_sequence(element)
        kept = self._kept(element)
        head = element.head.start - element.start
        is_open = self._is_converted or element.head.length == UNDEFINED
        return kept[head : len(kept) - (DELIMITER_BYTES if is_open else 0)]

    def piece(self, elements: Iterable[_Element]) -> bytes:
        """The bytes of elements, with what was made of them, and what is new in its order among them."""
        pieces: list[bytes] = []
        run: list[_Element] = []  # that stay as they stand, one behind the other
        for element in elements:
            if self._stays(element.tag):
                run.append(element)
            else:
                pieces += [_joined(run), *self._instead_of(element)]
                run = []
            self._says_characters = self._says_characters or element.tag == SPECIFIC_CHARACTER_SET
        return b"".join([*pieces, _joined(run)])

    def _stays(self, tag: int) -> bool:
        """Whether an element goes as it stands, and nothing before it."""
        if self._is_converted or tag in self._made or self._precedes(tag):
            return False
        return tag & 0xFFFF != 0 or not self._is_old_length(tag)

    def _precedes(self, tag: int) -> bool:
        """Whether something new goes before this element; never before what says the character set."""
        return bool(self._new) and self._says_characters and self._new[0] < tag

    def _instead_of(self, element: _Element) -> Iterator[bytes]:
        while self._precedes(element.tag):
            yield self._left.pop(self._new.pop(0))
        if element.tag in self._made:
            yield self._left.pop(element.tag, b"")  # of one that is there twice the first counts
        elif not self._is_old_length(element.tag):
            yield self._kept(element)

    def _is_old_length(self, tag: int) -> bool:
        """A group length that is true no more; groups have had none since 2007."""
        return not tag & 0xFFFF and (self._is_converted or tag >> 16 in self._groups)

    def left(self) -> bytes:
        """What was made and belongs behind all elements."""
        return b"".join(self._left.pop(tag) for tag in self._new)


def _joined(run: list[_Element]) -> bytes:
    """The bytes of elements that stand one behind the other."""
    return bytes(run[0].level.walk.buffer[run[0].start : run[-1].stop]) if run else b""


def _terms(element: _Element | None) -> list[str]:
    if element is None:
        return []
    value = element.level.walk.buffer[element.head.start : element.stop]
    return [term.strip(" \0") for term in bytes(value).decode("latin_1").split("\\")]


def _known_sequence(element: _Element) -> _Element:
    """A sequence of VR UN as one of Explicit VR Little Endian."""
    made = b"".join(converted_sequence(element.level, element.tag, element.head, element.stop))
    (known,) = _top(Level(Walk(made), EXPLICIT_LITTLE, len(made)), 0)
    return known


def _transcribed(writer: ElementWriter, element: _Element, characters: CharacterSet) -> bytes:
    """The element with its text in UTF-8; sequences without lengths."""
    level, tag, head = element.level, element.tag, element.head
    if tag == SPECIFIC_CHARACTER_SET:
        return writer.value(tag, b"CS", UTF_8.encode("ascii"))
    if head.vr == b"SQ":
        items = [
            b"".join(_transcribed(writer, each, _characters_of(item, characters)) for each in item)
            for item in _items_of(element)
        ]
        return writer.sequence(tag, items)
    if head.vr not in TEXT_VRS:
        return element.raw
    raw = bytes(level.walk.buffer[head.start : element.stop])
    try:
        text = characters.decode(raw)
    except UnicodeDecodeError:
        text = characters.decode_anyway(raw)
    return writer.value(tag, head.vr, text.rstrip("\0").encode())


def _items_of(sequence: _Element) -> Iterator[list[_Element]]:
    """The elements of each item."""
    level, pos = sequence.level, sequence.head.start
    while pos < sequence.stop:
        tag, length = read_item_head(level, level.syntax, pos)
        pos += 8
        if tag == SEQUENCE_END:
            return
        is_open = length == UNDEFINED
        end = sequence.stop if is_open else pos + length
        if end > sequence.stop:
            raise Truncated("an item reaches over the end of its sequence")
        item = item_level(level, level.syntax, end, is_open=is_open)
        yield [_Element(item, *each) for each in elements_of(item, pos)]
        pos = item.end


def _characters_of(item: list[_Element], around: CharacterSet) -> CharacterSet:
    own = [each for each in item if each.tag == SPECIFIC_CHARACTER_SET]
    return character_set(_terms(own[0])) if own else around
