"""Writing jobs into the queue, in the transaction of the act that defers them; one statement for all.

On PostgreSQL the rows go straight into Procrastinate's table, whose schema our migration pins: the library's
own function ends the transaction when a job of the same dedupe key waits already. `DO UPDATE` finds that job
and holds its row until this transaction ends, also when its `WHERE` then changes nothing. A runner skips held
rows, so it cannot take that job and miss what is being committed here (decision 0013).
"""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from server.kernel import postgresql
from server.kernel.bulk import upsert_rows
from server.kernel.clock import SECOND_US
from server.kernel.jobs import TRACEPARENT, Args, Job, JobState, without_duplicates
from server.kernel.rows import table_of
from server.kernel.tables import JobRow
from server.kernel.tracing import current_traceparent

_JOB = table_of(JobRow)

_POSTGRESQL = """
INSERT INTO procrastinate_jobs AS waiting
    (queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at)
SELECT queue, task, priority, exclusive, dedupe_key,
       jsonb_build_object('args', args, 'failures', 0, 'problem', NULL),
       to_timestamp(due_us / 1000000.0)
FROM jsonb_to_recordset($1::jsonb) AS job
    (queue text, task text, priority integer, exclusive text, dedupe_key text, args jsonb, due_us bigint)
ON CONFLICT (queueing_lock) WHERE status = 'todo' DO UPDATE
SET scheduled_at = LEAST(waiting.scheduled_at, excluded.scheduled_at),
    priority = GREATEST(waiting.priority, excluded.priority)
WHERE excluded.scheduled_at < waiting.scheduled_at OR excluded.priority > waiting.priority
"""

_SQLITE_CONFLICT = (
    " ON CONFLICT (dedupe_key) WHERE state = 'waiting' DO UPDATE"
    " SET due_us = min(due_us, excluded.due_us), priority = max(priority, excluded.priority)"
)


async def write_jobs(connection: AsyncConnection, jobs: Sequence[Job], now_us: int) -> None:
    """Put jobs into the queue; one whose dedupe key waits already joins that one."""
    single = without_duplicates(jobs)
    if connection.dialect.name == "sqlite":
        await upsert_rows(connection, _JOB, [_row(job, now_us) for job in single], _SQLITE_CONFLICT)
    else:
        written = orjson.dumps([_columns(job, now_us) | {"args": _args(job)} for job in single])
        await postgresql.execute(connection, _POSTGRESQL, written.decode())


def _args(job: Job) -> Args:
    """The arguments with the trace of the act, if there is one."""
    traceparent = current_traceparent()
    return job.args if traceparent is None else {**job.args, TRACEPARENT: traceparent}


def _columns(job: Job, now_us: int) -> dict[str, Any]:
    return {
        "queue": job.queue,
        "task": job.task,
        "priority": job.priority,
        "exclusive": job.dedupe_key if job.exclusive else None,
        "dedupe_key": job.dedupe_key,
        "due_us": now_us + int(job.delay_s * SECOND_US),
    }


def _row(job: Job, now_us: int) -> dict[str, Any]:
    return _columns(job, now_us) | {
        "args": orjson.dumps(_args(job)).decode(),
        "state": JobState.WAITING.value,
        "tries": 0,
        "failures": 0,
        "changed_us": now_us,
    }
