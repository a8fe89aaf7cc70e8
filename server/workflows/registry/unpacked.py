"""Bundles unpacked on a machine, where its workers run them; the files come from the database.

What is unpacked is believed only after every file has shown its hash. Workers of one machine share the
folder: one at a time puts a bundle in place, and what no process holds and nothing needs is removed.
"""

import asyncio
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec
import structlog
from sqlalchemy import select

from ai_engine.bundle import BundleFile, digest_of_files
from ai_engine.tables import ModelVersion
from server.kernel.database import Database
from server.kernel.faults import Fault, FaultKind
from server.kernel.rows import table_of
from server.workflows.registry.bundle_files import CHUNK, CHUNK_BYTES, CHUNKS_AT_ONCE, is_intact
from server.workflows.registry.stages import Stage

REMNANT_S = 24 * 3600  # what is older and was never put in place, a process left when it was killed
UNPACKING, DAMAGED, LOCKS = ".unpacking-", ".damaged-", ".locks"

_VERSION = table_of(ModelVersion)

log = structlog.get_logger(__name__)


class BundleDamaged(Fault):
    """The files that are kept are not those that were registered."""

    kind = FaultKind.INTERNAL


@dataclass(slots=True)
class UnpackedBundles:
    """Bundles unpacked on this machine, each once: `<folder>/<name>/<version>-<digest>/`.

    `folder` None: in a temporary one, which goes with this object.
    """

    database: Database
    folder: Path | None = None
    _temporary: list[tempfile.TemporaryDirectory[str]] = field(default_factory=list)
    _held: dict[Path, IO[str]] = field(default_factory=dict)

    async def path_of(self, name: str, version: str, digest: str, files: str) -> Path:
        """The folder of a version, held until `close`; unpacked first when it is not there as it should be.

        Raises:
            BundleDamaged: what is kept is not what was registered.
        """
        path = self._root() / name / _folder_of(version, digest)
        await asyncio.to_thread(self._hold, path)
        if not await asyncio.to_thread(is_intact, path, digest):
            await self._unpack(path, digest, msgspec.json.decode(files, type=list[BundleFile]))
            await self._tidy()
        return path

    async def _tidy(self) -> None:
        """`sweep`, whose failure is nobody's but the disk's: the bundle that was asked for is in place."""
        try:
            await self.sweep()
        except (OSError, Fault) as error:
            log.warning("unpacked versions could not be swept", error=type(error).__name__)

    async def sweep(self) -> None:
        """Remove what processes left that were killed, and versions that are retired and nobody holds."""
        query = select(_VERSION.c.name, _VERSION.c.version, _VERSION.c.digest)
        query = query.where(_VERSION.c.stage != Stage.RETIRED.value)
        async with self.database.read() as connection:
            needed = {
                (row.name, _folder_of(row.version, row.digest)) for row in await connection.execute(query)
            }
        await asyncio.to_thread(self._remove_but, needed)

    def close(self) -> None:
        """Hold nothing any more; remove what was unpacked into a temporary folder."""
        while self._held:
            self._held.popitem()[1].close()
        while self._temporary:
            self._temporary.pop().cleanup()

    def _root(self) -> Path:
        if self.folder is None:
            self._temporary.append(tempfile.TemporaryDirectory(prefix="isthmus-models-"))
            self.folder = Path(self._temporary[-1].name)
        return self.folder

    def _hold(self, path: Path) -> None:
        if path not in self._held:
            lock = self._lock_file(path, "use")
            fcntl.flock(lock, fcntl.LOCK_SH)
            self._held[path] = lock

    def _lock_file(self, path: Path, what: str) -> IO[str]:
        """The lock of a folder, beside all of them: it stays when the folder goes.

        Opened for reading, which is all that a lock needs: it may be another account's, or on a disk
        that is read-only.
        """
        file = self._lock_path(path, what)
        file.parent.mkdir(parents=True, exist_ok=True)
        return os.fdopen(os.open(file, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))

    def _lock_path(self, path: Path, what: str) -> Path:
        return self._root() / LOCKS / f"{path.parent.name}-{path.name}.{what}"

    async def _unpack(self, path: Path, digest: str, files: Sequence[BundleFile]) -> None:
        if digest_of_files(files) != digest or any(not _stays_inside(file.path) for file in files):
            raise BundleDamaged("The list of files is not that of the registered bundle.")
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=UNPACKING, dir=path.parent))
        try:
            for file in files:
                await self._write(fresh / file.path, file)
            await asyncio.to_thread(self._put_in_place, fresh, path, digest)
        finally:
            await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)

    def _put_in_place(self, fresh: Path, path: Path, digest: str) -> None:
        """Rename, one process at a time: who comes second finds the work done, and never removes it."""
        with self._lock_file(path, "place") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if is_intact(path, digest):
                return
            with _aside(path):
                fresh.rename(path)

    async def _write(self, path: Path, file: BundleFile) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = sha256()
        with await asyncio.to_thread(path.open, "xb") as stream:
            async for chunk in self._chunks(file):
                digest.update(chunk)
                await asyncio.to_thread(stream.write, chunk)
        if digest.hexdigest() != file.sha256:
            raise BundleDamaged(f"{file.path} is not what was registered.")

    async def _chunks(self, file: BundleFile) -> AsyncIterator[bytes]:
        c = CHUNK.c
        for first in _steps(file.size):
            query = select(c.body).where(
                c.sha256 == file.sha256, c.number.between(first, first + CHUNKS_AT_ONCE - 1)
            )
            async with self.database.read() as connection:
                rows = (await connection.execute(query.order_by(c.number))).scalars().all()
            for body in rows:
                yield body

    def _remove_but(self, needed: set[tuple[str, str]]) -> None:
        old_s = time.time() - REMNANT_S
        for path in self._root().glob("*/*"):
            if path.parent.name == LOCKS:
                continue
            if path.name.startswith((UNPACKING, DAMAGED)):
                _remove_if_older(path, old_s)
            elif (path.parent.name, path.name) not in needed and self._lock_path(path, "use").exists():
                self._remove_unless_held(path)  # without a lock no worker unpacked it: it is somebody's

    def _remove_unless_held(self, path: Path) -> None:
        with self._lock_file(path, "use") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            shutil.rmtree(path, ignore_errors=True)
            log.info("unpacked version removed", model=path.parent.name, folder=path.name)


def _remove_if_older(path: Path, than_s: float) -> None:
    with suppress(FileNotFoundError):  # its process has put it in place, or removed it
        if path.stat().st_mtime < than_s:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _aside(path: Path) -> Iterator[None]:
    """Make room where something damaged lies; processes that run from it keep it open until they end."""
    if not path.exists():
        yield
        return
    aside = Path(tempfile.mkdtemp(prefix=DAMAGED, dir=path.parent))
    path.rename(aside / path.name)
    try:
        yield
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _folder_of(version: str, digest: str) -> str:
    return f"{version}-{digest[:12]}"


def _steps(size: int) -> Iterator[int]:
    yield from range(0, -(-size // CHUNK_BYTES), CHUNKS_AT_ONCE)


def _stays_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and not PurePosixPath(path).is_absolute() and ".." not in parts
