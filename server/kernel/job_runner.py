"""The runner: takes jobs that are due, runs their handlers, writes down how each ended.

One runner serves several queues, each with so many slots. It never stops for one job, nor for a database that
is gone. What it cannot finish before it must stop it gives back; what others took from it, because it was not
heard of for too long, it drops.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

import structlog

from server.kernel.end_task import end_task
from server.kernel.faults import Busy, Fault
from server.kernel.jobs import (
    DEFAULT_BEATS,
    TRACEPARENT,
    Beats,
    Handlers,
    JobQueue,
    Next,
    Taken,
    TaskUnknown,
    after_failure,
)
from server.kernel.tracing import Attributes, Kind, joined, span

REST_S = 0.1  # when a job is due but cannot be taken yet, such as one that an open transaction touches
BURST_S = 0.05  # from one look at the queue to the next, while commits keep telling of jobs
RETRY_DELAYS_S = (0.2, 1.0, 5.0)  # of the runner's own statements while they fail; the last repeats
GRACE_S = 6.0  # for the jobs in hand when the runner is told to stop
PUT_DOWN_S = 3.0  # then, for giving them back

Observe = Callable[[str, str, float], None]  # task, outcome, seconds

DONE, RETRIED, FAILED, GIVEN_BACK, LOST = "done", "retried", "failed", "given-back", "lost"
OUTCOMES = (DONE, RETRIED, FAILED, GIVEN_BACK, LOST)

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Run:
    """A job in hand."""

    taken: Taken
    task: "asyncio.Task[None] | None" = None
    is_lost: bool = False
    has_ended: bool = False  # its handler has; what is left is to write that down


def observe_nothing(_task: str, _outcome: str, _seconds: float) -> None:
    """Nobody wants to know."""


@dataclass(slots=True)
class JobRunner:
    """Runs the jobs of some queues; `slots`: how many of each queue at once."""

    queue: JobQueue
    handlers: Handlers
    slots: Mapping[str, int]
    beats: Beats = DEFAULT_BEATS
    grace_s: float = GRACE_S
    observe: Observe = observe_nothing
    _hand: dict[int, Run] = field(default_factory=dict)
    _ready: set[str] = field(default_factory=set)  # queues that had another job when last asked
    _freed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, stop: asyncio.Event) -> None:
        """Run jobs until `stop`, then finish those in hand, or give them back when the grace is over."""
        if not await insist(self.queue.open, "open the queue", stop):
            return
        stopping = asyncio.create_task(stop.wait())
        beating = asyncio.create_task(self._beat())
        try:
            while not stop.is_set():
                await insist(lambda: self._turn(stopping), "take jobs", stop)
        finally:
            stopping.cancel()
            await self._put_down()
            await end_task(beating)
            with suppress(Busy):
                await self.queue.close()

    async def run_due(self) -> int:
        """Run the jobs that are due, one after the other, until none is; returns how many were run.

        The queue is open already.
        """
        ran = 0
        while True:
            due = await self.queue.due_in_s(list(self.slots))
            names = [name for name, seconds in due.items() if seconds <= 0]
            if not names:
                return ran
            for name in names:
                while (taken := await self.queue.take(name)) is not None:
                    await self._begin(taken)
                    ran += 1

    @property
    def in_hand(self) -> int:
        """How many jobs run now."""
        return len(self._hand)

    async def _turn(self, stopping: "asyncio.Task[bool]") -> None:
        """Take what is due and fits; when nothing is, wait for something to happen."""
        self._freed.clear()
        free = [name for name in self.slots if self._has_room(name)]
        unknown = [name for name in free if name not in self._ready]
        due = await self.queue.due_in_s(unknown) if unknown else {}
        self._ready.update(name for name, seconds in due.items() if seconds <= 0)
        took = [await self._fill(name) for name in free if name in self._ready]
        if not any(took):
            await self._pause(stopping, min((max(each, REST_S) for each in due.values()), default=None))

    async def _fill(self, name: str) -> bool:
        """Take jobs of a queue until it has none or no slot is free; whether there was one."""
        took = False
        while self._has_room(name):
            taken = await self.queue.take(name)
            if taken is None:
                self._ready.discard(name)
                break
            self._begin(taken)
            took = True
        return took

    def _has_room(self, name: str) -> bool:
        return sum(run.taken.queue == name for run in self._hand.values()) < self.slots[name]

    async def _pause(self, stopping: "asyncio.Task[bool]", seconds: float | None) -> None:
        looked = monotonic()
        added, freed = asyncio.create_task(self.queue.added()), asyncio.create_task(self._freed.wait())
        await asyncio.wait([stopping, added, freed], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if added.done() and not stopping.done():
            await asyncio.sleep(max(0.0, looked + BURST_S - monotonic()))
        added.cancel()
        freed.cancel()

    def _begin(self, taken: Taken) -> "asyncio.Task[None]":
        if (before := self._hand.get(taken.id)) is not None:  # it was taken from us, and came back
            self._drop([before])
        run = Run(taken)
        self._hand[taken.id] = run
        run.task = asyncio.create_task(self._perform(run))
        return run.task

    async def _perform(self, run: Run) -> None:
        taken, begun = run.taken, monotonic()
        outcome = LOST
        try:
            with structlog.contextvars.bound_contextvars(job=taken.task, job_id=taken.id):
                outcome = await self._handle(run)
        finally:
            if self._hand.get(taken.id) is run:
                del self._hand[taken.id]
            self._freed.set()
            known = taken.task if taken.task in self.handlers else "unknown"
            self.observe(known, outcome, monotonic() - begun)

    async def _handle(self, run: Run) -> str:
        """Run the handler, and write down how it ended; returns the outcome."""
        taken = run.taken
        try:
            await self._call(taken)
        except asyncio.CancelledError:  # this runner cancels it, nobody else
            if run.is_lost:
                log.warning("job lost; its work is dropped")
                return LOST
            unchanged = Next(0.0, taken.failures)
            return await self._write(run, lambda: self.queue.try_again(taken, unchanged, None), GIVEN_BACK)
        except Exception as error:  # noqa: BLE001  the outermost layer of background work
            return await self._handle_failure(run, error)
        return await self._write(run, lambda: self.queue.finish(taken), DONE)

    async def _call(self, taken: Taken) -> None:
        handler = self.handlers.get(taken.task)
        if handler is None:
            raise TaskUnknown
        args = {name: value for name, value in taken.args.items() if name != TRACEPARENT}
        attributes: Attributes = {"isthmus.queue": taken.queue, "isthmus.tries": taken.tries}
        with joined(taken.args.get(TRACEPARENT)), span(f"job {taken.task}", attributes, Kind.CONSUMER):
            await handler(args)

    async def _handle_failure(self, run: Run, error: Exception) -> str:
        taken, after = run.taken, after_failure(run.taken, error)
        told = {"reason": str(error)} if isinstance(error, Fault) else {"exc_info": error}
        log.warning("job failed", tries=taken.tries + 1, again_in_s=after.delay_s, **told)
        problem = problem_of(error)
        if after.delay_s is None:
            return await self._write(run, lambda: self.queue.give_up(taken, after, problem), FAILED)
        return await self._write(run, lambda: self.queue.try_again(taken, after, problem), RETRIED)

    async def _write(self, run: Run, write: Callable[[], Awaitable[bool]], outcome: str) -> str:
        """Write down how a run ended, however long that takes: until then nobody may take the job."""
        run.has_ended = True
        failures = 0
        while True:
            try:
                return outcome if await write() else LOST
            except Exception as error:  # noqa: BLE001  whatever it is, a job must not stay in hand for ever
                log.warning("end of job not written", reason=type(error).__name__, failures=failures + 1)
                await asyncio.sleep(_delay_s(failures))
                failures += 1

    async def _beat(self) -> None:
        """Show that this runner lives, drop what was taken from it, take from those that died."""
        heard, unheld = monotonic(), frozenset[int]()
        while True:
            await asyncio.sleep(self.beats.beat_s)
            before = list(self._hand.values())
            try:
                async with asyncio.timeout(self.beats.beat_s):
                    mine = await self.queue.beat()
                    heard = monotonic()
                    self._drop(run for run in before if run.taken.id not in mine)
                    unheld = await self._let_go(mine - {run.taken.id for run in before}, unheld)
                    if recovered := await self.queue.recover():
                        log.warning("jobs of lost runners recovered", jobs=recovered)
                        self._freed.set()
            except Exception as error:  # noqa: BLE001  the heart goes on
                log.warning("no sign of life written", reason=type(error).__name__)
                if monotonic() - heard > self.beats.dead_after_s - 2 * self.beats.beat_s:
                    self._drop(before)

    async def _let_go(self, unheld: frozenset[int], earlier: frozenset[int]) -> frozenset[int]:
        """Give back what this beat and the last found taken and in no hand: the answer was lost."""
        unheld -= self._hand.keys()
        if forgotten := unheld & earlier:
            log.warning("jobs whose taking was not answered", jobs=len(forgotten))
            await self.queue.let_go(forgotten)
        return unheld

    def _drop(self, runs: Iterable[Run]) -> None:
        for run in runs:
            if self._hand.get(run.taken.id) is run and run.task is not None and not run.has_ended:
                run.is_lost = True
                run.task.cancel()

    async def _put_down(self) -> None:
        """Let the jobs in hand finish within the grace; give back the others."""
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=self.grace_s)
        for run in self._hand.values():
            if run.task is not None and not run.has_ended:
                run.task.cancel()
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=PUT_DOWN_S)
        for task in self._tasks():
            task.cancel()

    def _tasks(self) -> "list[asyncio.Task[None]]":
        return [run.task for run in self._hand.values() if run.task is not None]


def problem_of(error: BaseException) -> str:
    """What may be said of an error: a Fault's text; of a defect only its kind, for patient data's sake."""
    return str(error) if isinstance(error, Fault) else type(error).__name__


async def insist(act: Callable[[], Awaitable[object]], what: str, stop: asyncio.Event) -> bool:
    """Do it, again and again while it fails; False: told to stop first."""
    failures = 0
    while not stop.is_set():
        try:
            await act()
        except Exception as error:  # noqa: BLE001  the outermost layer of background work
            told = {"reason": str(error)} if isinstance(error, Fault) else {"exc_info": error}
            log.warning("runner cannot go on", act=what, failures=failures + 1, **told)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _delay_s(failures))
            failures += 1
        else:
            return True
    return False


def _delay_s(failures: int) -> float:
    return RETRY_DELAYS_S[min(failures, len(RETRY_DELAYS_S) - 1)]
