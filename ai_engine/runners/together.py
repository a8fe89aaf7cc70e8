"""Runs of one model that wait for it together go into one request, urgent ones first.

The model is one process, and does one request at a time. While it does, others gather; the next request takes
as many of them as the model can have at once. When such a request fails, each of its runs is repeated alone:
a volume that a model cannot stand hurts only its own study.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from ai_engine.runners.port import RunnerFault, RunnerInput, RunnerOutput

log = structlog.get_logger(__name__)

Deliver = Callable[[Sequence[RunnerInput]], Awaitable[Sequence[RunnerOutput]]]


@dataclass(slots=True, eq=False)
class _Turn:
    """One run that waits."""

    work: RunnerInput
    output: RunnerOutput | None = None
    fault: RunnerFault | None = None
    alone: bool = False  # it failed with others

    @property
    def is_over(self) -> bool:
        return self.output is not None or self.fault is not None


class Together:
    """Lets waiting runs share requests; `deliver` does one request and raises a RunnerFault for all of it."""

    def __init__(self, most: int, deliver: Deliver) -> None:
        self._most = most
        self._deliver = deliver
        self._waiting: list[_Turn] = []
        self._lock = asyncio.Lock()

    async def run(self, work: RunnerInput) -> RunnerOutput:
        """The output of one run, whoever made the request.

        Raises:
            RunnerFault: it did not deliver, also not alone.
        """
        turn = _Turn(work)
        self._waiting.append(turn)
        try:
            while not turn.is_over:
                async with self._lock:
                    if not turn.is_over:
                        await self._request()
        finally:
            self._waiting.remove(turn)
        if turn.output is None:
            raise turn.fault or RunnerFault("the run ended without a result")
        return turn.output

    async def _request(self) -> None:
        turns = self._next()
        try:
            outputs = await self._deliver([turn.work for turn in turns])
        except RunnerFault as fault:
            if len(turns) == 1:
                turns[0].fault = fault
                return
            log.warning("runner.apart", runs=len(turns), code=fault.code)
            for turn in turns:
                turn.alone = True
        else:
            for turn, output in zip(turns, outputs, strict=True):
                turn.output = output

    def _next(self) -> list[_Turn]:
        """The first that waits, urgent ones before others, and those that can go with it."""
        order = sorted(
            (turn for turn in self._waiting if not turn.is_over), key=lambda turn: not turn.work.urgent
        )
        if order[0].alone:
            return order[:1]
        return [turn for turn in order if not turn.alone][: self._most]
