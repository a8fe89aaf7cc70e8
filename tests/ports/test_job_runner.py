"""A process that runs jobs, on both databases: it loses none, and lets go of what is no longer its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text

from server.kernel.database import Database, UnitOfWork
from server.kernel.end_task import end_task
from server.kernel.faults import Busy
from server.kernel.job_queues import job_queue
from server.kernel.job_runner import JobRunner
from server.kernel.jobs import (
    DEFAULT_BEATS,
    QUEUES,
    RECORD,
    STORAGE,
    Args,
    Beats,
    Job,
    JobQueue,
    Next,
    Taken,
)
from tests.ports.jobs import QUICK, SOON_S, defer, opened, take
from tests.services.jobs import hurry


class Handlers(dict[str, Callable[[Args], Awaitable[None]]]):
    """Handlers by task, and what they were called with."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.called = asyncio.Event()

    def add(self, task: str, handle: Callable[[Args], Awaitable[None]]) -> None:
        async def note(args: Args) -> None:
            self.calls.append(args.get("n"))
            self.called.set()
            await handle(args)

        self[task] = note

    def add_endless(self, task: str) -> asyncio.Event:
        """One that never ends by itself; the event says that it was dropped."""
        dropped = asyncio.Event()

        async def endless(_args: Args) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                dropped.set()

        self.add(task, endless)
        return dropped


async def nothing(_args: Args) -> None:
    return None


@asynccontextmanager
async def running(
    database: Database, handlers: Handlers, beats: Beats = DEFAULT_BEATS, **options: Any
) -> AsyncIterator[asyncio.Event]:
    """A runner at work; ends when the caller does, or by the event."""
    stop = asyncio.Event()
    queue = job_queue(database, (RECORD,), beats)
    task = asyncio.create_task(JobRunner(queue, handlers, {RECORD: 2}, beats, **options).run(stop))
    try:
        yield stop
    finally:
        stop.set()
        await asyncio.wait_for(task, SOON_S)


async def test_runner_runs_what_waited_and_what_comes(database: Database) -> None:
    handlers = Handlers()
    handlers.add("a", nothing)
    await defer(database, Job("a", {"n": 1}))
    async with asyncio.timeout(SOON_S), running(database, handlers):
        await handlers.called.wait()
        handlers.called.clear()
        await defer(database, Job("a", {"n": 2}))
        await handlers.called.wait()
    assert handlers.calls == [1, 2]
    async with opened(database) as queue:
        assert await queue.due_in_s(QUEUES) == {}


class Unanswered:
    """A queue whose first job is taken, and the answer lost on the way."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self.lost = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    async def take(self, name: str) -> Taken | None:
        taken = await self._queue.take(name)
        if taken is not None and not self.lost:
            self.lost += 1
            raise Busy("The connection broke.")
        return taken


async def test_job_whose_taking_was_not_answered_is_run(database: Database) -> None:
    done, stop = asyncio.Event(), asyncio.Event()

    async def handle(_args: Args) -> None:
        done.set()

    queue = Unanswered(job_queue(database, QUEUES, QUICK))
    runner = JobRunner(queue, {"work": handle}, {RECORD: 1}, QUICK)  # type: ignore[arg-type]
    running = asyncio.create_task(runner.run(stop))
    await defer(database, Job("work", dedupe_key="one", exclusive=True))
    await asyncio.wait_for(done.wait(), SOON_S)
    assert queue.lost == 1
    stop.set()
    await running


async def test_failing_job_is_retried_and_holds_up_no_other(database: Database) -> None:
    handlers, outcomes = Handlers(), []
    done = asyncio.Event()

    async def fail(_args: Args) -> None:
        raise ValueError("Demo^Phantom")

    async def end(_args: Args) -> None:
        done.set()

    handlers.add("bad", fail)
    handlers.add("good", end)
    await defer(database, Job("bad", {"n": 1}), Job("bad", {"n": 2}), Job("good"))
    async with (
        asyncio.timeout(SOON_S),
        running(database, handlers, observe=lambda task, outcome, _: outcomes.append((task, outcome))),
    ):
        await done.wait()
    assert set(outcomes) == {("bad", "retried"), ("good", "done")}
    async with opened(database) as queue:
        await hurry(database)
        assert [(await take(queue)).failures >= 1 for _ in range(2)] == [True, True]


async def test_job_of_another_release_is_left_to_it(database: Database) -> None:
    await defer(database, Job("newer"))
    async with opened(database) as queue:
        runner = JobRunner(queue, {}, {RECORD: 1}, QUICK)
        assert await runner.run_due() == 1
        await hurry(database)
        assert (await take(queue)).failures == 0


async def test_stopped_runner_finishes_what_it_has(database: Database) -> None:
    handlers, stopping = Handlers(), asyncio.Event()

    async def go_on_after_the_stop(_args: Args) -> None:
        await stopping.wait()
        await defer(database, Job("what it did", queue=STORAGE))

    handlers.add("a", go_on_after_the_stop)
    await defer(database, Job("a"))
    async with asyncio.timeout(SOON_S), running(database, handlers, grace_s=SOON_S) as stop:
        await handlers.called.wait()
        stop.set()
        stopping.set()
    async with opened(database) as queue:
        assert await queue.take(RECORD) is None
        assert await queue.take(STORAGE) is not None


async def test_runner_gives_back_what_takes_longer_than_the_grace(database: Database) -> None:
    handlers = Handlers()

    async def never(_args: Args) -> None:
        await asyncio.Event().wait()

    handlers.add("a", never)
    await defer(database, Job("a"))
    async with asyncio.timeout(SOON_S), running(database, handlers, grace_s=0):
        await handlers.called.wait()
    async with opened(database) as queue:
        again = await take(queue)  # at once, without waiting for the runner to count as dead
        assert again.failures == 0


async def test_runner_drops_what_was_taken_from_it(database: Database) -> None:
    handlers = Handlers()
    dropped = handlers.add_endless("a")
    await defer(database, Job("a"))
    if database.is_sqlite:
        theft = "UPDATE job SET runner = 'another' WHERE state = 'running'"
    else:
        theft = "UPDATE procrastinate_jobs SET worker_id = NULL WHERE status = 'doing'"

    async def steal(unit: UnitOfWork) -> None:
        await unit.execute(text(theft))

    watchful = Beats(beat_s=0.2, dead_after_s=3600)
    async with asyncio.timeout(SOON_S), running(database, handlers, watchful):
        await handlers.called.wait()
        await database.transact(steal)
        await dropped.wait()


async def test_runner_that_takes_a_lost_job_again_drops_its_first_run(database: Database) -> None:
    handlers = Handlers()
    dropped = handlers.add_endless("a")
    await defer(database, Job("a"))
    async with opened(database) as queue:
        runner = JobRunner(queue, handlers, {RECORD: 2})
        taken = await take(queue)
        first = runner._begin(taken)
        await handlers.called.wait()
        await queue.try_again(taken, Next(0, 0), None)  # as who thought the runner dead does
        second = runner._begin(await take(queue))
        async with asyncio.timeout(SOON_S):
            await dropped.wait()
            await first
        assert not second.done()
        await end_task(second)
