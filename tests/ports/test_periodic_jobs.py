"""Recurring tasks, on both databases: once in their period, however many processes there are."""

import asyncio
from functools import partial

from sqlalchemy import update

from server.kernel.database import Database, UnitOfWork
from server.kernel.jobs import STORAGE, JobQueue
from server.kernel.periodic_jobs import FIRST_S, Recurring, _take_turn, defer_due, keep_schedule
from server.kernel.rows import table_of
from server.kernel.tables import PeriodicJob
from tests.ports.jobs import SOON_S, take

EVERY = Recurring("care", 3600)


async def make_due(database: Database) -> None:
    async def work(unit: UnitOfWork) -> None:
        await unit.execute(update(table_of(PeriodicJob)).values(next_us=unit.now_us))

    await database.transact(work)


async def test_recurring_task_is_deferred_once_by_several_processes(
    database: Database, queue: JobQueue
) -> None:
    assert 0 < await defer_due(database, [EVERY]) <= FIRST_S
    assert await queue.take(STORAGE) is None
    await make_due(database)
    waits = await asyncio.gather(*(defer_due(database, [EVERY]) for _ in range(5)))
    assert all(3500 < wait <= 3600 for wait in waits)
    first = await take(queue, STORAGE)
    assert first.task == "care"
    await queue.finish(first)
    await database.transact(partial(_take_turn, EVERY))  # of one who had looked before the others did it
    assert await queue.take(STORAGE) is None


async def test_recurring_task_does_not_overtake_itself(database: Database, queue: JobQueue) -> None:
    await defer_due(database, [EVERY])
    await make_due(database)
    await defer_due(database, [EVERY])
    slow = await take(queue, STORAGE)
    await make_due(database)
    await defer_due(database, [EVERY])
    assert await queue.take(STORAGE) is None
    await queue.finish(slow)
    assert (await take(queue, STORAGE)).task == "care"


async def test_shorter_period_holds_at_once(database: Database) -> None:
    await defer_due(database, [EVERY])
    await make_due(database)
    await defer_due(database, [EVERY])
    assert await defer_due(database, [Recurring("care", 10)]) <= 10


async def test_schedule_runs_until_it_is_stopped(database: Database, queue: JobQueue) -> None:
    stop, told = asyncio.Event(), asyncio.Event()
    database.on_jobs(told.set)
    schedule = asyncio.create_task(keep_schedule(database, [Recurring("care", 0.2)], stop))
    async with asyncio.timeout(SOON_S):
        await told.wait()
        stop.set()
        await schedule
    assert (await take(queue, STORAGE)).task == "care"
