"""Long answers take turns: of all that are under way, one piece is made in a turn of the event loop.

A piece that is read from memory and written to a socket that takes it never waits, so one long answer would
keep the loop to itself, and ten of them a short one ten times as long. A short answer needs a few turns of
the loop; with this it waits for a piece in each, however many long ones there are.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

PIECE_BYTES = 256 << 10  # what is sent between two turns, at least


class Turns:
    """Who waits for a turn of the loop, first come, first served."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Wait for a turn that is nobody else's; the next one when nobody waits."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            loop.call_soon(self._give)
        await turn

    async def pieces(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same chunks, with a turn of its own for each `PIECE_BYTES`."""
        sent = 0
        async for chunk in body:
            yield chunk
            sent += len(chunk)
            if sent >= PIECE_BYTES:
                sent = 0
                await self.take()

    def _give(self) -> None:
        """The turn of the first; the next has the next one, also when the first has gone away."""
        turn = self._waiting.popleft()
        if not turn.done():
            turn.set_result(None)
        if self._waiting:
            turn.get_loop().call_soon(self._give)
