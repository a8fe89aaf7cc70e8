"""The spool: local files of a store that are not objects yet, and the packed file that becomes one."""

import asyncio
import errno
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from server.kernel.faults import Busy, StorageFull
from server.kernel.object_store import Body, SpooledBody, StoredRange, placed

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
ABANDONED_S = 24 * 3600  # nobody has written to it for so long: its process is gone


def new_name() -> str:
    """A fresh name within a folder of the store."""
    return uuid.uuid4().hex


class Spool:
    """A folder of files under way. What a killed process left there goes when the next one starts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        oldest = time.time() - ABANDONED_S
        for path in folder.iterdir():
            if path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)

    def path(self) -> Path:
        """A fresh path; there is no file yet."""
        return self._folder / new_name()

    async def write_packed(
        self, bodies: AsyncIterator[Body], name: str
    ) -> tuple[SpooledBody, list[StoredRange]]:
        """A file of all bodies, flushed to disk, and the ranges that they will have as object `name`.

        Memory holds one body at a time. When it raises, or there are no bodies, there is no file.
        """
        path, ranges, end = self.path(), [], 0
        file = await asyncio.to_thread(FileIO, path, "x")
        try:
            with file:
                async for body in bodies:
                    length = await asyncio.to_thread(_append, file, body, name, end)
                    ranges.append(StoredRange(name, end, length))
                    end += length
                await asyncio.to_thread(os.fsync, file.fileno())
        except BaseException:
            path.unlink()
            raise
        if not ranges:
            path.unlink()
        return SpooledBody(path, end), ranges


def _append(file: FileIO, body: Body, name: str, offset: int) -> int:
    content = placed(body, name, offset)
    if isinstance(content, SpooledBody):
        raise TypeError("a spooled body is an object of its own")
    view = memoryview(content).cast("B")
    length = view.nbytes
    while view:
        view = view[file.write(view) :]
    return length


def sync_directory(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk_faults() -> Iterator[None]:
    """Turn what the disk says into the kernel's faults."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise StorageFull("The object store has no room left; retry later.") from error
        raise Busy("The object store failed; retry later.") from error
