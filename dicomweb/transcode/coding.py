"""The frames of an instance on their way into another transfer syntax."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

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

    async def frames_of(self, numbers: Iterable[int]) -> AsyncIterator[bytes]:
        """These frames in their order; a few are made while others are sent."""
        ahead: deque[asyncio.Task[Result]] = deque()
        try:
            for number in numbers:
                ahead.append(asyncio.ensure_future(self.frame(number)))
                ahead[-1].add_done_callback(_noticed)
                if len(ahead) > FRAMES_AHEAD:
                    yield (await ahead.popleft())[1]
            while ahead:
                yield (await ahead.popleft())[1]
        finally:
            for task in ahead:
                task.cancel()

    async def all_frames(self, first: bytes) -> AsyncIterator[bytes]:
        """All frames; the first is there already."""
        yield first
        async for frame in self.frames_of(range(2, self.number_of_frames + 1)):
            yield frame


def _noticed(task: asyncio.Task[Result]) -> None:
    """A frame that nobody waits for any more may have failed."""
    if not task.cancelled():
        task.exception()
