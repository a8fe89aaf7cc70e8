"""The frames of an instance on their way into another transfer syntax."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import partial

from dicomweb.ahead import in_order
from dicomweb.pixels.pool import Result
from dicomweb.pixels.service import Pixels
from dicomweb.transcode.source import FrameSource

FRAMES_AHEAD = 2  # made while others are sent


@dataclass(frozen=True, slots=True)
class FrameCoding:
    """Which frames, into what, by whom."""

    source: FrameSource
    target: str
    pixels: Pixels

    @property
    def number_of_frames(self) -> int:
        """How many there are."""
        return self.source.layout.number_of_frames

    async def frame(self, number: int) -> Result:
        """One frame, from 1; see `FrameSource.transcoded`."""
        return await self.source.transcoded(self.pixels, number, self.target)

    async def frames_of(self, numbers: Iterable[int], *, is_begun: bool = False) -> AsyncIterator[bytes]:
        """These frames in their order; a few are made while others are sent; `is_begun` as `in_order`."""
        makers = (partial(self.frame, number) for number in numbers)
        async for _, frame in in_order(makers, 1 + FRAMES_AHEAD, is_begun=is_begun):
            yield frame

    async def all_frames(self, first: bytes) -> AsyncIterator[bytes]:
        """All frames; the first is there already."""
        yield first
        async for frame in self.frames_of(range(2, self.number_of_frames + 1), is_begun=True):
            yield frame
