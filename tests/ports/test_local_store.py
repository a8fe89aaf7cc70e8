"""What the local adapter alone does: journals, their locks, flushes and failures of the disk."""

import asyncio
import errno
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.kernel.faults import Busy, StorageFull
from server.kernel.local_store import JournalPolicy, LocalObjectStore
from server.kernel.object_store import Body, DamagedObject, ObjectInUse, SpooledBody, StoredRange
from server.kernel.open_files import OpenFile


async def test_journal_rotates(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path / "rotating", policy=JournalPolicy(rotate_bytes=10))
    names = {(await store.put([b"0123456789"]))[0].object_name for _ in range(3)}
    assert len(names) == 3
    await store.close()


@pytest.mark.parametrize(("number", "fault"), [(errno.ENOSPC, StorageFull), (errno.EIO, Busy)])
async def test_failed_flush_is_a_fault_and_the_journal_is_left(
    objects: LocalObjectStore, monkeypatch: pytest.MonkeyPatch, number: int, fault: type[Exception]
) -> None:
    (before,) = await objects.put([b"before"])

    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(fault):
            await objects.put([b"lost"])
    (after,) = await objects.put([b"after"])
    assert after.object_name != before.object_name
    assert [await objects.read(before), await objects.read(after)] == [b"before", b"after"]


async def test_lost_spool_file_fails_its_own_request_only(objects: LocalObjectStore) -> None:
    gone = objects.put([SpooledBody(objects.spool_path(), 5)])
    outcomes = await asyncio.gather(
        objects.put([b"one"]), gone, objects.put([b"two"]), return_exceptions=True
    )
    assert isinstance(outcomes[1], Busy)
    for outcome, body in ((outcomes[0], b"one"), (outcomes[2], b"two")):
        assert isinstance(outcome, list)
        assert await objects.read(outcome[0]) == body


async def test_unexpected_error_reaches_who_waits(
    objects: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> int:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", break_down)
        with pytest.raises(MemoryError):
            await asyncio.wait_for(objects.put([b"x"]), 10)
    await objects.put([b"y"])


async def test_group_commit_shares_flushes(
    objects: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushes = 0
    real = os.fdatasync

    def count(descriptor: int) -> None:
        nonlocal flushes
        flushes += 1
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", count)
    await asyncio.gather(*(objects.put([b"x"]) for _ in range(20)))
    assert flushes < 20


async def test_open_journal_is_not_removed(objects: LocalObjectStore, tmp_path: Path) -> None:
    (stored,) = await objects.put([b"kept"])
    another = LocalObjectStore(tmp_path / "objects", policy=JournalPolicy(quiet_s=0))
    with pytest.raises(ObjectInUse, match="still"):
        await another.remove(stored.object_name)
    assert await objects.read(stored) == b"kept"
    await objects.close()
    await another.remove(stored.object_name)
    with pytest.raises(Busy):
        await another.read(stored)
    await another.close()


async def test_journal_just_left_is_not_removed(objects: LocalObjectStore, tmp_path: Path) -> None:
    (stored,) = await objects.put([b"kept"])
    await objects.close()
    another = LocalObjectStore(tmp_path / "objects")
    with pytest.raises(ObjectInUse, match="moment"):
        await another.remove(stored.object_name)
    long_ago = (1.0, 1.0)
    os.utime(tmp_path / "objects" / stored.object_name, long_ago)
    await another.remove(stored.object_name)
    assert not (tmp_path / "objects" / stored.object_name).exists()
    await another.close()


async def test_removed_bytes_are_gone_though_a_reader_has_the_file_open(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path / "objects")
    path = store.spool_path()
    path.write_bytes(b"large")
    (stored,) = await store.put([SpooledBody(path, 5)])
    with (tmp_path / "objects" / stored.object_name).open("rb") as reader:
        await store.remove(stored.object_name)
        assert reader.read() == b""
    await store.close()


async def test_journal_is_left_when_it_is_old_though_no_put_comes(tmp_path: Path) -> None:
    policy = JournalPolicy(rotate_s=0.01, quiet_s=0)
    store, another = (LocalObjectStore(tmp_path / "objects", policy=policy) for _ in range(2))
    (stored,) = await store.put([b"kept"])
    async with asyncio.timeout(30):
        while True:  # until the lock is let go
            try:
                await another.remove(stored.object_name)
                break
            except ObjectInUse:
                await asyncio.sleep(0.01)
    (later,) = await store.put([b"later"])
    assert later.object_name != stored.object_name
    assert await store.read(later) == b"later"
    await store.close()
    await another.close()


async def test_journal_of_a_killed_process_can_be_removed(tmp_path: Path) -> None:
    code = (
        "import asyncio, os, sys; from pathlib import Path\n"
        "from server.kernel.local_store import LocalObjectStore\n"
        "async def main():\n"
        "    store = LocalObjectStore(Path(sys.argv[1]))\n"
        "    print((await store.put([b'x']))[0].object_name, flush=True)\n"
        "    sys.stdin.read()\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(tmp_path / "objects"), stdin=PIPE, stdout=PIPE
    )
    assert process.stdout is not None
    name = (await process.stdout.readline()).decode().strip()
    store = LocalObjectStore(tmp_path / "objects", policy=JournalPolicy(quiet_s=0))
    with pytest.raises(ObjectInUse):
        await store.remove(name)
    process.kill()
    await process.wait()
    await store.remove(name)
    assert [each.name async for each in store.list_objects()] == []
    await store.close()


@pytest.mark.parametrize(("number", "fault"), [(errno.ENOSPC, StorageFull), (errno.EIO, Busy)])
async def test_failed_pack_leaves_no_file(
    objects: LocalObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, fault: type[Busy]
) -> None:
    async def bodies() -> AsyncIterator[Body]:
        yield b"x"

    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(fault) as raised:
            await objects.pack(bodies())
    assert type(raised.value) is fault
    assert [each.name async for each in objects.list_objects()] == []
    assert list((tmp_path / "objects" / "spool").iterdir()) == []


async def test_what_a_killed_process_left_in_the_spool_goes(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path / "objects")
    old, young = store.spool_path(), store.spool_path()
    old.touch()
    young.touch()
    os.utime(old, (1.0, 1.0))
    await LocalObjectStore(tmp_path / "objects").close()
    assert not old.exists()
    assert young.exists()
    await store.close()


async def test_folder_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the default of the setting `data` is."""
    monkeypatch.chdir(tmp_path)
    store = LocalObjectStore(Path("data/objects"), prefix="sealed/0123456789abcdef/")
    (stored,) = await store.put([b"body"])
    assert await store.read(stored) == b"body"
    await store.close()
    assert (tmp_path / "data/objects" / stored.object_name).read_bytes() == b"body"


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "journal/../../secret", "spool/" + "0" * 32])
async def test_a_name_that_leads_out_of_the_store_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("not yours")
    store = LocalObjectStore(tmp_path / "objects")
    with pytest.raises(DamagedObject):
        await store.read(StoredRange(name, 0, 3))
    with pytest.raises(DamagedObject):
        await store.remove(name)
    assert (tmp_path / "secret").read_text() == "not yours"
    await store.close()


async def test_what_is_in_memory_is_read_without_a_thread(
    objects: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (where,) = await objects.put([b"0123456789" * 50_000])
    whole = await objects.read(where)  # opens the file
    threads: list[object] = []
    original = asyncio.to_thread
    monkeypatch.setattr(asyncio, "to_thread", lambda *work: threads.append(work) or original(*work))
    assert await objects.read(where) == whole
    assert await objects.read(where.part(7, 3)) == b"789"
    assert not threads
    monkeypatch.setattr(OpenFile, "is_cached", lambda *_: False)
    assert await objects.read(where) == whole
    assert threads


async def test_bytes_that_are_missing_are_told_by_both_ways(objects: LocalObjectStore) -> None:
    (where,) = await objects.put([b"0123456789"])
    beyond = StoredRange(where.object_name, where.offset, 20)
    for _ in range(2):
        with pytest.raises(Busy, match="missing"):
            await objects.read(beyond)
        await objects.read(where)
