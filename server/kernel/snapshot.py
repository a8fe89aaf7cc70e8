"""Reading the database as it is at one instant, whole tables of it, while others go on writing.

On both databases a snapshot hinders no writer. It keeps old versions of rows from being cleared away while it
is open (SQLite's write-ahead log, PostgreSQL's dead rows), so rows are read first and fast.
"""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import Boolean, Select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from server.kernel.bulk import thread_of
from server.kernel.clock import now_us

ROWS_AT_ONCE = 100  # handed over together; a row may have megabytes

_CLOCK = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")

Values = tuple[Any, ...]


class Snapshot:
    """A connection that sees one instant; `Database.snapshot` opens it."""

    def __init__(self, connection: AsyncConnection, taken_us: int) -> None:
        self.connection = connection
        self.taken_us = taken_us  # by the database clock

    async def stream(self, query: Select[Any]) -> AsyncIterator[Sequence[Values]]:
        """The rows of a query, some at a time; memory does not grow with their number."""
        if self.connection.dialect.name == "sqlite":
            async for rows in self._stream_sqlite(query):
                yield rows
            return
        async with self.connection.stream(query) as result:
            async for rows in result.partitions(ROWS_AT_ONCE):
                yield [tuple(row) for row in rows]

    async def _stream_sqlite(self, query: Select[Any]) -> AsyncIterator[Sequence[Values]]:
        statement = str(
            query.compile(dialect=self.connection.dialect, compile_kwargs={"literal_binds": True})
        )
        booleans = [at for at, each in enumerate(query.selected_columns) if isinstance(each.type, Boolean)]
        thread = await thread_of(self.connection)
        cursor = await thread.run(lambda raw: raw.execute(statement))

        def fetch(_raw: sqlite3.Connection) -> list[Values]:
            return cursor.fetchmany(ROWS_AT_ONCE)

        while rows := await thread.run(fetch):
            yield [_with_booleans(row, booleans) for row in rows] if booleans else rows


async def begin_snapshot(connection: AsyncConnection) -> Snapshot:
    """Fix the instant that this connection sees until its transaction ends."""
    if connection.dialect.name == "sqlite":
        await connection.execute(text("SELECT 1 FROM sqlite_master LIMIT 1"))  # the first read fixes it
        return Snapshot(connection, now_us())
    await take_its_time(connection)
    return Snapshot(connection, int((await connection.execute(_CLOCK)).scalar_one()))


async def take_its_time(connection: AsyncConnection) -> None:
    """Let this transaction's statements, and what is between them, take longer than a request's may."""
    if connection.dialect.name != "sqlite":
        for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
            await connection.execute(text(f"SET LOCAL {limit} = 0"))


def _with_booleans(row: Values, booleans: Sequence[int]) -> Values:
    """SQLite has no booleans; the columns at these places are meant as such."""
    values = list(row)
    for at in booleans:
        values[at] = None if values[at] is None else bool(values[at])
    return tuple(values)
