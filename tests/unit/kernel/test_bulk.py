"""Many rows at once, on both databases."""

from collections.abc import Sequence

import pytest
from sqlalchemy import select

from server.kernel.bulk import _VALUES_AT_ONCE, copy_rows
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of
from terminology.tables import TerminologyClosure

CLOSURE = table_of(TerminologyClosure)
AT_ONCE = _VALUES_AT_ONCE // len(CLOSURE.columns)  # rows of one statement on SQLite


async def copy(database: Database, rows: Sequence[Sequence[object]]) -> None:
    names = [column.name for column in CLOSURE.columns]

    async def work(unit: UnitOfWork) -> None:
        await copy_rows(unit.connection, CLOSURE.name, names, rows)

    await database.transact(work)


async def kept(database: Database) -> list[tuple[int, ...]]:
    async with database.read() as connection:
        found = await connection.execute(select(CLOSURE).order_by(*CLOSURE.primary_key.columns))
        return [tuple(row) for row in found]


@pytest.mark.parametrize("count", [0, 1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE + 2])
async def test_each_row_is_copied_once(database: Database, count: int) -> None:
    rows = [(1, number // 7, number) for number in range(count)]
    await copy(database, rows)
    assert await kept(database) == rows


@pytest.mark.parametrize("at", [0, AT_ONCE, 2 * AT_ONCE])
async def test_a_row_that_is_there_already_refuses_all(database: Database, at: int) -> None:
    rows = [(1, 1, number) for number in range(2 * AT_ONCE + 1)]
    with pytest.raises(Exception, match=r"(?i)unique"):
        await copy(database, [*rows, rows[at]])
    assert await kept(database) == []
