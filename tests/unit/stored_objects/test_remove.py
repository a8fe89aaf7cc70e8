"""Removal, and the sweep that feeds it: what is to go goes for good, and nothing else does."""

from typing import Any

import pytest
from sqlalchemy import delete, insert, update

from dicomweb.tables import Instance, InstanceMetadata
from server.kernel.clock import SECOND_US
from server.kernel.faults import Busy
from server.kernel.object_removal import Reason, note_removals
from server.kernel.object_store import ListedObject, ObjectStore
from server.kernel.object_stores import OtherInstallation, join_installation
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.tables import Installation, MaintenanceHold, ObjectRemoval, ObjectWalk
from server.workflows.storage.pack import pack_settled
from server.workflows.storage.remove import remove_due
from server.workflows.storage.sweep import sweep_orphans
from tests.unit.stored_objects.conftest import Archive, files_of

_INSTANCE, _METADATA = table_of(Instance), table_of(InstanceMetadata)
HOUR_US = 3600 * SECOND_US


async def delete_instance(archive: Archive, uid: str) -> None:
    """As the retention of studies does: rows, and a note of the object, in one transaction."""
    (row,) = [row for row in await archive.rows(Instance) if row.sop_instance_uid == uid]

    async def work(unit: Any) -> None:
        await unit.execute(delete(_METADATA).where(_METADATA.c.instance_id == row.id))
        await unit.execute(delete(_INSTANCE).where(_INSTANCE.c.id == row.id))
        await note_removals(unit, [row.object_name], unit.now_us, Reason.DELETED)

    await archive.services.database.transact(work)


async def test_deleting_one_study_frees_its_bytes_and_keeps_the_others(archive: Archive) -> None:
    gone, kept = files_of(1, 1), files_of(2, 2)
    for file in (gone | kept).values():
        await archive.store(file)
    shared = {each.object_name for each in (await archive.ranges()).values()}
    await delete_instance(archive, next(iter(gone)))
    await archive.leave_journal()
    while await archive.to_remove():
        await archive.make_due()
        await remove_due(archive.services)
    assert await archive.read_all() == kept
    names = await archive.names()
    assert names == {each.object_name for each in (await archive.ranges()).values()}
    assert shared - names, "the object that held the deleted bytes is still there"


async def test_what_packing_emptied_goes_after_the_grace(archive: Archive) -> None:
    files = files_of(1, 2)
    for file in files.values():
        await archive.store(file)
    await archive.leave_journal()
    await pack_settled(archive.services)
    later = table_of(ObjectRemoval)
    await archive.write(update(later).values(due_us=archive.services.clock() + HOUR_US))
    assert await remove_due(archive.services) == 0
    await archive.make_due()
    assert await remove_due(archive.services) > 0
    assert await archive.names() == {each.object_name for each in (await archive.ranges()).values()}
    assert await archive.to_remove() == {}
    assert await archive.read_all() == files


@pytest.mark.parametrize("objects", ["local disk"], indirect=True)
async def test_open_journal_waits_with_its_reason(archive: Archive) -> None:
    (file,) = files_of(1, 1).values()
    await archive.store(file)
    await delete_instance(archive, next(iter(files_of(1, 1))))
    assert await remove_due(archive.services) == 1
    (row,) = await archive.rows(ObjectRemoval)
    assert "written" in row.problem
    assert row.due_us > archive.services.clock()
    await archive.leave_journal()
    await archive.make_due()
    assert await remove_due(archive.services) == 1
    assert await archive.names() == set()


async def test_store_that_is_down_is_busy_and_removal_is_tried_again(
    archive: Archive, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = {each.object_name for each in await objects.pack(one(b"x"))}

    async def down(_name: str) -> None:
        raise Busy("down")

    await archive.services.database.transact(lambda unit: note_removals(unit, [name], 0, Reason.ORPHANED))
    with monkeypatch.context() as patch:
        patch.setattr(objects, "remove", down)
        with pytest.raises(Busy):
            await remove_due(archive.services)
    assert [row.problem for row in await archive.rows(ObjectRemoval)] == ["down"]
    await archive.make_due()
    assert await remove_due(archive.services) == 1
    assert await archive.names() == set()


async def test_nothing_goes_while_a_backup_holds_it(archive: Archive) -> None:
    (file,) = files_of(1, 1).values()
    await archive.store(file)
    await archive.leave_journal()
    await delete_instance(archive, next(iter(files_of(1, 1))))
    hold = table_of(MaintenanceHold)
    until_us = archive.services.clock() + HOUR_US
    await archive.write(insert(hold).values(name="backup", until_us=until_us))
    assert await remove_due(archive.services) == 0
    assert len(await archive.names()) == 1
    await archive.write(update(hold).values(until_us=1))
    assert await remove_due(archive.services) == 1
    assert await archive.names() == set()


async def test_damaged_instance_keeps_its_object_visibly(archive: Archive) -> None:
    files = files_of(1, 2)
    gone, bad = files
    await archive.store(*files.values())
    await archive.write(update(_INSTANCE).where(_INSTANCE.c.sop_instance_uid == bad).values(file_sha256=b""))
    await archive.leave_journal()
    await delete_instance(archive, gone)
    await remove_due(archive.services)
    (row,) = await archive.rows(ObjectRemoval)
    assert "1 instances in it are damaged" in row.problem
    assert await archive.services.objects.read((await archive.ranges())[bad]) == files[bad]


async def test_object_noted_by_mistake_stays(archive: Archive) -> None:
    """Something refers to it again: it is packed away, never lost."""
    files = files_of(1, 2)
    await archive.store(*files.values())
    (name,) = await archive.names()
    await archive.services.database.transact(lambda unit: note_removals(unit, [name], 0, Reason.ORPHANED))
    await archive.leave_journal()
    for _ in range(2):
        await archive.make_due()
        await remove_due(archive.services)
    assert await archive.read_all() == files


# --- the sweep ------------------------------------------------------------------------------------


class Older:
    """The same store, whose listing says that everything is so much older."""

    def __init__(self, inner: ObjectStore, seconds: float) -> None:
        self._inner, self._us = inner, int(seconds * SECOND_US)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def list_objects(self) -> Any:
        async for each in self._inner.list_objects():
            yield ListedObject(each.name, each.size, each.modified_us - self._us)


def aged(archive: Archive, seconds: float = 7200) -> Services:
    """The services as they see the store some hours later."""
    s = archive.services
    older: Any = Older(s.objects, seconds)
    return Services(s.database, older, s.read_audit, s.public_base, storage=s.storage)


async def test_sweep_notes_old_orphans_only(archive: Archive) -> None:
    files = files_of(1, 2)
    await archive.store(*files.values())
    await archive.leave_journal()
    (orphan,) = await archive.services.objects.put([b"its transaction never committed"])
    assert await sweep_orphans(archive.services) == 0  # it may still be under way
    assert await archive.to_remove() == {}
    await archive.make_due()
    assert await sweep_orphans(aged(archive)) == 1
    assert await archive.to_remove() == {orphan.object_name: "orphaned"}
    await archive.leave_journal()
    await remove_due(archive.services)
    assert await archive.names() == {each.object_name for each in (await archive.ranges()).values()}
    assert await archive.read_all() == files


async def test_sweep_is_due_once_in_its_time(archive: Archive) -> None:
    await archive.services.objects.put([b"x"])
    assert await sweep_orphans(aged(archive)) == 1
    await archive.write(delete(table_of(ObjectRemoval)))
    assert await sweep_orphans(aged(archive)) == 0


@pytest.mark.parametrize(("orphans", "refused"), [(50, False), (52, True)])
async def test_sweep_refuses_when_most_looks_orphaned(archive: Archive, orphans: int, refused: bool) -> None:
    kept = [(await archive.services.objects.pack(one(b"x")))[0].object_name for _ in range(2)]
    await archive.store(*files_of(1, 1).values())
    await archive.leave_journal()
    (template,) = await archive.rows(Instance)
    values = template._asdict()

    class Many(Older):
        async def list_objects(self) -> Any:
            for number in range(101):
                yield ListedObject(f"packed/{number:032x}", 1, 0)

    for number in range(orphans, 101):
        row = values | {"id": 1000 + number, "sop_instance_uid": f"9.{number}"}
        await archive.write(insert(_INSTANCE).values(row | {"object_name": f"packed/{number:032x}"}))
    s = archive.services
    many: Any = Many(s.objects, 0)
    noted = await sweep_orphans(Services(s.database, many, s.read_audit, s.public_base))
    (walk,) = await archive.rows(ObjectWalk)
    assert (noted == 0, walk.refused is not None) == (refused, refused)
    assert (walk.finished_us is None) == refused
    assert set(kept) <= await archive.names()


async def one(body: bytes) -> Any:
    yield body


async def test_sweep_waits_for_a_backup(archive: Archive) -> None:
    await archive.services.objects.put([b"x"])
    until_us = archive.services.clock() + HOUR_US
    await archive.write(insert(table_of(MaintenanceHold)).values(name="backup", until_us=until_us))
    assert await sweep_orphans(aged(archive)) == 0
    assert await archive.to_remove() == {}


async def test_store_of_another_installation_is_refused_and_untouched(archive: Archive) -> None:
    await archive.services.objects.put([b"theirs"])
    await join_installation(archive.services.database, archive.services.objects)
    await archive.write(update(table_of(Installation)).values(name="another"))
    with pytest.raises(OtherInstallation, match="another"):
        await join_installation(archive.services.database, archive.services.objects)
    names = await archive.names()
    with pytest.raises(OtherInstallation):
        await sweep_orphans(aged(archive))
    await archive.services.database.transact(
        lambda unit: note_removals(unit, names, unit.now_us, Reason.ORPHANED)
    )
    await archive.leave_journal()
    with pytest.raises(OtherInstallation):
        await remove_due(archive.services)
    assert await archive.names() == names


async def test_joining_again_changes_nothing(archive: Archive) -> None:
    first = await join_installation(archive.services.database, archive.services.objects)
    assert await join_installation(archive.services.database, archive.services.objects) == first
