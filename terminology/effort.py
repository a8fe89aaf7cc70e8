"""How much is done for one expansion or validation: bounded, and others have their turn meanwhile.

What a request brings along may be asked in loops within loops: value sets by includes, codes by excludes and
filters. Each step counts, whatever it finds; what a database does counts by the time that it takes.
"""

import asyncio
from collections.abc import Awaitable
from time import perf_counter
from typing import TypeVar

from terminology.issues import TooCostly

MAX_STEPS = 250_000  # of one expansion or validation: some 3 to 6 s
MAX_STEPS_OF_BATCH = 1_000_000  # of all validations of one request

STEPS_OF_A_SECOND = 10_000  # that a code system works: 25 s in all

T = TypeVar("T")

_TURN = 1_000  # steps, some 10 ms


class Effort:
    """What has been done for one expansion or validation."""

    __slots__ = ("_limit", "_next", "steps")

    def __init__(self, limit: int | None = None) -> None:
        """Begin; up to `limit` steps, None: `MAX_STEPS`."""
        self._limit = MAX_STEPS if limit is None else limit
        self.steps, self._next = 0, min(_TURN, self._limit)

    async def timed(self, answer: Awaitable[T]) -> T:
        """What a code system answers, the time for which counts.

        Raises:
            TooCostly: it was too long, together with all before.
        """
        began = perf_counter()
        try:
            return await answer
        finally:
            await self.take(int((perf_counter() - began) * STEPS_OF_A_SECOND))

    async def take(self, steps: int = 1) -> None:
        """Count steps: a concept held against a filter, or an include asked about a code.

        Raises:
            TooCostly: they are too many.
        """
        self.steps += steps
        if self.steps >= self._next:
            if self.steps > self._limit:
                raise TooCostly("The definitions are too large for what is asked of them: narrow them.")
            self._next = min(self.steps + _TURN, self._limit)
            await asyncio.sleep(0)
