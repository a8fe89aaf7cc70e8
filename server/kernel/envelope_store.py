"""Envelope encryption over any `ObjectStore`: every body is sealed under a data key of its own.

The names of sealed objects begin with `sealed/` and the id of the master key, so what is plain and what is
sealed, and with which key, can be told without reading it. What lies there plain is served as before. A range
is read as the few chunks that hold it; the header that unwraps the data key is read once and remembered.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path

from server.kernel.envelope import (
    CHUNK_BYTES,
    HEADER_BYTES,
    SEALED_CHUNK_BYTES,
    ChunkRange,
    Keyring,
    Place,
    SealingKey,
    count_chunks,
    new_data_key,
    open_chunks,
    open_header,
    seal_chunks,
    seal_header,
    sealed_length,
)
from server.kernel.object_store import (
    READ_CHUNK_BYTES,
    Body,
    BytesBody,
    ListedObject,
    ObjectStore,
    PlacedBody,
    SpooledBody,
    StoredRange,
    length_of,
)
from server.kernel.spool import disk_faults

SEALED = "sealed/"
DATA_KEYS = 10_000  # unwrapped ones remembered; 32 bytes each
NEAR_BYTES = 2 * SEALED_CHUNK_BYTES  # a header so close before the chunks is read in one with them
IN_THREAD_BYTES = 256 << 10  # from this size on a thread seals or opens; less is done where it is


def sealing_prefix(keyring: Keyring) -> str:
    """What the names of objects sealed now begin with."""
    return f"{SEALED}{keyring.current.id.hex()}/"


class EnvelopeStore:
    """Seals what is put when `inner` names its objects with the keyring's prefix; opens what was sealed."""

    def __init__(self, inner: ObjectStore, keyring: Keyring) -> None:
        self.inner = inner
        self._keyring = keyring
        self._seals = inner.prefix == sealing_prefix(keyring)
        self._data_keys: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    @property
    def prefix(self) -> str:
        """As the inner store names its objects."""
        return self.inner.prefix

    async def put(self, bodies: Sequence[Body]) -> list[StoredRange]:
        """Seal the bodies, then put them."""
        if not self._seals:
            return await self.inner.put(bodies)
        sealed = await self._seal(bodies)
        try:
            ranges = await self.inner.put(sealed)
        finally:
            _discard_spooled(sealed)
        _discard_spooled(bodies)  # they are taken over
        return [_plain_range(each, body) for each, body in zip(ranges, bodies, strict=True)]

    async def pack(self, bodies: AsyncIterator[Body]) -> list[StoredRange]:
        """Seal the bodies one by one as they are packed."""
        if not self._seals:
            return await self.inner.pack(bodies)
        lengths: list[int] = []

        async def sealed() -> AsyncIterator[Body]:
            async for body in bodies:
                lengths.append(length_of(body))
                for each in await self._seal([body]):
                    yield each

        ranges = await self.inner.pack(sealed())
        return [
            StoredRange(each.object_name, each.offset, length)
            for each, length in zip(ranges, lengths, strict=True)
        ]

    async def read(self, stored: StoredRange) -> bytes:
        """Read the chunks that hold the range, and open them."""
        if not stored.object_name.startswith(SEALED):
            return await self.inner.read(stored)
        if stored.length == 0:
            await self._data_key(stored)
            return b""
        chunks = ChunkRange.holding(stored.start, stored.length, stored.body_length)
        data_key, sealed = await self._fetch(stored, chunks)
        plain = await _opened(data_key, sealed, chunks.first, stored.body_length)
        return plain[chunks.skip : chunks.skip + stored.length] if len(plain) != stored.length else plain

    async def stream(self, stored: StoredRange) -> AsyncIterator[bytes]:
        """Stream the chunks that hold the range, and open some at a time."""
        if not stored.object_name.startswith(SEALED):
            async for piece in self.inner.stream(stored):
                yield piece
        elif stored.length:
            async for piece in self._stream_sealed(stored):
                yield piece

    async def remove(self, object_name: str) -> None:
        """Remove the object; its data keys are forgotten as others take their place."""
        await self.inner.remove(object_name)

    def list_objects(self) -> AsyncIterator[ListedObject]:
        """Sealed and plain ones."""
        return self.inner.list_objects()

    async def claim(self, installation: str) -> str:
        """As the inner store."""
        return await self.inner.claim(installation)

    def spool_path(self) -> Path:
        """In the inner store's spool."""
        return self.inner.spool_path()

    async def check(self) -> None:
        """As the inner store."""
        await self.inner.check()

    async def close(self) -> None:
        """Close the inner store."""
        await self.inner.close()

    async def _seal(self, bodies: Sequence[Body]) -> list[PlacedBody]:
        """The bodies sealed, in one go; spooled ones into spooled files."""
        work = partial(_seal_all, self._keyring.current, bodies, self.spool_path)
        total = sum(map(length_of, bodies))
        return await asyncio.to_thread(work) if total >= IN_THREAD_BYTES else work()

    async def _fetch(self, stored: StoredRange, chunks: ChunkRange) -> tuple[bytes, bytes | memoryview]:
        """The data key and the sealed chunks; the header comes along when it is near and not known yet."""
        data_key = self._known(stored)
        if data_key is None and chunks.sealed_start <= NEAR_BYTES:
            both = await self._read_sealed(stored, 0, chunks.sealed_start + chunks.sealed_length)
            return self._remember(stored, both[:HEADER_BYTES]), memoryview(both)[chunks.sealed_start :]
        sealed = self._read_sealed(stored, chunks.sealed_start, chunks.sealed_length)
        if data_key is not None:
            return data_key, await sealed
        return await asyncio.gather(self._data_key(stored), sealed)

    async def _data_key(self, stored: StoredRange) -> bytes:
        return self._known(stored) or self._remember(stored, await self._read_sealed(stored, 0, HEADER_BYTES))

    def _known(self, stored: StoredRange) -> bytes | None:
        place = (stored.object_name, stored.offset)
        if place in self._data_keys:
            self._data_keys.move_to_end(place)
        return self._data_keys.get(place)

    def _remember(self, stored: StoredRange, header: bytes) -> bytes:
        place = Place(stored.object_name, stored.offset)
        data_key = open_header(header, self._keyring, stored.body_length, place)
        self._data_keys[stored.object_name, stored.offset] = data_key
        if len(self._data_keys) > DATA_KEYS:
            self._data_keys.popitem(last=False)
        return data_key

    async def _read_sealed(self, stored: StoredRange, start: int, length: int) -> bytes:
        whole = sealed_length(stored.body_length)
        return await self.inner.read(
            StoredRange(stored.object_name, stored.offset, whole).part(start, length)
        )

    async def _stream_sealed(self, stored: StoredRange) -> AsyncIterator[bytes]:
        data_key = await self._data_key(stored)
        chunks = ChunkRange.holding(stored.start, stored.length, stored.body_length)
        whole = StoredRange(stored.object_name, stored.offset, sealed_length(stored.body_length))
        at_once = READ_CHUNK_BYTES // CHUNK_BYTES
        skip, left, number = chunks.skip, stored.length, chunks.first
        async for piece in _regrouped(
            self.inner.stream(whole.part(chunks.sealed_start, chunks.sealed_length)),
            at_once * SEALED_CHUNK_BYTES,
        ):
            plain = (await _opened(data_key, piece, number, stored.body_length))[skip : skip + left]
            skip, left, number = 0, left - len(plain), number + at_once
            yield plain


async def _regrouped(pieces: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The same bytes in pieces of `size`, the last one shorter."""
    waiting = bytearray()
    async for piece in pieces:
        waiting += piece
        while len(waiting) >= size:
            yield bytes(waiting[:size])
            del waiting[:size]
    if waiting:
        yield bytes(waiting)


async def _opened(data_key: bytes, sealed: bytes | memoryview, first: int, plain_length: int) -> bytes:
    """The plain chunks; many are opened in a thread, which holds no lock meanwhile."""
    work = partial(open_chunks, data_key, memoryview(sealed), first, plain_length)
    return await asyncio.to_thread(work) if len(sealed) >= IN_THREAD_BYTES else work()


def _seal_all(key: SealingKey, bodies: Sequence[Body], spool_path: Callable[[], Path]) -> list[PlacedBody]:
    sealed: list[PlacedBody] = []
    try:
        with disk_faults():
            for body in bodies:
                sealed.append(_seal_one(key, body, spool_path))  # noqa: PERF401  what is done is discarded on failure
    except BaseException:
        _discard_spooled(sealed)
        raise
    return sealed


def _seal_one(key: SealingKey, body: Body, spool_path: Callable[[], Path]) -> PlacedBody:
    if isinstance(body, PlacedBody):
        raise TypeError("a sealed body is not sealed again")
    data_key, length = new_data_key(), length_of(body)

    def head(object_name: str, offset: int) -> bytes:
        return seal_header(key, data_key, length, Place(object_name, offset))

    if isinstance(body, SpooledBody):
        return PlacedBody(_seal_file(data_key, body, spool_path()), head)
    return PlacedBody(_seal_bytes(data_key, body), head)


def _seal_bytes(data_key: bytes, body: BytesBody) -> bytearray:
    """Room for the header, then the sealed chunks."""
    plain = memoryview(body).cast("B")
    sealed = bytearray(HEADER_BYTES)
    for chunk in seal_chunks(data_key, plain, 0, len(plain)):
        sealed += chunk
    return sealed


def _seal_file(data_key: bytes, body: SpooledBody, target: Path) -> SpooledBody:
    """The same in a file of its own; the plain file stays as it is."""
    try:
        with body.path.open("rb") as plain, target.open("xb") as sealed:
            sealed.write(bytes(HEADER_BYTES))
            for first in range(0, count_chunks(body.length), READ_CHUNK_BYTES // CHUNK_BYTES):
                data = memoryview(plain.read(READ_CHUNK_BYTES))
                sealed.writelines(seal_chunks(data_key, data, first, body.length))
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return SpooledBody(target, sealed_length(body.length))


def _plain_range(sealed: StoredRange, body: Body) -> StoredRange:
    return StoredRange(sealed.object_name, sealed.offset, length_of(body))


def _discard_spooled(bodies: Sequence[Body]) -> None:
    """Remove the files of spooled bodies that are there still."""
    for body in bodies:
        content = body.content if isinstance(body, PlacedBody) else body
        if isinstance(content, SpooledBody):
            content.path.unlink(missing_ok=True)
