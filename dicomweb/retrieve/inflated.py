"""Deflated instances inflated once, into the spool (PS3.5 A.5): of each, memory holds one piece at a time."""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from weakref import WeakSet

from dicomweb.retrieve.locate import Located
from dicomweb.wire.deflate import Inflater
from dicomweb.wire.faults import TransferSyntaxUnknown, UnreadableDataSet
from dicomweb.wire.file_meta import MAX_META_BYTES, read_file_meta
from server.kernel.faults import Busy, StorageFull
from server.kernel.object_store import READ_CHUNK_BYTES, DamagedObject, ObjectStore, StoredRange

MAX_SPOOLED_BYTES = 2 << 30  # of inflated instances: those kept for the next request and those being read
KEPT_S = 3600.0  # after its last use
LOOKS, LOOK_S = 40, 0.005  # for the room of a file that nobody should hold any more
DAMAGED = "A stored instance is damaged and is not delivered."
HEAD_BYTES = MAX_META_BYTES + READ_CHUNK_BYTES  # certainly holds the preamble and the file meta


class SpooledFile:
    """A file that was made of an instance, without a name, so that it goes with its last reader."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        path.unlink()
        self.length = 0

    def append(self, data: bytes) -> None:
        """Add bytes to the end; blocks.

        Raises:
            StorageFull: no room.
        """
        view = memoryview(data)
        while view:
            try:
                written = os.pwrite(self._descriptor, view, self.length)
            except OSError as error:
                raise StorageFull("The spool has no room left; retry later.") from error
            self.length += written
            view = view[written:]

    def read(self, ranges: Sequence[tuple[int, int]]) -> bytes:
        """The bytes of (offset, length) ranges, joined; blocks."""
        return b"".join(os.pread(self._descriptor, length, offset) for offset, length in ranges)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


class InflatedFiles:
    """The inflated files of one process; whose last use is longest ago makes room for the next.

    One is inflated at a time, and who asks meanwhile waits: so each is inflated once for all of them.
    """

    def __init__(self, objects: ObjectStore, kept_s: float = KEPT_S) -> None:
        self._objects = objects
        self._kept_s = kept_s
        self._timers: dict[bytes, asyncio.TimerHandle] = {}  # of those kept
        self._kept: OrderedDict[bytes, SpooledFile] = OrderedDict()  # by the SHA-256 of the file as stored
        self._open: WeakSet[SpooledFile] = WeakSet()  # kept or not, every one that still takes room
        self._inflating = asyncio.Lock()

    async def open(self, located: Located) -> SpooledFile:
        """The inflated file of a deflated instance, proven.

        Raises:
            DamagedObject: the stored bytes are not those that were stored.
            Busy: readers hold all the room there is.
        """
        found = self._kept.get(located.file_sha256)
        if found is None:
            async with self._inflating:
                found = self._kept.get(located.file_sha256) or await self._inflate(located)
                self._kept[located.file_sha256] = found
        if located.file_sha256 in self._kept:
            self._kept.move_to_end(located.file_sha256)
            self._keep_for_a_while(located.file_sha256)
        return found

    def _keep_for_a_while(self, key: bytes) -> None:
        """Let go of it `KEPT_S` from now: the instance may be deleted, and then no copy may stay."""
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(self._kept_s, self._let_go, key)

    def _let_go(self, key: bytes) -> None:
        self._timers.pop(key, None)
        self._kept.pop(key, None)

    async def _inflate(self, located: Located) -> SpooledFile:
        file = await asyncio.to_thread(SpooledFile, self._objects.spool_path())
        try:
            digest = await self._fill(file, located.stored)
        except (UnreadableDataSet, TransferSyntaxUnknown) as fault:  # it was readable when it was stored
            raise DamagedObject(DAMAGED) from fault
        if digest != located.file_sha256:
            raise DamagedObject(DAMAGED)
        self._open.add(file)
        return file

    async def _fill(self, file: SpooledFile, stored: StoredRange) -> bytes:
        """Inflate what is stored into `file`; returns the SHA-256 of what is stored."""
        head = await self._objects.read(stored.part(0, min(HEAD_BYTES, stored.length)))
        data_set_offset = read_file_meta(head).data_set_offset
        await asyncio.to_thread(file.append, head[:data_set_offset])
        digest = sha256(head[:data_set_offset])
        inflater = Inflater(stored.length - data_set_offset)
        for at in range(data_set_offset, stored.length, READ_CHUNK_BYTES):
            data = await self._objects.read(stored.part(at, min(READ_CHUNK_BYTES, stored.length - at)))
            await asyncio.to_thread(digest.update, data)
            pieces = inflater.inflate(data)
            while await asyncio.to_thread(_append_next, file, pieces):
                await self._make_room(file.length)
        inflater.finish()
        return digest.digest()

    async def _make_room(self, needed: int) -> None:
        while self._kept and self._lacks(needed):
            self._kept.popitem(last=False)
            await self._until_let_go(needed)
        if self._lacks(needed):
            raise Busy("Too many deflated instances are being read; retry later.")

    def _lacks(self, needed: int) -> bool:
        return needed + sum(file.length for file in self._open) > MAX_SPOOLED_BYTES

    async def _until_let_go(self, needed: int) -> None:
        """Wait a moment: a thread holds what it has worked on until it gets to run once more."""
        for _ in range(LOOKS):
            if not self._lacks(needed):
                return
            await asyncio.sleep(LOOK_S)


def _append_next(file: SpooledFile, pieces: Iterator[bytes]) -> bool:
    """Write one piece; False: there was none."""
    piece = next(pieces, None)
    if piece is None:
        return False
    file.append(piece)
    return True
