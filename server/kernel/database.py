"""The database engine and the unit of work: one way to read, one way to write, on SQLite and PostgreSQL.

Writes run in `Database.transact`: one transaction, retried when the database asks for it, with the outbox
events and audit entries of the act inside it. SQLite has one writer (`BEGIN IMMEDIATE`, WAL) and runs with
synchronous=FULL: an acknowledged commit survives power loss. PostgreSQL runs READ COMMITTED with sorted
advisory locks.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any, TypeVar

import orjson
from sqlalchemy import CursorResult, Executable, Table, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from server.kernel import postgresql
from server.kernel.audit import AuditEntry
from server.kernel.bulk import commit_rows, thread_of
from server.kernel.changes import Changes, reserve_keys, write_changes
from server.kernel.clock import now_us
from server.kernel.database_errors import Retry, as_faults, as_faults_of_reading, reaching_the_database
from server.kernel.database_limits import DEFAULT_LIMITS, DatabaseLimits
from server.kernel.database_metrics import RETRIES, PoolWatch, counted
from server.kernel.defer_jobs import write_jobs
from server.kernel.faults import Busy
from server.kernel.jobs import Emitted, Job, Subscriptions, jobs_after
from server.kernel.look_up import LookUp, QuickReader, Values
from server.kernel.rows import table_of
from server.kernel.snapshot import Snapshot, begin_snapshot
from server.kernel.sqlite import SqliteConnection, truncate_log
from server.kernel.tables import AuditRow, OutboxEvent

T = TypeVar("T")

_EVENT = table_of(OutboxEvent)
_AUDIT = table_of(AuditRow)

NO_SUBSCRIPTIONS: Subscriptions = {}
_NONE: Iterator[int] = iter(())

# Names that a transaction holds one by one. With more it holds them all, and others wait: PostgreSQL's table
# of locks has room for some 7,000 of all transactions together, as it is by default.
MAX_LOCKS = 2_000
ATTEMPTS = 3  # of one transaction, before a serialisation failure becomes Busy
# Connections of PostgreSQL's pool that no transaction takes: one may read beside itself, as when a profile
# asks the terminology service, and would wait in vain if others that wait for the same held them all.
KEPT_FOR_READING = 2
WHOLE_SNAPSHOT = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


class UnitOfWork:
    """One transaction. Events, jobs and audit entries are written with it, just before it commits."""

    def __init__(
        self, connection: AsyncConnection, started_us: int, subscriptions: Subscriptions = NO_SUBSCRIPTIONS
    ) -> None:
        self.connection = connection
        self.now_us = started_us  # the database clock when the transaction began
        self._subscriptions = subscriptions
        self._events: list[dict[str, Any]] = []
        self._jobs: list[Job] = []
        self._entries: list[dict[str, Any]] = []
        self._held: set[str] = set()  # names that are locked
        self._holds_all = False  # so is every other
        self._checks: list[Callable[[UnitOfWork], Awaitable[None]]] = []
        self._changes = Changes()
        self._gathers = False
        self._keys: dict[Table, Iterator[int]] = {}
        self._keys_at_once = 1
        self._amount = 0
        self.emitted: set[str] = set()  # kinds of events
        self.found: dict[tuple[str, str], Any] = {}  # rows that whoever holds their locks has read ahead

    async def execute(
        self, statement: Executable, parameters: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None
    ) -> CursorResult[Any]:
        """Run one statement in this transaction, after what was gathered."""
        if self._changes:
            await self.write()
        return await self.connection.execute(statement, parameters)

    def gather(self, keys_at_once: int = 1) -> None:
        """From now on let `change` wait for the next statement or the end: few statements for many changes.

        Who reads by `connection` itself calls `write` before. `keys_at_once`: about as many will be needed.
        """
        self._gathers, self._keys_at_once = True, keys_at_once

    async def change(self, changes: Changes) -> None:
        """Delete, set and insert rows; no two changes of one `gather` touch the same row."""
        self._amount += 1
        self._changes.add(changes)
        if not self._gathers:
            await self.write()

    async def write(self) -> None:
        """Make the changes that are gathered."""
        changes, self._changes = self._changes, Changes()
        if changes:
            await write_changes(self.connection, changes)

    async def new_key(self, table: Table) -> int:
        """The autoincrement key for a new row of a table, which the caller inserts in this transaction."""
        key = next(self._keys.get(table, _NONE), None)
        if key is None:
            self._keys[table] = keys = await self._reserve(table)
            key = next(keys)
        return key

    async def _reserve(self, table: Table) -> Iterator[int]:
        if self.connection.dialect.name != "sqlite":
            return iter(await reserve_keys(self.connection, table, self._keys_at_once))
        first, *_ = await reserve_keys(self.connection, table, 1)
        return count(first)

    async def lock(self, names: Iterable[str]) -> bool:
        """Hold these names until the transaction ends; others that lock the same names wait.

        Returns whether some were not held yet: what was looked up before may not be so any more.
        Taken in sorted order, so lockers cannot deadlock. SQLite's one writer already excludes everyone.
        """
        if self.connection.dialect.name == "sqlite" or self._holds_all:
            return False
        wanted = sorted(set(names) - self._held)
        if len(self._held) + len(wanted) > MAX_LOCKS:
            await postgresql.take_all_locks(self.connection)
            self._holds_all = True
        elif wanted:
            await postgresql.take_locks(self.connection, wanted)
            self._held.update(wanted)
        return bool(wanted)

    @property
    def amount(self) -> int:
        """A number that grows with all that this transaction is told to do."""
        return self._amount

    def emit(self, kind: str, subject: str, payload: Mapping[str, Any] | None = None) -> None:
        """Announce what this transaction did; readers of the outbox see it once it is committed.

        The jobs that subscribe to it are deferred with it.
        """
        self._amount += 1
        said = payload or {}
        body = orjson.dumps(said).decode()
        self.emitted.add(kind)
        self._events.append({"kind": kind, "subject": subject, "payload": body, "occurred_us": self.now_us})
        self._jobs += jobs_after(Emitted(kind, subject, said), self._subscriptions)

    def tell(self, kind: str) -> None:
        """Tell those of this process who listen to events, once it is committed; nothing is written."""
        self.emitted.add(kind)

    def defer(self, job: Job) -> None:
        """Have a job done once this transaction is committed, and only then."""
        self._amount += 1
        self._jobs.append(job)

    @property
    def has_jobs(self) -> bool:
        """Whether this transaction defers any."""
        return bool(self._jobs)

    def audit(self, entry: AuditEntry) -> None:
        """Record the act in the audit trail, in its own transaction."""
        self._amount += 1
        self._entries.append(entry.as_row(self.now_us))

    def before_commit(self, check: "Callable[[UnitOfWork], Awaitable[None]]") -> None:
        """Ask this when everything else is written; what it raises undoes the transaction.

        It may ask for more, which is asked last.
        """
        self._checks.append(check)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """What is done within holds together: when it raises, rows, events, jobs and entries are undone."""
        await self.write()
        events, jobs, entries = len(self._events), len(self._jobs), len(self._entries)
        checks = len(self._checks)
        held, holds_all = set(self._held), self._holds_all
        try:
            async with self.connection.begin_nested():
                yield
                await self.write()
        except BaseException:
            self._changes, self._held = Changes(), held  # PostgreSQL let go of what was locked within
            self._holds_all = holds_all
            del self._events[events:], self._jobs[jobs:], self._entries[entries:], self._checks[checks:]
            raise

    async def flush(self) -> None:
        """Write what is gathered, events, audit entries, jobs; jobs last, whose rows others may wait for."""
        if self._checks:
            await self.write()
            for check in self._checks:
                await check(self)
        self._changes.insert(_EVENT, self._events)
        self._changes.insert(_AUDIT, self._entries)
        await self.write()
        if self._jobs:
            await write_jobs(self.connection, self._jobs, self.now_us)
        self._events, self._entries = [], []


class Database:
    """Connections to one database, SQLite (`sqlite+aiosqlite:///…`) or PostgreSQL (`postgresql+asyncpg://…`)."""

    def __init__(
        self,
        url: str,
        limits: DatabaseLimits = DEFAULT_LIMITS,
        subscriptions: Subscriptions = NO_SUBSCRIPTIONS,
    ) -> None:
        self.url = make_url(url)
        self.subscriptions = subscriptions
        self._on_jobs: list[Callable[[], None]] = []
        self._on_events: list[Callable[[AbstractSet[str]], None]] = []
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._reads = PoolWatch("read", "read", "read")
        self._writes = PoolWatch("write", "commit", "rollback")
        if self.is_sqlite:
            self._reader = _sqlite_engine(self.url, limits)
            self._writer = _sqlite_engine(self.url, None)
            dialect = self._reader.dialect
            self._quick: QuickReader | None = QuickReader(*dialect.create_connect_args(self.url), dialect)
        else:
            self._quick = None
            self._reader = self._writer = postgresql.make_engine(self.url, limits)
        kept = min(KEPT_FOR_READING, limits.connections // 2)
        self._writers = asyncio.Semaphore(limits.connections - kept)
        self._wait_s = limits.wait_s
        self._returning: set[asyncio.Future[None]] = set()  # connections for which nobody waits any more

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading; on SQLite one consistent snapshot.

        Raises:
            Busy: the database is gone, or has no connection or no time left for this.
        """
        with as_faults_of_reading(), self._reads.use() as use:
            async with self._connected(self._reader) as connection:
                use.taken()
                yield connection

    async def look_up(self, look_up: LookUp, values: Values) -> Sequence[Any]:
        """All rows of a short SELECT, in a read of its own; raises as `read`."""
        if self._quick is not None:
            with self._reads.use() as use:
                use.taken()
                rows = self._quick.rows(look_up, values)
            if rows is not None:
                return rows
        async with self.read() as connection:
            rows_as_usual: Sequence[Any] = (await connection.execute(look_up.select, values)).all()
            return rows_as_usual

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """The database as it is at this instant, for reading whole tables; it hinders no writer.

        Raises:
            Busy: the database is gone, or has no connection left.
        """
        engine = self._reader if self.is_sqlite else self._writer.execution_options(**WHOLE_SNAPSHOT)
        with as_faults_of_reading():
            async with self._connected(engine) as connection:
                yield await begin_snapshot(connection)

    async def transact(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """Run `work` in one transaction and commit it; `work` may run again after a serialisation failure.

        Raises:
            Busy: the database is locked, gone or kept refusing; nothing of `work` is in it. (When PostgreSQL
                goes away while it commits, nobody can know: `work` may be in it, whole.)
            StorageFull: no room on the database's disk; nothing of `work` is in it.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with as_faults():
                    return await self._attempt(work)
            except Retry as failure:
                if attempt == ATTEMPTS:
                    kept_refusing = Busy("The database kept refusing the transaction; retry later.")
                    raise counted(kept_refusing) from failure
                RETRIES.inc()
                await asyncio.sleep(random.uniform(0.005, 0.05) * attempt)
        raise AssertionError("unreachable")

    async def record(self, entries: Sequence[AuditEntry]) -> None:
        """Write audit entries, and nothing else, in a transaction of their own; durable on return.

        Raises:
            Busy, StorageFull: as `transact`.
        """
        with as_faults(), self._writes.use() as use:
            async with self._connected(self._writer) as connection:
                use.taken()
                now = await self._clock(connection)
                await commit_rows(connection, {_AUDIT: [entry.as_row(now) for entry in entries]})

    async def forget_deleted(self) -> bool:
        """Let the log keep no page of before; on SQLite, where deleted rows are overwritten in the database.

        False: readers are in the way, try again. PostgreSQL does it by itself (vacuum, recycled segments).
        """
        if not self.is_sqlite:
            return True
        with as_faults(), self._writes.use() as use:
            async with self._connected(self._writer) as connection:
                use.taken()
                return await (await thread_of(connection)).run(truncate_log)

    async def defer(self, *jobs: Job) -> None:
        """Have jobs done that follow from no other act.

        Raises:
            Busy, StorageFull: as `transact`.
        """

        async def work(unit: UnitOfWork) -> None:
            for job in jobs:
                unit.defer(job)

        await self.transact(work)

    def on_jobs(self, tell: Callable[[], None]) -> None:
        """Call `tell` whenever a transaction of this process has committed with jobs."""
        self._on_jobs.append(tell)

    def on_events(self, tell: Callable[[AbstractSet[str]], None]) -> None:
        """Call `tell` with the kinds of events with which a transaction of this process has committed."""
        self._on_events.append(tell)

    async def _attempt(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        with self._writes.use() as use:
            async with self._to_write() as connection, self._transaction(connection):
                use.taken()
                unit = UnitOfWork(connection, await self._clock(connection), self.subscriptions)
                result = await work(unit)
                await unit.flush()
        if unit.has_jobs:
            for tell in self._on_jobs:
                tell()
        if unit.emitted:
            for tell_kinds in self._on_events:
                tell_kinds(unit.emitted)
        return result

    @asynccontextmanager
    async def _to_write(self) -> AsyncIterator[AsyncConnection]:
        if self.is_sqlite:  # its writer has a pool of its own
            async with self._connected(self._writer) as connection:
                yield connection
            return
        async with asyncio.timeout(self._wait_s):
            await self._writers.acquire()
        try:
            async with self._connected(self._writer) as connection:
                yield connection
        finally:
            self._writers.release()

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        with reaching_the_database():
            connection = await engine.connect()
        try:
            yield connection
        finally:
            returning = asyncio.ensure_future(connection.close())
            try:
                await asyncio.shield(returning)  # also when whoever waits is cancelled: back to the pool
            except asyncio.CancelledError:
                self._returning.add(returning)
                returning.add_done_callback(self._returning.discard)
                raise

    async def _clock(self, connection: AsyncConnection) -> int:
        if self.is_sqlite:  # the database lives in this machine: its clock is ours
            return now_us()
        return await postgresql.read_clock(connection)

    def _transaction(self, connection: AsyncConnection) -> AbstractAsyncContextManager[object]:
        return connection.begin() if self.is_sqlite else postgresql.transaction(connection)

    def report(self) -> None:
        """Bring the gauges of the connections up to date."""
        self._reads.report()
        self._writes.report()

    async def close(self) -> None:
        """Close every connection."""
        if self._quick is not None:
            self._quick.close()
        await asyncio.gather(*self._returning, return_exceptions=True)
        await self._reader.dispose()
        await self._writer.dispose()


def _sqlite_engine(url: URL, of_readers: DatabaseLimits | None) -> AsyncEngine:
    """An engine of as many readers, or of the one writer (None)."""
    arguments, options = url.get_dialect()().create_connect_args(url)
    is_reader = of_readers is not None
    readers, read_s = (of_readers.connections, of_readers.statement_timeout_s) if of_readers else (1, 0)
    engine = create_async_engine(
        url,
        creator=lambda: SqliteConnection(arguments, options, is_reader=is_reader, read_s=read_s),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=readers,
        max_overflow=0,
        pool_timeout=30,
    )
    if not is_reader:

        @event.listens_for(engine.sync_engine, "begin")
        def start(connection: Any) -> None:
            connection.connection.dbapi_connection.begin_immediate()

    return engine
