"""The local adapter of `ObjectStore`: an append-only journal per process, with group commit.

A `put` appends its bodies to the journal; one `fdatasync` covers every `put` that waited for the disk
meanwhile (a slow flush is shared, a fast one costs nothing extra). Directory entries are synced when a file
is made. After a failed flush the journal is abandoned, never appended to again: the kernel may have dropped
its pages. A journal is left when it is large or old, so that it can be packed and removed.
"""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from server.kernel.faults import Busy, StorageFull
from server.kernel.journal import Journal, remove_file
from server.kernel.object_store import (
    MARKER,
    READ_CHUNK_BYTES,
    Body,
    ListedObject,
    SpooledBody,
    StoredRange,
    is_our_name,
    length_of,
    placed,
    require_our_name,
)
from server.kernel.open_files import OpenFile, OpenFiles
from server.kernel.spool import Spool, disk_faults, new_name, sync_directory
from server.kernel.store_metrics import watched

ROTATE_BYTES = 256 << 20  # a journal over this size is closed and a new one begun
ROTATE_S = 600.0  # the same for one that was begun so long ago
UNCOMMITTED_S = 900.0  # from a put to the end of its transaction at most: so long a journal is not removed
MIN_FREE_BYTES = 64 << 20  # below this the store says so before the disk does
LISTED_AT_ONCE = 1000
FOLDERS = ("journal", "large", "packed")


@dataclass(frozen=True, slots=True)
class JournalPolicy:
    """When a journal is left, and how long one that is left stays untouched."""

    rotate_bytes: int = ROTATE_BYTES
    rotate_s: float = ROTATE_S
    quiet_s: float = UNCOMMITTED_S


@dataclass(slots=True)
class _Put:
    bodies: Sequence[Body]
    done: asyncio.Future[list[StoredRange]]


class LocalObjectStore:
    """Objects below `root`: `journal` (shared files), `large` (one file a body) and `packed`."""

    def __init__(self, root: Path, *, prefix: str = "", policy: JournalPolicy | None = None) -> None:
        self.prefix = prefix
        self._root = root = root.absolute()
        self._policy = policy or JournalPolicy()
        for kind in FOLDERS:
            (root / prefix / kind).mkdir(parents=True, exist_ok=True)
        self._spool = Spool(root / "spool")
        for folder in (root.parent, *reversed(Path(prefix).parents), Path(prefix)):
            sync_directory(root / folder)
        self._journal: Journal | None = None
        self._timed: Journal | None = None  # the last one whose end was timed
        self._waiting: list[_Put] = []
        self._flusher: asyncio.Task[None] | None = None
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._files = OpenFiles(root)

    async def put(self, bodies: Sequence[Body]) -> list[StoredRange]:
        """Append the bodies and return once they are on stable storage."""
        if not bodies:
            return []
        done: asyncio.Future[list[StoredRange]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Put(bodies, done))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush_waiting())
        with watched("put", sum(map(length_of, bodies))):
            return await done

    async def pack(self, bodies: AsyncIterator[Body]) -> list[StoredRange]:
        """Write a new file beside the objects, flush it, then give it its name."""
        name = f"{self.prefix}packed/{new_name()}"
        with watched("pack") as operation, disk_faults():
            file, ranges = await self._spool.write_packed(bodies, name)
            if ranges:
                await asyncio.to_thread(self._give_name, file.path, name)
            operation.size = sum(each.length for each in ranges)
        return ranges

    async def read(self, stored: StoredRange) -> bytes:
        """Read the whole range: at once where the system has it in memory, else in a thread."""
        with watched("read", stored.length):
            if stored.length <= READ_CHUNK_BYTES:
                file = self._files.opened(stored.object_name)
                if file is not None and file.is_cached(stored.position, stored.length):
                    return self._read_from(file, stored)
            return await asyncio.to_thread(self._read, stored)

    async def stream(self, stored: StoredRange) -> AsyncIterator[bytes]:
        """Read the range chunk by chunk."""
        for start in range(0, stored.length, READ_CHUNK_BYTES):
            yield await self.read(stored.part(start, min(READ_CHUNK_BYTES, stored.length - start)))

    async def remove(self, object_name: str) -> None:
        """Empty and remove the file; an open journal, or one just left, is refused."""
        require_our_name(object_name)
        quiet_s = self._policy.quiet_s if "journal/" in object_name else 0.0
        with watched("remove"), disk_faults():
            await asyncio.to_thread(remove_file, self._root / object_name, quiet_s)

    async def list_objects(self) -> AsyncIterator[ListedObject]:
        """Walk the folders in a thread, some files at a time."""
        entries = self._walk()
        while some := await asyncio.to_thread(lambda: list(islice(entries, LISTED_AT_ONCE))):
            for entry in some:
                yield entry

    async def claim(self, installation: str) -> str:
        """Make the marker file, complete before it gets its name; the first one holds."""
        with disk_faults():
            return await asyncio.to_thread(self._claim, installation)

    def spool_path(self) -> Path:
        """A fresh path beside the objects, so that taking it over is a rename."""
        return self._spool.path()

    async def check(self) -> None:
        """Whether there is room for more."""
        if shutil.disk_usage(self._root).free < MIN_FREE_BYTES:
            raise StorageFull("The object store has no room left.")

    async def close(self) -> None:
        """Finish the puts under way and close the journal."""
        if self._flusher is not None:
            await self._flusher
        self._disk.shutdown()
        self._leave_journal()
        self._files.close()

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
        if self._journal is not None and self._journal is not self._timed:
            self._timed = self._journal  # it is left when its time has come, also when no other put comes
            loop.call_later(self._policy.rotate_s, self._leave_in_turn, self._timed)

    def _leave_in_turn(self, journal: Journal) -> None:
        """Leave this journal, unless that was done, on the thread that writes to it."""
        if self._journal is journal:
            self._disk.submit(self._leave_if, journal)

    def _leave_if(self, journal: Journal) -> None:
        if self._journal is journal:
            self._leave_journal()

    def _write_durably(self, batch: Sequence[_Put]) -> Sequence[list[StoredRange] | Exception]:
        try:
            with disk_faults():
                journal = self._current_journal()
                start = journal.end
                outcomes = [self._write_all(request.bodies, journal) for request in batch]
                if journal.end > start:
                    journal.flush()
        except Busy:
            self._leave_journal()
            raise
        return outcomes

    def _write_all(self, bodies: Sequence[Body], journal: Journal) -> list[StoredRange] | Exception:
        """The ranges of one request; a spooled body that is gone is that request's trouble alone."""
        try:
            return [self._write(body, journal) for body in bodies]
        except FileNotFoundError:
            return Busy("A spooled body is not there any more.")

    def _write(self, body: Body, journal: Journal) -> StoredRange:
        content = getattr(body, "content", body)
        return self._take_over(body) if isinstance(content, SpooledBody) else journal.append(body)

    def _take_over(self, body: Body) -> StoredRange:
        name = f"{self.prefix}large/{new_name()}"
        content = placed(body, name, 0)
        assert isinstance(content, SpooledBody)
        self._give_name(content.path, name)
        return StoredRange(name, 0, length_of(body))

    def _give_name(self, path: Path, name: str) -> None:
        """Make a spooled file an object, durably."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        path.rename(self._root / name)
        sync_directory((self._root / name).parent)

    def _current_journal(self) -> Journal:
        journal, policy = self._journal, self._policy
        if journal is not None and (
            journal.end >= policy.rotate_bytes or time.monotonic() - journal.begun >= policy.rotate_s
        ):
            self._leave_journal()
        if self._journal is None:
            self._journal = Journal(self._root, f"{self.prefix}journal/{new_name()}")
        return self._journal

    def _leave_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _read(self, stored: StoredRange) -> bytes:
        require_our_name(stored.object_name)
        try:
            file = self._files.open(stored.object_name)
        except OSError as error:
            raise Busy("Stored bytes could not be read.") from error
        return self._read_from(file, stored)

    def _read_from(self, file: OpenFile, stored: StoredRange) -> bytes:
        try:
            body = file.read(stored.position, stored.length)
        except OSError as error:
            raise Busy("Stored bytes could not be read.") from error
        if len(body) != stored.length:
            raise Busy("Stored bytes are missing from the object store.")
        return body

    def _walk(self) -> Iterator[ListedObject]:
        for folder, _, files in os.walk(self._root):
            for file in files:
                path = Path(folder, file)
                name = path.relative_to(self._root).as_posix()
                try:
                    status = path.stat() if is_our_name(name) else None
                except FileNotFoundError:  # removed meanwhile
                    continue
                if status is not None:
                    yield ListedObject(name, status.st_size, status.st_mtime_ns // 1000)

    def _claim(self, installation: str) -> str:
        marker, draft = self._root / MARKER, self._spool.path()
        draft.write_text(installation)
        try:
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            os.link(draft, marker)
            sync_directory(self._root)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return marker.read_text()


def _answer(done: asyncio.Future[list[StoredRange]], outcome: list[StoredRange] | Exception) -> None:
    if done.done():  # cancelled
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
