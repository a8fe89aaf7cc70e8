"""The queue on PostgreSQL: Procrastinate's tables, functions, workers and notifications, by its own library.

What is not the library's is what ends a run. Its functions name a job by its id alone, so a runner that was
taken for dead could finish what another has in hand by now; here every end names the run: job, worker and
attempt. Its `Worker` is not used for that reason and three more (decision 0013).
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.jobs import Job as ProcrastinateJob
from psycopg import OperationalError
from psycopg.errors import ForeignKeyViolation
from sqlalchemy.engine import URL

from server.kernel.end_task import end_task
from server.kernel.faults import Busy
from server.kernel.jobs import LOST, Beats, Next, Taken, after_failure

POLL_S = 5.0  # between looks for what no notification told of
CONNECTIONS = 3  # of one runner, beside the one that listens
TIMEOUT_S = 5.0  # for a connection
RECONNECT_S = 1.0

log = structlog.get_logger(__name__)

_DUE = """
SELECT queue_name, GREATEST(0, extract(epoch FROM min(scheduled_at) - now()))::float AS seconds
FROM procrastinate_jobs AS job
WHERE status = 'todo' AND queue_name = ANY(%(queues)s)
  AND NOT EXISTS (SELECT 1 FROM procrastinate_jobs AS other
                  WHERE other.lock = job.lock AND other.status = 'doing')
GROUP BY queue_name
"""

_THIS_RUN = """
id = %(id)s AND status = 'doing' AND attempts = %(tries)s AND worker_id IS NOT DISTINCT FROM %(worker)s
"""
_FINISH = f"DELETE FROM procrastinate_jobs WHERE {_THIS_RUN} RETURNING id"  # noqa: S608  no value of anybody's
_END = f"""
WITH ended AS (
    UPDATE procrastinate_jobs
    SET status = %(status)s::procrastinate_job_status, attempts = attempts + 1, worker_id = NULL,
        scheduled_at = now() + %(delay_s)s * interval '1 second', args = args || %(said)s
            || jsonb_build_object('changed_us', (extract(epoch FROM now()) * 1000000)::bigint)
    WHERE {_THIS_RUN}
    RETURNING id, queue_name, status
)
SELECT id, CASE WHEN status = 'todo' THEN
    pg_notify('procrastinate_queue_v1#' || queue_name,
              json_build_object('type', 'job_inserted', 'job_id', id)::text) END
FROM ended
"""  # noqa: S608  no value of anybody's

_BEAT = "UPDATE procrastinate_workers SET last_heartbeat = now() WHERE id = %(worker)s RETURNING id"
_MINE = "SELECT id FROM procrastinate_jobs WHERE status = 'doing' AND worker_id = %(worker)s"
_UNHELD = """
SELECT id, task_name, args, queue_name, attempts, worker_id FROM procrastinate_jobs
WHERE status = 'doing' AND worker_id = %(worker)s AND id = ANY(%(ids)s)
"""
_LOST = """
SELECT job.id, task_name, args, queue_name, attempts, worker_id
FROM procrastinate_jobs AS job LEFT JOIN procrastinate_workers AS worker ON worker.id = worker_id
WHERE status = 'doing'
  AND (worker.id IS NULL OR last_heartbeat < now() - %(seconds)s * interval '1 second')
"""


class ProcrastinateJobs:
    """The job queue of a PostgreSQL database, as one runner uses it."""

    def __init__(self, url: URL, beats: Beats, queues: Sequence[str]) -> None:
        self._connector = PsycopgConnector(
            conninfo=_conninfo(url), min_size=1, max_size=CONNECTIONS, timeout=TIMEOUT_S
        )
        self._manager = App(connector=self._connector).job_manager
        self._beats = beats
        self._queues = queues
        self._worker = 0
        self._told = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Register a worker, and listen."""
        with _as_busy():
            await self._connector.open_async()
            self._worker = await self._manager.register_worker()
        self._listener = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Unregister the worker: what it has in hand counts as lost at once."""
        if self._listener is not None:
            await end_task(self._listener)
        with suppress(ConnectorException, OperationalError):
            await self._manager.unregister_worker(self._worker)
        await self._connector.close_async()

    async def due_in_s(self, queues: Sequence[str]) -> Mapping[str, float]:
        """Seconds until the next job of each queue is due."""
        rows = await self._all(_DUE, queues=list(queues))
        return {row["queue_name"]: row["seconds"] for row in rows}

    async def take(self, queue: str) -> Taken | None:
        """The next job that is due, now in hand."""
        with _as_busy():
            try:
                job = await self._manager.fetch_job([queue], self._worker)
            except ConnectorException as error:
                if not isinstance(error.__cause__, ForeignKeyViolation):
                    raise
                self._worker = await self._manager.register_worker()  # it was taken for dead meanwhile
                return None
        return None if job is None else _taken(job)

    async def finish(self, taken: Taken) -> bool:
        """It is done: take it off the queue."""
        return bool(await self._all(_FINISH, **_run(taken, self._worker)))

    async def try_again(self, taken: Taken, after: Next, problem: str | None) -> bool:
        """Let it wait, or join the job of its dedupe key that waits already."""
        return await self._let_wait(taken, self._worker, after, problem)

    async def give_up(self, taken: Taken, after: Next, problem: str | None) -> bool:
        """Keep it as failed."""
        return await self._end(taken, self._worker, "failed", after, problem)

    async def beat(self) -> frozenset[int]:
        """Say that this runner lives; one that was taken for dead begins anew, with nothing in hand."""
        if not await self._all(_BEAT, worker=self._worker):
            with _as_busy():
                self._worker = await self._manager.register_worker()
        return frozenset(row["id"] for row in await self._all(_MINE, worker=self._worker))

    async def let_go(self, ids: Collection[int]) -> None:
        """Let jobs wait again whose `take` was not answered."""
        for row in await self._all(_UNHELD, worker=self._worker, ids=list(ids)):
            taken = _lost(row)
            await self._let_wait(taken, self._worker, Next(0.0, taken.failures), LOST)

    async def recover(self) -> int:
        """Take their jobs from runners that have died, and forget those."""
        lost = await self._all(_LOST, seconds=self._beats.dead_after_s)
        for row in lost:
            taken = _lost(row)
            after = after_failure(taken, None)
            if after.delay_s is None:
                await self._end(taken, row["worker_id"], "failed", after, LOST)
            else:
                await self._let_wait(taken, row["worker_id"], after, LOST)
        with _as_busy():
            await self._manager.prune_stalled_workers(self._beats.dead_after_s)
        return len(lost)

    async def added(self) -> None:
        """Wait until PostgreSQL tells of a job, or until it is time to look."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._told.wait(), POLL_S)
        self._told.clear()

    async def _let_wait(self, taken: Taken, worker: int | None, after: Next, problem: str | None) -> bool:
        try:
            return await self._end(taken, worker, "todo", after, problem)
        except UniqueViolation:  # its key waits already
            return bool(await self._all(_FINISH, **_run(taken, worker)))

    async def _end(
        self, taken: Taken, worker: int | None, status: str, after: Next, problem: str | None
    ) -> bool:
        said = {"failures": after.failures, "problem": problem}
        ended = await self._all(
            _END, **_run(taken, worker), status=status, delay_s=after.delay_s or 0.0, said=said
        )
        return bool(ended)

    async def _all(self, query: str, **arguments: Any) -> list[dict[str, Any]]:
        with _as_busy():
            rows: list[dict[str, Any]] = await self._connector.execute_query_all_async(query, **arguments)
        return rows

    async def _listen(self) -> None:
        """Hear of new jobs; when the connection is lost, again with a new one."""
        while True:
            try:
                await self._manager.listen_for_jobs(on_notification=self._hear, queues=self._queues)
            except (ConnectorException, OperationalError) as error:
                log.warning("not told of jobs for the moment", reason=type(error).__name__)
            self._told.set()
            await asyncio.sleep(RECONNECT_S)

    async def _hear(self, **_: Any) -> None:
        self._told.set()


class _as_busy:  # noqa: N801  reads as a phrase: `with _as_busy():`
    """Turn the library's word for a database that is gone into ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, UniqueViolation):
            return
        if isinstance(error, ConnectorException | OperationalError):
            raise Busy("The job queue is not available; retry later.") from error


def _conninfo(url: URL) -> str:
    """The database as libpq names it."""
    query = {("sslmode" if name == "ssl" else name): value for name, value in url.query.items()}
    return url.set(drivername="postgresql", query=query).render_as_string(hide_password=False)


def _run(taken: Taken, worker: int | None) -> dict[str, Any]:
    return {"id": taken.id, "tries": taken.tries, "worker": worker}


def _taken(job: ProcrastinateJob) -> Taken:
    said: Mapping[str, Any] = job.task_kwargs
    return Taken(job.id or 0, job.task_name, said["args"], job.queue, job.attempts, said["failures"])


def _lost(row: Mapping[str, Any]) -> Taken:
    said = row["args"]
    return Taken(
        row["id"], row["task_name"], said["args"], row["queue_name"], row["attempts"], said["failures"]
    )
