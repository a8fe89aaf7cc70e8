"""Taking a backup: rows as one snapshot shows them, then the bytes that these rows name (decision 0015).

Bytes are durable before their rows, and nothing is removed meanwhile: so every row of the snapshot has its
bytes. What the repository has is not written again. The manifest comes last and makes the backup.
"""

from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version

from dicomweb.tables import Instance
from server.backup.collect import Collected, Collector
from server.backup.dump import Dump
from server.backup.hold import objects_held
from server.backup.manifest import Manifest, TableDump, backup_ids, write_manifest
from server.backup.packs import PackWriter, note_known, remove_incomplete
from server.backup.progress import Report
from server.backup.repository import Repository
from server.kernel.backups import record_backup
from server.kernel.clock import now_us
from server.kernel.database import Database
from server.kernel.disk_map import DiskMap
from server.kernel.object_store import ObjectStore
from server.kernel.object_stores import join_installation
from server.migrations import HEAD


@dataclass(frozen=True, slots=True)
class Source:
    """What is backed up."""

    database: Database
    objects: ObjectStore


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup that was made."""

    id: str
    manifest: Manifest


async def take_backup(source: Source, repository: Repository, report: Report) -> Taken:
    """Make a backup in a repository whose lock is held alone.

    Raises:
        NotBackedUp: too many instances cannot be read.
        OtherInstallation: the store is not that of the database.
        Busy: database or store failed; the repository is as it was, but for bytes that the next backup uses.
    """
    await join_installation(source.database, source.objects)
    remove_incomplete(repository)
    earlier = backup_ids(repository)
    async with objects_held(source.database):
        dump = Dump(repository, report)
        async with source.database.snapshot() as snapshot:
            taken_us = snapshot.taken_us
            tables = await dump.write_all(snapshot)
        instances = next(each for each in tables if each.name == Instance.__tablename__)
        collected, bytes_of_packs = await _collect(source, repository, instances, report)
    manifest = Manifest(
        isthmus=version("isthmus"),
        revision=HEAD,
        database="sqlite" if source.database.is_sqlite else "postgresql",
        snapshot_us=taken_us,
        finished_us=now_us(),
        parent=earlier[-1] if earlier else None,
        tables=tables,
        instances=collected.instances,
        instance_bytes=collected.bytes,
        new_instances=collected.new_instances,
        new_bytes=dump.new_bytes + bytes_of_packs,
        damaged=tuple(collected.damaged),
    )
    taken = Taken(write_manifest(repository, manifest), manifest)
    await _record(source.database, repository, taken)
    return taken


async def _collect(
    source: Source, repository: Repository, instances: TableDump, report: Report
) -> tuple[Collected, int]:
    with closing(DiskMap()) as known, PackWriter(repository) as packs:
        note_known(repository, known)
        collector = Collector(source.database, source.objects, packs)
        await collector.collect(repository, instances, known, report)
    return collector.collected, packs.written


async def _record(database: Database, repository: Repository, taken: Taken) -> None:
    backup = {
        "backup_id": taken.id,
        "snapshot_us": taken.manifest.snapshot_us,
        "finished_us": taken.manifest.finished_us,
        "damaged": len(taken.manifest.damaged),
    }
    await database.transact(lambda unit: record_backup(unit, repository.id, backup))
