"""Tasks that recur: each is deferred once per period, by whichever process comes first.

The row of a task is the lock: moving its next time forward and deferring its job are one transaction, so of
many processes exactly one does it, and none has to be the leader. A run that takes longer than the period is
not joined by a second one: the jobs are exclusive.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from sqlalchemy import insert, select, update

from server.kernel.clock import SECOND_US, now_us
from server.kernel.database import Database, UnitOfWork
from server.kernel.job_runner import insist
from server.kernel.jobs import ROUTINE, STORAGE, Job
from server.kernel.metrics import Fact
from server.kernel.rows import table_of
from server.kernel.tables import PeriodicJob

_PERIODIC = table_of(PeriodicJob)

FIRST_S = 30.0  # until a task that is new here runs for the first time, unless its period is shorter
LOOK_S = 60.0  # at most, between looks: another release may have changed a period


@dataclass(frozen=True, slots=True)
class Recurring:
    """A task that is to be run every so often."""

    task: str
    every_s: float
    queue: str = STORAGE
    priority: int = ROUTINE

    def job(self, delay_s: float = 0.0) -> Job:
        """Its job; never two at once, and one that waits is enough."""
        return Job(self.task, {}, self.queue, self.priority, delay_s, f"periodic:{self.task}", exclusive=True)


async def keep_schedule(database: Database, recurring: Sequence[Recurring], stop: asyncio.Event) -> None:
    """Defer what is due, until `stop`."""
    while not stop.is_set():
        next_s = LOOK_S

        async def tick() -> None:
            nonlocal next_s
            next_s = await defer_due(database, recurring)

        await insist(tick, "defer periodic jobs", stop)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), min(max(next_s, 0.1), LOOK_S))


async def defer_due(database: Database, recurring: Sequence[Recurring]) -> float:
    """Defer every task that is due and was not deferred by another process; seconds until the next is due."""
    async with database.read() as connection:
        rows = await connection.execute(select(_PERIODIC.c.task, _PERIODIC.c.next_us))
        known: dict[str, int] = {row.task: row.next_us for row in rows}
    for each in recurring:
        if each.task not in known or not _is_ahead(known[each.task], now_us(), each):
            known[each.task] = await database.transact(partial(_take_turn, each))
    next_us = min((known[each.task] for each in recurring), default=now_us() + int(LOOK_S * SECOND_US))
    return max(0.0, (next_us - now_us()) / SECOND_US)


async def periodic_facts(database: Database, recurring: Sequence[Recurring]) -> list[Fact]:
    """How long ago each task should have been deferred; 0: its time is yet to come.

    The row of a task that recurred in another release only stays, and is nobody's any more.
    """
    tasks = [each.task for each in recurring]
    query = select(_PERIODIC.c.task, _PERIODIC.c.next_us).where(_PERIODIC.c.task.in_(tasks))
    async with database.read() as connection:
        rows = (await connection.execute(query)).all()
    overdue = [((row.task,), max(0, now_us() - row.next_us) / SECOND_US) for row in rows]
    text = "How long ago a recurring task should have been deferred."
    return [Fact("isthmus_periodic_job_overdue_seconds", text, ("task",), overdue)]


def _is_ahead(next_us: int, now: int, each: Recurring) -> bool:
    """Whether the next time is yet to come; one further away than the period is of a longer period."""
    return now < next_us <= now + int(each.every_s * SECOND_US)


async def _take_turn(each: Recurring, unit: UnitOfWork) -> int:
    """Defer the task unless another process did; returns when it is due next."""
    await unit.lock([f"periodic:{each.task}"])
    c, every_us = _PERIODIC.c, int(each.every_s * SECOND_US)
    next_us: int | None = (
        await unit.execute(select(c.next_us).where(c.task == each.task))
    ).scalar_one_or_none()
    if next_us is None:
        next_us = unit.now_us + min(every_us, int(FIRST_S * SECOND_US))
        await unit.execute(insert(_PERIODIC), [{"task": each.task, "next_us": next_us}])
        return next_us
    if _is_ahead(next_us, unit.now_us, each):
        return next_us
    if next_us <= unit.now_us:
        unit.defer(each.job())
    await unit.execute(update(_PERIODIC).where(c.task == each.task).values(next_us=unit.now_us + every_us))
    return unit.now_us + every_us
