"""What is installed: a folder with `viewer.json`, which names the folder of the files and each file in it.

The record alone says what may be served: no path that a client sends ever meets the file system.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from server.viewer.page import Entry

RECORD = "viewer.json"
FORM = 1  # of the record and of what was done to the files; another one is installed anew


class File(msgspec.Struct, frozen=True, array_like=True):
    """One file."""

    size: int
    sha256: str  # hex
    gzip_size: int | None  # of the file with ".gz" beside it; None: there is none


class Record(msgspec.Struct, frozen=True):
    """The content of `viewer.json`."""

    form: int
    package: str
    version: str
    integrity: str
    folder: str  # beside the record
    scripts: tuple[str, ...]
    styles: tuple[str, ...]
    files: dict[str, File]


@dataclass(frozen=True, slots=True)
class Installed:
    """A viewer that can be served."""

    record: Record
    folder: Path

    @property
    def files(self) -> Mapping[str, File]:
        """Every file, by its path below the viewer's root."""
        return self.record.files

    @property
    def entry(self) -> Entry:
        """What the page loads."""
        return Entry(self.record.scripts, self.record.styles)

    @property
    def is_whole(self) -> bool:
        """Whether every file is there with its size."""
        return all(_has_size(self.folder / path, file) for path, file in self.files.items())


def read_installed(folder: Path) -> Installed | None:
    """What is installed in `folder`; None: nothing, or something that this version cannot serve."""
    try:
        record = msgspec.json.decode((folder / RECORD).read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError):
        return None
    if record.form != FORM or Path(record.folder).name != record.folder:
        return None
    return Installed(record, folder / record.folder)


class Shelf:
    """What is installed now: read again when an installation has replaced the record, without a restart."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: tuple[int, int] | None = None
        self._installed: Installed | None = None

    def look(self) -> Installed | None:
        """What is installed; None: nothing."""
        seen = _identity(self._folder / RECORD)
        if seen != self._seen:
            self._installed = read_installed(self._folder)
            self._seen = seen
        return self._installed


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _has_size(path: Path, file: File) -> bool:
    try:
        plain = path.stat().st_size == file.size
        if file.gzip_size is None:
            return plain
        return plain and path.with_name(f"{path.name}.gz").stat().st_size == file.gzip_size
    except OSError:
        return False
