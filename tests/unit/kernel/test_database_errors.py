"""What a failing PostgreSQL comes to: 503 and a later retry, never a half-done act (DESIGN §5)."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from server.kernel.database import Database, UnitOfWork
from server.kernel.database_limits import DatabaseLimits
from server.kernel.faults import Busy, StorageFull, TookTooLong
from tests.conftest import NewDatabase
from tests.services.postgresql import Cluster, cluster, free_port

KIND = "thing.changed"


async def emit(unit: UnitOfWork) -> None:
    unit.emit(KIND, "a")


async def count(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM outbox_event"))).scalar_one())


@pytest.fixture
def url(new_postgresql: NewDatabase) -> str:
    return new_postgresql(True)


async def test_a_database_that_nobody_serves_is_busy() -> None:
    database = Database(f"postgresql+asyncpg://postgres@127.0.0.1:{free_port()}/isthmus")
    with pytest.raises(Busy, match="not available"):
        await count(database)
    with pytest.raises(Busy, match="not available"):
        await database.transact(emit)
    await database.close()


async def test_a_host_that_has_no_address_is_busy() -> None:
    database = Database("postgresql+asyncpg://postgres@no-such-host.invalid/isthmus")
    with pytest.raises(Busy, match="not available"):
        await count(database)
    await database.close()


async def test_a_long_statement_is_broken_off(url: str) -> None:
    database = Database(url, DatabaseLimits(statement_timeout_s=0.1))
    with pytest.raises(TookTooLong, match="busy"):
        async with database.read() as connection:
            await connection.execute(text("SELECT pg_sleep(30)"))
    assert await count(database) == 0
    await database.close()


async def test_a_wait_for_a_lock_ends(url: str) -> None:
    holder, waiter = Database(url), Database(url, DatabaseLimits(statement_timeout_s=0.1))
    held, leave = asyncio.Event(), asyncio.Event()

    async def hold(unit: UnitOfWork) -> None:
        await unit.lock(["one"])
        held.set()
        await leave.wait()

    async def wait(unit: UnitOfWork) -> None:
        unit.emit(KIND, "a")
        await unit.lock(["one"])

    holding = asyncio.create_task(holder.transact(hold))
    await held.wait()
    with pytest.raises(Busy):
        await waiter.transact(wait)
    leave.set()
    await holding
    assert await count(waiter) == 0
    await holder.close()
    await waiter.close()


async def test_a_connection_that_was_ended_in_the_act_leaves_nothing(url: str, postgresql: Cluster) -> None:
    database = Database(url)

    async def be_ended(unit: UnitOfWork) -> None:
        unit.emit(KIND, "a")
        await unit.flush()
        pid = (await unit.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        postgresql.run_sql(f"SELECT pg_terminate_backend({pid}, 5000)")
        await unit.execute(text("SELECT 1"))

    with pytest.raises(Busy):
        await database.transact(be_ended)
    assert await count(database) == 0
    await database.close()


async def test_too_many_connections_are_busy(url: str) -> None:
    database = Database(url, DatabaseLimits(connections=1, wait_s=0.1))
    async with database.read():
        with pytest.raises(Busy):
            await count(database)
    assert await count(database) == 0
    await database.close()


async def test_deadlocked_transactions_are_run_again(url: str) -> None:
    database = Database(url)
    runs: list[str] = []
    both = asyncio.Barrier(2)

    def taking(*names: str):  # type: ignore[no-untyped-def]
        async def work(unit: UnitOfWork) -> None:
            first = not any(run == names[0] for run in runs)
            runs.append(names[0])
            for name in names:  # in other orders, which `lock` of both together would not do
                await unit.lock([name])
                if first and name == names[0]:
                    await both.wait()
            unit.emit(KIND, names[0])

        return work

    await asyncio.gather(database.transact(taking("a", "b")), database.transact(taking("b", "a")))
    assert len(runs) == 3
    assert await count(database) == 2
    await database.close()


async def test_a_crash_loses_nothing_and_the_pool_recovers() -> None:
    """A crash of the whole server, with a durable cluster: what was acknowledged is there afterwards."""
    with cluster({}) as server:
        server.run_sql("CREATE DATABASE isthmus")
        server.run_sql("CREATE TABLE noted (n int)", "isthmus")
        database = Database(server.url("isthmus"))

        async def note(number: int) -> None:
            async def work(unit: UnitOfWork) -> None:
                await unit.execute(text("INSERT INTO noted VALUES (:n)"), {"n": number})

            await database.transact(work)

        for number in range(5):
            await note(number)
        await asyncio.to_thread(server.stop, "immediate")
        with pytest.raises(Busy):
            await note(99)
        await asyncio.to_thread(server.start)
        await note(5)
        async with database.read() as connection:
            noted = (await connection.execute(text("SELECT n FROM noted ORDER BY n"))).scalars().all()
        assert noted == [0, 1, 2, 3, 4, 5]
        await database.close()


@pytest.mark.parametrize(
    ("condition", "fault"),
    [
        ("disk_full", StorageFull),
        ("too_many_connections", Busy),
        ("read_only_sql_transaction", Busy),
        ("io_error", Busy),
        ("lock_not_available", Busy),
        ("serialization_failure", Busy),  # after three runs
    ],
)
async def test_what_the_server_refuses_has_a_fault(url: str, condition: str, fault: type[Busy]) -> None:
    database = Database(url)

    async def refused(unit: UnitOfWork) -> None:
        unit.emit(KIND, "a")
        await unit.flush()
        await unit.execute(text(f"DO $$ BEGIN RAISE {condition}; END $$"))

    with pytest.raises(Busy) as raised:
        await database.transact(refused)
    assert type(raised.value) is fault
    assert await count(database) == 0
    await database.close()


async def test_a_defect_of_ours_passes_as_it_is(url: str) -> None:
    database = Database(url)
    with pytest.raises(ProgrammingError):
        async with database.read() as connection:
            await connection.execute(text("SELECT no_such_column FROM outbox_event"))
    await database.close()
