"""PostgreSQL connections for the engine, and what goes straight to their driver: begin, commit, clock, rows.

A statement through the asynchronous engine costs three times what the driver needs for it, and each
transaction has the same few. So SQLAlchemy sees connections that commit each statement, and the transaction
around them is ours. What the driver raises here is raised as SQLAlchemy raises it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, event
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from server.kernel.database_limits import DatabaseLimits

if TYPE_CHECKING:
    from asyncpg import Connection

CONNECT_TIMEOUT_S = 5.0  # a server that does not answer by then counts as gone
CACHED_STATEMENTS = 500  # prepared, of one connection, by SQLAlchemy and by the driver; some hundred differ

_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
_CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
# Who holds names holds the empty one too, shared; who would hold too many holds that alone.
_LOCK = (  # in the order given; unnest keeps it
    "SELECT CASE name WHEN '' THEN pg_advisory_xact_lock_shared(hashtextextended('', 0))"
    " ELSE pg_advisory_xact_lock(hashtextextended(name, 0)) END FROM unnest($1::text[]) AS name"
)
_LOCK_ALL = "SELECT pg_advisory_xact_lock(hashtextextended('', 0))"

_RESERVE = "SELECT nextval($1::text::regclass) FROM generate_series(1, $2::integer)"

_TYPES: Dialect = dialect()  # type: ignore[no-untyped-call]

Rows = Mapping[Table, Sequence[Mapping[str, Any]]]
Deletes = Mapping[tuple[Table, str], Sequence[Any]]  # values by table and column

KEEP = " ON CONFLICT DO NOTHING"  # the same on SQLite


class NotCommitted(Exception):
    """A transaction was to be committed in which a statement had failed: a defect of ours."""


def make_engine(url: URL, limits: DatabaseLimits) -> AsyncEngine:
    """An engine of so many connections, each with its limits set in the server, where they hold."""
    statement_ms = str(int(limits.statement_timeout_s * 1000))  # "0": none
    # The client's own limit only counts when the server does not answer at all.
    command_s = limits.statement_timeout_s + CONNECT_TIMEOUT_S if limits.statement_timeout_s else None
    engine = create_async_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=limits.connections,
        max_overflow=0,
        pool_timeout=limits.wait_s,
        connect_args={
            "timeout": CONNECT_TIMEOUT_S,
            "command_timeout": command_s,
            "prepared_statement_cache_size": CACHED_STATEMENTS,
            "statement_cache_size": CACHED_STATEMENTS,
            "server_settings": {
                "application_name": "isthmus",
                "statement_timeout": statement_ms,
                "lock_timeout": statement_ms,
                "idle_in_transaction_session_timeout": statement_ms,
                "synchronous_commit": "on",  # acknowledged means durable, whatever the role's default is
                "jit": "off",  # compiling a look-up costs more than the look-up
            },
        },
    )
    event.listen(engine.sync_engine, "checkout", _refuse_unusable)
    return engine


def _refuse_unusable(connection: Any, _record: Any, _proxy: Any) -> None:
    """Replace a connection that the server has ended, or that was left within a transaction.

    The driver knows of both: a shutdown, a crash and a fail-over end the connections they take. So no
    question to the server has to go before each use.
    """
    driver: Connection = connection.driver_connection
    if driver.is_closed() or driver.is_in_transaction():
        raise DisconnectionError


@asynccontextmanager
async def transaction(connection: AsyncConnection) -> AsyncIterator[None]:
    """One transaction around everything on this connection: committed at the end, or rolled back."""
    driver = await _driver_of(connection)
    with _as_sqlalchemy():
        await driver.execute(_BEGIN)
    try:
        yield
        await _commit(driver)
    except BaseException:
        await asyncio.shield(_roll_back(driver))  # also when whoever waits is cancelled
        raise


async def _commit(driver: "Connection") -> None:
    with _as_sqlalchemy():
        ended = await driver.execute("COMMIT")
    if ended != "COMMIT":  # so the server answers when a statement failed and nobody heeded it
        raise NotCommitted(ended)


async def _roll_back(driver: "Connection") -> None:
    """End what is left of the transaction; where that cannot be done, end the connection."""
    if driver.is_closed() or not driver.is_in_transaction():
        return
    try:
        await driver.execute("ROLLBACK")
    except Exception:  # noqa: BLE001  the server rolls back what has no connection any more
        driver.terminate()


async def read_clock(connection: AsyncConnection) -> int:
    """The database's clock, in microseconds since the epoch."""
    driver = await _driver_of(connection)
    with _as_sqlalchemy():
        return int(await driver.fetchval(_CLOCK))


async def take_locks(connection: AsyncConnection, names: Sequence[str]) -> None:
    """Hold these names, taken one after the other, until the transaction ends."""
    driver = await _driver_of(connection)
    with _as_sqlalchemy():
        await driver.execute(_LOCK, ["", *names])


async def take_all_locks(connection: AsyncConnection) -> None:
    """Hold every name there may be until the transaction ends."""
    driver = await _driver_of(connection)
    with _as_sqlalchemy():
        await driver.execute(_LOCK_ALL)


async def copy_rows(
    connection: AsyncConnection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Insert rows by COPY; see `server.kernel.bulk.copy_rows`."""
    driver = await _driver_of(connection)
    with _as_sqlalchemy():
        await driver.copy_records_to_table(table, records=rows, columns=columns)


async def insert_rows(connection: AsyncConnection, rows: Rows, conflict: str = "") -> None:
    """Insert rows into each table, all in one statement; see `server.kernel.bulk.insert_rows`.

    `conflict` is "" or `KEEP`, for rows that are there already.
    """
    batches = {table: entries for table, entries in rows.items() if entries}
    if not batches:
        return
    tables = tuple((table, tuple(entries[0])) for table, entries in batches.items())
    statement = _insert(tables, conflict)
    columns = (column for entries in batches.values() for column in zip(*map(_values, entries), strict=True))
    driver = await _driver_of(connection)
    with _as_sqlalchemy():
        await driver.execute(statement, *columns)


async def change_rows(connection: AsyncConnection, deletes: Deletes, updates: Rows) -> None:
    """Delete rows by a column and set others by their first one, all in one statement."""
    statement = _change(tuple(deletes), tuple((table, tuple(rows[0])) for table, rows in updates.items()))
    columns = (column for rows in updates.values() for column in zip(*map(_values, rows), strict=True))
    driver = await _driver_of(connection)
    with _as_sqlalchemy():
        await driver.execute(statement, *deletes.values(), *columns)


async def reserve_keys(connection: AsyncConnection, table: Table, count: int) -> Sequence[int]:
    """The next numbers of the sequence behind a table's key."""
    key = next(iter(table.primary_key.columns)).name
    driver = await _driver_of(connection)
    with _as_sqlalchemy():
        rows = await driver.fetch(_RESERVE, f"{table.name}_{key}_seq", count)
    return [row[0] for row in rows]


async def execute(connection: AsyncConnection, statement: str, *values: Any) -> None:
    """Run a statement of the driver's own: `$1`, `$2` … are the values."""
    driver = await _driver_of(connection)
    with _as_sqlalchemy():
        await driver.execute(statement, *values)


def _values(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row.values())


@cache
def _insert(tables: tuple[tuple[Table, tuple[str, ...]], ...], conflict: str) -> str:
    """The statement: an array for each column, `unnest` keeps the order of the rows."""
    inserts, number = [], 0
    for table, columns in tables:
        names = ", ".join(f'"{table.c[column].name}"' for column in columns)
        arrays = ", ".join(f"${n}::{_type_of(table, c)}[]" for n, c in enumerate(columns, number + 1))
        inserts.append(f'INSERT INTO "{table.name}" ({names}) SELECT * FROM unnest({arrays}){conflict}')  # noqa: S608  names of our own tables
        number += len(columns)
    *others, last = inserts
    named = ", ".join(f"insert{n} AS ({insert})" for n, insert in enumerate(others))
    return f"WITH {named} {last}" if named else last


@cache
def _change(
    deleted: tuple[tuple[Table, str], ...], updated: tuple[tuple[Table, tuple[str, ...]], ...]
) -> str:
    parts = [
        f'DELETE FROM "{table.name}" WHERE "{column}" = ANY(${n}::{_type_of(table, column)}[])'  # noqa: S608  names of our own tables
        for n, (table, column) in enumerate(deleted, 1)
    ]
    number = len(parts)
    for table, columns in updated:
        parts.append(_set(table, columns, number + 1))
        number += len(columns)
    *others, last = parts
    named = ", ".join(f"change{n} AS ({part})" for n, part in enumerate(others))
    return f"WITH {named} {last}" if named else last


def _set(table: Table, columns: tuple[str, ...], first: int) -> str:
    key, *rest = (f'"{column}"' for column in columns)
    arrays = ", ".join(f"${n}::{_type_of(table, c)}[]" for n, c in enumerate(columns, first))
    values = ", ".join(f"{name} = new.{name}" for name in rest)
    new = f"unnest({arrays}) AS new ({', '.join([key, *rest])})"
    return f'UPDATE "{table.name}" AS old SET {values} FROM {new} WHERE old.{key} = new.{key}'  # noqa: S608  the same


def _type_of(table: Table, column: str) -> str:
    return table.c[column].type.compile(_TYPES).partition(" COLLATE ")[0]


async def _driver_of(connection: AsyncConnection) -> "Connection":
    return (await connection.get_raw_connection()).driver_connection


@contextmanager
def _as_sqlalchemy() -> Iterator[None]:
    """Raise the driver's errors as SQLAlchemy's, without the statement and its values."""
    from asyncpg import IntegrityConstraintViolationError, InterfaceError, InternalClientError, PostgresError

    try:
        yield
    except IntegrityConstraintViolationError as error:
        raise IntegrityError(None, None, error) from error
    except PostgresError as error:
        raise DBAPIError(None, None, error) from error
    except (InterfaceError, InternalClientError) as error:  # it is closed, or about to: the server said so
        raise ConnectionError(str(error)) from error
