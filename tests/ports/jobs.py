"""Queues and jobs for the tests of background work."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import func, select

from server.kernel.database import Database, UnitOfWork
from server.kernel.job_queues import job_queue
from server.kernel.jobs import (
    QUEUES,
    RECORD,
    Beats,
    Job,
    JobQueue,
    Taken,
)
from server.kernel.rows import table_of

SOON_S = 30.0
QUICK = Beats(beat_s=0.2, dead_after_s=2.0)


async def defer(database: Database, *jobs: Job) -> None:
    async def work(unit: UnitOfWork) -> None:
        for job in jobs:
            unit.defer(job)

    await database.transact(work)


@asynccontextmanager
async def opened(database: Database, beats: Beats = QUICK) -> AsyncIterator[JobQueue]:
    queue = job_queue(database, QUEUES, beats)
    await queue.open()
    try:
        yield queue
    finally:
        await queue.close()


async def count(database: Database, row: type) -> int:
    async with database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(table_of(row)))).scalar_one())


async def take(queue: JobQueue, name: str = RECORD) -> Taken:
    taken = await queue.take(name)
    assert taken is not None
    return taken
