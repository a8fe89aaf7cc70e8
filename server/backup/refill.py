"""Bytes out of a repository into an empty object store, and where they lie there."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from server.backup.collect import LARGE_BYTES
from server.backup.faults import DamagedBackup
from server.backup.manifest import TableDump
from server.backup.packs import Body, pack_ids, read_index, read_pack
from server.backup.progress import Report
from server.backup.repository import Repository
from server.backup.segments import read_rows
from server.kernel.disk_map import DiskMap
from server.kernel.object_store import ObjectStore, SpooledBody, StoredRange

BATCH_BYTES = 32 << 20  # put at once, while the next are read

_encode, _decode = msgspec.msgpack.encode, msgspec.msgpack.decode


class Places:
    """Where each body lies in the new store, by its digest; before it lies there, which study it is of."""

    def __init__(self) -> None:
        self._map = DiskMap()

    def close(self) -> None:
        """Let it go."""
        self._map.close()

    def want(self, digest: bytes, study_id: int) -> None:
        """This body is to be put, as one of this study's."""
        self._map.put(digest, _encode([study_id]))

    def study_of(self, digest: bytes) -> int | None:
        """The study of a body that is wanted and not put yet; None: it is not."""
        found = self._map.get(digest)
        values = None if found is None else _decode(found)
        return values[0] if values is not None and len(values) == 1 else None

    def put(self, digest: bytes, stored: StoredRange) -> None:
        """It lies here now."""
        self._map.put(digest, _encode([stored.object_name, stored.offset, stored.length]))

    def of(self, digest: bytes) -> StoredRange | None:
        """Where it lies; None: it was not put."""
        found = self._map.get(digest)
        values = [] if found is None else _decode(found)
        return StoredRange(*values) if len(values) == 3 else None


@dataclass(slots=True)
class _Batch:
    by_study: dict[int, list[tuple[bytes, bytes]]] = field(default_factory=dict)
    size: int = 0  # in bytes

    def add(self, study_id: int, digest: bytes, body: bytes) -> None:
        self.by_study.setdefault(study_id, []).append((digest, body))
        self.size += len(body)


class Refill:
    """Puts the bodies of one backup."""

    def __init__(self, repository: Repository, objects: ObjectStore, report: Report) -> None:
        self._repository, self._objects, self._report = repository, objects, report
        self.places = Places()
        self.problems: list[str] = []  # with files of the repository
        self._wanted = 0
        self._done = 0

    async def put_all(self, instances: TableDump) -> None:
        """Put the bytes of these instances; `places` has no place for one whose bytes are not there, whole.

        Raises:
            StorageFull, Busy: the store does not take them.
        """
        for digest, study_id in read_rows(self._repository, instances, "file_sha256", "study_id"):
            self.places.want(digest, study_id)
            self._wanted += 1
        for pack_id in pack_ids(self._repository):
            try:
                entries = read_index(self._repository, pack_id)
                if any(self.places.study_of(entry.digest) is not None for entry in entries):
                    await self._put_pack(pack_id)
            except DamagedBackup as damage:
                self.problems.append(str(damage))

    async def _put_pack(self, pack_id: str) -> None:
        batch, putting = _Batch(), asyncio.create_task(self._put(_Batch()))
        try:
            bodies = read_pack(self._repository, pack_id)
            while (body := await asyncio.to_thread(next, bodies, None)) is not None:
                await self._take(body, batch)
                if batch.size >= BATCH_BYTES:
                    await putting
                    putting = asyncio.create_task(self._put(batch))
                    batch = _Batch()
        finally:
            await putting
            await self._put(batch)

    async def _take(self, body: Body, batch: _Batch) -> None:
        digest = body.entry.digest
        study_id = self.places.study_of(digest)
        if study_id is None:
            return
        try:
            if body.entry.length > LARGE_BYTES:
                await self._put_large(body)
            else:
                batch.add(study_id, digest, await asyncio.to_thread(body.read))
        except DamagedBackup as damage:
            if not body.is_complete:  # the pack itself cannot be read on
                raise
            self.problems.append(str(damage))

    async def _put(self, batch: _Batch) -> None:
        await asyncio.gather(*(self._put_study(bodies) for bodies in batch.by_study.values()))

    async def _put_study(self, bodies: list[tuple[bytes, bytes]]) -> None:
        ranges = await self._objects.put([body for _, body in bodies])
        for (digest, _), stored in zip(bodies, ranges, strict=True):
            self._note(digest, stored)

    async def _put_large(self, body: Body) -> None:
        path = self._objects.spool_path()
        try:
            await asyncio.to_thread(_spool, body, path)
            (stored,) = await self._objects.put([SpooledBody(path, body.entry.length)])
        finally:
            path.unlink(missing_ok=True)
        self._note(body.entry.digest, stored)

    def _note(self, digest: bytes, stored: StoredRange) -> None:
        self.places.put(digest, stored)
        self._done += 1
        self._report("instances", self._done, self._wanted)


def _spool(body: Body, path: Path) -> None:
    with path.open("wb") as file:
        file.writelines(body.checked())
