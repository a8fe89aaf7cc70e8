"""Where the frames of an instance lie in its file (PS3.5 §8, Annex A.4; PS3.3 C.7.6.3, C.7.6.3.1.8).

Frames are numbered from 1. When the attributes and the bytes do not agree, the frames are *unknown*: the
instance is stored and its metadata served, its frames are not.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from struct import iter_unpack
from typing import Any

import orjson

from dicomweb.wire.walk import EXTENDED_LENGTHS, EXTENDED_OFFSETS, PIXEL_DATA, Buffer, Walk

Json = Any
Range = tuple[int, int]  # (offset in the file, length)
LONG_LAYOUT = 64 << 10  # bytes, of about 4000 frames, that take some milliseconds to be read
MAX_FRAMES = 1_000_000  # more than any object; the table is kept per instance
# How a coded frame begins: JPEG and JPEG-LS SOI + marker, JPEG 2000 and HTJ2K SOC + SIZ, JP2 signature box.
FRAME_BEGINNINGS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
SUBSAMPLED = frozenset(
    {"YBR_FULL_422", "YBR_PARTIAL_422"}
)  # two luminance share one pair of chrominance samples


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How to find the frames of one instance."""

    number_of_frames: int
    encapsulated: bool
    first_offset: int = 0  # native: where frame 1 begins
    frame_bits: int = (
        0  # native: bits per frame; one-bit frames follow each other without padding (PS3.5 §8.1.1)
    )
    fragments: tuple[tuple[Range, ...], ...] = ()  # encapsulated: the fragments of each frame

    @property
    def frames_known(self) -> bool:
        """Whether `frame_ranges` can answer."""
        return bool(self.fragments) if self.encapsulated else self.frame_bits > 0

    @property
    def frame_length(self) -> int:
        """Bytes of one native frame as answered, the last byte padded; 0 when encapsulated or unknown."""
        return (self.frame_bits + 7) // 8

    def frame_ranges(self, frame_number: int) -> tuple[Range, ...]:
        """The file ranges whose bytes, joined, are the frame; see `align_frame` for bits.

        Raises:
            IndexError: no such frame, or the frames are not known.
        """
        if not 1 <= frame_number <= self.number_of_frames or not self.frames_known:
            raise IndexError(frame_number)
        if self.encapsulated:
            return self.fragments[frame_number - 1]
        first_bit = (frame_number - 1) * self.frame_bits
        start, stop = first_bit // 8, (first_bit + self.frame_bits + 7) // 8
        return ((self.first_offset + start, stop - start),)

    @property
    def is_byte_aligned(self) -> bool:
        """Whether the bytes of `frame_ranges` are the frame as they are."""
        return self.encapsulated or not self.frame_bits % 8

    def frame_shift(self, frame_number: int) -> int:
        """Bits to skip in the first byte of a native frame, where frames do not fill whole bytes."""
        return (frame_number - 1) * self.frame_bits % 8

    def align_frame(self, frame_number: int, data: bytes) -> bytes:
        """The frame from the bytes of `frame_ranges`: from bit 0, zeros behind its last bit."""
        return data if self.is_byte_aligned else self.align_bits(frame_number, data, self.frame_bits)

    def align_bits(self, frame_number: int, data: bytes, count: int) -> bytes:
        """`count` bits of a frame that is not byte-aligned, as whole bytes, zeros behind the last bit.

        `data` begins so many whole bytes behind the start of `frame_ranges` as are already answered.
        """
        bits = int.from_bytes(data, "little") >> self.frame_shift(frame_number)
        return (bits & ((1 << count) - 1)).to_bytes((count + 7) // 8, "little")


def encode_layout(layout: PixelLayout) -> bytes:
    """A layout as compact JSON, to be kept in a database row."""
    head = [layout.number_of_frames, int(layout.encapsulated), layout.first_offset, layout.frame_bits]
    return orjson.dumps([*head, layout.fragments])


def decode_layout(encoded: bytes | str) -> PixelLayout:
    """The layout that `encode_layout` wrote; a long one is kept, for who asks for one frame asks for more."""
    return _decode_long(encoded) if len(encoded) > LONG_LAYOUT else _decode(encoded)


@lru_cache(maxsize=4)  # slide images of 100 000 tiles take 20 MB each
def _decode_long(encoded: bytes | str) -> PixelLayout:
    return _decode(encoded)


def _decode(encoded: bytes | str) -> PixelLayout:
    frames, encapsulated, first_offset, frame_bits, fragments = orjson.loads(encoded)
    ranges = tuple(tuple((offset, length) for offset, length in frame) for frame in fragments)
    return PixelLayout(frames, bool(encapsulated), first_offset, frame_bits, ranges)


def _number(attributes: Mapping[str, Json], key: str) -> int | None:
    value = attributes.get(key, {}).get("Value", (None,))[0]
    return value if isinstance(value, int) and value >= 0 else None


def _number_of_frames(attributes: Mapping[str, Json]) -> int:
    """Number of Frames (0028,0008): 1 when absent, 0 when it cannot be believed."""
    if "Value" not in attributes.get("00280008", {}):
        return 1
    number = _number(attributes, "00280008") or 0
    return number if number <= MAX_FRAMES else 0


def _native_frame_bits(attributes: Mapping[str, Json]) -> int:
    """Bits of one frame by the Image Pixel module (PS3.3 C.7.6.3), 0 when it does not say."""
    rows, columns = _number(attributes, "00280010"), _number(attributes, "00280011")
    allocated, samples = _number(attributes, "00280100"), _number(attributes, "00280002") or 1
    if not rows or not columns or not allocated:
        return 0
    interpretation = attributes.get("00280004", {}).get("Value", ("",))[0]
    if samples == 3 and isinstance(interpretation, str) and interpretation in SUBSAMPLED:
        return rows * columns * allocated * 2
    return rows * columns * allocated * samples


def _native(attributes: Mapping[str, Json], offset: int, length: int) -> PixelLayout:
    frames, bits = _number_of_frames(attributes), _native_frame_bits(attributes)
    fits = 0 < bits * frames <= length * 8
    return PixelLayout(frames, encapsulated=False, first_offset=offset, frame_bits=bits if fits else 0)


@dataclass(frozen=True, slots=True)
class Encapsulated:
    """The fragments of encapsulated pixel data, and the tables that may say where frames begin."""

    buffer: Buffer
    frames: int
    fragments: Sequence[Range]  # without the offset table
    basic_offsets: Sequence[int]
    extended_offsets: Sequence[int]
    extended_lengths: Sequence[int]


Grouping = tuple[tuple[Range, ...], ...] | None


def _split_at(fragments: Sequence[Range], starts: Sequence[int]) -> Grouping:
    """The fragments cut into frames before each index of `starts`."""
    if not starts or starts[0] != 0:
        return None
    stops = [*starts[1:], len(fragments)]
    return tuple(tuple(fragments[start:stop]) for start, stop in zip(starts, stops, strict=True))


def _indexes_at(pixels: Encapsulated, offsets: Sequence[int]) -> list[int] | None:
    """The fragments that begin at these offsets, counted from the first fragment; None unless all do."""
    if not offsets or len(offsets) != pixels.frames or not pixels.fragments:
        return None
    base = pixels.fragments[0][0]
    index_of = {offset - base: index for index, (offset, _) in enumerate(pixels.fragments)}
    indexes = [index_of.get(offset, -1) for offset in offsets]
    ascending = all(a < b for a, b in pairwise(indexes))
    return indexes if ascending and indexes[0] == 0 else None


def by_extended_offset_table(pixels: Encapsulated) -> Grouping:
    """Extended Offset Table: one fragment per frame, lengths without padding (PS3.3 C.7.6.3.1.8)."""
    indexes = _indexes_at(pixels, pixels.extended_offsets)
    lengths = pixels.extended_lengths
    if indexes is None or len(lengths) != len(indexes) or len(pixels.fragments) != pixels.frames:
        return None
    pairs = list(zip((pixels.fragments[index] for index in indexes), lengths, strict=True))
    if any(not 0 < length <= held for (_, held), length in pairs):
        return None
    return tuple(((offset, length),) for (offset, _), length in pairs)


def by_single_frame(pixels: Encapsulated) -> Grouping:
    """One frame: all fragments are its."""
    return (tuple(pixels.fragments),) if pixels.frames == 1 and pixels.fragments else None


def by_basic_offset_table(pixels: Encapsulated) -> Grouping:
    """Basic Offset Table: where each frame's first fragment begins (PS3.5 A.4)."""
    indexes = _indexes_at(pixels, pixels.basic_offsets)
    return _split_at(pixels.fragments, indexes) if indexes else None


def by_count(pixels: Encapsulated) -> Grouping:
    """As many fragments as frames: one each."""
    if pixels.frames and len(pixels.fragments) == pixels.frames:
        return tuple((fragment,) for fragment in pixels.fragments)
    return None


def by_markers(pixels: Encapsulated) -> Grouping:
    """No usable table: a frame begins where a coded image does, if that gives as many as there are frames."""
    starts = [
        index
        for index, (offset, length) in enumerate(pixels.fragments)
        if pixels.buffer[offset : offset + min(length, 12)].startswith(FRAME_BEGINNINGS)
    ]
    return _split_at(pixels.fragments, starts) if starts and len(starts) == pixels.frames else None


# In order of trust. A wrong table falls through to what the bytes themselves say.
GROUPINGS: tuple[Callable[[Encapsulated], Grouping], ...] = (
    by_extended_offset_table,
    by_single_frame,
    by_basic_offset_table,
    by_count,
    by_markers,
)


def _unpacked(buffer: Buffer, span: Range | None, code: str, size: int) -> tuple[int, ...]:
    """Little endian numbers of a table, none when its length is odd."""
    if span is None or span[1] % size or span[1] > MAX_FRAMES * 8:
        return ()
    return tuple(value for (value,) in iter_unpack("<" + code, buffer[span[0] : span[0] + span[1]]))


def _encapsulated(walk: Walk, fragments: Sequence[Range], attributes: Mapping[str, Json]) -> PixelLayout:
    pixels = Encapsulated(
        buffer=walk.buffer,
        frames=_number_of_frames(attributes),
        fragments=fragments[1:],
        basic_offsets=_unpacked(walk.buffer, fragments[0] if fragments else None, "L", 4),
        extended_offsets=_unpacked(walk.buffer, walk.spans.get(EXTENDED_OFFSETS), "Q", 8),
        extended_lengths=_unpacked(walk.buffer, walk.spans.get(EXTENDED_LENGTHS), "Q", 8),
    )
    found = _first_that_answers(pixels)
    return PixelLayout(pixels.frames, encapsulated=True, fragments=found or ())


def _first_that_answers(pixels: Encapsulated) -> Grouping:
    answers: Iterable[Grouping] = (group(pixels) for group in GROUPINGS)
    return next((answer for answer in answers if answer), None)


def pixel_layout(walk: Walk, attributes: Mapping[str, Json], *, native: bool) -> PixelLayout | None:
    """The layout of a walked instance, None without pixel data; `native`: its syntax does not compress."""
    if walk.fragments is not None:
        return _encapsulated(walk, walk.fragments, attributes)
    span = next((walk.spans[tag] for tag in (PIXEL_DATA, 0x7FE00008, 0x7FE00009) if tag in walk.spans), None)
    if span is None or not span[1]:
        return None
    if not native:  # plain pixels under a compressed syntax: nobody can say what they are
        return PixelLayout(_number_of_frames(attributes), encapsulated=False)
    return _native(attributes, *span)
