"""The object store's signals, on every kind of store there is."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.kernel.faults import Busy, StorageFull
from server.kernel.local_store import LocalObjectStore
from server.kernel.metrics import REGISTRY
from server.kernel.object_store import ObjectInUse, StoredRange
from server.kernel.store_metrics import OPERATIONS, watched


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"isthmus_object_store_{name}", labels) or 0.0


def told(operation: str) -> tuple[float, float]:
    return value("seconds_count", operation=operation), value("bytes_total", operation=operation)


async def bodies() -> AsyncIterator[bytes]:
    yield b"abc"
    yield b"de"


async def test_operations_are_timed_and_their_bytes_counted(objects: LocalObjectStore) -> None:
    before = {name: told(name) for name in OPERATIONS}
    (stored,) = await objects.put([b"12345678"])
    (packed, _) = await objects.pack(bodies())
    assert await objects.read(stored.part(0, 4)) == b"1234"
    assert [chunk async for chunk in objects.stream(stored)] == [b"12345678"]
    await objects.remove(packed.object_name)
    grew = {name: (told(name)[0] - seen[0], told(name)[1] - seen[1]) for name, seen in before.items()}
    assert grew == {"put": (1, 8), "pack": (1, 5), "upload": (0, 0), "read": (2, 12), "remove": (1, 0)}


async def test_bytes_that_are_not_there_are_a_fault_and_no_bytes(objects: LocalObjectStore) -> None:
    before, faults = told("read"), value("faults_total", operation="read", fault="busy")
    with pytest.raises(Busy):
        await objects.read(StoredRange("journal/" + "0" * 32, 0, 5))
    assert told("read") == (before[0] + 1, before[1])
    assert value("faults_total", operation="read", fault="busy") == faults + 1


@pytest.mark.parametrize(
    ("error", "busy", "full"),
    [
        (Busy("gone"), 1, 0),
        (StorageFull("no room"), 0, 1),
        (ObjectInUse("later"), 0, 0),
        (ValueError("not the store's"), 0, 0),
    ],
)
def test_faults_are_told_apart(error: Exception, busy: int, full: int) -> None:
    def faults() -> list[float]:
        return [value("faults_total", operation="put", fault=fault) for fault in ("busy", "full")]

    before: Any = faults()
    with pytest.raises(type(error)), watched("put"):
        raise error
    assert [now - then for now, then in zip(faults(), before, strict=True)] == [busy, full]
