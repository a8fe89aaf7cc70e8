"""Making the parts of a long answer ahead of their turn, so that more than one child works for it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

from server.kernel.faults import Busy

Made = TypeVar("Made")
AHEAD = 4  # made or under way at once, of one answer: a few pictures in memory, and room for other requests
RETRY_S = 0.2  # until a part that found no room is tried again
PATIENCE = 300  # times; then nobody else gets anywhere either


async def in_order(
    makers: Iterator[Callable[[], Awaitable[Made]]], ahead: int = AHEAD, *, is_begun: bool = False
) -> AsyncIterator[Made]:
    """What each maker makes, in their order; the first that fails ends it.

    The first may be `Busy`, which then still becomes a status, unless something was sent before: `is_begun`.
    A later one waits for room, for it would break the answer off.
    """
    waiting: deque[tuple[Callable[[], Awaitable[Made]], asyncio.Future[Made]]] = deque()
    try:
        while True:
            while len(waiting) < ahead and (maker := next(makers, None)) is not None:
                waiting.append((maker, asyncio.ensure_future(maker())))
            if not waiting:
                return
            maker, making = waiting.popleft()
            try:
                made = await making
            except Busy:
                if not is_begun:
                    raise
                made = await _patiently(maker)
            yield made
            is_begun = True
    finally:
        futures = [making for _, making in waiting]
        for each in futures:
            each.cancel()
        await asyncio.gather(*futures, return_exceptions=True)


async def _patiently(maker: Callable[[], Awaitable[Made]]) -> Made:
    for _ in range(PATIENCE):
        await asyncio.sleep(RETRY_S)
        try:
            return await maker()
        except Busy:
            continue
    return await maker()
