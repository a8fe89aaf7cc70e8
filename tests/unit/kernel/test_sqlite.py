"""The SQLite connections: hand-overs, snapshots, cancelled statements, ends."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, text
from sqlalchemy.exc import IntegrityError, OperationalError

import server.kernel.sqlite
from server.kernel.bulk import insert_rows
from server.kernel.database import Database, UnitOfWork
from server.kernel.database_limits import DatabaseLimits
from server.kernel.faults import Busy, TookTooLong
from server.kernel.sqlite import VALUES_HERE, SqliteThread

SLOW = text(
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 300000) SELECT max(x) FROM n"
)


@pytest.fixture
async def numbers(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/numbers.db")
    await database.transact(lambda unit: unit.execute(text("CREATE TABLE n (x INTEGER PRIMARY KEY)")))
    yield database
    await database.close()


@pytest.fixture
def hand_overs(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    seen: list[object] = []
    original = SqliteThread._hand_over

    def counted(thread: SqliteThread, work: Any) -> Any:
        seen.append(work)
        return original(thread, work)

    monkeypatch.setattr(SqliteThread, "_hand_over", counted)
    return seen


async def add(database: Database, number: int) -> None:
    await database.transact(lambda unit: unit.execute(text(f"INSERT INTO n VALUES ({number})")))


async def count(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM n"))).scalar_one())


async def test_a_quick_read_costs_no_hand_over_and_a_long_one_costs_one(
    numbers: Database, hand_overs: list[object]
) -> None:
    await count(numbers)  # connects
    hand_overs.clear()
    for _ in range(100):
        await count(numbers)
    assert not hand_overs
    async with numbers.read() as connection:
        await connection.execute(text("SELECT count(*) FROM n"))
        await add(numbers, 1)
        hand_overs.clear()
        assert (await connection.execute(SLOW)).scalar_one() == 300_000
        assert len(hand_overs) == 1
        assert (await connection.execute(text("SELECT count(*) FROM n"))).scalar_one() == 0  # same snapshot


async def test_a_small_write_costs_one_hand_over_its_commit(
    numbers: Database, hand_overs: list[object]
) -> None:
    await add(numbers, 1)
    assert len(hand_overs) == 1


async def test_many_rows_change_hands(numbers: Database, hand_overs: list[object]) -> None:
    table = Table("n", MetaData(), Column("x", Integer))

    async def work(unit: UnitOfWork) -> None:
        await insert_rows(unit.connection, {table: [{"x": number} for number in range(VALUES_HERE)]})
        assert not hand_overs
        await insert_rows(unit.connection, {table: [{"x": -1 - number} for number in range(VALUES_HERE + 1)]})
        assert len(hand_overs) == 1

    await numbers.transact(work)
    assert await count(numbers) == 2 * VALUES_HERE + 1


async def test_a_search_in_a_transaction_that_writes_keeps_what_was_written(numbers: Database) -> None:
    async def work(unit: UnitOfWork) -> None:
        await unit.execute(text("INSERT INTO n VALUES (1)"))
        assert (await unit.execute(SLOW)).scalar_one() == 300_000

    await numbers.transact(work)
    assert await count(numbers) == 1


async def test_another_process_that_writes_is_waited_for_then_busy(
    numbers: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.kernel.sqlite, "BUSY_MS", 100)
    await add(numbers, 1)  # takes the shorter time over
    with closing(sqlite3.connect(tmp_path / "numbers.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy):
            await add(numbers, 2)
        monkeypatch.setattr(server.kernel.sqlite, "BUSY_MS", 15_000)
        waiting = asyncio.create_task(add(numbers, 3))
        await asyncio.sleep(0.01)
        other.execute("COMMIT")
        await waiting
    assert await count(numbers) == 2


async def test_the_snapshot_begins_with_the_first_statement_and_ends_with_the_read(numbers: Database) -> None:
    counted = text("SELECT count(*) FROM n")
    async with numbers.read() as connection:
        await add(numbers, 1)
        assert (await connection.execute(counted)).scalar_one() == 1
        await add(numbers, 2)
        assert (await connection.execute(counted)).scalar_one() == 1
    assert await count(numbers) == 2


async def test_a_cancelled_statement_leaves_its_connection_clean(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/one.db", DatabaseLimits(connections=1))

    async def slow() -> None:
        async with database.read() as connection:
            await connection.execute(SLOW)

    running = asyncio.create_task(slow())
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    async with database.read() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    await database.close()


async def test_a_cancelled_write_leaves_nothing(numbers: Database) -> None:
    async def slow(unit: UnitOfWork) -> None:
        await unit.execute(text("INSERT INTO n VALUES (1)"))
        await unit.execute(SLOW)

    running = asyncio.create_task(numbers.transact(slow))
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await count(numbers) == 0
    await add(numbers, 2)
    assert await count(numbers) == 1


async def test_a_failed_statement_is_raised_where_it_was_awaited(numbers: Database) -> None:
    await add(numbers, 1)
    with pytest.raises(IntegrityError):
        await add(numbers, 1)
    await add(numbers, 2)
    assert await count(numbers) == 2


async def test_a_database_that_cannot_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/nowhere/t.db")
    with pytest.raises(OperationalError):
        async with database.read():
            pass
    await asyncio.to_thread(_await_threads, before + 1)  # to_thread's own
    assert threading.active_count() <= before + 1


async def test_closing_ends_the_threads_and_takes_the_log_into_the_file(tmp_path: Path) -> None:
    before = threading.active_count()
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/t.db")
    await database.transact(lambda unit: unit.execute(text("CREATE TABLE n (x INTEGER)")))
    assert await count(database) == 0
    await database.close()
    assert not (tmp_path / "t.db-wal").exists()
    await asyncio.to_thread(_await_threads, before + 1)
    assert threading.active_count() <= before + 1


def _await_threads(wanted: int) -> None:
    for thread in [each for each in threading.enumerate() if each.name == "sqlite"]:
        if threading.active_count() > wanted:
            thread.join(2)


async def test_a_read_that_takes_too_long_is_broken_off(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/numbers.db"
    database = Database(url, DatabaseLimits(statement_timeout_s=0.01))
    endless = text("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n")
    with pytest.raises(TookTooLong, match="busy"):
        async with database.read() as connection:
            await connection.execute(endless)
    async with database.read() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    assert await database.transact(lambda unit: unit.execute(SLOW))  # nothing of a write is
    await database.close()
