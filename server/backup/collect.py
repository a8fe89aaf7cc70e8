"""Bytes into a repository: the files of the instances that a backup's rows name and that it does not have."""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from dicomweb.tables import Instance
from server.backup.faults import NotBackedUp
from server.backup.manifest import Damage, TableDump
from server.backup.packs import VOID, PackWriter
from server.backup.progress import Report
from server.backup.repository import Repository
from server.backup.segments import read_rows
from server.kernel.database import Database
from server.kernel.disk_map import DiskMap
from server.kernel.faults import Busy
from server.kernel.object_store import DamagedObject, ObjectStore, StoredRange
from server.kernel.rows import table_of

BATCH_INSTANCES = 64  # read at once, while the batch before is written
BATCH_BYTES = 32 << 20
LARGE_BYTES = 8 << 20  # a body over this size is copied piece by piece
MAX_DAMAGED = 100  # instances; more than that is no damage, it is the wrong store or one that fails

UNREADABLE = (Busy, DamagedObject)

_INSTANCE = table_of(Instance)


@dataclass(frozen=True, slots=True)
class Sought:
    """An instance whose bytes are to be copied."""

    id: int
    sop_instance_uid: str
    digest: bytes
    stored: StoredRange


@dataclass(slots=True)
class Collected:
    """What came of it."""

    instances: int = 0
    bytes: int = 0
    new_instances: int = 0
    damaged: list[Damage] = field(default_factory=list)


class _NotWhole(Exception):
    """The bytes of an instance could not be read, or are others."""


class Collector:
    """Copies the bytes of one backup."""

    def __init__(self, database: Database, objects: ObjectStore, packs: PackWriter) -> None:
        self._database, self._objects, self._packs = database, objects, packs
        self.collected = Collected()

    async def collect(
        self, repository: Repository, instances: TableDump, known: DiskMap, report: Report
    ) -> None:
        """Copy what `known` does not have.

        Raises:
            NotBackedUp: more than `MAX_DAMAGED` instances cannot be read.
            Busy: the store fails.
        """
        written: Sequence[tuple[Sought, bytes]] = ()
        for batch in self._batches(_instances(repository, instances), known):
            if batch[0].stored.length > LARGE_BYTES:
                await asyncio.to_thread(self._append, written)
                written = ()
                await self._copy_large(batch[0])
            else:
                bodies, _ = await asyncio.gather(
                    asyncio.gather(*map(self._read, batch)), asyncio.to_thread(self._append, written)
                )
                written = [(each, body) for each, body in zip(batch, bodies, strict=True) if body is not None]
            report("instances", self.collected.instances, instances.rows)
        await asyncio.to_thread(self._append, written)
        report("instances", self.collected.instances, instances.rows)

    def _batches(self, instances: Iterator[Sought], known: DiskMap) -> Iterator[list[Sought]]:
        batch: list[Sought] = []
        size = 0
        for each in instances:
            self.collected.instances += 1
            self.collected.bytes += each.stored.length
            if each.digest in known:
                continue
            known.put(each.digest)
            length = each.stored.length
            if batch and (length > LARGE_BYTES or size + length > BATCH_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(each)
            size += length
            if length > LARGE_BYTES or len(batch) >= BATCH_INSTANCES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _append(self, bodies: Sequence[tuple[Sought, bytes]]) -> None:
        for each, body in bodies:
            self._packs.add(each.digest, body)
            self.collected.new_instances += 1

    async def _read(self, sought: Sought) -> bytes | None:
        """The bytes of an instance; None: they are damaged, and noted as such."""
        try:
            return await self._read_at(sought, sought.stored)
        except _NotWhole:
            try:
                return await self._read_at(sought, await self._place_now(sought))
            except _NotWhole as problem:
                await self._note(sought, str(problem))
                return None

    async def _read_at(self, sought: Sought, stored: StoredRange) -> bytes:
        try:
            body = await self._objects.read(stored)
        except UNREADABLE as error:
            raise _NotWhole(str(error)) from error
        if hashlib.sha256(body).digest() != sought.digest:
            raise _NotWhole("The stored bytes are not those that were received.")
        return body

    async def _copy_large(self, sought: Sought) -> None:
        for is_last_try in (False, True):
            stored = await self._place_now(sought) if is_last_try else sought.stored
            try:
                await self._copy_large_from(sought, stored)
            except _NotWhole as problem:
                if is_last_try:
                    await self._note(sought, str(problem))
            else:
                self.collected.new_instances += 1
                return

    async def _copy_large_from(self, sought: Sought, stored: StoredRange) -> None:
        found, length, problem = hashlib.sha256(), 0, ""

        def take(piece: bytes) -> None:
            found.update(piece)
            self._packs.write(piece)

        try:
            async for piece in self._objects.stream(stored):
                await asyncio.to_thread(take, piece)
                length += len(piece)
        except UNREADABLE as error:
            problem = str(error)
        if not problem and found.digest() != sought.digest:
            problem = "The stored bytes are not those that were received."
        self._packs.end_body(VOID if problem else sought.digest, length)
        if problem:
            raise _NotWhole(problem)

    async def _place_now(self, sought: Sought) -> StoredRange:
        """Where the instance lies by now: packing may have moved it since the snapshot."""
        c = _INSTANCE.c
        query = select(c.object_name, c.object_offset, c.object_length).where(c.id == sought.id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise _NotWhole("It was deleted while the backup was made.")
        return StoredRange(*row)

    async def _note(self, sought: Sought, problem: str) -> None:
        await self._objects.check()
        self.collected.damaged.append(Damage(sought.sop_instance_uid, problem))
        if len(self.collected.damaged) > MAX_DAMAGED:
            raise NotBackedUp(
                f"More than {MAX_DAMAGED} instances cannot be read from the object store. Is it another one?"
            )


def _instances(repository: Repository, dump: TableDump) -> Iterator[Sought]:
    places = ("object_name", "object_offset", "object_length")
    for pk, uid, digest, *place in read_rows(
        repository, dump, "id", "sop_instance_uid", "file_sha256", *places
    ):
        yield Sought(pk, uid, digest, StoredRange(*place))
