"""Runs of one model that wait for it together go into one request, urgent ones first.

The model is one process, and does one request at a time. While it does, others gather; the next request takes
as many of them as the model can have at once. When such a request fails, each of its runs is repeated alone:
a volume that a model cannot stand hurts only its own study. Requests belong to nobody: one goes on while any
of its runs is waited for.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog

from ai_engine.runners.port import RunnerFault, RunnerInput, RunnerOutput

log = structlog.get_logger(__name__)

Deliver = Callable[[Sequence[RunnerInput]], Awaitable[Sequence[RunnerOutput]]]


@dataclass(slots=True, eq=False)
class _Turn:
    """One run that waits."""

    work: RunnerInput
    output: RunnerOutput | None = None
    error: Exception | None = None
    alone: bool = False  # it failed with others
    over: asyncio.Event = field(default_factory=asyncio.Event)
    context: contextvars.Context = field(default_factory=contextvars.copy_context)  # of who runs it

    def end(self, output: RunnerOutput | None, error: Exception | None = None) -> None:
        self.output, self.error = output, error
        self.over.set()


class Together:
    """Lets waiting runs share requests; `deliver` does one request and raises a RunnerFault for all of it."""

    def __init__(self, most: int, deliver: Deliver) -> None:
        self._most = most
        self._deliver = deliver
        self._waiting: list[_Turn] = []
        self._asked: Sequence[_Turn] = ()  # the turns of the request that is under way
        self._request: asyncio.Task[Sequence[RunnerOutput]] | None = None
        self._serving: asyncio.Task[None] | None = None

    async def run(self, work: RunnerInput) -> RunnerOutput:
        """The output of one run. Cancelling the last run that waits for a request cancels that.

        Raises:
            RunnerFault: it did not deliver, also not alone.
        """
        turn = _Turn(work)
        self._waiting.append(turn)
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve(), context=contextvars.Context())
        try:
            await turn.over.wait()
        finally:
            self._waiting.remove(turn)
            await self._let_go(turn)
        if turn.output is None:
            raise turn.error or RunnerFault("the run ended without a result")
        return turn.output

    async def _let_go(self, turn: _Turn) -> None:
        """End the request that only this turn, which is given up, was waiting for."""
        request = self._request
        if request is None or turn.over.is_set() or turn not in self._asked:
            return
        if not any(each in self._waiting for each in self._asked):
            request.cancel()
            await asyncio.wait([request])

    async def _serve(self) -> None:
        """Requests, one after the other, while anybody waits."""
        try:
            while turns := self._next():
                await self._ask(turns)
        finally:
            for turn in self._waiting:  # nobody else would tell them
                turn.over.set()

    async def _ask(self, turns: Sequence[_Turn]) -> None:
        works = [turn.work for turn in turns]
        request = asyncio.create_task(self._delivered(works), context=turns[0].context)
        self._asked, self._request = turns, request
        try:
            await asyncio.wait([request])
        finally:
            self._asked, self._request = (), None
        error = None if request.cancelled() else request.exception()
        if request.cancelled() or not (error is None or isinstance(error, Exception)):
            for turn in turns:
                turn.over.set()
        elif error is None:
            for turn, output in zip(turns, request.result(), strict=True):
                turn.end(output)
        elif len(turns) == 1:
            turns[0].end(None, error)
        else:
            log.warning("runner.apart", runs=len(turns), code=getattr(error, "code", type(error).__name__))
            for turn in turns:
                turn.alone = True

    async def _delivered(self, works: Sequence[RunnerInput]) -> Sequence[RunnerOutput]:
        return await self._deliver(works)

    def _next(self) -> list[_Turn]:
        """The first that waits, urgent ones before others, and those that can go with it; or nobody."""
        order = sorted(
            (turn for turn in self._waiting if not turn.over.is_set()), key=lambda turn: not turn.work.urgent
        )
        if order and order[0].alone:
            return order[:1]
        return [turn for turn in order if not turn.alone][: self._most]
