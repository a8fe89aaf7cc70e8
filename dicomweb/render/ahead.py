"""Making the parts of a long answer ahead of their turn, so that more than one child works for it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

Made = TypeVar("Made")
AHEAD = 4  # made or under way at once, of one answer: a few pictures in memory, and room for other requests


async def in_order(makers: Iterator[Callable[[], Awaitable[Made]]]) -> AsyncIterator[Made]:
    """What each maker makes, in their order; the first that fails ends it."""
    waiting: deque[asyncio.Future[Made]] = deque()
    try:
        while True:
            while len(waiting) < AHEAD and (maker := next(makers, None)) is not None:
                waiting.append(asyncio.ensure_future(maker()))
            if not waiting:
                return
            yield await waiting.popleft()
    finally:
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
