"""The queue on SQLite: rows of the table `job`, held for as long as their runner says that it lives.

There is one writer at a time, so a claim needs no lock of its own. Where nothing is to be written nothing is:
an idle runner only reads.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Row, and_, bindparam, delete, exists, func, select, update
from sqlalchemy.exc import IntegrityError

from server.kernel.clock import SECOND_US, now_us
from server.kernel.database import Database, UnitOfWork
from server.kernel.jobs import LOST, Beats, JobState, Next, Taken, after_failure
from server.kernel.rows import table_of
from server.kernel.tables import JobRow
from server.kernel.uids import new_id

_JOB = table_of(JobRow)

POLL_S = 0.25  # between looks for jobs of other processes; of those of its own a runner is told


class SqliteJobs:
    """The job queue of a SQLite database, as one runner uses it."""

    def __init__(self, database: Database, beats: Beats) -> None:
        self._database = database
        self._beats = beats
        self._runner = new_id()
        self._told = asyncio.Event()

    async def open(self) -> None:
        """Take a name that no runner had before."""
        self._runner = new_id()
        self._database.on_jobs(self._told.set)

    async def close(self) -> None:
        """Nothing is open."""

    async def due_in_s(self, queues: Sequence[str]) -> Mapping[str, float]:
        """Seconds until the next job of each queue is due."""
        async with self._database.read() as connection:
            rows = (await connection.execute(_DUE, {"queues": queues})).all()
        now = now_us()
        return {queue: max(0.0, (due_us - now) / SECOND_US) for queue, due_us in rows}

    async def take(self, queue: str) -> Taken | None:
        """The next job that is due, now in hand."""

        async def work(unit: UnitOfWork) -> Taken | None:
            row = (await unit.execute(_NEXT, {"named": queue, "now_us": unit.now_us})).first()
            if row is None:
                return None
            held = {
                "state": JobState.RUNNING.value,
                "runner": self._runner,
                "alive_until_us": self._alive_until_us(unit),
                "changed_us": unit.now_us,
            }
            await unit.execute(update(_JOB).where(_JOB.c.id == row.id).values(**held))
            return _taken(row)

        return await self._database.transact(work)

    async def finish(self, taken: Taken) -> bool:
        """It is done: take it off the queue."""

        async def work(unit: UnitOfWork) -> bool:
            return (await unit.execute(delete(_JOB).where(self._is_held(taken)))).rowcount == 1

        return await self._database.transact(work)

    async def try_again(self, taken: Taken, after: Next, problem: str | None) -> bool:
        """Let it wait, or join the job of its dedupe key that waits already."""
        return await self._database.transact(
            lambda unit: _let_wait(unit, self._is_held(taken), after, problem)
        )

    async def give_up(self, taken: Taken, after: Next, problem: str | None) -> bool:
        """Keep it as failed."""
        return await self._database.transact(
            lambda unit: _write_end(unit, self._is_held(taken), JobState.FAILED, after, problem)
        )

    async def beat(self) -> frozenset[int]:
        """Say that this runner lives, if it has anything in hand."""
        mine = and_(_is(JobState.RUNNING), _JOB.c.runner == self._runner)
        async with self._database.read() as connection:
            if (await connection.execute(select(_JOB.c.id).where(mine).limit(1))).first() is None:
                return frozenset()

        async def work(unit: UnitOfWork) -> frozenset[int]:
            ids = (await unit.execute(select(_JOB.c.id).where(mine))).scalars().all()
            await unit.execute(update(_JOB).where(mine).values(alive_until_us=self._alive_until_us(unit)))
            return frozenset(ids)

        return await self._database.transact(work)

    async def let_go(self, ids: Collection[int]) -> None:
        """Let jobs wait again whose `take` was not answered."""
        mine = and_(_is(JobState.RUNNING), _JOB.c.runner == self._runner, _JOB.c.id.in_(ids))

        async def work(unit: UnitOfWork) -> None:
            for row in (await unit.execute(select(_JOB).where(mine))).all():
                await _let_wait(unit, self._is_held(_taken(row)), Next(0.0, row.failures), LOST)

        await self._database.transact(work)

    async def recover(self) -> int:
        """Take their jobs from runners that have died."""
        c = _JOB.c
        query = select(_JOB).where(_is(JobState.RUNNING), c.alive_until_us < now_us())
        async with self._database.read() as connection:
            lost = (await connection.execute(query)).all()
        for row in lost:
            await self._database.transact(partial(_recover, row))
        return len(lost)

    async def added(self) -> None:
        """Wait until a job of this process was added, or until those of others are to be looked for."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._told.wait(), POLL_S)
        self._told.clear()

    def _alive_until_us(self, unit: UnitOfWork) -> int:
        return unit.now_us + int(self._beats.dead_after_s * SECOND_US)

    def _is_held(self, taken: Taken) -> ColumnElement[bool]:
        return _is_run(taken.id, taken.tries, self._runner)


def _is(state: JobState) -> ColumnElement[bool]:
    return _JOB.c.state == state.value


def _is_run(id_: int, tries: int, runner: str | None) -> ColumnElement[bool]:
    """This very run of a job, unless it was taken away."""
    c = _JOB.c
    return and_(_is(JobState.RUNNING), c.id == id_, c.tries == tries, c.runner == runner)


def _is_excluded() -> ColumnElement[bool]:
    """Another job of the same `exclusive` name runs."""
    other = _JOB.alias("other").c
    return exists().where(other.state == JobState.RUNNING.value, other.exclusive == _JOB.c.exclusive)


# Built once: that costs more than to execute them, and a runner looks after every commit.
_DUE = (
    select(_JOB.c.queue, func.min(_JOB.c.due_us))
    .where(_is(JobState.WAITING), _JOB.c.queue.in_(bindparam("queues", expanding=True)), ~_is_excluded())
    .group_by(_JOB.c.queue)
)
_NEXT = (
    select(_JOB)
    .where(_is(JobState.WAITING), _JOB.c.queue == bindparam("named"), _JOB.c.due_us <= bindparam("now_us"))
    .where(~_is_excluded())
    .order_by(_JOB.c.priority.desc(), _JOB.c.id)
    .limit(1)
)


def _taken(row: Row[Any]) -> Taken:
    return Taken(row.id, row.task, orjson.loads(row.args), row.queue, row.tries, row.failures)


async def _let_wait(unit: UnitOfWork, run: ColumnElement[bool], after: Next, problem: str | None) -> bool:
    try:
        async with unit.savepoint():
            return await _write_end(unit, run, JobState.WAITING, after, problem)
    except IntegrityError:  # its key waits already
        return (await unit.execute(delete(_JOB).where(run))).rowcount == 1


async def _write_end(
    unit: UnitOfWork, run: ColumnElement[bool], state: JobState, after: Next, problem: str | None
) -> bool:
    columns = {
        "state": state.value,
        "tries": _JOB.c.tries + 1,
        "failures": after.failures,
        "problem": problem,
        "due_us": unit.now_us + int((after.delay_s or 0) * SECOND_US),
        "changed_us": unit.now_us,
        "runner": None,
        "alive_until_us": None,
    }
    return (await unit.execute(update(_JOB).where(run).values(**columns))).rowcount == 1


async def _recover(row: Row[Any], unit: UnitOfWork) -> bool:
    is_dead = and_(_is_run(row.id, row.tries, row.runner), _JOB.c.alive_until_us < unit.now_us)
    after = after_failure(_taken(row), None)
    if after.delay_s is None:
        return await _write_end(unit, is_dead, JobState.FAILED, after, LOST)
    return await _let_wait(unit, is_dead, after, LOST)
