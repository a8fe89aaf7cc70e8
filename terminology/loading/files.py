"""The files of a release, in a folder or in a zip archive, read line by line.

Nothing is unpacked: names of an archive's entries are looked at, and never become paths. What is read is
bounded in bytes, lines by their length.
"""

import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Self

from terminology.issues import InvalidDefinition

MAX_FILES = 20_000  # in one folder or archive
MAX_BYTES = 16 << 30  # of all that is read, unpacked
MAX_LINE_BYTES = 1 << 18
_TELL_LINES = 20_000

Progress = Callable[[str, int, int], None]  # what is under way, how much of it is done, of how much


class UnreadableRelease(InvalidDefinition):
    """A release that is not as its publisher describes it; says in which file and line."""


def fault(name: str, line: int, what: str) -> UnreadableRelease:
    """What to raise about a line; 0: about the file."""
    return UnreadableRelease(f"{name}:{line}: {what}" if line else f"{name}: {what}")


@dataclass(slots=True)
class ReleaseFiles:
    """The files of a folder or an archive; close it to be rid of the archive.

    Raises:
        UnreadableRelease: there is neither, or it is damaged, or has too many files.
    """

    path: Path
    progress: Progress = lambda *_: None
    names: Sequence[str] = ()
    _archive: zipfile.ZipFile | None = None
    _read: int = 0
    _sizes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.is_dir():
            self._list_folder()
        elif self.path.is_file():
            self._list_archive()
        else:
            raise UnreadableRelease(f"{self.path}: there is no such folder or archive.")
        self.names = sorted(self._sizes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._archive is not None:
            self._archive.close()

    def _list_folder(self) -> None:
        for count, path in enumerate(self.path.rglob("*")):
            if count >= MAX_FILES:
                raise UnreadableRelease(f"{self.path}: there are more than {MAX_FILES} files.")
            if path.is_file():
                self._sizes[path.relative_to(self.path).as_posix()] = path.stat().st_size

    def _list_archive(self) -> None:
        try:
            self._archive = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            raise UnreadableRelease(f"{self.path}: this is no zip archive, or a damaged one.") from None
        entries = self._archive.infolist()
        if len(entries) > MAX_FILES:
            raise UnreadableRelease(f"{self.path}: there are more than {MAX_FILES} files.")
        self._sizes = {each.filename: each.file_size for each in entries if not each.is_dir()}

    def lines(self, name: str) -> Iterator[tuple[int, str]]:
        """The lines of a file without their ends, counted from 1; UTF-8, a byte order mark is left out.

        Raises:
            UnreadableRelease: it is not UTF-8, or cut off, or has more than is read.
        """
        label, size, done = PurePosixPath(name).name, self._sizes[name], 0
        try:
            with self._open(name) as stream:
                number = 0
                while line := stream.readline(MAX_LINE_BYTES):
                    number += 1
                    done += len(line)
                    yield number, self._text(label, number, line)
                    if number % _TELL_LINES == 0:
                        self._count(label, number, done)
                        self.progress(label, done, size)
                self._count(label, number, done)
                self._read += done
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError):
            raise fault(label, 0, "the archive is damaged here") from None
        except (OSError, RuntimeError, NotImplementedError):  # also: an archive with a password
            raise fault(label, 0, "it cannot be read") from None
        self.progress(label, size, size)

    def _open(self, name: str) -> IO[bytes]:
        if self._archive is not None:
            return self._archive.open(name)
        return (self.path / name).open("rb")

    def _count(self, label: str, number: int, done: int) -> None:
        if self._read + done > MAX_BYTES:
            raise fault(label, number, f"there are more than {MAX_BYTES} bytes")

    @staticmethod
    def _text(label: str, number: int, line: bytes) -> str:
        if not line.endswith(b"\n") and len(line) >= MAX_LINE_BYTES:
            raise fault(label, number, f"the line has more than {MAX_LINE_BYTES} bytes")
        try:
            return line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise fault(label, number, f"byte {error.start + 1} is not UTF-8") from None
