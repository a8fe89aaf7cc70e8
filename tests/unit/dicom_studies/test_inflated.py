"""Deflated instances are inflated once for all who ask, on disk, within a fixed room (PS3.5 A.5)."""

import asyncio
import tracemalloc
import zlib
from hashlib import sha256

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicomweb.retrieve import inflated
from dicomweb.retrieve.content import DamagedObject
from dicomweb.retrieve.frames import open_file
from dicomweb.retrieve.inflated import InflatedFiles
from dicomweb.retrieve.locate import Located
from dicomweb.wire import deflate
from dicomweb.wire.deflate import Inflater, inflate_data_set
from dicomweb.wire.faults import Truncated
from dicomweb.wire.instance import inflated_file
from server.kernel.faults import Busy
from server.kernel.local_store import LocalObjectStore
from tests.conformance.ps3_18.kit import as_file, ct_slice, place

MIB = 1 << 20
SIDE = 3072  # 18 MiB of pixels


def deflated(number: int, side: int = SIDE) -> bytes:
    dataset = ct_slice(
        place(1, 1, number), Rows=side, Columns=side, PixelData=bytes([number]) * side * side * 2
    )
    return as_file(dataset, DeflatedExplicitVRLittleEndian)


async def stored(objects: LocalObjectStore, file: bytes, digest: bytes | None = None) -> Located:
    (where,) = await objects.put([file])
    syntax = str(DeflatedExplicitVRLittleEndian)
    return Located(1, None, "1", "2", "3", syntax, digest or sha256(file).digest(), None, where)


async def test_many_readers_inflate_once_and_little_is_in_memory(
    objects: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = deflated(1)
    assert len(file) < MIB
    whole = bytes(inflated_file(file))
    located, files = await stored(objects, file), InflatedFiles(objects)
    made = []
    monkeypatch.setattr(inflated, "Inflater", lambda length: made.append(length) or Inflater(length))

    async def read_a_little(n: int) -> bytes:
        reader = await open_file(objects, files, located)
        return await reader.read([(n * 1000, 11), (len(whole) - 5, 5)])

    tracemalloc.start()
    try:
        answers = await asyncio.gather(*map(read_a_little, range(30)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answers == [whole[n * 1000 : n * 1000 + 11] + whole[-5:] for n in range(30)]
    assert len(made) == 1
    assert peak < 8 * MIB
    assert list(objects.spool_path().parent.iterdir()) == []


async def test_the_longest_unused_makes_room_but_never_one_that_is_read(
    objects: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = [await stored(objects, deflated(n, side=1024)) for n in (1, 2, 3)]  # 2 MiB each
    monkeypatch.setattr(inflated, "MAX_SPOOLED_BYTES", 5 * MIB)
    files = InflatedFiles(objects)
    being_read = await files.open(first)
    await files.open(second)
    await files.open(first)
    await files.open(third)  # drops the second, whose last use is longest ago
    assert set(files._kept) == {first.file_sha256, third.file_sha256}
    also_read = await files.open(third)
    with pytest.raises(Busy):
        await files.open(second)
    assert being_read.read([(0, 4)]) == also_read.read([(0, 4)]) == bytes(4)
    del being_read
    assert (await files.open(second)).length > 2 * MIB


@pytest.mark.parametrize("at", [140, 600, -40], ids=["meta", "stream", "end"])
async def test_damaged_instance_is_not_delivered(objects: LocalObjectStore, at: int) -> None:
    file = deflated(1, side=256)
    damaged = bytearray(file)
    damaged[at] ^= 0x55
    located = await stored(objects, bytes(damaged), sha256(file).digest())
    files = InflatedFiles(objects)
    with pytest.raises(DamagedObject):
        await files.open(located)
    assert not files._kept


def pack(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def test_inflates_whatever_the_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the last input is consumed when a piece is full: its rest comes without more input."""
    monkeypatch.setattr(deflate, "CHUNK_BYTES", 1032)
    for length in range(2000, 2100):
        assert inflate_data_set(pack(bytes(length)), 0) == bytes(length)


@pytest.mark.parametrize("length", [0, 1, 99, 100, 101, 200, 1000])
@pytest.mark.parametrize("fed", [1, 7, 10_000])
def test_inflates_alike_however_it_is_cut(length: int, fed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deflate, "CHUNK_BYTES", 100)
    data = bytes(length)
    packed = pack(data) + b"\0"
    inflater = Inflater(len(packed))
    pieces = [piece for at in range(0, len(packed), fed) for piece in inflater.inflate(packed[at : at + fed])]
    inflater.finish()
    assert b"".join(pieces) == data
    assert all(len(piece) <= 100 for piece in pieces)
    cut_off = Inflater(len(packed))
    assert data.startswith(b"".join(cut_off.inflate(packed[:-2])))
    with pytest.raises(Truncated):
        cut_off.finish()


async def test_what_nobody_uses_any_more_is_let_go(objects: LocalObjectStore) -> None:
    """A deleted instance leaves no inflated copy behind."""
    located, files = await stored(objects, deflated(1, side=64)), InflatedFiles(objects, kept_s=0)
    await files.open(located)
    async with asyncio.timeout(10):
        while files._kept or files._open:
            await asyncio.sleep(0)
