"""What goes straight to PostgreSQL's driver keeps to what SQLAlchemy would have done."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.bulk import copy_rows, insert_rows
from server.kernel.database import MAX_LOCKS, Database, DatabaseLimits, UnitOfWork
from server.kernel.faults import Busy
from server.kernel.postgresql import NotCommitted
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow, OutboxEvent, PatientIdentity
from tests.conftest import NewDatabase
from tests.services.postgresql import Cluster

EVENT, AUDIT, PATIENT = table_of(OutboxEvent), table_of(AuditRow), table_of(PatientIdentity)
ENTRY = AuditEntry(Principal("client:a", "A"), Action.READ, "read", "Patient", "1")
PATIENT_ROW = {"system": "s", "value": "1", "patient_id": "p"}


@pytest.fixture
async def one(new_postgresql: NewDatabase) -> AsyncIterator[Database]:
    """A database with one connection, so that the next user gets what the last one left."""
    database = Database(new_postgresql(True), DatabaseLimits(connections=1, wait_s=5))
    yield database
    await database.close()


async def subjects(database: Database) -> list[str]:
    async with database.read() as connection:
        found = await connection.execute(select(EVENT.c.subject).order_by(EVENT.c.sequence))
        return list(found.scalars())


async def driver_of(database: Database) -> Any:
    async with database.read() as connection:
        return (await connection.get_raw_connection()).driver_connection


async def test_rows_of_several_tables_keep_their_order_and_their_nulls(one: Database) -> None:
    events = [
        {"kind": "k", "subject": f"{number}", "payload": "{}", "occurred_us": 1} for number in range(500)
    ]

    async def work(unit: UnitOfWork) -> None:
        patient = {**PATIENT_ROW, "birth_date": None}
        await insert_rows(unit.connection, {EVENT: events, PATIENT: [patient], AUDIT: [ENTRY.as_row(7)]})

    await one.transact(work)
    assert await subjects(one) == [f"{number}" for number in range(500)]
    async with one.read() as connection:
        audited = (await connection.execute(select(AUDIT.c.recorded_us, AUDIT.c.patient_id))).one()
        patients = (await connection.execute(select(PATIENT.c.value, PATIENT.c.birth_date))).one()
    assert tuple(audited) == (7, None)
    assert tuple(patients) == ("1", None)


async def test_a_row_that_is_there_already_is_an_integrity_error_without_its_values(one: Database) -> None:
    async def work(unit: UnitOfWork) -> None:
        unit.emit("k", "a")
        await insert_rows(unit.connection, {PATIENT: [PATIENT_ROW, PATIENT_ROW]})

    driver = await driver_of(one)
    with pytest.raises(IntegrityError) as raised:
        await one.transact(work)
    assert not driver.is_in_transaction()  # nobody waits for its locks
    assert raised.value.params is None
    assert await subjects(one) == []


async def test_a_failure_that_nobody_heeds_is_not_taken_for_a_commit(one: Database) -> None:
    async def work(unit: UnitOfWork) -> None:
        await unit.execute(insert(PATIENT), [PATIENT_ROW])
        with pytest.raises(IntegrityError):
            await unit.execute(insert(PATIENT), [PATIENT_ROW])

    with pytest.raises(NotCommitted):
        await one.transact(work)
    async with one.read() as connection:
        assert (await connection.execute(select(PATIENT))).all() == []


async def test_a_savepoint_undoes_its_own_part_only(one: Database) -> None:
    async def work(unit: UnitOfWork) -> None:
        unit.emit("k", "before")
        with pytest.raises(ZeroDivisionError):
            await fail(unit)
        unit.emit("k", "after")

    async def fail(unit: UnitOfWork) -> None:
        async with unit.savepoint():
            await unit.execute(insert(PATIENT), [PATIENT_ROW])
            raise ZeroDivisionError

    await one.transact(work)
    assert await subjects(one) == ["before", "after"]
    async with one.read() as connection:
        assert (await connection.execute(select(PATIENT))).all() == []


async def test_a_cancelled_transaction_leaves_nothing_and_its_connection_is_good(one: Database) -> None:
    begun = asyncio.Event()

    async def work(unit: UnitOfWork) -> None:
        unit.emit("k", "a")
        await unit.flush()
        begun.set()
        await unit.execute(text("SELECT pg_sleep(30)"))

    task = asyncio.create_task(one.transact(work))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await subjects(one) == []


async def test_a_connection_that_was_ended_while_idle_is_replaced(one: Database, postgresql: Cluster) -> None:
    driver = await driver_of(one)
    postgresql.run_sql(f"SELECT pg_terminate_backend({driver.get_server_pid()}, 5000)")
    async with asyncio.timeout(30):
        while not driver.is_closed():
            await asyncio.sleep(0)
    await one.transact(emit)
    assert await subjects(one) == ["a"]
    assert (await driver_of(one)) is not driver


async def test_a_connection_left_within_a_transaction_is_replaced(one: Database) -> None:
    driver = await driver_of(one)
    await driver.execute("BEGIN")
    await driver.execute("INSERT INTO patient_merge VALUES ('s', 't', true, 1)")
    async with one.read() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM patient_merge"))).scalar_one() == 0
    assert (await driver_of(one)) is not driver


async def test_audit_alone_bears_the_clock_of_the_database(one: Database) -> None:
    await one.record([ENTRY, ENTRY])
    async with one.read() as connection:
        recorded = (await connection.execute(select(AUDIT.c.recorded_us))).scalars().all()
        clock = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        assert len(recorded) == 2
        assert 0 < recorded[0] <= (await connection.execute(clock)).scalar_one()


async def test_a_transaction_whose_connection_goes_is_busy(one: Database) -> None:
    async def work(unit: UnitOfWork) -> None:
        unit.emit("k", "a")
        (await unit.connection.get_raw_connection()).driver_connection.terminate()
        await unit.lock(["a"])

    with pytest.raises(Busy):
        await one.transact(work)
    assert await subjects(one) == []


async def emit(unit: UnitOfWork) -> None:
    unit.emit("k", "a")


MANY = [f"name-{n}" for n in range(MAX_LOCKS + 1)]


@pytest.mark.parametrize(("held", "wanted"), [(MANY, ["a"]), (["a"], MANY), (MANY, MANY)])
async def test_who_holds_very_many_names_holds_all(
    new_postgresql: NewDatabase, held: list[str], wanted: list[str]
) -> None:
    """Each of them by itself would fill PostgreSQL's table of locks."""
    url = new_postgresql(True)
    holder, waiter = Database(url), Database(url, DatabaseLimits(statement_timeout_s=0.1))
    locks = text(
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
        " WHERE locktype = 'advisory' AND datname = current_database()"
    )

    async def take(unit: UnitOfWork) -> int:
        assert await unit.lock(wanted)
        return int((await unit.execute(locks)).scalar_one())

    async def hold(unit: UnitOfWork) -> None:
        assert await unit.lock(held)
        assert not await unit.lock(held)
        with pytest.raises(Busy):
            await waiter.transact(take)

    await holder.transact(hold)
    assert await waiter.transact(take) == (1 if wanted is MANY else 2)
    await holder.close()
    await waiter.close()


async def test_transactions_that_read_beside_themselves_do_not_starve(new_postgresql: NewDatabase) -> None:
    database = Database(new_postgresql(True), DatabaseLimits(connections=2, wait_s=1))

    async def work(unit: UnitOfWork) -> int:
        await asyncio.sleep(0)  # let the others begin
        async with database.read() as connection:
            return int((await connection.execute(select(1))).scalar_one())

    try:
        assert await asyncio.gather(*(database.transact(work) for _ in range(6))) == [1] * 6
    finally:
        await database.close()


async def test_a_connection_that_nobody_waits_for_is_closed_with_the_others(one: Database) -> None:
    drivers = []

    async def look() -> None:
        async with one.snapshot() as snapshot:
            drivers.append((await snapshot.connection.get_raw_connection()).driver_connection)
            asking = asyncio.current_task()
            assert asking is not None
            asyncio.get_running_loop().call_soon(asking.cancel)  # while it is rolled back and given back

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(look())
    await one.close()
    (driver,) = drivers
    assert driver.is_closed()


@pytest.mark.parametrize("turns", range(4))  # of the event loop, in which the driver hears of it bit by bit
async def test_a_connection_that_the_server_ends_between_two_statements(
    one: Database, postgresql: Cluster, turns: int
) -> None:
    ended = (
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        f" WHERE datname = '{one.url.database}' AND application_name = 'isthmus'"
    )

    async def work(unit: UnitOfWork) -> None:
        postgresql.run_sql(ended)  # and the event loop hears nothing of it yet
        for _ in range(turns):
            await asyncio.sleep(0)
        await unit.lock(["a"])

    with pytest.raises(Busy):
        await one.transact(work)
    assert await subjects(one) == []


async def test_what_fails_while_rows_are_copied_is_what_it_would_be_otherwise(
    one: Database, postgresql: Cluster
) -> None:
    row = tuple(PATIENT_ROW.values())

    async def twice(unit: UnitOfWork) -> None:
        await copy_rows(unit.connection, PATIENT.name, [*PATIENT_ROW], [row, row])

    async def cut_off(unit: UnitOfWork) -> None:
        postgresql.run_sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            f" WHERE datname = '{one.url.database}' AND application_name = 'isthmus'"
        )
        await copy_rows(unit.connection, PATIENT.name, [*PATIENT_ROW], [row])

    with pytest.raises(IntegrityError):
        await one.transact(twice)
    with pytest.raises(Busy):
        await one.transact(cut_off)
