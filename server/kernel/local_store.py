"""The local adapter of `ObjectStore`: an append-only journal per process, with group commit.

A `put` appends its bodies to the journal; one `fdatasync` covers every `put` that waited for the disk
meanwhile (a slow flush is shared, a fast one costs nothing extra). Directory entries are synced when a file
is made. After a failed flush the journal is abandoned, never appended to again: the kernel may have dropped
its pages.
"""

import asyncio
import errno
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from server.kernel.faults import Busy, StorageFull
from server.kernel.object_store import READ_CHUNK_BYTES, Body, SpooledBody, StoredRange

ROTATE_BYTES = 256 << 20  # a journal over this size is closed and a new one begun
MIN_FREE_BYTES = 64 << 20  # below this the store says so before the disk does
OPEN_FILES = 256  # descriptors kept for reading
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(slots=True)
class _Put:
    bodies: Sequence[Body]
    done: asyncio.Future[list[StoredRange]]


@dataclass(slots=True)
class _Journal:
    name: str
    descriptor: int
    end: int = 0


class LocalObjectStore:
    """Objects below `root/journal` (shared files) and `root/large` (one file a body)."""

    def __init__(self, root: Path, *, rotate_bytes: int = ROTATE_BYTES) -> None:
        self._root = root
        self._rotate_bytes = rotate_bytes
        for folder in (root, root / "journal", root / "large", root / "spool"):
            folder.mkdir(parents=True, exist_ok=True)
        _sync_directory(root.parent)
        _sync_directory(root)
        self._journal: _Journal | None = None
        self._waiting: list[_Put] = []
        self._flusher: asyncio.Task[None] | None = None
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._open = lru_cache(maxsize=OPEN_FILES)(_OpenFile)

    async def put(self, bodies: Sequence[Body]) -> list[StoredRange]:
        """Append the bodies and return once they are on stable storage."""
        if not bodies:
            return []
        done: asyncio.Future[list[StoredRange]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Put(bodies, done))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush_waiting())
        return await done

    async def read(self, stored: StoredRange) -> bytes:
        """Read the whole range in a thread."""
        return await asyncio.to_thread(self._read, stored)

    async def stream(self, stored: StoredRange) -> AsyncIterator[bytes]:
        """Read the range chunk by chunk."""
        for start in range(0, stored.length, READ_CHUNK_BYTES):
            yield await self.read(stored.part(start, min(READ_CHUNK_BYTES, stored.length - start)))

    def spool_path(self) -> Path:
        """A fresh path beside the objects, so that taking it over is a rename."""
        return self._root / "spool" / uuid.uuid4().hex

    async def check(self) -> None:
        """Whether there is room for more."""
        if shutil.disk_usage(self._root).free < MIN_FREE_BYTES:
            raise StorageFull("The object store has no room left.")

    async def close(self) -> None:
        """Finish the puts under way and close the journal."""
        if self._flusher is not None:
            await self._flusher
        self._disk.shutdown()
        if self._journal is not None:
            os.close(self._journal.descriptor)
            self._journal = None
        self._open.cache_clear()

    async def _flush_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = [request for request in self._waiting if not request.done.done()]
            self._waiting = []
            try:
                outcomes = await loop.run_in_executor(self._disk, self._write_durably, batch)
            except Exception as error:  # noqa: BLE001  every waiter must learn of it, whatever it is
                outcomes = [error] * len(batch)
            for request, outcome in zip(batch, outcomes, strict=True):
                _answer(request.done, outcome)

    def _write_durably(self, batch: Sequence[_Put]) -> Sequence[list[StoredRange] | Exception]:
        try:
            journal = self._current_journal()
            start = journal.end
            outcomes = [self._write_all(request.bodies, journal) for request in batch]
            if journal.end > start:
                os.fdatasync(journal.descriptor)
        except OSError as error:
            self._abandon_journal()
            if error.errno in NO_ROOM:
                raise StorageFull("The object store has no room left; retry later.") from error
            raise Busy("The object store failed; retry later.") from error
        return outcomes

    def _write_all(self, bodies: Sequence[Body], journal: _Journal) -> list[StoredRange] | Exception:
        """The ranges of one request; a spooled body that is gone is that request's trouble alone."""
        try:
            return [self._write(body, journal) for body in bodies]
        except FileNotFoundError:
            return Busy("A spooled body is not there any more.")

    def _write(self, body: Body, journal: _Journal) -> StoredRange:
        if isinstance(body, SpooledBody):
            return self._take_over(body)
        view, start = memoryview(body).cast("B"), journal.end
        while view:
            written = os.pwrite(journal.descriptor, view, journal.end)
            journal.end += written
            view = view[written:]
        return StoredRange(journal.name, start, journal.end - start)

    def _take_over(self, body: SpooledBody) -> StoredRange:
        name = f"large/{uuid.uuid4().hex}"
        descriptor = os.open(body.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        body.path.rename(self._root / name)
        _sync_directory(self._root / "large")
        return StoredRange(name, 0, body.length)

    def _current_journal(self) -> _Journal:
        if self._journal is not None and self._journal.end >= self._rotate_bytes:
            self._abandon_journal()
        if self._journal is None:
            name = f"journal/{uuid.uuid4().hex}"
            descriptor = os.open(self._root / name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            self._journal = _Journal(name, descriptor)
            _sync_directory(self._root / "journal")
        return self._journal

    def _abandon_journal(self) -> None:
        if self._journal is not None:
            os.close(self._journal.descriptor)
            self._journal = None

    def _read(self, stored: StoredRange) -> bytes:
        try:
            body = self._open(self._root / stored.object_name).read(stored.offset, stored.length)
        except OSError as error:
            raise Busy("Stored bytes could not be read.") from error
        if len(body) != stored.length:
            raise Busy("Stored bytes are missing from the object store.")
        return body


def _answer(done: asyncio.Future[list[StoredRange]], outcome: list[StoredRange] | Exception) -> None:
    if done.done():  # cancelled
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)


class _OpenFile:
    """A descriptor for positioned reads, closed when the last reader lets go."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; fewer only at the end of the file."""
        return os.pread(self._descriptor, length, offset)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
