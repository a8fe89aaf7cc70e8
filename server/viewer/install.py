"""Installing and removing the viewer. Whatever ends an installation, what was there before is served on.

Files go into a folder of their own; the last act replaces the record, in one step. Only one installation
works in a folder at a time. The files are no secret: everyone may read them, whatever the caller's umask.
"""

import fcntl
import gzip
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from server.kernel.faults import Busy, Fault, FaultKind
from server.viewer.installed import FORM, RECORD, File, Installed, Record, read_installed
from server.viewer.obtain import Progress, obtain
from server.viewer.page import NOT_TAKEN, PAGE, Entry, entry_of
from server.viewer.release import Release
from server.viewer.relocate import relocate
from server.viewer.unpack import CHUNK_BYTES, BadPackage, unpack

LOCK = ".lock"
STAGING = ".staging-"
COMPRESSED = frozenset({".css", ".html", ".js", ".json", ".mjs", ".svg", ".ttf", ".txt", ".wasm"})
SMALL_BYTES = 1024  # below it compression is not worth a file
MAPS = ".map"  # source maps: half the package, of use to OHIF's developers only


class NotWritten(Fault):
    """The folder of the viewer cannot be written."""

    kind = FaultKind.INTERNAL


def install(folder: Path, release: Release, source: str, progress: Progress) -> Installed:
    """Install `release` from `source` into `folder`; what is there whole is left as it is.

    Raises:
        NotObtained, WrongIntegrity, BadPackage: nothing has changed.
        Busy: another installation is under way.
        NotWritten: the folder cannot be written.
    """
    with _alone(folder):
        there = read_installed(folder)
        if there is not None and there.record.integrity == release.integrity and there.is_whole:
            return there
        _sweep(folder, there)
        placed = _place(folder, release, source, progress)
        _sweep(folder, placed)
        return placed


def uninstall(folder: Path) -> bool:
    """Remove the viewer; False: there was none."""
    if not folder.is_dir():
        return False
    with _alone(folder):
        was_there = (folder / RECORD).exists()
        (folder / RECORD).unlink(missing_ok=True)
        _sweep(folder, None)
    return was_there


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder, which is made if it is missing; what hinders writing becomes a fault."""
    try:
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o755)
        with (folder / LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy("Another installation of the viewer is under way.") from None
            yield
    except OSError as error:
        raise NotWritten(f"{error.filename or folder} cannot be written: {error.strerror}.") from error


def _sweep(folder: Path, kept: Installed | None) -> None:
    """Remove earlier versions, and what installations that were killed have left."""
    for path in folder.iterdir():
        is_ours = path.name.startswith((STAGING, "ohif-"))
        if is_ours and path.is_dir() and (kept is None or path != kept.folder):
            shutil.rmtree(path)


def _place(folder: Path, release: Release, source: str, progress: Progress) -> Installed:
    with tempfile.TemporaryDirectory(prefix=STAGING, dir=folder) as staging:
        tarball, dist = Path(staging, "package.tgz"), Path(staging, "dist")
        obtain(source, release, tarball, progress)
        unpack(tarball, dist)
        record = _prepare(dist, release)
        dist.rename(folder / record.folder)
        draft = Path(staging, RECORD)
        draft.write_bytes(msgspec.json.encode(record))
        draft.chmod(0o644)
        _flush(draft)
        _flush(folder)
        draft.replace(folder / RECORD)
        _flush(folder)
    return Installed(record, folder / record.folder)


def _prepare(dist: Path, release: Release) -> Record:
    """Finish the files for serving, and write down what they are."""
    entry = _entry(dist)
    relocate(dist, entry.scripts)
    files = {}
    for path in [dist, *sorted(dist.rglob("*"))]:
        name = path.relative_to(dist).as_posix()
        if path.is_dir():
            path.chmod(0o755)
        elif name in NOT_TAKEN or path.suffix == MAPS:
            path.unlink()
        else:
            files[name] = _finish(path)
    name = f"ohif-{release.version}-{secrets.token_hex(4)}"
    return Record(
        FORM,
        release.package,
        release.version,
        release.integrity,
        name,
        entry.scripts,
        entry.styles,
        files,
    )


def _entry(dist: Path) -> Entry:
    page = dist / PAGE
    if not page.is_file():
        raise BadPackage("The package holds no viewer: there is no page.")
    names = {path.relative_to(dist).as_posix() for path in dist.rglob("*")}
    return entry_of(page.read_text(errors="replace"), names)


def _finish(path: Path) -> File:
    """Compress a file if that is worth it, and make it durable."""
    path.chmod(0o644)
    _flush(path)
    size, digest = path.stat().st_size, _digest(path)
    if path.suffix not in COMPRESSED or size < SMALL_BYTES:
        return File(size, digest, None)
    packed = path.with_name(f"{path.name}.gz")
    with path.open("rb") as plain, packed.open("xb") as raw, gzip.GzipFile("", "wb", 6, raw, 0) as coded:
        shutil.copyfileobj(plain, coded, CHUNK_BYTES)
    packed.chmod(0o644)
    _flush(packed)
    return File(size, digest, packed.stat().st_size)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
