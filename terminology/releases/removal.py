"""Releases go: those that are replaced, told to go, or left over by an import that did not end.

Rows are deleted in short transactions, in the order of their keys; the release's own row goes last.
"""

import asyncio
from time import perf_counter
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, or_, select, tuple_, update

from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of
from terminology.releases import text_index
from terminology.releases.pace import Pace
from terminology.tables import RELEASE_ROWS, TerminologyRelease

RELEASE = table_of(TerminologyRelease)
SEEN_WITHIN_S = 2.0  # by when every process has heard which releases there are
ABANDONED_S = 120  # an import writes several times a second, and thinks for a minute at most


async def retire_release(database: Database, release_id: int) -> None:
    """Take a release out of use, and wait until every process has heard of it."""
    await database.transact(lambda unit: take_out_of_use(unit, RELEASE.c.id == release_id))
    await asyncio.sleep(SEEN_WITHIN_S)


async def take_out_of_use(unit: UnitOfWork, which: ColumnElement[bool]) -> int:
    """Have nobody begin with these releases; returns how many there are."""
    removed = update(RELEASE).where(which).values(state="removed", loaded_at_us=unit.now_us)
    return int((await unit.execute(removed)).rowcount)


async def remove_release(database: Database, release_id: int) -> None:
    """Take a release out of use, then delete all of it."""
    await database.transact(lambda unit: take_out_of_use(unit, RELEASE.c.id == release_id))
    for table in text_index.tables(database):
        await _empty(database, table, release_id)
    for row in RELEASE_ROWS:
        await _empty(database, table_of(row), release_id)
    await database.transact(lambda unit: unit.execute(delete(RELEASE).where(RELEASE.c.id == release_id)))


async def abandon_release(database: Database, release_id: int) -> None:
    """Delete a release that was being written, unless it has become active after all."""
    ours = (RELEASE.c.id == release_id) & (RELEASE.c.state == "loading")
    if await database.transact(lambda unit: take_out_of_use(unit, ours)):
        await remove_release(database, release_id)


async def remove_left_over(database: Database, grace_s: float | None = None) -> int:
    """Remove what imports have left that did not end, and what was to be removed before; returns how many.

    What anybody took out of use less than `grace_s` (None: `SEEN_WITHIN_S`) ago stays: not every process may
    have heard of it.
    """
    grace_us = int((SEEN_WITHIN_S if grace_s is None else grace_s) * SECOND_US)

    async def find(unit: UnitOfWork) -> list[int]:
        c = RELEASE.c
        is_left = (c.state == "loading") & (c.loaded_at_us < unit.now_us - ABANDONED_S * SECOND_US)
        is_unused = (c.state == "removed") & (c.loaded_at_us <= unit.now_us - grace_us)
        query = select(c.id).where(or_(is_unused, is_left))
        return list((await unit.execute(query)).scalars())

    found = await database.transact(find)
    for release_id in found:
        await remove_release(database, release_id)
    return len(found)


async def _empty(database: Database, table: Table, release_id: int) -> None:
    key = [column for column in table.primary_key.columns if column.name != "release_id"]
    of_release = table.c.release_id == release_id
    pace = Pace(database)
    is_left = True
    while is_left:

        async def work(unit: UnitOfWork) -> tuple[float, bool]:
            began = perf_counter()
            at = select(*key).where(of_release).order_by(*key).offset(pace.rows).limit(1)
            last: Any = (await unit.execute(at)).first()
            some = of_release if last is None else of_release & (tuple_(*key) <= tuple(last))
            if table is text_index.CONCEPT:
                await text_index.forget_concepts(unit.connection, some)
            await unit.execute(delete(table).where(some))
            return began, last is not None

        await pace.let_others_write()
        began, is_left = await database.transact(work)
        pace.ended(began)
