"""The stored frames of an instance, one by one, as a child takes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.format import MAX_FRAME_BYTES, to_header
from dicomweb.pixels.pool import Result, Unread
from dicomweb.pixels.service import Pixels
from dicomweb.pixels.syntaxes import NATIVE
from dicomweb.transcode.description import Description
from dicomweb.wire.pixel_data import PixelLayout
from dicomweb.wire.rewrite import turned_around


class RangeReader(Protocol):
    """Reads the file in which the offsets of a layout count."""

    async def read(self, ranges: Sequence[tuple[int, int]]) -> bytes:
        """The bytes of (offset, length) ranges, joined."""
        ...


@dataclass(frozen=True, slots=True)
class FrameSource:
    """The frames of one instance. Native ones are read as little endian, whatever they are stored as."""

    digest: bytes  # of the file: what is made of a frame is known by it
    transfer_syntax: str  # as stored
    description: Description
    layout: PixelLayout
    reader: RangeReader

    @property
    def word(self) -> int:
        """Bytes of a number of the pixel data, which Big Endian turns around (PS3.5 §8.1.2, A.2)."""
        if self.transfer_syntax != ts.ExplicitVRBigEndian or self.description.pixel_vr == b"OB":
            return 1
        return max(self.description.pixels.bits_allocated // 8, 2)

    def unread(self, number: int) -> Unread:
        """The bytes of a frame, not read yet."""
        size = sum(length for _, length in self.layout.frame_ranges(number))
        return Unread(size, partial(self.read, number))

    async def read(self, number: int) -> bytes:
        """The bytes of a frame, coded, or native from bit 0.

        Raises:
            PixelsUnreadable: it is longer than any decoded frame may be.
        """
        ranges = self.layout.frame_ranges(number)
        if sum(length for _, length in ranges) > MAX_FRAME_BYTES:
            raise PixelsUnreadable("A frame is larger than this server decodes.")
        if self.word == 1:
            return self.layout.align_frame(number, await self.reader.read(ranges))
        ((start, length),) = ranges
        return self.layout.align_frame(number, await self.read_turned(start, length))

    async def read_turned(self, start: int, length: int) -> bytes:
        """Bytes of native pixel data, in little endian: read with all of the words that they lie in."""
        before = (start - self.layout.first_offset) % self.word
        stop = start + length + (-(before + length)) % self.word
        try:
            words = await self.reader.read([(start - before, stop - start + before)])
        except ValueError:
            raise PixelsUnreadable("The pixel data does not end with a whole word.") from None
        return turned_around(words, self.word)[before : before + length]

    async def transcoded(self, pixels: Pixels, number: int, target: str) -> Result:
        """A frame in another transfer syntax; the header says its `photometric_interpretation`.

        Raises:
            PixelsUnreadable: it cannot be decoded, or not be coded so.
            Busy: too many frames are waiting.
        """

        async def make() -> Result:
            syntax = ts.ExplicitVRLittleEndian if self.transfer_syntax in NATIVE else self.transfer_syntax
            header = {"from": syntax, "to": target, "pixels": to_header(self.description.pixels)}
            return await pixels.pool.run("transcode", header, self.unread(number))

        return await pixels.results.get(("transcoded", self.digest, number, target), make)
