"""How much is done for one expansion or validation: bounded, and others have their turn meanwhile.

What a request brings along may be asked in loops within loops: value sets by includes, codes by excludes and
filters. Each step counts, whatever it finds.
"""

import asyncio

from terminology.issues import TooCostly

MAX_STEPS = 250_000  # of one expansion or validation: some 3 to 6 s

_TURN = 1_000  # steps, some 10 ms


class Effort:
    """What has been done for one expansion or validation."""

    __slots__ = ("_next", "_steps")

    def __init__(self) -> None:
        self._steps, self._next = 0, _TURN

    async def take(self, steps: int = 1) -> None:
        """Count steps: a concept held against a filter, or an include asked about a code.

        Raises:
            TooCostly: they are too many.
        """
        self._steps += steps
        if self._steps >= self._next:
            if self._steps > MAX_STEPS:
                raise TooCostly("The definitions are too large for what is asked of them: narrow them.")
            self._next = self._steps + _TURN
            await asyncio.sleep(0)
