"""Parts of a DICOM file that are written while their frames arrive (PS3.5 §8.1.1, A.4, A.5)."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.format import PixelFormat
from dicomweb.wire.rewrite import element_head
from dicomweb.wire.walk import PIXEL_DATA, UNDEFINED

LONGEST_VALUE = 0xFFFFFFFE  # of an element that says its length
ITEM, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


@dataclass(frozen=True, slots=True)
class Streamed:
    """Bytes that arrive in chunks."""

    length: int | None  # None: not known before the last one
    chunks: AsyncIterator[bytes]


def native_value(pixels: PixelFormat, count: int, frames: AsyncIterator[bytes]) -> Streamed:
    """Pixel data without compression (PS3.5 A.4, §8.1.1): frames behind each other, to the bit."""
    bits = pixels.stored_frame_bits
    length = (bits * count + 7) // 8
    padded = length + length % 2
    if padded > LONGEST_VALUE:
        raise PixelsUnreadable("Without compression the pixels are longer than a value can be.")
    vr = b"OW" if pixels.bits_allocated > 8 else b"OB"

    async def chunks() -> AsyncIterator[bytes]:
        yield element_head(PIXEL_DATA, vr, padded)
        joined = BitJoiner()
        async for frame in frames:
            yield joined.add(frame, bits)
        yield joined.rest() + bytes(padded - length)

    return Streamed(12 + padded, chunks())


class BitJoiner:
    """Puts frames behind each other that need not fill whole bytes; each begins at bit 0."""

    def __init__(self) -> None:
        self._bits = 0  # of a byte that is not full
        self._count = 0

    def add(self, frame: bytes, count: int) -> bytes:
        """The bytes that are full with `count` bits of `frame`."""
        if not self._count and not count % 8:
            return frame
        whole = (int.from_bytes(frame, "little") & ((1 << count) - 1)) << self._count | self._bits
        full, self._count = divmod(self._count + count, 8)
        self._bits = whole >> (full * 8)
        return (whole & ((1 << full * 8) - 1)).to_bytes(full, "little")

    def rest(self) -> bytes:
        """The last byte, where it is not full."""
        return self._bits.to_bytes(1, "little") if self._count else b""


def encapsulated_value(only: int | None, frames: AsyncIterator[bytes]) -> Streamed:
    """Encapsulated pixel data: an empty offset table, a fragment for each frame (PS3.5 A.4).

    `only`: the length of the only frame; None: there are several.
    """

    async def chunks() -> AsyncIterator[bytes]:
        yield element_head(PIXEL_DATA, b"OB", UNDEFINED) + ITEM + bytes(4)
        async for frame in frames:
            padding = len(frame) % 2
            yield ITEM + (len(frame) + padding).to_bytes(4, "little") + frame + bytes(padding)
        yield SEQUENCE_END + bytes(4)

    return Streamed(None if only is None else 12 + 8 + 8 + only + only % 2 + 8, chunks())


async def after(before: bytes, chunks: AsyncIterator[bytes] | None) -> AsyncIterator[bytes]:
    """Chunks behind what comes first."""
    yield before
    if chunks is not None:
        async for chunk in chunks:
            yield chunk


async def deflated(meta: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data set deflated, the file meta before it not (PS3.5 A.5)."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    length = 0
    yield meta
    async for chunk in chunks:
        made = await asyncio.to_thread(deflater.compress, chunk)
        length += len(made)
        yield made
    made = deflater.flush()
    yield made + bytes((length + len(made)) % 2)
