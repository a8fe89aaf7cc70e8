"""SQLite connections for the asynchronous engine, with one hand-over to a thread for each statement.

A hand-over costs far more CPU than an indexed select (some 70 against 6 µs), and a general driver needs
four of them to run one and two more around it. Here a statement is executed and its rows are fetched in one,
a reader's transaction begins in the same, and ends without any. The engine keeps SQLAlchemy's SQLite dialect;
what is here is the part of PEP 249 that the dialect uses.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from queue import SimpleQueue
from typing import Any, TypeVar

from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.util.concurrency import await_

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_MS = 15_000  # longer than any transaction of ours; the worker process writes too
CACHED_STATEMENTS = 512  # of one connection; the server has some hundred that differ
PRAGMAS = (
    f"busy_timeout={BUSY_MS}",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "cache_size=-16384",
    "temp_store=MEMORY",
)


class SqliteThread:
    """One database connection and the thread that runs its statements, in the order they came."""

    def __init__(self) -> None:
        self._raw: sqlite3.Connection
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._under_way = 0  # handed over and not yet answered
        threading.Thread(target=self._serve, name="sqlite", daemon=True).start()

    def open(self, arguments: Sequence[Any], options: Mapping[str, Any]) -> asyncio.Future[None]:
        """Connect, with our pragmas and without the driver's own transactions."""
        ours = {"isolation_level": None, "check_same_thread": False, "cached_statements": CACHED_STATEMENTS}

        def connect() -> None:
            self._raw = sqlite3.connect(*arguments, **{**options, **ours})
            for pragma in PRAGMAS:
                self._raw.execute(f"PRAGMA {pragma}")

        return self._hand_over(connect)

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

    def roll_back_here(self) -> None:
        """Roll back in the caller's thread, while idle: for a reader, who has nothing to wait for."""
        self._raw.rollback()

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
        self._take(lambda raw: raw.execute(statement, parameters))

    def executemany(self, statement: str, parameters: Iterable[Sequence[Any]]) -> None:
        """Execute one statement for each set of parameters."""
        self._take(lambda raw: raw.executemany(statement, parameters))

    def _take(self, execute: Work[sqlite3.Cursor]) -> None:
        begins = self._connection.is_reader

        def run(raw: sqlite3.Connection) -> tuple[list[Any], sqlite3.Cursor]:
            if begins and not raw.in_transaction:
                raw.execute("BEGIN")
            cursor = execute(raw)
            return cursor.fetchall(), cursor

        rows, cursor = await_(self._connection.thread.run(run))
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

    A reader's transaction begins with its first statement: all that it reads is one snapshot.
    """

    __slots__ = ("is_reader", "thread")

    def __init__(self, arguments: Sequence[Any], options: Mapping[str, Any], *, is_reader: bool) -> None:
        self.is_reader = is_reader
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

    def begin_immediate(self) -> None:
        """Begin a transaction that writes, as soon as no other does."""
        await_(self.thread.run(lambda raw: raw.execute("BEGIN IMMEDIATE")))

    def create_function(self, *arguments: Any, **options: Any) -> None:
        """Give SQL a function of Python's."""
        await_(self.thread.run(lambda raw: raw.create_function(*arguments, **options)))

    def commit(self) -> None:
        """Commit; durable on return."""
        await_(self.thread.run(sqlite3.Connection.commit))

    def rollback(self) -> None:
        """Roll back; nothing to do is done without a hand-over, which is the case after every commit."""
        if not self.thread.is_idle:  # a statement whose caller was cancelled
            await_(self.thread.run(sqlite3.Connection.rollback))
        elif self.is_reader:
            self.thread.roll_back_here()
        elif self.thread.in_transaction:
            await_(self.thread.run(sqlite3.Connection.rollback))

    def close(self) -> None:
        """Close after what is under way."""
        await_(self.thread.close())

    def terminate(self) -> None:
        """Close without waiting for it; also called where no loop runs."""
        self.thread.abandon()
