"""What every object store promises: durable when `put` returns, whole or not at all.

On S3-protocol servers of tests this proves the protocol, not durability.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.kernel.faults import Busy
from server.kernel.object_store import Body, DamagedObject, ObjectStore, SpooledBody, StoredRange
from tests.ports.conftest import NewStore


async def each(*bodies: Body) -> AsyncIterator[Body]:
    for body in bodies:
        yield body


def spooled(store: ObjectStore, content: bytes) -> SpooledBody:
    path = store.spool_path()
    path.write_bytes(content)
    return SpooledBody(path, len(content))


async def names(store: ObjectStore) -> set[str]:
    return {listed.name async for listed in store.list_objects()}


async def test_put_returns_ranges_in_order(store: ObjectStore) -> None:
    ranges = await store.put([b"one", bytearray(b"three"), memoryview(b""), spooled(store, b"large"), b"4"])
    assert [await store.read(stored) for stored in ranges] == [b"one", b"three", b"", b"large", b"4"]
    assert [stored.length for stored in ranges] == [3, 5, 0, 5, 1]


async def test_nothing_put_is_nothing_stored(store: ObjectStore) -> None:
    assert await store.put([]) == []
    assert await names(store) == set()


async def test_parallel_puts_do_not_mix(store: ObjectStore) -> None:
    bodies = [bytes([number]) * (1000 + number) for number in range(50)]
    ranges = await asyncio.gather(*(store.put([body]) for body in bodies))
    assert [await store.read(stored) for (stored,) in ranges] == bodies


async def test_part_of_a_range(store: ObjectStore) -> None:
    (_, stored) = await store.put([b"before", b"0123456789"])
    assert await store.read(stored.part(3, 4)) == b"3456"
    assert await store.read(stored.part(3, 6).part(2, 3)) == b"567"
    assert await store.read(stored.part(10, 0)) == b""
    with pytest.raises(ValueError, match="outside"):
        stored.part(8, 3)


async def test_parts_of_a_long_body(store: ObjectStore) -> None:
    body = os.urandom(300_000)
    (stored,) = await store.put([body])
    for start, length in ((0, 10), (65_530, 20), (65_536, 65_536), (200_000, 100_000), (0, 300_000)):
        assert await store.read(stored.part(start, length)) == body[start : start + length]


async def test_stream_gives_the_same_bytes(store: ObjectStore) -> None:
    body = os.urandom((2 << 20) + 17)
    (stored,) = await store.put([body])
    chunks = [chunk async for chunk in store.stream(stored)]
    assert b"".join(chunks) == body
    assert max(map(len, chunks)) <= 1 << 20
    part = [chunk async for chunk in store.stream(stored.part(70_000, (1 << 20) + 5))]
    assert b"".join(part) == body[70_000:][: (1 << 20) + 5]
    assert [chunk async for chunk in store.stream(stored.part(5, 0))] == []


async def test_spooled_body_is_taken_over(store: ObjectStore) -> None:
    content = os.urandom((9 << 20) + 3)  # more than one part of an upload
    body = spooled(store, content)
    (stored,) = await store.put([body])
    assert await store.read(stored) == content
    assert not body.path.exists()
    assert list(body.path.parent.iterdir()) == []


async def test_lost_spool_file_is_a_fault(store: ObjectStore) -> None:
    with pytest.raises(Busy):
        await store.put([b"one", SpooledBody(store.spool_path(), 5)])


async def test_pack_makes_one_object(store: ObjectStore) -> None:
    bodies = [os.urandom(100_000), b"", b"small", os.urandom(65_536)]
    ranges = await store.pack(each(*bodies))
    assert [await store.read(stored) for stored in ranges] == bodies
    assert {stored.object_name for stored in ranges} == await names(store)
    assert "packed/" in ranges[0].object_name


async def test_pack_of_nothing_makes_no_object(store: ObjectStore) -> None:
    assert await store.pack(each()) == []
    assert await names(store) == set()


async def test_pack_that_fails_stores_nothing(store: ObjectStore, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[Body]:
        yield b"one"
        raise Busy("the source failed")

    with pytest.raises(Busy, match="the source failed"):
        await store.pack(broken())
    assert await names(store) == set()
    assert not any(path.is_file() for path in tmp_path.rglob("*"))  # noqa: ASYNC240  a small folder


async def test_a_new_store_reads_what_an_earlier_one_wrote(new_store: NewStore) -> None:
    (stored,) = await new_store().put([b"kept"])
    assert await new_store().read(stored) == b"kept"


async def test_missing_bytes_are_a_fault(store: ObjectStore) -> None:
    (stored,) = await store.put([b"short"])
    with pytest.raises((Busy, DamagedObject)):
        await store.read(StoredRange(stored.object_name, stored.offset, 6))
    with pytest.raises(Busy):
        await store.read(StoredRange(f"{store.prefix}journal/{'0' * 32}", 0, 1))


async def test_removed_object_is_gone_and_may_be_removed_again(new_store: NewStore) -> None:
    store = new_store()
    (stored,) = await store.pack(each(b"bytes"))
    (kept,) = await store.pack(each(b"kept"))
    await store.remove(stored.object_name)
    await store.remove(stored.object_name)
    with pytest.raises(Busy):
        await new_store().read(stored)
    assert await store.read(kept) == b"kept"
    assert await names(store) == {kept.object_name}


async def test_list_tells_size_and_time(store: ObjectStore) -> None:
    before_us = int((time.time() - 2) * 1_000_000)
    (stored,) = await store.pack(each(b"x" * 100))
    (listed,) = [listed async for listed in store.list_objects()]
    assert listed.name == stored.object_name
    assert listed.size >= 100
    assert before_us <= listed.modified_us <= before_us + 60_000_000


async def test_names_begin_with_the_prefix(store: ObjectStore) -> None:
    stored = await store.put([b"a", spooled(store, b"b")]) + await store.pack(each(b"c"))
    assert all(one.object_name.startswith(store.prefix) for one in stored)
    assert await names(store) == {one.object_name for one in stored}


async def test_first_claim_holds(new_store: NewStore) -> None:
    assert await new_store().claim("first") == "first"
    assert await new_store().claim("second") == "first"
    assert await names(new_store()) == set()


async def test_parallel_claims_agree(new_store: NewStore) -> None:
    stores = [new_store() for _ in range(4)]
    claimed = await asyncio.gather(*(store.claim(f"number {at}") for at, store in enumerate(stores)))
    assert len(set(claimed)) == 1


async def test_check_passes(store: ObjectStore) -> None:
    await store.check()
