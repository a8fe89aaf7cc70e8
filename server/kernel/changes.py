"""What a transaction does to rows, gathered: deletes, then updates, then inserts, each table in one go.

A version of a resource touches a dozen tables, a Bundle has thousands of versions. Statement by statement the
engine would cost far more than the database; like this a transaction has two statements, or one hand-over to
SQLite's thread, however much it writes.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from server.kernel import postgresql
from server.kernel.bulk import insert_batches, run_batches, thread_of

Row = Mapping[str, Any]

_SEQUENCE_OF_SQLITE = "SELECT seq FROM sqlite_sequence WHERE name = ?"


@dataclass(slots=True)
class Changes:
    """Rows to delete by a column, to set by their first column, and to insert.

    Rows of one table name the same columns in the same order, their values of driver types.
    """

    deletes: dict[tuple[Table, str], list[Any]] = field(default_factory=dict)
    updates: dict[Table, list[Row]] = field(default_factory=dict)
    inserts: dict[Table, list[Row]] = field(default_factory=dict)
    missing: dict[Table, list[Row]] = field(default_factory=dict)  # inserted unless one like it is there

    def __bool__(self) -> bool:
        return any((self.deletes, self.updates, self.inserts, self.missing))

    def delete(self, table: Table, column: str, value: Any) -> None:
        """The rows with this value."""
        self.deletes.setdefault((table, column), []).append(value)

    def update(self, table: Table, row: Row) -> None:
        """Set a row's other columns where its first one has this value."""
        self.updates.setdefault(table, []).append(row)

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows."""
        if rows:
            self.inserts.setdefault(table, []).extend(rows)

    def insert_missing(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert those rows that break no unique constraint."""
        if rows:
            self.missing.setdefault(table, []).extend(rows)

    def add(self, other: "Changes") -> None:
        """The other's changes too."""
        for place, values in other.deletes.items():
            self.deletes.setdefault(place, []).extend(values)
        pairs = ((self.updates, other.updates), (self.inserts, other.inserts), (self.missing, other.missing))
        for mine, theirs in pairs:
            for table, rows in theirs.items():
                mine.setdefault(table, []).extend(rows)


async def write_changes(connection: AsyncConnection, changes: Changes) -> None:
    """Make the changes, in the caller's transaction. SQLite's errors come as they are."""
    if connection.dialect.name == "sqlite":
        # Who deletes may delete any number of rows.
        await run_batches(await thread_of(connection), _batches(changes), is_quick=not changes.deletes)
        return
    if changes.deletes or changes.updates:
        await postgresql.change_rows(connection, changes.deletes, changes.updates)
    await postgresql.insert_rows(connection, changes.inserts)
    await postgresql.insert_rows(connection, changes.missing, postgresql.KEEP)


async def reserve_keys(connection: AsyncConnection, table: Table, count: int) -> Sequence[int]:
    """The next numbers of a table's autoincrement key, for the caller's transaction to insert its rows with.

    On SQLite they are free until the transaction's first insert: ask once, and count on.
    """
    if connection.dialect.name != "sqlite":
        return await postgresql.reserve_keys(connection, table, count)

    def read_last(raw: sqlite3.Connection) -> int:
        last = raw.execute(_SEQUENCE_OF_SQLITE, (table.name,)).fetchone()
        return int(last[0]) if last else 0

    thread = await thread_of(connection)
    first = 1 + (thread.run_here(read_last) if thread.is_idle else await thread.run(read_last))
    return range(first, first + count)


def _batches(changes: Changes) -> list[tuple[str, Sequence[tuple[Any, ...]]]]:
    return [
        *((_delete(*place), [(value,) for value in values]) for place, values in changes.deletes.items()),
        *((_update(table, tuple(rows[0])), _key_last(rows)) for table, rows in changes.updates.items()),
        *insert_batches(changes.inserts),
        *((sql + postgresql.KEEP, values) for sql, values in insert_batches(changes.missing)),
    ]


def _key_last(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    return [(*rest, key) for key, *rest in (row.values() for row in rows)]


@cache
def _delete(table: Table, column: str) -> str:
    return f'DELETE FROM "{table.name}" WHERE "{column}" = ?'  # noqa: S608  names of our own tables


@cache
def _update(table: Table, columns: tuple[str, ...]) -> str:
    key, *rest = columns
    names = ", ".join(f'"{column}" = ?' for column in rest)
    return f'UPDATE "{table.name}" SET {names} WHERE "{key}" = ?'  # noqa: S608  the same
