"""Bytes that a file is put together from: at hand, or in another file and read when they are needed."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileRange:
    """Bytes of a file. A slice is a range too; `bytes()` reads, and holds no file open."""

    path: Path
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, part: slice) -> "FileRange":
        start, stop, _ = part.indices(len(self))
        return FileRange(self.path, self.start + start, self.start + max(start, stop))

    def __bytes__(self) -> bytes:
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.start)
            return file.read(len(self)) or b""


Piece = bytes | memoryview | FileRange
