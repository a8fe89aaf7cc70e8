"""Packing: the same bytes in one object a series, whatever happens meanwhile."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import delete, insert, update

from dicomweb.tables import Instance, InstanceMetadata, Series
from server.kernel.database import UnitOfWork
from server.kernel.faults import Busy
from server.kernel.object_store import Body, ObjectStore
from server.kernel.rows import table_of
from server.kernel.tables import DamagedObject, Installation
from server.workflows.storage.lying import Lying, lying
from server.workflows.storage.move import move_instances
from server.workflows.storage.pack import follow_prefix, pack_settled, to_move
from tests.unit.stored_objects.conftest import Archive, files_of

_SERIES, _INSTANCE = table_of(Series), table_of(Instance)
_INSTALLATION = table_of(Installation)


async def store_one_by_one(archive: Archive, files: dict[str, bytes]) -> None:
    for file in files.values():
        await archive.store(file)


async def test_packing_puts_a_series_into_one_object_bit_exact(archive: Archive) -> None:
    first, second = files_of(1, 3), files_of(2, 2)
    await store_one_by_one(archive, first | second)
    before = {each.object_name for each in (await archive.ranges()).values()}
    assert await pack_settled(archive.services) == 2
    ranges = await archive.ranges()
    objects = [{ranges[uid].object_name for uid in files} for files in (first, second)]
    assert [len(each) for each in objects] == [1, 1]
    assert objects[0].isdisjoint(objects[1])
    assert all("packed/" in each.object_name for each in ranges.values())
    assert await archive.read_all() == first | second
    assert await archive.to_remove() == dict.fromkeys(before, "packed")


async def test_packed_series_is_left_alone_until_more_comes(archive: Archive) -> None:
    files = files_of(1, 3)
    (first, second, third) = files.values()
    await archive.store(first)
    await archive.store(second)
    await pack_settled(archive.services)
    assert await pack_settled(archive.services) == 0
    await archive.store(third)
    assert await pack_settled(archive.services) == 1
    assert len({each.object_name for each in (await archive.ranges()).values()}) == 1
    assert await archive.read_all() == files


async def test_unsettled_study_is_left_alone(archive: Archive) -> None:
    await store_one_by_one(archive, files_of(1, 2))
    before = await archive.ranges()
    waiting = archive.services.storage.__class__(pack_after_s=3600)
    services = archive.services.__class__(
        archive.services.database,
        archive.services.objects,
        archive.services.read_audit,
        archive.services.public_base,
        storage=waiting,
    )
    assert await pack_settled(services) == 0
    assert await archive.ranges() == before


async def test_process_with_yesterdays_names_leaves_the_move_to_todays_alone(archive: Archive) -> None:
    await store_one_by_one(archive, files_of(1, 2))
    await pack_settled(archive.services)
    database, today = archive.services.database, archive.services.objects.prefix
    await database.transact(lambda unit: join(unit, "sealed/0123456789abcdef/"))
    assert await pack_settled(archive.services) == 0  # it would have nothing to move, and call that done
    await database.transact(lambda unit: follow_prefix(unit, today))
    assert await pack_settled(archive.services) == 1


async def join(unit: UnitOfWork, prefix: str) -> None:
    await unit.execute(delete(_INSTALLATION))
    await unit.execute(insert(_INSTALLATION), [{"id": 1, "name": "a", "objects_prefix": ""}])
    await follow_prefix(unit, prefix)


async def test_two_packers_at_once_end_with_one_good_copy(archive: Archive) -> None:
    files = files_of(1, 4)
    await store_one_by_one(archive, files)
    async with archive.services.database.read() as connection:
        instances = await lying(connection)
    moved = await asyncio.gather(*(move_instances(archive.services, instances) for _ in range(2)))
    assert sorted(moved) == [0, 4]
    ranges = await archive.ranges()
    (used,) = {each.object_name for each in ranges.values()}
    lost = {name for name in await archive.names() if "packed/" in name} - {used}
    assert {name for name, reason in (await archive.to_remove()).items() if reason == "deleted"} == lost
    assert len(lost) == 1
    assert await archive.read_all() == files


async def test_claimed_series_is_not_claimed_again(archive: Archive) -> None:
    await store_one_by_one(archive, files_of(1, 2) | files_of(2, 2))
    counts = await asyncio.gather(*(pack_settled(archive.services) for _ in range(3)))
    assert sum(counts) == 2


async def test_crash_before_the_switch_leaves_an_orphan_only(
    archive: Archive, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(1, 3)
    await store_one_by_one(archive, files)
    before, names = await archive.ranges(), await archive.names()
    transact, done = archive.services.database.transact, asyncio.Event()

    async def crash(work: object) -> object:
        if done.is_set():
            raise Busy("killed")
        return await transact(work)  # type: ignore[arg-type]

    pack = objects.pack

    async def pack_then_crash(bodies: AsyncIterator[Body]) -> object:
        ranges = await pack(bodies)
        done.set()
        return ranges

    with monkeypatch.context() as patch:
        patch.setattr(archive.services.database, "transact", crash)
        patch.setattr(objects, "pack", pack_then_crash)
        with pytest.raises(Busy):
            await pack_settled(archive.services)
    assert await archive.ranges() == before
    assert await archive.read_all() == files
    (orphan,) = await archive.names() - names
    assert "packed/" in orphan
    await archive.write(update(_SERIES).values(pack_due_us=0))
    await pack_settled(archive.services)
    assert await archive.read_all() == files


async def test_instance_deleted_while_it_was_copied_leaves_no_bytes(
    archive: Archive, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(1, 3)
    gone, *kept = files
    await store_one_by_one(archive, files)
    pack = objects.pack

    async def delete_then_switch(bodies: AsyncIterator[Body]) -> object:
        ranges = await pack(bodies)
        (row,) = [row for row in await archive.rows(Instance) if row.sop_instance_uid == gone]
        await archive.write(delete(table_of(InstanceMetadata)).where(_metadata_of(row.id)))
        await archive.write(delete(_INSTANCE).where(_INSTANCE.c.id == row.id))
        return ranges

    with monkeypatch.context() as patch:
        patch.setattr(objects, "pack", delete_then_switch)
        await pack_settled(archive.services)
    assert await archive.read_all() == {uid: files[uid] for uid in kept}
    (packed,) = {each.object_name for each in (await archive.ranges()).values()}
    assert (await archive.to_remove())[packed] == "deleted"  # it goes, once what lives has moved on


def _metadata_of(instance_id: int) -> object:
    return table_of(InstanceMetadata).c.instance_id == instance_id


async def test_reads_go_on_while_it_is_packed(archive: Archive) -> None:
    files = files_of(1, 5)
    await store_one_by_one(archive, files)
    located = await archive.ranges()
    stop = asyncio.Event()

    async def read_on() -> int:
        count = 0
        while not stop.is_set() or count == 0:
            for uid, stored in located.items():
                assert await archive.services.objects.read(stored) == files[uid]
            assert await archive.read_all() == files
            count += 1
        return count

    reading = asyncio.create_task(read_on())
    await pack_settled(archive.services)
    stop.set()
    assert await reading > 0


async def test_damaged_instance_stays_and_is_told(archive: Archive) -> None:
    files = files_of(1, 3)
    bad, *good = files
    await store_one_by_one(archive, files)
    wrong = update(_INSTANCE).where(_INSTANCE.c.sop_instance_uid == bad).values(file_sha256=b"x" * 32)
    await archive.write(wrong)
    before = (await archive.ranges())[bad]
    assert await pack_settled(archive.services) == 1
    ranges = await archive.ranges()
    assert ranges[bad] == before
    assert len({ranges[uid].object_name for uid in good}) == 1
    (row,) = await archive.rows(DamagedObject)
    assert row.sop_instance_uid == bad
    assert await pack_settled(archive.services) == 0


async def test_store_that_is_down_is_busy_and_packing_is_tried_again(
    archive: Archive, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store_one_by_one(archive, files_of(1, 2))

    async def fail(_bodies: AsyncIterator[Body]) -> None:
        raise Busy("down")

    with monkeypatch.context() as patch:
        patch.setattr(objects, "pack", fail)
        with pytest.raises(Busy):
            await pack_settled(archive.services)
    assert await pack_settled(archive.services) == 0  # not at once: others come first
    await archive.write(update(_SERIES).values(pack_due_us=0))
    assert await pack_settled(archive.services) == 1


def lies(number: int, name: str, length: int = 10) -> Lying:
    from server.kernel.object_store import StoredRange

    return Lying(number, 1, str(number), b"", StoredRange(name, 0, length))


BIG = 100 << 20


@pytest.mark.parametrize(
    ("prefix", "names", "alone", "moving"),
    [
        pytest.param("", ["journal/a", "journal/a"], False, [0, 1], id="journals"),
        pytest.param("", ["put/a", "put/a"], True, [], id="one put of its own is good as it is"),
        pytest.param("", ["put/a", "put/b"], False, [0, 1], id="several puts"),
        pytest.param("", ["packed/a", "packed/a"], False, [], id="packed"),
        pytest.param("", ["packed/a", "journal/b"], False, [0, 1], id="late: joins a small object"),
        pytest.param("", ["packed/BIG", "journal/b"], False, [1], id="late: a large object stays"),
        pytest.param("", ["large/BIG", "packed/b"], False, [], id="a large body stays"),
        pytest.param("sealed/k/", ["large/BIG", "packed/b"], False, [0, 1], id="plain, to be sealed"),
        pytest.param("sealed/k/", ["sealed/j/packed/b"], False, [0], id="sealed with an older key"),
        pytest.param("sealed/k/", ["sealed/k/packed/b"], False, [], id="sealed"),
        pytest.param("", ["sealed/k/packed/b"], False, [0], id="sealed, to be plain"),
    ],
)
def test_what_moves(prefix: str, names: list[str], alone: bool, moving: list[int]) -> None:
    instances = [lies(at, name, BIG if "BIG" in name else 10) for at, name in enumerate(names)]
    assert [each.id for each in to_move(instances, prefix, alone=alone)] == moving
