"""Many rows into several tables at once, in the caller's transaction.

A write touches up to ten tables. Through the asynchronous engine each statement on SQLite costs three
hand-overs to the connection's thread, far more than the insert itself; here all of them cross in one.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Table, insert

from server.kernel.database import UnitOfWork


async def insert_rows(unit: UnitOfWork, rows: Mapping[Table, Sequence[Mapping[str, Any]]]) -> None:
    """Insert rows into each table; rows of one table name the same columns, their values of driver types."""
    if unit.connection.dialect.name != "sqlite":
        for table, entries in rows.items():
            await unit.execute(insert(table), entries)
        return
    batches = [
        (_insert(table, tuple(entries[0])), [tuple(entry.values()) for entry in entries])
        for table, entries in rows.items()
        if entries
    ]

    def run(connection: sqlite3.Connection) -> None:
        for statement, values in batches:
            connection.executemany(statement, values)

    raw = await unit.connection.get_raw_connection()
    thread: Any = raw.driver_connection  # our SqliteThread
    await thread.run(run)


@cache
def _insert(table: Table, columns: tuple[str, ...]) -> str:
    names = ", ".join(f'"{table.c[column].name}"' for column in columns)
    places = ", ".join("?" * len(columns))
    return f'INSERT INTO "{table.name}" ({names}) VALUES ({places})'  # noqa: S608  names of our own tables
