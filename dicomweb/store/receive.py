"""Parts of a Store request on their way in: in memory while that is small, else in the store's spool.

Whoever receives must `discard` them, stored or not; a client that goes away leaves nothing.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from mmap import ACCESS_READ, mmap
from pathlib import Path

from dicomweb.store.instances import InstanceResult
from dicomweb.store.limits import (
    MAX_IN_FLIGHT_BYTES,
    MAX_PART_BYTES,
    MAX_PART_MEMORY_BYTES,
    SPOOL_WRITE_BYTES,
)
from dicomweb.wire.pieces import FileRange
from server.kernel.faults import TooLarge
from server.kernel.object_store import ObjectStore, SpooledBody


class MemoryBudget:
    """Bytes that all requests of this process may hold; who gets none goes to disk, nobody waits."""

    def __init__(self, total_bytes: int = MAX_IN_FLIGHT_BYTES) -> None:
        self._free = total_bytes

    def take(self, count: int) -> bool:
        """Reserve `count` bytes, or reserve nothing and say so."""
        if count > self._free:
            return False
        self._free -= count
        return True

    def give(self, count: int) -> None:
        """Return what was reserved."""
        self._free += count


class ReceivedPart:
    """One part: collects its bytes, then opens them for reading and hands them over."""

    def __init__(self, objects: ObjectStore, budget: MemoryBudget) -> None:
        self.length = 0
        self.failure: InstanceResult | None = None  # known before it is read: there is nothing to be stored
        self._objects = objects
        self._budget = budget
        self._held = 0  # bytes of the budget
        self._buffer = bytearray()
        self._path: Path | None = None
        self._file: FileIO | None = None

    async def write(self, data: bytes | memoryview) -> None:
        """Add bytes to the end.

        Raises:
            TooLarge: the part exceeds MAX_PART_BYTES.
        """
        self.length += len(data)
        if self.length > MAX_PART_BYTES:
            raise TooLarge("A part of the request is larger than this server takes.")
        self._buffer += data
        if self._file is None and not self._keeps_in_memory(len(data)):
            await asyncio.to_thread(self._spill)
        elif self._file is not None and len(self._buffer) >= SPOOL_WRITE_BYTES:
            await asyncio.to_thread(self._drain)

    async def finish(self) -> None:
        """No more bytes come."""
        if self._file is not None:
            await asyncio.to_thread(self._drain)
            self._file.close()

    @contextmanager
    def opened(self) -> Iterator[bytearray | mmap]:
        """The bytes for reading; blocks on the disk when they are spooled."""
        if self._path is None:
            yield self._buffer
            return
        with self._path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as mapped:
            yield mapped

    @property
    def content(self) -> memoryview | FileRange:
        """The bytes of a part that is finished, until it is discarded."""
        return memoryview(self._buffer) if self._path is None else FileRange(self._path, 0, self.length)

    @property
    def body(self) -> bytearray | SpooledBody:
        """What `ObjectStore.put` takes."""
        return self._buffer if self._path is None else SpooledBody(self._path, self.length)

    def discard(self) -> None:
        """Let go of the memory, and of the spool file unless `put` took it over."""
        self._budget.give(self._held)
        self._held = 0
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self._buffer = bytearray()

    def _keeps_in_memory(self, more: int) -> bool:
        if self.length > MAX_PART_MEMORY_BYTES or not self._budget.take(more):
            return False
        self._held += more
        return True

    def _spill(self) -> None:
        self._path = self._objects.spool_path()
        self._file = FileIO(self._path, "x")
        self._drain()
        self._budget.give(self._held)
        self._held = 0

    def _drain(self) -> None:
        assert self._file is not None
        with memoryview(self._buffer) as view:
            written = 0
            while written < len(view):
                written += self._file.write(view[written:]) or 0
        self._buffer = bytearray()
