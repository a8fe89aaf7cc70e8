"""Rows of many writes go to the database together, and mean what they would mean one by one."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from server.kernel.changes import Changes
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of
from server.kernel.tables import OutboxEvent, PatientIdentity

PATIENT, EVENT = table_of(PatientIdentity), table_of(OutboxEvent)


def identity(value: str, patient: str = "p", **more: Any) -> dict[str, Any]:
    return {"system": "s", "value": value, "patient_id": patient, **more}


def inserted(*values: str) -> Changes:
    changes = Changes()
    changes.insert(PATIENT, [identity(value) for value in values])
    return changes


async def values_in(unit: UnitOfWork) -> Sequence[str]:
    return (await unit.execute(select(PATIENT.c.value).order_by(PATIENT.c.value))).scalars().all()


async def stored(database: Database) -> list[tuple[str, str]]:
    async with database.read() as connection:
        query = select(PATIENT.c.value, PATIENT.c.patient_id).order_by(PATIENT.c.value)
        return [tuple(row) for row in (await connection.execute(query)).all()]


async def test_deletes_come_first_then_updates_then_inserts(database: Database) -> None:
    first = Changes()
    first.insert(PATIENT, [identity("1", id=1), identity("2", id=2), identity("3", id=3)])
    await database.transact(lambda unit: unit.change(first))
    second = Changes()
    second.insert(PATIENT, [identity("1", "new", id=4)])
    second.update(PATIENT, {"id": 2, "patient_id": "moved"})
    second.delete(PATIENT, "value", "1")
    second.delete(PATIENT, "value", "3")
    await database.transact(lambda unit: unit.change(second))
    assert await stored(database) == [("1", "new"), ("2", "moved")]


async def test_gathered_changes_are_there_for_the_next_statement(database: Database) -> None:
    async def work(unit: UnitOfWork) -> tuple[Sequence[str], Sequence[str]]:
        unit.gather()
        await unit.change(inserted("1"))
        await unit.change(inserted("2"))
        seen = await values_in(unit)
        await unit.change(inserted("3"))
        return seen, await values_in(unit)

    assert await database.transact(work) == (["1", "2"], ["1", "2", "3"])


async def test_gathered_changes_are_committed_with_the_events(database: Database) -> None:
    async def work(unit: UnitOfWork) -> None:
        unit.gather()
        await unit.change(inserted("1"))
        unit.emit("k", "a")

    await database.transact(work)
    assert await stored(database) == [("1", "p")]
    async with database.read() as connection:
        assert (await connection.execute(select(EVENT.c.subject))).scalars().all() == ["a"]


async def fail_within(unit: UnitOfWork) -> None:
    async with unit.savepoint():
        await unit.lock(["name"])
        await unit.change(inserted("within"))
        raise RuntimeError


async def test_gathered_changes_fall_with_their_savepoint(database: Database) -> None:
    async def work(unit: UnitOfWork) -> None:
        unit.gather()
        await unit.change(inserted("before"))
        with pytest.raises(RuntimeError):
            await fail_within(unit)
        await unit.lock(["name"])
        await unit.change(inserted("after"))

    await database.transact(work)
    assert await stored(database) == [("after", "p"), ("before", "p")]


async def test_what_is_there_is_kept_where_only_what_is_missing_is_wanted(database: Database) -> None:
    changes = inserted("1")
    changes.insert_missing(PATIENT, [identity("1", "thief"), identity("2", "other"), identity("2", "late")])
    await database.transact(lambda unit: unit.change(changes))
    assert await stored(database) == [("1", "p"), ("2", "other")]


async def test_a_row_twice_fails_the_whole_transaction(database: Database) -> None:
    async def work(unit: UnitOfWork) -> None:
        unit.gather()
        await unit.change(inserted("1", "2"))
        await unit.change(inserted("1"))

    with pytest.raises(Exception, match=r"(?i)unique|IntegrityError") as raised:
        await database.transact(work)
    assert database.is_sqlite or isinstance(raised.value, IntegrityError)
    assert await stored(database) == []


@pytest.mark.parametrize("keys_at_once", [1, 3])
async def test_new_keys_go_on_where_the_database_would(database: Database, keys_at_once: int) -> None:
    async def work(unit: UnitOfWork) -> list[int]:
        unit.gather(keys_at_once)
        keys = [await unit.new_key(EVENT) for _ in range(5)]
        changes = Changes()
        event = {"kind": "k", "subject": "s", "payload": "{}", "occurred_us": 1}
        changes.insert(EVENT, [{"sequence": key, **event} for key in keys])
        await unit.change(changes)
        return keys

    async def emit(unit: UnitOfWork) -> None:
        unit.emit("k", "numbered by the database")

    first = await database.transact(work)
    await database.transact(emit)
    second = await database.transact(work)
    async with database.read() as connection:
        all_keys = (await connection.execute(select(EVENT.c.sequence))).scalars().all()
    assert len({*first, *second}) == 10
    assert sorted(all_keys)[:5] == first
    assert len(all_keys) == 11
