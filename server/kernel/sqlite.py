"""SQLite connections for the asynchronous engine: a thread for what may wait, none for what is quick.

Handing a statement to a thread and its answer back costs ten times and more what an indexed select costs, and
a general driver does it four times a statement and twice around. Here a connection has a thread for commits,
long searches and large batches, one hand-over each. What cannot take long runs where it is asked for, on the
event loop's thread: a few inserted rows, and a select that ends within `STEPS_HERE`; one that does not is
broken off and begun anew in the thread.

The engine keeps SQLAlchemy's SQLite dialect; what is here is the part of PEP 249 that the dialect uses.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from queue import SimpleQueue
from time import monotonic
from typing import Any, TypeVar

from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.util.concurrency import await_

from server.kernel.uids import derived_id

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_MS = 15_000  # longer than any transaction of ours; the worker process writes too
CACHED_STATEMENTS = 512  # of one connection; the server has some hundred that differ
STEPS_BETWEEN = 1_000_000  # after which a long read looks at the clock, some 50 ms
STEPS_HERE = 1_000  # of SQLite's virtual machine, some 50 µs; a look-up by key takes 20 to 60
VALUES_HERE = 500  # inserted without a hand-over: a resource's index rows
BEGIN = "BEGIN IMMEDIATE"
PRAGMAS = (
    f"busy_timeout={BUSY_MS}",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",  # what is deleted is overwritten, not only unlinked (docs/decisions/0017)
    "cache_size=-16384",
    "temp_store=MEMORY",
)


class TooLong(Exception):
    """A statement did not end within `STEPS_HERE`."""


def connect(arguments: Sequence[Any], options: Mapping[str, Any]) -> sqlite3.Connection:
    """A connection with our pragmas, without the driver's own transactions, for any thread at a time."""
    ours = {"isolation_level": None, "check_same_thread": False, "cached_statements": CACHED_STATEMENTS}
    raw: sqlite3.Connection = sqlite3.connect(*arguments, **{**options, **ours})
    for pragma in PRAGMAS:
        raw.execute(f"PRAGMA {pragma}")
    raw.create_function("derived_id", 2, derived_id, deterministic=True)  # server/kernel/derived_ids.py
    return raw


def read_briefly(raw: sqlite3.Connection, read: Work[T], steps: int = STEPS_HERE) -> T:
    """Run a function that only reads, unless it takes more steps.

    Raises:
        TooLong: it was broken off; the transaction is as it was.
    """
    calls = 0

    def is_enough() -> bool:
        nonlocal calls
        calls += 1  # SQLite counts on from a statement's last run: the first call may come at once
        return calls > 1

    raw.set_progress_handler(is_enough, steps)
    try:
        return read(raw)
    except sqlite3.OperationalError as error:
        if _code(error) == sqlite3.SQLITE_INTERRUPT:
            raise TooLong from None
        raise
    finally:
        raw.set_progress_handler(None, 0)


def read_within(raw: sqlite3.Connection, read: Work[T], seconds: float) -> T:
    """Run a function that only reads; after so many seconds (0: never) it fails as interrupted."""
    if not seconds:
        return read(raw)
    ends = monotonic() + seconds
    raw.set_progress_handler(lambda: monotonic() > ends, STEPS_BETWEEN)
    try:
        return read(raw)
    finally:
        raw.set_progress_handler(None, 0)


class SqliteThread:
    """One database connection and the thread that runs its statements, in the order they came."""

    def __init__(self) -> None:
        self._raw: sqlite3.Connection
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._under_way = 0  # handed over and not yet answered
        threading.Thread(target=self._serve, name="sqlite", daemon=True).start()

    def open(self, arguments: Sequence[Any], options: Mapping[str, Any]) -> asyncio.Future[None]:
        """Connect."""

        def take() -> None:
            self._raw = connect(arguments, options)

        return self._hand_over(take)

    def run(self, work: Work[T]) -> asyncio.Future[T]:
        """Run a function on the connection, in its thread; cancelling what awaits it does not stop it."""
        return self._hand_over(lambda: work(self._raw))

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, so that the connection may be looked at from this side."""
        return self._under_way == 0

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open; asked while idle."""
        return self._raw.in_transaction

    def run_here(self, work: Work[T]) -> T:
        """Run a function in the caller's thread, while idle; for what never takes long."""
        return work(self._raw)

    def try_here(self, read: Work[T]) -> T:
        """Run a function that only reads in the caller's thread, while idle.

        Raises:
            TooLong: it was broken off; the transaction is as it was.
        """
        return read_briefly(self._raw, read)

    def close(self) -> asyncio.Future[None]:
        """Close the connection, after all that came before; the thread ends."""
        closed = self.run(sqlite3.Connection.close)
        self.stop()
        return closed

    def abandon(self) -> None:
        """The same, when nobody waits for it."""
        self._waiting.put(lambda: self._raw.close())  # noqa: PLW0108  it may not be open yet
        self.stop()

    def stop(self) -> None:
        """End the thread, after all that came before."""
        self._waiting.put(None)

    def _hand_over(self, work: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def deliver(result: Any, error: BaseException | None) -> None:
            self._under_way -= 1
            if answer.done():  # cancelled
                return
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

        def run() -> None:
            result, failure = None, None
            try:
                result = work()
            except Exception as error:  # noqa: BLE001  the caller's to judge, on the other side
                failure = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(deliver, result, failure)

        self._under_way += 1
        self._waiting.put(run)
        return answer

    def _serve(self) -> None:
        while (work := self._waiting.get()) is not None:
            work()


class _Done:
    """What need not be waited for."""

    def __await__(self) -> Iterator[None]:
        return iter(())


_DONE: Any = _Done()

Here = Callable[[SqliteThread, Work[Any]], Any]


def _how_here(statement: str, values: int) -> Here | None:
    """How a statement may be tried without the thread; None: not at all.

    An update, a delete or an insert from a select may touch any number of rows, and cannot be broken off
    without losing the transaction.
    """
    if statement.startswith("SELECT"):
        return SqliteThread.try_here
    is_quick = statement.startswith("INSERT") and values <= VALUES_HERE and "SELECT" not in statement
    return SqliteThread.run_here if is_quick else None


def count_values(rows: Sequence[Sequence[Any]]) -> int:
    """The values in rows of one length."""
    return len(rows) * len(rows[0]) if rows else 0


class SqliteCursor:
    """A cursor whose rows have all been fetched."""

    def __init__(self, connection: "SqliteConnection") -> None:
        self._connection = connection
        self._rows: Iterator[Any] = iter(())
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        """Execute one statement."""
        self._take(lambda raw: raw.execute(statement, parameters), _how_here(statement, len(parameters)))

    def executemany(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Execute one statement for each set of parameters."""
        here = _how_here(statement, count_values(parameters))
        self._take(lambda raw: raw.executemany(statement, parameters), here)

    def _take(self, execute: Work[sqlite3.Cursor], here: Here | None) -> None:
        begins = self._connection.is_reader

        def run(raw: sqlite3.Connection) -> tuple[list[Any], sqlite3.Cursor]:
            if begins and not raw.in_transaction:
                raw.execute("BEGIN")
            cursor = execute(raw)
            return cursor.fetchall(), cursor

        rows, cursor = self._connection.run_statement(run, here)
        self._rows = iter(rows)
        self.description, self.rowcount, self.lastrowid = (
            cursor.description,
            cursor.rowcount,
            cursor.lastrowid,
        )

    def fetchone(self) -> Any:
        """The next row; None: there is none."""
        return next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """The next rows."""
        return list(islice(self._rows, self.arraysize if size is None else size))

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        return list(self._rows)

    def close(self) -> None:
        """Nothing is open: the rows are here."""

    async def _async_soft_close(self) -> None:
        """SQLAlchemy's word for the same."""


class SqliteConnection(AdaptedConnection):
    """A connection as the dialect sees it; used within the engine's greenlets.

    A reader's transaction begins with its first statement: all that it reads is one snapshot. A statement of
    a reader takes up to `read_s` seconds (0: any time); a writer's cannot be broken off.
    """

    __slots__ = ("is_reader", "read_s", "thread")

    def __init__(
        self, arguments: Sequence[Any], options: Mapping[str, Any], *, is_reader: bool, read_s: float = 0
    ) -> None:
        self.is_reader, self.read_s = is_reader, read_s if is_reader else 0
        self.thread = SqliteThread()
        self._connection: Any = self.thread
        try:
            await_(self.thread.open(arguments, options))
        except BaseException:
            self.thread.stop()
            raise

    def cursor(self) -> SqliteCursor:
        """A new cursor."""
        return SqliteCursor(self)

    def run_statement(self, work: Work[T], here: Here | None) -> T:
        """Run a statement on the connection, in the caller's thread where that is allowed and possible."""
        if here is not None and self.thread.is_idle:
            try:
                result: T = here(self.thread, work)
            except TooLong:
                pass
            else:
                await_(_DONE)  # the engine insists on something to await
                return result
        seconds = self.read_s
        return await_(self.thread.run(lambda raw: read_within(raw, work, seconds)))

    def begin_immediate(self) -> None:
        """Begin a transaction that writes, as soon as no other process does."""
        if not (self.thread.is_idle and self.thread.run_here(_begin_unless_locked)):
            await_(self.thread.run(lambda raw: raw.execute(BEGIN)))

    def create_function(self, *arguments: Any, **options: Any) -> None:
        """Give SQL a function of Python's."""
        await_(self.thread.run(lambda raw: raw.create_function(*arguments, **options)))

    def commit(self) -> None:
        """Commit; durable on return."""
        await_(self.thread.run(sqlite3.Connection.commit))

    def rollback(self) -> None:
        """Roll back; a reader has nothing to wait for, and after a commit there is nothing to do."""
        if not self.thread.is_idle:  # a statement whose caller was cancelled
            await_(self.thread.run(sqlite3.Connection.rollback))
        elif self.is_reader:
            self.thread.run_here(sqlite3.Connection.rollback)
        elif self.thread.in_transaction:
            await_(self.thread.run(sqlite3.Connection.rollback))

    def close(self) -> None:
        """Close after what is under way."""
        await_(self.thread.close())

    def terminate(self) -> None:
        """Close without waiting for it; also called where no loop runs."""
        self.thread.abandon()


def _begin_unless_locked(raw: sqlite3.Connection) -> bool:
    raw.execute("PRAGMA busy_timeout=0")
    try:
        raw.execute(BEGIN)
    except sqlite3.OperationalError as error:
        if _code(error) != sqlite3.SQLITE_BUSY:
            raise
        return False
    finally:
        raw.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    return True


def truncate_log(raw: sqlite3.Connection) -> bool:
    """Take the write-ahead log into the database and empty it; False: somebody reads in it now."""
    raw.execute("PRAGMA busy_timeout=0")
    try:
        busy, *_ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        raw.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    return not busy


def _code(error: sqlite3.Error) -> int | None:
    return getattr(error, "sqlite_errorcode", None)  # None: the module's own
