"""Deletion against what happens at the same moment: one of both is first, and nothing is left half."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from dicomweb.delete.holds import HoldOrder, LegalHoldInForce, place_hold
from dicomweb.response_codes import StoreFailure
from dicomweb.retrieve.locate import Resource, locate, locate_with_detail, read_packed_metadata
from dicomweb.tables import Instance, InstanceMetadata, LegalHold, Series, Study, Tombstone
from server.kernel.access import EVERYONE
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import NotFound
from server.kernel.tables import ObjectRemoval
from server.workflows.deletion import delete as deletion
from tests.conformance.ps3_18.kit import confined_to, ct_file, place
from tests.services.gated_store import Gated
from tests.unit.deletion.conftest import ADA, Archive

INDEX = (Study, Series, Instance, InstanceMetadata)
FIRST, SECOND = place(instance=1), place(instance=2)
STUDY = FIRST.study


async def until_somebody_waits(database: Database) -> None:
    """On PostgreSQL until a transaction waits for a lock; SQLite's writer admits one anyway."""
    if database.is_sqlite:
        return
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with asyncio.timeout(30), database.read() as connection:
        while not (await connection.execute(waiting)).scalar_one():
            await connection.rollback()


@pytest.mark.parametrize("uids", [(STUDY,), (STUDY, FIRST.series), (STUDY, FIRST.series, SECOND.instance)])
async def test_what_was_on_its_way_when_it_was_deleted_is_refused(
    archive: Archive, uids: tuple[str, ...]
) -> None:
    await archive.stow(ct_file(FIRST), ct_file(SECOND))
    await archive.delete(STUDY, FIRST.series, SECOND.instance)
    await archive.services.database.transact(
        lambda unit: unit.execute(text("UPDATE tombstone SET released_us = 1"))
    )
    slow = Gated(archive.services.objects)
    late = asyncio.create_task(Archive(replace(archive.services, objects=slow)).stow(ct_file(SECOND)))
    await slow.reached.wait()  # it looked, found nothing against it, and its bytes are written
    if len(uids) == 3:
        await archive.stow(ct_file(SECOND))
    await archive.delete(*uids)
    slow.go_on.set()

    (result,) = await late

    assert result.refusal is not None
    assert result.refusal.reason is StoreFailure.DELETED_BEFORE
    left = 1 if len(uids) == 3 else 0
    assert await archive.counts(INDEX) == [left] * 4
    assert all(row.reason == "deleted" for row in await archive.rows(ObjectRemoval))


async def test_bytes_that_came_too_late_are_removed_too(archive: Archive) -> None:
    await archive.stow(ct_file(FIRST))
    slow = Gated(archive.services.objects)
    late = asyncio.create_task(Archive(replace(archive.services, objects=slow)).stow(ct_file(SECOND)))
    await slow.reached.wait()
    await archive.delete(STUDY)
    await archive.services.database.transact(lambda unit: unit.execute(text("DELETE FROM object_removal")))
    slow.go_on.set()
    await late
    (noted,) = await archive.rows(ObjectRemoval)
    assert noted.due_us <= noted.noted_us


async def test_deletion_of_another_patients_study_is_not_told(archive: Archive) -> None:
    await archive.stow(ct_file(FIRST))
    await archive.delete(STUDY)
    (result,) = await archive.stow(ct_file(FIRST), access=confined_to("somebody"))
    assert result.refusal is not None
    assert result.refusal.reason is StoreFailure.NOT_AUTHORIZED


async def test_store_and_deletion_at_once_leave_all_or_nothing(archive: Archive) -> None:
    for study in range(1, 7):
        first, second = place(study=study, instance=1), place(study=study, instance=2)
        await archive.stow(ct_file(first))
        (stored,), gone = await asyncio.gather(archive.stow(ct_file(second)), archive.delete(first.study))
        assert gone == (1 if stored.refusal else 2)
        assert await archive.counts(INDEX) == [0] * 4


async def test_two_deletions_of_one_study_delete_it_once(archive: Archive) -> None:
    await archive.stow(ct_file(FIRST), ct_file(SECOND))
    outcomes = await asyncio.gather(
        archive.delete(STUDY), archive.delete(STUDY, FIRST.series), return_exceptions=True
    )
    assert {type(outcome) for outcome in outcomes} == {int, NotFound}
    assert len(await archive.rows(Tombstone)) == 1
    with pytest.raises(NotFound):
        await archive.delete(STUDY)


@pytest.mark.parametrize("held", ["study", "patient"])
async def test_a_hold_that_is_being_placed_wins(archive: Archive, held: str) -> None:
    order = await order_for(archive, held)
    placed, commit = asyncio.Event(), asyncio.Event()

    async def place_slowly(unit: UnitOfWork) -> None:
        await place_hold(unit, order, ADA)
        placed.set()
        await commit.wait()

    holding = asyncio.create_task(archive.services.database.transact(place_slowly))
    await placed.wait()
    deleting = asyncio.create_task(archive.delete(STUDY))
    await until_somebody_waits(archive.services.database)
    commit.set()
    await holding
    with pytest.raises(LegalHoldInForce):
        await deleting
    assert await archive.counts(INDEX) == [1] * 4


@pytest.mark.parametrize("held", ["study", "patient"])
async def test_a_hold_that_comes_while_it_is_deleted_comes_after(
    archive: Archive, held: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await order_for(archive, held)
    looked, go_on, bury = asyncio.Event(), asyncio.Event(), deletion.bury

    async def bury_slowly(*arguments: Any) -> None:
        looked.set()  # no hold was found
        await go_on.wait()
        await bury(*arguments)

    monkeypatch.setattr(deletion, "bury", bury_slowly)
    deleting = asyncio.create_task(archive.delete(STUDY))
    await looked.wait()
    holding = asyncio.create_task(
        archive.services.database.transact(lambda unit: place_hold(unit, order, ADA))
    )
    await until_somebody_waits(archive.services.database)
    assert not holding.done()
    go_on.set()
    assert await deleting == 1
    if held == "study":
        with pytest.raises(NotFound):
            await holding
        assert await archive.rows(LegalHold) == []
    else:
        await holding  # what comes of the patient from now on is held
    assert await archive.counts(INDEX) == [0] * 4


async def order_for(archive: Archive, held: str) -> HoldOrder:
    """A study, and the order to hold it or its patient."""
    await archive.stow(ct_file(FIRST))
    (study,) = await archive.rows(Study)
    if held == "study":
        return HoldOrder("case", study_instance_uid=STUDY)
    return HoldOrder("case", patient_id=study.patient_id)


async def test_what_is_deleted_while_it_is_asked_for_is_not_found(archive: Archive) -> None:
    await archive.stow(ct_file(FIRST), ct_file(SECOND))
    database = archive.services.database
    located = await locate(database, Resource(STUDY), EVERYONE)
    await archive.delete(STUDY, FIRST.series, SECOND.instance)
    with pytest.raises(NotFound):
        await read_packed_metadata(database, [each.key for each in located])
    with pytest.raises(NotFound):
        await locate_with_detail(database, Resource(STUDY, FIRST.series, SECOND.instance), EVERYONE)
    assert await locate_with_detail(database, Resource(STUDY, FIRST.series, FIRST.instance), EVERYONE)
