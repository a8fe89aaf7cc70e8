import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import Database, UnitOfWork
from server.kernel.outbox import Event, consume
from server.kernel.read_audit import AuditUnavailable, ReadAudit
from server.kernel.request import ServedRequest, set_request
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow, OutboxEvent, PatientIdentity

ENTRY = AuditEntry(Principal("client:a", "A"), Action.READ, "wado", "ImagingStudy", "1.2.3")


async def count(database: Database, row: type) -> int:
    async with database.read() as connection:
        return len((await connection.execute(select(table_of(row)))).all())


async def test_events_and_audit_are_written_with_the_act(database: Database) -> None:
    async def work(unit: UnitOfWork) -> None:
        unit.emit("study.changed", "1.2.3", {"n": 1})
        unit.audit(ENTRY)

    await database.transact(work)
    assert await count(database, OutboxEvent) == 1
    assert await count(database, AuditRow) == 1


async def test_failing_work_leaves_nothing(database: Database) -> None:
    async def work(unit: UnitOfWork) -> None:
        unit.emit("study.changed", "1.2.3")
        row = {"system": "s", "value": "v", "patient_id": "p"}
        await unit.execute(insert(PatientIdentity), [row])
        await unit.execute(insert(PatientIdentity), [row])

    with pytest.raises(IntegrityError):
        await database.transact(work)
    assert await count(database, PatientIdentity) == 0
    assert await count(database, OutboxEvent) == 0


async def test_sqlite_commits_are_durable(database: Database) -> None:
    if not database.is_sqlite:
        return

    async def work(unit: UnitOfWork) -> tuple[int, str]:
        synchronous = (await unit.execute(text("PRAGMA synchronous"))).scalar_one()
        return synchronous, (await unit.execute(text("PRAGMA journal_mode"))).scalar_one()

    assert await database.transact(work) == (2, "wal")


async def test_readers_see_one_snapshot(database: Database) -> None:
    async def add(unit: UnitOfWork) -> None:
        unit.emit("a", "b")

    events = select(table_of(OutboxEvent))
    async with database.read() as connection:
        assert (await connection.execute(events)).all() == []
        await database.transact(add)
        seen = (await connection.execute(events)).all()
        assert seen == [] or not database.is_sqlite


async def test_outbox_hands_each_event_once_in_order(database: Database) -> None:
    async def add(unit: UnitOfWork) -> None:
        for subject in "abc":
            unit.emit("wanted", subject)
            unit.emit("other", subject)

    await database.transact(add)
    seen: list[str] = []

    async def handle(_unit: UnitOfWork, events: list[Event]) -> None:
        seen.extend(event.subject for event in events)

    handled = await asyncio.gather(*(consume(database, "reader", ["wanted"], handle) for _ in range(4)))  # type: ignore[arg-type]
    assert sorted(handled) == [0, 0, 0, 3]
    assert seen == ["a", "b", "c"]


async def test_failed_handler_sees_the_events_again(database: Database) -> None:
    async def add(unit: UnitOfWork) -> None:
        unit.emit("wanted", "a")

    await database.transact(add)

    async def fail(_unit: UnitOfWork, _events: object) -> None:
        raise RuntimeError("handler died")

    with pytest.raises(RuntimeError):
        await consume(database, "reader", ["wanted"], fail)

    async def handle(_unit: UnitOfWork, _events: object) -> None:
        return None

    assert await consume(database, "reader", ["wanted"], handle) == 1


async def test_read_audit_is_durable_when_it_returns(database: Database) -> None:
    audit = ReadAudit(database)
    await asyncio.gather(*(audit.record(ENTRY) for _ in range(10)))
    assert await count(database, AuditRow) == 10


async def test_retrievals_are_coalesced_with_counts(database: Database) -> None:
    now = 0
    audit = ReadAudit(database, clock=lambda: now)
    for _ in range(5):
        await audit.record_retrieval(ENTRY)
    assert await count(database, AuditRow) == 1
    now = 61_000_000
    await audit.record_retrieval(ENTRY)
    async with database.read() as connection:
        rows = (await connection.execute(select(table_of(AuditRow).c.occurrences))).scalars().all()
    assert rows == [1, 4, 1]


async def test_reads_of_one_commit_are_each_of_their_request(database: Database) -> None:
    """Whoever writes them: one writer takes along what others wait for."""
    audit = ReadAudit(database)

    async def read(number: int) -> None:
        set_request(ServedRequest(f"r{number}", f"192.0.2.{number}"))
        await audit.record(AuditEntry(Principal(f"client:{number}", "A"), Action.READ, "read", "Patient"))

    await asyncio.gather(*(asyncio.create_task(read(number)) for number in range(5)))
    t = table_of(AuditRow).c
    async with database.read() as connection:
        rows = (await connection.execute(select(t.principal, t.request_id, t.address))).all()
    assert {tuple(row) for row in rows} == {(f"client:{n}", f"r{n}", f"192.0.2.{n}") for n in range(5)}


async def test_retrievals_from_two_places_are_told_apart(database: Database) -> None:
    now = 0
    audit = ReadAudit(database, clock=lambda: now)
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.2"):
        set_request(ServedRequest(f"r {address}", address))
        await audit.record_retrieval(replace(ENTRY, address=address, request_id="r"))
    set_request(None)
    now = 61_000_000
    await audit.close_ended()
    t = table_of(AuditRow).c
    async with database.read() as connection:
        rows = (
            await connection.execute(select(t.address, t.request_id, t.occurrences).order_by(t.sequence))
        ).all()
    assert [tuple(row) for row in rows] == [
        ("192.0.2.1", "r", 1),
        ("192.0.2.2", "r", 1),
        ("192.0.2.2", None, 1),  # counts are of no one request
    ]


async def test_retrievals_of_two_emergencies_are_told_apart(database: Database) -> None:
    """One is reviewed by what its token was used for; without a purpose tokens do not count."""
    audit = ReadAudit(database)
    for purpose in (None, "BTG"):
        for token in ("a", "b", "b"):
            who = Principal("user:ada", "Ada", "client:app", token, purpose)
            await audit.record_retrieval(AuditEntry(who, Action.READ, "wado", "ImagingStudy", "1.2.3"))
    async with database.read() as connection:
        t = table_of(AuditRow).c
        rows = (await connection.execute(select(t.purpose, t.token).order_by(t.sequence))).all()
    assert [tuple(row) for row in rows] == [(None, "a"), ("BTG", "a"), ("BTG", "b")]


async def test_unwritable_audit_fails_the_read(database: Database) -> None:
    async def drop(unit: UnitOfWork) -> None:
        await unit.execute(text("DROP TABLE audit_entry"))

    await database.transact(drop)
    with pytest.raises(AuditUnavailable):
        await ReadAudit(database).record(ENTRY)
