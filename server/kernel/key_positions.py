"""Where the numbering of each table's rows stands: the next number that an autoincrement key will be.

It is not the highest number plus one: numbers of deleted rows are not given again, and readers of the outbox
rely on that.
"""

from collections.abc import Mapping

from sqlalchemy import Table, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

_SEQUENCE = text("SELECT pg_get_serial_sequence(:table, :column)")
_SET_SEQUENCE = text("SELECT setval(CAST(:sequence AS regclass), :position, false)")
_IS_AUTOINCREMENT = text("SELECT 1 FROM sqlite_master WHERE name = :table AND sql LIKE '%AUTOINCREMENT%'")


async def read_position(connection: AsyncConnection, table: Table) -> int | None:
    """The next number of a table's key; None: the key is not numbered by the database."""
    key = table.autoincrement_column
    if key is None:
        return None
    highest = int((await connection.execute(select(func.max(key)))).scalar_one() or 0)
    if connection.dialect.name == "sqlite":
        return max(highest, await _last_of_sqlite(connection, table)) + 1
    sequence = (await connection.execute(_SEQUENCE, {"table": table.name, "column": key.name})).scalar_one()
    if sequence is None:
        return None
    state = text(f"SELECT last_value, is_called FROM {sequence}")  # noqa: S608  a name that PostgreSQL gave
    last, is_called = (await connection.execute(state)).one()
    return max(highest + 1, int(last) + 1 if is_called else int(last))


async def set_positions(connection: AsyncConnection, positions: Mapping[tuple[str, str], int]) -> None:
    """Have the keys of tables, by (table, column), go on with these numbers; the rows are in already."""
    for (table, column), position in positions.items():
        if connection.dialect.name == "sqlite":
            await _set_sqlite(connection, table, position)
            continue
        sequence = (await connection.execute(_SEQUENCE, {"table": table, "column": column})).scalar_one()
        if sequence is not None:
            await connection.execute(_SET_SEQUENCE, {"sequence": sequence, "position": position})


async def _last_of_sqlite(connection: AsyncConnection, table: Table) -> int:
    if not await _is_autoincrement(connection, table.name):
        return 0
    last = text("SELECT seq FROM sqlite_sequence WHERE name = :table")
    return int((await connection.execute(last, {"table": table.name})).scalar_one_or_none() or 0)


async def _set_sqlite(connection: AsyncConnection, table: str, position: int) -> None:
    """Without AUTOINCREMENT the next number is the highest plus one, whatever we want."""
    if not await _is_autoincrement(connection, table):
        return
    await connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :table"), {"table": table})
    await connection.execute(
        text("INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :last)"),
        {"table": table, "last": position - 1},
    )


async def _is_autoincrement(connection: AsyncConnection, table: str) -> bool:
    return (await connection.execute(_IS_AUTOINCREMENT, {"table": table})).first() is not None
