"""Many rows into several tables at once, in the caller's transaction.

A write touches up to ten tables. Through the asynchronous engine each statement costs far more than the
insert itself, so all of them go to the driver together. SQLite's errors come as they are.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from server.kernel import postgresql
from server.kernel.sqlite import BEGIN, VALUES_HERE, SqliteThread, count_values

Rows = postgresql.Rows
_VALUES_AT_ONCE = 200  # of one statement that copies rows
Batches = Sequence[tuple[str, Sequence[tuple[Any, ...]]]]  # statements and the values of each


async def insert_rows(connection: AsyncConnection, rows: Rows) -> None:
    """Insert rows into each table; rows of one table name the same columns, their values of driver types.

    No default of a column is filled in.
    """
    if connection.dialect.name != "sqlite":
        await postgresql.insert_rows(connection, rows)
        return
    await run_batches(await thread_of(connection), insert_batches(rows))


async def run_batches(thread: SqliteThread, batches: Batches, *, is_quick: bool = True) -> None:
    """Run each statement for all of its values: in the caller's thread if they are quick and few."""
    if is_quick and thread.is_idle and sum(count_values(values) for _, values in batches) <= VALUES_HERE:
        thread.run_here(lambda raw: _run_all(raw, batches))
    else:
        await thread.run(lambda raw: _run_all(raw, batches))


async def upsert_rows(
    connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]], conflict: str
) -> None:
    """Insert rows as `insert_rows` does, on SQLite only; `conflict` is the clause for those there already."""
    batches = [(sql + conflict, values) for sql, values in insert_batches({table: rows})]
    await run_batches(await thread_of(connection), batches)


async def commit_rows(connection: AsyncConnection, rows: Rows) -> None:
    """Insert rows as a whole transaction, in one hand-over; durable on return."""
    if connection.dialect.name != "sqlite":
        await postgresql.insert_rows(connection, rows)  # one statement: a transaction by itself
        return
    batches = insert_batches(rows)

    def run(raw: sqlite3.Connection) -> None:
        raw.execute(BEGIN)
        with raw:  # commits, or rolls back
            _run_all(raw, batches)

    await (await thread_of(connection)).run(run)


async def copy_rows(
    connection: AsyncConnection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Insert rows by the names of table and columns, by the fastest way that the driver has.

    On PostgreSQL the connection must be in a transaction already.
    """
    if connection.dialect.name == "sqlite":
        thread = await thread_of(connection)
        await thread.run(lambda raw: _copy(raw, table, columns, rows))
        return
    await postgresql.copy_rows(connection, table, columns, rows)


async def thread_of(connection: AsyncConnection) -> SqliteThread:
    """The thread behind a connection to SQLite."""
    return (await connection.get_raw_connection()).driver_connection  # type: ignore[return-value]


def insert_batches(rows: Rows) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """The statements that insert these rows on SQLite, with their values."""
    return [
        (_insert(table, tuple(entries[0])), [tuple(entry.values()) for entry in entries])
        for table, entries in rows.items()
        if entries
    ]


def _run_all(raw: sqlite3.Connection, batches: Batches) -> None:
    for statement, values in batches:
        raw.executemany(statement, values)


@cache
def _insert(table: Table, columns: tuple[str, ...]) -> str:
    return _insert_by_name(table.name, [table.c[column].name for column in columns])


def _copy(raw: sqlite3.Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Many rows with each statement: of small rows most of the time is the driver's, between two of them."""
    at_once = max(1, _VALUES_AT_ONCE // len(columns))
    whole = len(rows) - len(rows) % at_once
    several = (chain.from_iterable(rows[at : at + at_once]) for at in range(0, whole, at_once))
    raw.executemany(_insert_by_name(table, columns, at_once), map(tuple, several))
    raw.executemany(_insert_by_name(table, columns), rows[whole:])


def _insert_by_name(table: str, columns: Sequence[str], rows: int = 1) -> str:
    names = ", ".join(f'"{column}"' for column in columns)
    row = f"({', '.join('?' * len(columns))})"
    places = ", ".join([row] * rows)
    return f'INSERT INTO "{table}" ({names}) VALUES {places}'  # noqa: S608  names of our own tables
