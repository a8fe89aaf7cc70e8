"""Which files of a folder are DICOM instances, and what each is called (PS3.10 §7)."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import dcmread, read_file_meta_info
from pydicom.uid import MediaStorageDirectoryStorage

PREAMBLE_BYTES = 128
PREFIX = b"DICM"


@dataclass(frozen=True, slots=True)
class InstanceFile:
    """A file with one DICOM instance."""

    path: Path
    length: int
    sop_instance_uid: str  # "": the file does not say; the server will


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that is left out, and why, in words for the user."""

    path: Path
    reason: str


def find_files(paths: Iterable[Path]) -> Iterator[InstanceFile | SkippedFile]:
    """The files under `paths`, folders in the order of their names; each file once."""
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            yield SkippedFile(path, "does not exist")
        for file in _files_under(path):
            real = file.resolve()
            if real not in seen:
                seen.add(real)
                yield look_at(file)


def look_at(path: Path) -> InstanceFile | SkippedFile:
    """Whether a file is a DICOM instance, judged by its first bytes and its file meta information."""
    try:
        with path.open("rb") as file:
            if file.read(PREAMBLE_BYTES + len(PREFIX))[PREAMBLE_BYTES:] != PREFIX:
                return SkippedFile(path, "not a DICOM file (no DICM prefix, PS3.10 section 7.1)")
        meta = read_file_meta_info(path)
        if meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
            return SkippedFile(path, "a DICOMDIR, not an instance")
        uid = str(meta.get("MediaStorageSOPInstanceUID") or _uid_in_data_set(path))
        return InstanceFile(path, path.stat().st_size, uid)
    except OSError as error:
        return SkippedFile(path, f"cannot be read ({error.strerror})")
    except (InvalidDicomError, ValueError, KeyError, EOFError, RecursionError):
        return InstanceFile(path, path.stat().st_size, "")  # the server says what is wrong with it


def _files_under(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        files = (Path(folder, name) for name in sorted(names))
        yield from (file for file in files if file.is_file())


def _uid_in_data_set(path: Path) -> str:
    data_set = dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
    return str(data_set.get("SOPInstanceUID") or "")
