"""An archive whose objects are packed, removed and read again at once: on local disk, and on S3 sealed."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from dicomweb.store.index import index_instances
from dicomweb.store.instances import Origin, StoredInstance, prepare_instance
from dicomweb.tables import Instance
from server.kernel.cloud_store import CloudObjectStore
from server.kernel.database import Database
from server.kernel.envelope_store import EnvelopeStore, sealing_prefix
from server.kernel.local_store import JournalPolicy, LocalObjectStore
from server.kernel.object_store import ObjectStore, StoredRange
from server.kernel.read_audit import ReadAudit
from server.kernel.rows import Row, table_of
from server.kernel.services import Services, StoragePolicy
from server.kernel.tables import ObjectRemoval, ObjectWalk
from tests.conformance.ps3_18.kit import ct_file, place
from tests.ports.conftest import KEYRING

_INSTANCE = table_of(Instance)
AT_ONCE = StoragePolicy(pack_after_s=0, remove_after_s=0)


@dataclass(frozen=True, slots=True)
class Archive:
    """Services and what tests ask of them."""

    services: Services
    folder: Path

    async def store(self, *files: bytes) -> None:
        """Store files of one study, as one request."""
        ranges = await self.services.objects.put(files)
        stored = [StoredInstance(prepare_instance(f), r) for f, r in zip(files, ranges, strict=True)]
        await self.services.database.transact(
            lambda unit: index_instances(unit, stored, Origin.RECEIVED, self.services.site)
        )

    async def rows(self, kind: type[Row]) -> Sequence[Any]:
        """All rows of a table."""
        async with self.services.database.read() as connection:
            return (await connection.execute(select(table_of(kind)))).all()

    async def ranges(self) -> dict[str, StoredRange]:
        """Where each instance lies."""
        return {
            row.sop_instance_uid: StoredRange(row.object_name, row.object_offset, row.object_length)
            for row in await self.rows(Instance)
        }

    async def read_all(self) -> dict[str, bytes]:
        """Every instance's bytes."""
        return {uid: await self.services.objects.read(r) for uid, r in (await self.ranges()).items()}

    async def names(self) -> set[str]:
        """The objects that the store has."""
        return {each.name async for each in self.services.objects.list_objects()}

    async def to_remove(self) -> dict[str, str]:
        """What is noted for removal, with the reason."""
        return {row.object_name: row.reason for row in await self.rows(ObjectRemoval)}

    async def write(self, statement: Any) -> None:
        """Run one statement."""
        await self.services.database.transact(lambda unit: unit.execute(statement))

    async def make_due(self) -> None:
        """Let whatever waits for its time be due now."""
        for column in (table_of(ObjectRemoval).c.due_us, table_of(ObjectWalk).c.next_us):
            await self.write(update(column.table).values({column.name: 0}))

    async def leave_journal(self) -> None:
        """As another process would find the store: nobody appends to the journals there are."""
        inner = getattr(self.services.objects, "inner", self.services.objects)
        if isinstance(inner, LocalObjectStore):
            inner._leave_journal()


def files_of(study: int, count: int, series: int = 1) -> dict[str, bytes]:
    """Files of a series by SOP Instance UID."""
    places = [place(study=study, series=series, instance=number) for number in range(1, count + 1)]
    return {where.instance: ct_file(where) for where in places}


@pytest.fixture(params=["local disk", "S3 protocol, sealed"])
async def objects(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    """A store whose journals can be removed as soon as they are left."""
    store: ObjectStore
    if request.param == "local disk":
        store = LocalObjectStore(tmp_path / "objects", policy=JournalPolicy(quiet_s=0))
    else:
        config = request.getfixturevalue("s3").config()
        inner = CloudObjectStore(config, tmp_path / "spool", prefix=sealing_prefix(KEYRING))
        store = EnvelopeStore(inner, KEYRING)
    yield store
    await store.close()


@pytest.fixture
def archive(database: Database, objects: ObjectStore, tmp_path: Path) -> Archive:
    """An empty archive."""
    services = Services(database, objects, ReadAudit(database), "http://testserver", storage=AT_ONCE)
    return Archive(services, tmp_path)
