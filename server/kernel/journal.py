"""One journal of the local store: a file that one process appends to while it holds the lock on it.

The lock (`flock`) is how another process knows that more may come: it never removes such a file. A process
that dies lets go of it. All functions block.
"""

import fcntl
import os
import time
from pathlib import Path

from server.kernel.object_store import Body, ObjectInUse, SpooledBody, StoredRange, placed
from server.kernel.spool import sync_directory


class Journal:
    """An open journal; `end` is where the next body begins."""

    def __init__(self, root: Path, name: str) -> None:
        self.name = name
        self.end = 0
        self.begun = time.monotonic()
        self._descriptor = os.open(root / name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        sync_directory((root / name).parent)

    def append(self, body: Body) -> StoredRange:
        """Write a body to the end; it is durable after the next `flush`."""
        content, start = placed(body, self.name, self.end), self.end
        if isinstance(content, SpooledBody):
            raise TypeError("a spooled body is an object of its own")
        view = memoryview(content).cast("B")
        while view:
            written = os.pwrite(self._descriptor, view, self.end)
            self.end += written
            view = view[written:]
        return StoredRange(self.name, start, self.end - start)

    def flush(self) -> None:
        """Make what was appended durable."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Let go of the file; nobody appends to it again."""
        os.close(self._descriptor)


def remove_file(path: Path, quiet_s: float) -> None:
    """Remove an object's file; what is gone already is fine.

    It is emptied first: a reader that still has it open keeps no bytes alive.

    Raises:
        ObjectInUse: it is somebody's open journal, or was written to less than `quiet_s` ago.
    """
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if time.time() - os.fstat(descriptor).st_mtime < quiet_s:
            raise ObjectInUse("The object was written to a moment ago.")
        os.ftruncate(descriptor, 0)
        os.fsync(descriptor)
        path.unlink()
        sync_directory(path.parent)
    except BlockingIOError as error:
        raise ObjectInUse("The object is still being written to.") from error
    finally:
        os.close(descriptor)
