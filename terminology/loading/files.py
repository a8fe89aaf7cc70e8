"""The files of a release, in a folder or in a zip archive, read line by line.

Lines are cut out of large blocks: to read each by itself takes three times as long. Nothing is unpacked:
names of an archive's entries are looked at, and never become paths. What is read is bounded in bytes, lines
by their length.
"""

import lzma
import zipfile
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Self

from terminology.issues import InvalidDefinition

MAX_FILES = 20_000  # in one folder or archive
MAX_BYTES = 16 << 30  # of all that is read, unpacked
MAX_LINE_BYTES = 1 << 18
_BLOCK_BYTES = 1 << 20
_BYTES_OF_A_CHARACTER = 4  # of UTF-8, at most

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
        label, size, done, number = PurePosixPath(name).name, self._sizes[name], 0, 0
        try:
            with self._open(name) as stream:
                rest = b""
                while block := stream.read(_BLOCK_BYTES):
                    done += len(block)
                    whole, end, rest = (rest + block).rpartition(b"\n")
                    if end:
                        for text in _texts(label, number, whole):
                            number += 1
                            yield number, text
                    _require_short(label, number + 1, rest)
                    self._count(label, number, done)
                    self.progress(label, done, size)
                if rest:
                    yield from enumerate(_texts(label, number, rest), number + 1)
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


def _texts(label: str, before: int, block: bytes) -> Iterable[str]:
    """The lines of a block, of a file of which so many came before."""
    if not before:
        block = block.removeprefix(BOM_UTF8)
    try:
        lines = block.decode().split("\n")
    except UnicodeDecodeError:
        return _one_by_one(label, before, block)
    if max(map(len, lines)) * _BYTES_OF_A_CHARACTER >= MAX_LINE_BYTES:
        return _one_by_one(label, before, block)
    return [line.rstrip("\r") for line in lines]


def _one_by_one(label: str, before: int, block: bytes) -> Iterator[str]:
    for number, line in enumerate(block.split(b"\n"), before + 1):
        _require_short(label, number, line)
        try:
            yield line.decode().rstrip("\r")
        except UnicodeDecodeError as error:
            raise fault(label, number, f"byte {error.start + 1} is not UTF-8") from None


def _require_short(label: str, number: int, line: bytes) -> None:
    if len(line) >= MAX_LINE_BYTES:
        raise fault(label, number, f"the line has more than {MAX_LINE_BYTES} bytes")
