"""The jobs of a database as rows of `JobRow`, whichever tables carry them: out of one queue, into another.

A job in the hands of a runner counts as waiting: where it goes its runner is not. Nobody works on the queue
that rows go into.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from server.kernel.bulk import copy_rows
from server.kernel.jobs import JobState
from server.kernel.rows import table_of
from server.kernel.snapshot import Snapshot, Values
from server.kernel.tables import JobRow

_JOB = table_of(JobRow)
COLUMNS = tuple(map(str, _JOB.columns.keys()))
WAITING = JobState.WAITING.value

_SQLITE = select(_JOB).order_by(_JOB.c.state != WAITING, _JOB.c.id)
_POSTGRESQL = text("""
SELECT id, task_name AS task, (args -> 'args')::text AS args, queue_name AS queue, priority,
       (extract(epoch FROM coalesce(scheduled_at, now())) * 1000000)::bigint AS due_us,
       queueing_lock AS dedupe_key, lock AS exclusive,
       CASE status WHEN 'failed' THEN 'failed' WHEN 'todo' THEN 'waiting' ELSE 'running' END AS state,
       attempts AS tries, coalesce((args ->> 'failures')::integer, 0) AS failures,
       args ->> 'problem' AS problem
FROM procrastinate_jobs WHERE status IN ('todo', 'doing', 'failed') ORDER BY status <> 'todo', id
""")

_INTO_POSTGRESQL = text("""
INSERT INTO procrastinate_jobs
    (queue_name, task_name, priority, lock, queueing_lock, args, status, scheduled_at, attempts)
SELECT queue, task, priority, exclusive, dedupe_key,
       jsonb_build_object('args', args, 'failures', failures, 'problem', problem),
       CAST(CASE state WHEN 'failed' THEN 'failed' ELSE 'todo' END AS procrastinate_job_status),
       to_timestamp(due_us / 1000000.0), tries
FROM jsonb_to_recordset(CAST(:jobs AS jsonb)) AS job
    (id bigint, queue text, task text, priority integer, exclusive text, dedupe_key text, args jsonb,
     state text, due_us bigint, tries integer, failures integer, problem text)
ORDER BY id
""")


async def read_jobs(snapshot: Snapshot) -> AsyncIterator[Sequence[Values]]:
    """Every job that is not done, as values of `COLUMNS`; of one dedupe key one waits."""
    waiting: set[str] = set()
    if snapshot.connection.dialect.name == "sqlite":
        async for rows in snapshot.stream(_SQLITE):
            yield list(_put_down((dict(zip(COLUMNS, row, strict=True)) for row in rows), waiting))
        return
    async with snapshot.connection.stream(_POSTGRESQL) as result:
        async for part in result.mappings().partitions(100):
            jobs = (dict(row) | {"changed_us": row["due_us"]} for row in part)
            yield list(_put_down(jobs, waiting))


def _put_down(jobs: Iterable[Mapping[str, Any]], waiting: set[str]) -> Iterator[Values]:
    """The jobs as no runner has them in hand; those that wait come first."""
    for job in jobs:
        state = job["state"]
        if state != JobState.FAILED.value:
            if job["dedupe_key"] in waiting:
                continue  # the one that waits does what this one does
            waiting |= {job["dedupe_key"]} - {None}
            state = WAITING
        known = {**job, "state": state, "runner": None, "alive_until_us": None}
        yield tuple(known[column] for column in COLUMNS)


async def write_job_rows(
    connection: AsyncConnection, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Put rows of `JobRow` into the queue of this database, in a transaction."""
    if connection.dialect.name == "sqlite":
        await copy_rows(connection, _JOB.name, columns, rows)
        return
    jobs = [dict(zip(columns, row, strict=True)) for row in rows]
    written = orjson.dumps([{**job, "args": orjson.Fragment(job["args"])} for job in jobs])
    await connection.execute(_INTO_POSTGRESQL, {"jobs": written.decode()})


async def count_jobs(connection: AsyncConnection) -> int:
    """How many jobs are in the queue, whatever their state."""
    query = (
        select(func.count()).select_from(_JOB)
        if connection.dialect.name == "sqlite"
        else text("SELECT count(*) FROM procrastinate_jobs")
    )
    return int((await connection.execute(query)).scalar_one())
