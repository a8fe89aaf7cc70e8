"""What every object store promises: durable when `put` returns, whole or not at all."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from server.kernel.faults import Busy, StorageFull
from server.kernel.local_store import LocalObjectStore
from server.kernel.object_store import SpooledBody, StoredRange


async def test_put_returns_ranges_in_order(objects: LocalObjectStore) -> None:
    ranges = await objects.put([b"one", bytearray(b"three"), memoryview(b"")])
    assert [await objects.read(stored) for stored in ranges] == [b"one", b"three", b""]


async def test_parallel_puts_do_not_mix(objects: LocalObjectStore) -> None:
    bodies = [bytes([number]) * (1000 + number) for number in range(50)]
    ranges = await asyncio.gather(*(objects.put([body]) for body in bodies))
    assert [await objects.read(stored) for (stored,) in ranges] == bodies


async def test_part_of_a_range(objects: LocalObjectStore) -> None:
    (stored,) = await objects.put([b"0123456789"])
    assert await objects.read(stored.part(3, 4)) == b"3456"
    with pytest.raises(ValueError, match="outside"):
        stored.part(8, 3)


async def test_stream_gives_the_same_bytes(objects: LocalObjectStore) -> None:
    body = os.urandom((2 << 20) + 17)
    (stored,) = await objects.put([body])
    chunks = [chunk async for chunk in objects.stream(stored)]
    assert b"".join(chunks) == body
    assert len(chunks) == 3


async def test_spooled_body_is_taken_over(objects: LocalObjectStore) -> None:
    path = objects.spool_path()
    path.write_bytes(b"large")
    (stored,) = await objects.put([SpooledBody(path, 5)])
    assert await objects.read(stored) == b"large"
    assert not path.exists()


async def test_a_new_store_reads_what_an_earlier_one_wrote(objects: LocalObjectStore, tmp_path: Path) -> None:
    (stored,) = await objects.put([b"kept"])
    again = LocalObjectStore(tmp_path / "objects")
    assert await again.read(stored) == b"kept"
    await again.close()


async def test_missing_bytes_are_a_fault(objects: LocalObjectStore) -> None:
    (stored,) = await objects.put([b"short"])
    with pytest.raises(Busy):
        await objects.read(StoredRange(stored.object_name, 0, 6))
    with pytest.raises(Busy):
        await objects.read(StoredRange("journal/none", 0, 1))


async def test_journal_rotates(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path / "rotating", rotate_bytes=10)
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
