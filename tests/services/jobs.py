"""Background jobs in tests: nothing runs by itself, and nobody waits until something is due."""

from collections.abc import Sequence

from sqlalchemy import text

from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork
from server.kernel.job_queues import job_queue
from server.kernel.job_runner import JobRunner
from server.kernel.jobs import DEFAULT_BEATS, QUEUES, RECORD
from server.kernel.services import Services
from server.workflows.job_registry import server_handlers

SOON_S = 31.0  # what is due within it is run now; what waits longer, as for a quiet time, goes on waiting
QUIET_S = 3600.0  # no study settles but in tests that say so
ALL_S = 1e8

_SQLITE = "UPDATE job SET due_us = 0 WHERE state = 'waiting' AND queue = :queue AND due_us <= :until"
_POSTGRESQL = """
UPDATE procrastinate_jobs SET scheduled_at = LEAST(scheduled_at, now())
WHERE status = 'todo' AND queue_name = :queue
  AND scheduled_at <= to_timestamp(CAST(:until AS bigint) / 1000000.0)
"""


async def hurry(database: Database, within_s: float = ALL_S, queues: Sequence[str] = QUEUES) -> int:
    """Make jobs due now that would be within so many seconds; returns how many are."""

    async def work(unit: UnitOfWork) -> int:
        until_us = unit.now_us + int(within_s * SECOND_US)
        sql = text(_SQLITE if database.is_sqlite else _POSTGRESQL)
        hurried = [await unit.execute(sql, {"until": until_us, "queue": queue}) for queue in queues]
        return sum(each.rowcount for each in hurried)

    return await database.transact(work)


async def run_record_jobs(services: Services, quiet_time_s: float = QUIET_S) -> int:
    """Run what the servers would run within `SOON_S`, and what follows from it; returns how many runs."""
    queue = job_queue(services.database, (RECORD,), DEFAULT_BEATS)
    runner = JobRunner(queue, server_handlers(services, quiet_time_s), {RECORD: 1})
    ran = 0
    await queue.open()
    try:
        while await hurry(services.database, SOON_S, (RECORD,)):
            ran += await runner.run_due()
    finally:
        await queue.close()
    return ran
