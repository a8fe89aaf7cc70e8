"""The schema's history: forward-only Alembic revisions, one set for SQLite and PostgreSQL.

A release expands the schema; what the release before it needs is taken away one release later (expand, then
contract), so that two versions run on one database during a rolling upgrade. A program therefore goes on with
a revision that it does not know, unless that one says by `schema_floor` for which programs it is too new.
"""

import asyncio
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from server.kernel.database_errors import as_faults, reaching_the_database
from server.kernel.faults import Busy, Fault, FaultKind
from server.kernel.rows import Row

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

HERE = Path(__file__).parent
HEAD = "0033"  # newest revision; a test holds it to the files in versions/
WAL_TRIES = 100  # five seconds
LOCK_WAIT, PAUSE_S, TURNS = "300ms", 0.2, 300  # of PostgreSQL; two and a half minutes in all
YIELDED = frozenset({"55P03", "40P01"})  # lock_not_available, deadlock_detected
LOCK_KEY = 4_716_530_918_245_163_021  # advisory lock of whoever migrates; any fixed number


class SchemaTooNew(Fault):
    """A newer release has taken away what this program needs."""

    kind = FaultKind.CONFLICT


async def upgrade(database_url: str, revision: str = HEAD) -> None:
    """Bring the schema to a revision; whoever comes second waits and finds nothing to do.

    Raises:
        SchemaTooNew: the schema is one that this program cannot work on.
        Busy: the database cannot be reached.
    """
    with reaching_the_database(), as_faults():
        await _upgrade_database(database_url, revision)


async def _upgrade_database(database_url: str, revision: str) -> None:
    engine = _engine(database_url)
    is_behind = True
    try:
        while is_behind:  # a transaction for each revision: what one of them locks is free before the next
            is_behind = await _take_turns(engine, revision)
    finally:
        await engine.dispose()


async def _take_turns(engine: AsyncEngine, revision: str) -> bool:
    """Run one revision, waiting for locks in short turns; returns whether there is another one.

    Whoever waits for a table to change it holds up everybody who comes after, and may stand in a circle with
    a query of two tables. `LOCK_WAIT` is less than PostgreSQL waits before it breaks such a circle
    (deadlock_timeout, 1 s), so it is the migration that yields, and never a request.
    """
    for _ in range(TURNS - 1):
        try:
            async with engine.begin() as connection:
                return await connection.run_sync(_upgrade_once, revision)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in YIELDED:
                raise
        await asyncio.sleep(PAUSE_S)
    async with engine.begin() as connection:
        return await connection.run_sync(_upgrade_once, revision)


async def current_revision(database_url: str) -> str | None:
    """The revision of the schema; None: the database has no schema yet."""
    engine = create_async_engine(database_url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_revision)
    finally:
        await engine.dispose()


def _engine(database_url: str) -> AsyncEngine:
    engine = create_async_engine(database_url, poolclass=NullPool)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine.sync_engine, "connect")
        def configure(connection: Any, _record: object) -> None:
            connection.isolation_level = None  # BEGIN is ours, so that DDL is transactional
            cursor = connection.cursor()
            cursor.execute("PRAGMA busy_timeout=60000")
            _use_write_ahead_log(cursor)
            # A batch rewrite drops the parent table; with foreign keys on, its children would cascade away.
            cursor.execute("PRAGMA foreign_keys=OFF")
            cursor.close()

        @event.listens_for(engine.sync_engine, "begin")
        def start(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _use_write_ahead_log(cursor: Any) -> None:
    """Switch a database to WAL for good; while another process does so too, SQLite says "locked" at once."""
    for _ in range(WAL_TRIES):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except Exception as error:
            if "locked" not in str(error):
                raise
            time.sleep(0.05)
        else:
            return
    raise Busy("The database is locked by another process; retry later.")


def _upgrade_once(connection: Connection, revision: str = HEAD) -> bool:
    """Bring the schema to its next revision; returns whether there is another one up to `revision`."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK_KEY})"))
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'"))
    found = _revision(connection)
    if found is not None and found not in known_revisions():
        _require_fit(connection, found)
        return False
    pending = [each for each in sorted(known_revisions()) if (found or "") < each <= revision]
    if pending:
        _run(connection, pending[0])
    return len(pending) > 1


def _run(connection: Connection, revision: str) -> None:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    scripts = _scripts()
    context = MigrationContext.configure(connection, opts={"target_metadata": Row.metadata})
    with Operations.context(context):
        scripts.get_revision(revision).module.upgrade()
    context.stamp(scripts, revision)
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise RuntimeError(f"the migration leaves rows of {broken[0]} without their parents")


@cache
def _scripts() -> "ScriptDirectory":
    """The revisions' modules, loaded once: Alembic's own command loads all of them for each."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(HERE))


def known_revisions() -> frozenset[str]:
    """The revisions of this program."""
    return frozenset(path.name.partition("_")[0] for path in (HERE / "versions").glob("[0-9]*.py"))


def _require_fit(connection: Connection, found: str) -> None:
    """Refuse a schema of a newer release unless this program may go on with it."""
    floor = None
    if inspect(connection).has_table("schema_floor"):
        floor = connection.execute(text("SELECT max(revision) FROM schema_floor")).scalar_one()
    if floor is not None and floor > HEAD:
        raise SchemaTooNew(
            f"The database is at revision {found}, for programs of revision {floor} or newer; "
            f"this one is of revision {HEAD}."
        )


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def main() -> None:
    """Write a revision from the difference between the tables and a fresh database (developers)."""
    import sys
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_autogenerate(f"sqlite+aiosqlite:///{folder}/new.db", *sys.argv[1:3]))


async def _autogenerate(database_url: str, revision: str, message: str) -> None:
    from alembic import command
    from alembic.config import Config

    def write(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(HERE))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        command.revision(config, message=message, rev_id=revision, autogenerate=True)

    engine = _engine(database_url)
    async with engine.begin() as connection:
        await connection.run_sync(write)
    await engine.dispose()
