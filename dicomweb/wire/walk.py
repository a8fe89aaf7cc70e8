"""The state of a walk through a data set's bytes, and what every part of it needs (PS3.5 §7, Annex A)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

from dicomweb.wire.character_sets import DEFAULT, CharacterSet, character_set
from dicomweb.wire.dictionary import KEYS
from dicomweb.wire.faults import TooComplex, UnreadableDataSet
from dicomweb.wire.values import Json, Reader, readers

MAX_DEPTH = 32  # nested sequences; real objects stay under ten
MAX_ELEMENTS = 1_000_000  # elements and items; a 10 000-frame enhanced object has about 600 000
MAX_VALUE_UNITS = 5_000_000  # of 32 bytes, of values that stand beside others in an attribute: 160 MB
MAX_WARNINGS = 64  # kept of one instance
INLINE_BINARY_BYTES = 1024  # of OB, OW, … UN; longer values become bulk data
SHORT_VALUE_BYTES = 64  # read without looking at the budget of bytes
MAX_INLINE_BYTES = 8 << 20  # of longer values of one instance; then they become bulk data, to bound memory
INLINE_VALUE_BYTES = 65536  # of any other VR; Contour Data and LUTs of common size stay in the JSON

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
SPECIFIC_CHARACTER_SET, TRAILING_PADDING = 0x00080005, 0xFFFCFFFC
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
BULK_PREFIX = "bulkdata/"  # of the relative BulkDataURI: `<instance>/bulkdata/<path>`

Buffer = Any  # bytes | bytearray | mmap: what slices to bytes-like with `decode` and what struct reads


@dataclass(frozen=True, slots=True)
class Syntax:
    """How elements are written: byte order and whether the VR is there (PS3.5 §7.1, Annex A)."""

    explicit: bool
    resolves_unknown: bool  # UN is little endian whatever is around it: not told apart inside big endian
    element: Callable[[Buffer, int], tuple[Any, ...]]
    item: Callable[[Buffer, int], tuple[int, int, int]]
    length: Callable[[Buffer, int], tuple[int]]
    short: Mapping[bytes, Reader]  # readers of the VRs with a 16-bit length
    readers: Mapping[bytes, Reader]


def _syntax(order: str, *, explicit: bool) -> Syntax:
    table = readers(order)
    return Syntax(
        explicit=explicit,
        resolves_unknown=order == "<",
        element=Struct(order + ("HH2sH" if explicit else "HHL")).unpack_from,
        item=Struct(order + "HHL").unpack_from,
        length=Struct(order + "L").unpack_from,
        short={vr: read for vr, read in table.items() if vr not in LONG_FORM},
        readers=table,
    )


EXPLICIT_LITTLE = _syntax("<", explicit=True)
EXPLICIT_BIG = _syntax(">", explicit=True)
IMPLICIT_LITTLE = _syntax("<", explicit=False)


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
    passes_coded: bool = False  # whether a rewriting may leave coded pixels within a sequence as they are
    budget: int = MAX_ELEMENTS  # elements and items left
    inline_left: int = MAX_INLINE_BYTES
    value_units: int = MAX_VALUE_UNITS  # left
    spans: dict[int, tuple[int, int]] = field(
        default_factory=dict
    )  # tag -> (offset, length), group 7FE0 of the top
    fragments: list[tuple[int, int]] | None = None  # (offset, length) of each, the offset table first

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

    __slots__ = (
        "characters",
        "decode",
        "depth",
        "end",
        "open_ended",
        "out",
        "parent",
        "path",
        "syntax",
        "walk",
    )

    def __init__(
        self, walk: Walk, syntax: Syntax, end: int, parent: "Level | None" = None, path: str = ""
    ) -> None:
        self.walk, self.syntax, self.parent, self.path = walk, syntax, parent, path
        self.end = end  # nothing of it lies behind
        self.open_ended = False  # ends with a delimitation item
        self.out: dict[str, Json] = {}
        self.depth: int = parent.depth + 1 if parent else 0
        self.characters: CharacterSet = parent.characters if parent else DEFAULT
        self.decode = self.characters.decode

    def warn(self, code: str, tag: int) -> None:
        """Note once that something was read leniently."""
        if len(self.walk.warnings) < MAX_WARNINGS:
            self.walk.warnings[f"{code} {self.path}{KEYS[tag]}"] = None

    def spend_values(self, units: int) -> None:
        """Count what the values of an attribute take.

        Raises:
            TooComplex: more than `MAX_VALUE_UNITS` in the instance.
        """
        self.walk.value_units -= units
        if self.walk.value_units < 0:
            raise TooComplex("more values than any real object has")

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
