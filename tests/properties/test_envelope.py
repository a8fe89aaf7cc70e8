"""Sealed bodies: any range comes back as it was; any change of them is a fault, never other bytes."""

import asyncio
import hashlib
import random
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.kernel.envelope import (
    CHUNK_BYTES,
    HEADER_BYTES,
    SEALED_CHUNK_BYTES,
    ChunkRange,
    Keyring,
    MasterKeyMissing,
    Place,
    new_data_key,
    open_chunks,
    open_header,
    seal_chunks,
    seal_header,
    sealed_length,
)
from server.kernel.envelope_store import EnvelopeStore, sealing_prefix
from server.kernel.faults import Busy
from server.kernel.local_store import LocalObjectStore
from server.kernel.object_store import DamagedObject, StoredRange

MASTER, OTHER = (hashlib.sha256(name).digest() for name in (b"one", b"other"))
KEYRING = Keyring(MASTER)
PLACE = Place("sealed/journal/a", 7)

lengths = st.one_of(
    st.integers(0, 200),
    st.builds(lambda chunks, off: max(0, chunks * CHUNK_BYTES + off), st.integers(1, 4), st.integers(-1, 1)),
    st.integers(0, 4 * CHUNK_BYTES),
)


def body_of(length: int) -> bytes:
    return random.Random(length).randbytes(length)


def seal(body: bytes, keyring: Keyring = KEYRING, place: Place = PLACE) -> bytes:
    data_key = new_data_key()
    header = seal_header(keyring.current, data_key, len(body), place)
    return header + b"".join(seal_chunks(data_key, memoryview(body), 0, len(body)))


def open_range(sealed: bytes, start: int, length: int, plain_length: int, place: Place = PLACE) -> bytes:
    data_key = open_header(sealed[:HEADER_BYTES], KEYRING, plain_length, place)
    if not length:
        return b""
    chunks = ChunkRange.holding(start, length, plain_length)
    held = sealed[chunks.sealed_start : chunks.sealed_start + chunks.sealed_length]
    return open_chunks(data_key, memoryview(held), chunks.first, plain_length)[chunks.skip :][:length]


@given(lengths, st.data())
def test_any_range_of_any_body(length: int, data: st.DataObject) -> None:
    body = body_of(length)
    start = data.draw(st.integers(0, length))
    count = data.draw(st.integers(0, length - start))
    sealed = seal(body)
    assert len(sealed) == sealed_length(length)
    assert open_range(sealed, start, count, length) == body[start : start + count]
    assert open_range(sealed, 0, length, length) == body


@given(lengths, st.integers(0, 2**32), st.integers(1, 255))
@example(0, 0, 1)
@example(CHUNK_BYTES, HEADER_BYTES, 1)
def test_any_changed_byte_is_found(length: int, at: int, by: int) -> None:
    sealed = bytearray(seal(body_of(length)))
    sealed[at % len(sealed)] ^= by
    with pytest.raises((DamagedObject, MasterKeyMissing)):
        open_range(bytes(sealed), 0, length, length)


@given(st.integers(2, 4), st.data())
def test_chunks_keep_their_order_and_their_end(chunks: int, data: st.DataObject) -> None:
    length = chunks * CHUNK_BYTES
    sealed = seal(body_of(length))
    header, rest = sealed[:HEADER_BYTES], sealed[HEADER_BYTES:]
    pieces = [rest[at : at + SEALED_CHUNK_BYTES] for at in range(0, len(rest), SEALED_CHUNK_BYTES)]
    shuffled = data.draw(st.permutations(pieces).filter(lambda order: order != pieces))
    with pytest.raises(DamagedObject):
        open_range(header + b"".join(shuffled), 0, length, length)
    data_key = open_header(header, KEYRING, length, PLACE)
    shorter = length - CHUNK_BYTES  # as if it ended a chunk earlier
    with pytest.raises(DamagedObject):
        open_chunks(data_key, memoryview(b"".join(pieces[:-1])), 0, shorter)
    with pytest.raises(DamagedObject):  # the header says how long it is
        open_header(header, KEYRING, shorter, PLACE)


@pytest.mark.parametrize("place", [Place("sealed/journal/b", 7), Place("sealed/journal/a", 8)])
def test_body_of_another_place_is_refused(place: Place) -> None:
    sealed = seal(b"somebody else's", place=place)
    with pytest.raises(DamagedObject):
        open_range(sealed, 0, 5, 15)


def test_chunk_of_another_body_is_refused() -> None:
    first, second = seal(body_of(100)), seal(bytes(100))
    with pytest.raises(DamagedObject):
        open_range(first[:HEADER_BYTES] + second[HEADER_BYTES:], 0, 100, 100)


def test_same_body_sealed_twice_shares_nothing() -> None:
    first, second = seal(bytes(1000)), seal(bytes(1000))
    assert first[HEADER_BYTES:] != second[HEADER_BYTES:]
    assert first[24:HEADER_BYTES] != second[24:HEADER_BYTES]


def test_earlier_master_key_still_opens_and_an_unknown_one_is_named() -> None:
    sealed = seal(b"old", Keyring(OTHER))
    with pytest.raises(MasterKeyMissing):
        open_range(sealed, 0, 3, 3)
    both = Keyring(MASTER, [OTHER])
    assert open_header(sealed[:HEADER_BYTES], both, 3, PLACE)
    assert both.current.id != Keyring(OTHER).current.id


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3 * CHUNK_BYTES), st.data())
def test_store_gives_the_range_or_a_fault_whatever_byte_changes(length: int, data: st.DataObject) -> None:
    async def run() -> None:
        with TemporaryDirectory() as folder:
            inner = LocalObjectStore(Path(folder), prefix=sealing_prefix(KEYRING))
            store = EnvelopeStore(inner, KEYRING)
            body = body_of(length)
            _, stored = await store.put([b"before", body])
            start = data.draw(st.integers(0, length))
            part = stored.part(start, data.draw(st.integers(0, length - start)))
            assert await store.read(part) == body[start:][: part.length]
            path = Path(folder) / stored.object_name
            content = bytearray(path.read_bytes())
            content[stored.offset + data.draw(st.integers(0, sealed_length(length) - 1))] ^= 1
            path.write_bytes(content)
            fresh = EnvelopeStore(inner, KEYRING)
            with suppress(DamagedObject, MasterKeyMissing):  # else the change lies elsewhere
                assert await fresh.read(part) == body[start:][: part.length]
            with pytest.raises((DamagedObject, MasterKeyMissing)):
                await fresh.read(stored)
            await store.close()

    asyncio.run(run())


def test_plain_bodies_are_served_after_the_switch_and_sealed_ones_after_it_is_off(tmp_path: Path) -> None:
    async def run() -> None:
        off, on = (
            EnvelopeStore(LocalObjectStore(tmp_path, prefix=prefix), KEYRING)
            for prefix in ("", sealing_prefix(KEYRING))
        )
        (plain,), (sealed,) = await off.put([b"plain"]), await on.put([b"sealed"])
        assert (tmp_path / plain.object_name).read_bytes() == b"plain"
        assert b"sealed" not in (tmp_path / sealed.object_name).read_bytes()
        for store in (off, on):
            assert await store.read(plain) == b"plain"
            assert await store.read(sealed) == b"sealed"
        await off.close()
        await on.close()

    asyncio.run(run())


def test_cut_object_is_a_fault(tmp_path: Path) -> None:
    async def run() -> None:
        store = EnvelopeStore(LocalObjectStore(tmp_path, prefix=sealing_prefix(KEYRING)), KEYRING)
        (stored,) = await store.put([bytes(100_000)])
        path = tmp_path / stored.object_name
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises((Busy, DamagedObject)):
            await store.read(stored)
        with pytest.raises((Busy, DamagedObject)):
            _ = [piece async for piece in store.stream(stored)]
        await store.close()

    asyncio.run(run())


def test_data_keys_remembered_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        monkeypatch.setattr("server.kernel.envelope_store.DATA_KEYS", 3)
        store = EnvelopeStore(LocalObjectStore(tmp_path, prefix=sealing_prefix(KEYRING)), KEYRING)
        ranges: list[StoredRange] = await store.put([bytes([number]) for number in range(6)])
        assert [await store.read(each) for each in ranges] == [bytes([number]) for number in range(6)]
        assert len(store._data_keys) == 3
        await store.close()

    asyncio.run(run())
