"""The scrub finds a flipped byte, says so, and takes it back when the bytes are whole again."""

from typing import Any

import pytest
from sqlalchemy import delete, update

from dicomweb.tables import Instance, InstanceMetadata
from server.kernel.envelope_store import EnvelopeStore
from server.kernel.faults import Busy
from server.kernel.object_store import ObjectStore, StoredRange
from server.kernel.rows import table_of
from server.kernel.services import Services, StoragePolicy
from server.kernel.tables import DamagedObject, ObjectWalk
from server.workflows.storage.figures import storage_facts
from server.workflows.storage.scrub import scrub
from tests.services.s3 import S3Server
from tests.unit.stored_objects.conftest import Archive, files_of

_INSTANCE, _WALK = table_of(Instance), table_of(ObjectWalk)


async def whole_round(archive: Archive, services: Services | None = None) -> int:
    """Scrub until a round has ended; returns how many instances were read."""
    count = 0
    await archive.write(delete(_WALK))
    while not any(row.finished_us for row in await archive.rows(ObjectWalk)):
        await archive.write(update(_WALK).values(next_us=0))
        count += await scrub(services or archive.services)
    return count


async def damaged_told(archive: Archive) -> float:
    """What the metric says."""
    values = {each.name: each.values[0][1] for each in await storage_facts(archive.services)}
    return values["isthmus_objects_damaged"]


def flip(archive: Archive, objects: ObjectStore, stored: StoredRange, s3: S3Server) -> None:
    """Change one byte of what is stored; again, and it is as it was."""
    at = stored.offset + 100
    if isinstance(objects, EnvelopeStore):
        path = f"{objects.inner._store.prefix}/{stored.object_name}"  # type: ignore[attr-defined]
        content = bytearray(s3.get_raw(path))
        content[at] ^= 1
        s3.put_raw(path, bytes(content))
    else:
        file = archive.folder / "objects" / stored.object_name
        content = bytearray(file.read_bytes())
        content[at] ^= 1
        file.write_bytes(content)


async def test_scrub_finds_a_flipped_byte_and_sees_it_healed(
    archive: Archive, objects: ObjectStore, s3: S3Server
) -> None:
    files = files_of(1, 3)
    for file in files.values():
        await archive.store(file)
    assert await whole_round(archive) == 3
    assert await archive.rows(DamagedObject) == []
    bad = next(iter(files))
    stored = (await archive.ranges())[bad]
    flip(archive, objects, stored, s3)
    assert await whole_round(archive) == 3
    (row,) = await archive.rows(DamagedObject)
    assert (row.sop_instance_uid, row.object_name) == (bad, stored.object_name)
    found_us = row.found_us
    await whole_round(archive)
    (row,) = await archive.rows(DamagedObject)
    assert (row.found_us, row.checked_us > found_us) == (found_us, True)
    assert await damaged_told(archive) == 1
    flip(archive, objects, stored, s3)
    await whole_round(archive)
    assert await archive.rows(DamagedObject) == []
    assert await damaged_told(archive) == 0


async def test_missing_object_is_damage(archive: Archive) -> None:
    await archive.store(*files_of(1, 1).values())
    await archive.leave_journal()
    (name,) = await archive.names()
    await archive.services.objects.remove(name)
    if hasattr(archive.services.objects, "_files"):
        archive.services.objects._files.close()
    await whole_round(archive)
    assert len(await archive.rows(DamagedObject)) == 1


async def test_store_that_is_down_is_no_damage(
    archive: Archive, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await archive.store(*files_of(1, 1).values())

    async def down(*_: object) -> None:
        raise Busy("down")

    async def stream(*_: object) -> Any:
        raise Busy("down")
        yield b""

    with monkeypatch.context() as patch:
        patch.setattr(objects, "stream", stream)
        patch.setattr(objects, "check", down)
        with pytest.raises(Busy):
            await scrub(archive.services)
    assert await archive.rows(DamagedObject) == []
    assert await whole_round(archive) == 1


async def test_rate_bounds_a_step_and_the_next_waits(archive: Archive) -> None:
    files = files_of(1, 5)
    for file in files.values():
        await archive.store(file)
    s = archive.services
    two = StoragePolicy(scrub_bytes_per_minute=2 * len(next(iter(files.values()))) - 1)
    slow = Services(s.database, s.objects, s.read_audit, s.public_base, storage=two)
    assert await scrub(slow) == 2
    assert await scrub(slow) == 0  # its time has not come
    await archive.write(update(_WALK).values(next_us=0))
    assert await scrub(slow) == 2
    off = Services(s.database, s.objects, s.read_audit, s.public_base, storage=StoragePolicy(0, 0, 0))
    await archive.write(update(_WALK).values(next_us=0))
    assert await scrub(off) == 0


async def test_deleted_instance_is_forgotten(archive: Archive) -> None:
    (uid,) = files_of(1, 1)
    await archive.store(*files_of(1, 1).values())
    await archive.write(update(_INSTANCE).values(file_sha256=b""))
    await whole_round(archive)
    assert len(await archive.rows(DamagedObject)) == 1
    await archive.write(delete(table_of(InstanceMetadata)))
    await archive.write(delete(_INSTANCE).where(_INSTANCE.c.sop_instance_uid == uid))
    await whole_round(archive)
    assert await archive.rows(DamagedObject) == []
