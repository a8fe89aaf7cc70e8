"""Files of the local object store that are open for positioned reads."""

import os
from collections import OrderedDict
from pathlib import Path
from threading import Lock

OPEN_FILES = 256  # descriptors kept
PROBE_BYTES = 64 << 10  # how far apart a range is looked at, to tell whether the system has it in memory
_NOWAIT = getattr(os, "RWF_NOWAIT", None)  # Linux


class OpenFile:
    """A descriptor, closed when the last reader lets go."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; fewer only at the end of the file."""
        return os.pread(self._descriptor, length, offset)

    def is_cached(self, offset: int, length: int) -> bool:
        """Whether reading the range would hardly wait for the disk: a byte here and there is in memory."""
        if _NOWAIT is None or length == 0:
            return False
        byte, last = [bytearray(1)], offset + length - 1
        try:
            return all(
                os.preadv(self._descriptor, byte, at, _NOWAIT)
                for at in (*range(offset, last, PROBE_BYTES), last)
            )
        except OSError:  # it would wait, or the file system does not tell
            return False

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


class OpenFiles:
    """The files below `root` read last, by name; safe between threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: OrderedDict[str, OpenFile] = OrderedDict()
        self._lock = Lock()

    def opened(self, name: str) -> OpenFile | None:
        """The file if it is open; None: opening it may wait for the disk."""
        with self._lock:
            if name in self._files:
                self._files.move_to_end(name)
            return self._files.get(name)

    def open(self, name: str) -> OpenFile:
        """The file, opened when it is not yet; raises OSError."""
        file = self.opened(name)
        if file is None:
            file = OpenFile(self._root / name)
            with self._lock:
                self._files[name] = file
                if len(self._files) > OPEN_FILES:
                    self._files.popitem(last=False)
        return file

    def close(self) -> None:
        """Let go of every file."""
        with self._lock:
            self._files.clear()
