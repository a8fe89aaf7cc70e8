"""Recurring tasks tell how long ago they should have been queued."""

from typing import Any

from sqlalchemy import insert, update

from server.kernel.clock import SECOND_US, now_us
from server.kernel.database import Database, UnitOfWork
from server.kernel.periodic_jobs import Recurring, defer_due, periodic_facts
from server.kernel.rows import table_of
from server.kernel.tables import PeriodicJob

_PERIODIC = table_of(PeriodicJob)
CARE = Recurring("care", 60)


async def overdue(database: Database) -> dict[str, float]:
    (fact,) = await periodic_facts(database, [CARE])
    return {labels[0]: seconds for labels, seconds in fact.values}


async def change(database: Database, statement: Any) -> None:
    async def work(unit: UnitOfWork) -> None:
        await unit.execute(statement)

    await database.transact(work)


async def test_task_is_overdue_once_its_time_has_passed(database: Database) -> None:
    await defer_due(database, [CARE])
    assert await overdue(database) == {"care": 0.0}
    await change(database, update(_PERIODIC).values(next_us=now_us() - 700 * SECOND_US))
    assert 699 < (await overdue(database))["care"] < 800
    await defer_due(database, [CARE])
    assert await overdue(database) == {"care": 0.0}


async def test_task_of_another_release_is_not_told(database: Database) -> None:
    await change(database, insert(_PERIODIC).values(task="gone", next_us=0))
    assert await overdue(database) == {}
