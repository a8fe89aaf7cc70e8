"""The queue as people see it: how many jobs stand where, how long the oldest waits, which have failed.

The same questions of two tables; each keeps its own names.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Text,
    cast,
    column,
    delete,
    extract,
    func,
    literal,
    literal_column,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import JSONB

from server.kernel.clock import SECOND_US, now_us
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import NotFound
from server.kernel.jobs import LEISURE, QUEUES, Job, JobState
from server.kernel.metrics import Fact
from server.kernel.rows import table_of
from server.kernel.tables import JobRow

COUNTED_JOBS = 10_000  # of a queue and state; more are told as so many
PAGE = 100  # jobs in one answer

_JOB = table_of(JobRow)
_OTHER = table(
    "procrastinate_jobs",
    *(column(name) for name in ("task_name", "queue_name", "priority", "lock", "queueing_lock", "attempts")),
    column("id", BigInteger),
    column("args", JSONB),
    column("status"),
    column("scheduled_at"),
)
_STATUS = {JobState.WAITING: "todo", JobState.RUNNING: "doing", JobState.FAILED: "failed"}


@dataclass(frozen=True, slots=True)
class _Names:
    """The columns of a queue's table by our names; `where` finds the jobs in a state, by an index."""

    source: Any
    columns: dict[str, ColumnElement[Any]]

    def where(self, state: JobState) -> ColumnElement[bool]:
        is_ours: ColumnElement[bool] = _JOB.c.state == state.value
        is_theirs: ColumnElement[bool] = _OTHER.c.status == literal_column(f"'{_STATUS[state]}'")
        return is_ours if self.source is _JOB else is_theirs


def _epoch_us(instant: ColumnElement[Any]) -> ColumnElement[int]:
    return cast(extract("epoch", instant) * SECOND_US, BigInteger)


_NAMES = (
    "id",
    "task",
    "args",
    "queue",
    "priority",
    "dedupe_key",
    "exclusive",
    "tries",
    "problem",
    "changed_us",
    "due_us",
)
_SQLITE = _Names(_JOB, {name: _JOB.c[name] for name in _NAMES})
_POSTGRESQL = _Names(
    _OTHER,
    {
        "id": _OTHER.c.id,
        "task": _OTHER.c.task_name,
        "args": cast(_OTHER.c.args["args"], Text),
        "queue": _OTHER.c.queue_name,
        "priority": _OTHER.c.priority,
        "dedupe_key": _OTHER.c.queueing_lock,
        "exclusive": _OTHER.c.lock,
        "tries": _OTHER.c.attempts,
        "problem": _OTHER.c.args["problem"].astext,
        "changed_us": cast(_OTHER.c.args["changed_us"].astext, BigInteger),
        "due_us": _epoch_us(_OTHER.c.scheduled_at),
    },
)


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job of the queue."""

    id: int
    task: str
    args: Any  # JSON
    queue: str
    priority: int
    tries: int
    problem: str | None  # of its last try
    due_us: int  # when it was or is to be run
    changed_us: int | None  # when its last try ended; None: there was none


async def job_facts(database: Database) -> list[Fact]:
    """How many jobs stand where, and how long the oldest of each queue is overdue."""
    names = _names(database)
    places = [(queue, state) for queue in QUEUES for state in JobState]
    counts = [_count(names, queue, state) for queue, state in places]
    oldest = [_oldest(names, queue) for queue in QUEUES]
    async with database.read() as connection:
        row = (await connection.execute(select(*counts, *oldest))).one()
    standing = [((queue, state.value), float(n)) for (queue, state), n in zip(places, row, strict=False)]
    now = now_us()
    waits = [
        ((queue,), 0.0 if due_us is None else max(0.0, (now - due_us) / SECOND_US))
        for queue, due_us in zip(QUEUES, row[len(places) :], strict=True)
    ]
    return [
        Fact("isthmus_jobs", "Background jobs by queue and state.", ("queue", "state"), standing),
        Fact("isthmus_job_oldest_waiting_seconds", "How long the oldest is overdue.", ("queue",), waits),
    ]


async def list_jobs(database: Database, state: JobState, after: int) -> Sequence[ListedJob]:
    """The jobs in a state with an id greater than `after`, at most `PAGE`."""
    names = _names(database)
    columns = [names.columns[each.name].label(each.name) for each in fields(ListedJob)]
    query = (
        select(*columns)
        .select_from(names.source)
        .where(names.where(state), names.columns["id"] > after)
        .order_by(names.columns["id"])
        .limit(PAGE)
    )
    async with database.read() as connection:
        rows = (await connection.execute(query)).mappings().all()
    return [ListedJob(**{**row, "args": orjson.loads(row["args"])}) for row in rows]


async def retry_failed(unit: UnitOfWork, id_: int) -> None:
    """Have a failed job tried again, as a new one: its tries begin anew; it joins one of its key that waits.

    Raises:
        NotFound: no failed job has that id.
    """
    names = _POSTGRESQL if unit.connection.dialect.name != "sqlite" else _SQLITE
    wanted = ("task", "args", "queue", "priority", "dedupe_key", "exclusive")
    taken = (
        delete(names.source)
        .where(names.where(JobState.FAILED), names.columns["id"] == literal(id_, BigInteger))
        .returning(*(names.columns[name].label(name) for name in wanted))
    )
    row = (await unit.execute(taken)).first()
    if row is None:
        raise NotFound("There is no failed job of that id.")
    unit.defer(
        Job(
            task=row.task,
            args=orjson.loads(row.args),
            queue=row.queue,
            priority=row.priority,
            dedupe_key=row.dedupe_key,
            exclusive=row.exclusive is not None,
        )
    )


def _names(database: Database) -> _Names:
    return _SQLITE if database.is_sqlite else _POSTGRESQL


def _count(names: _Names, queue: str, state: JobState) -> Any:
    standing = (
        select(names.columns["id"])
        .select_from(names.source)
        .where(names.where(state), names.columns["queue"] == queue)
        .limit(COUNTED_JOBS)
    )
    return select(func.count()).select_from(standing.subquery()).scalar_subquery()


def _oldest(names: _Names, queue: str) -> Any:
    waiting = names.where(JobState.WAITING)
    hurries = names.columns["priority"] > LEISURE
    oldest = select(func.min(names.columns["due_us"])).select_from(names.source)
    return oldest.where(waiting, names.columns["queue"] == queue, hurries).scalar_subquery()
