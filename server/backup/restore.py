"""Restoring a backup into an empty database and an empty object store (decision 0015).

Bytes first, then all rows in one transaction: what is interrupted leaves a database without rows, and the
same command can be run again. The schema is that of the backup until the rows are in, then today's, so that
migrations see them as they see any other data. What is restored is an installation of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from server.backup.faults import DamagedBackup, NotRestorable
from server.backup.load import Load, require_no_rows
from server.backup.manifest import Manifest, TableDump
from server.backup.progress import Report
from server.backup.refill import Refill
from server.backup.repository import Repository
from server.backup.segments import read_rows, segment_name
from server.backup.tables import carried_tables
from server.backup.target import Target, join_empty_store, opened_target, read_revision
from server.kernel.database import Database
from server.kernel.object_removal import Reason, note_removals
from server.migrations import HEAD, known_revisions, upgrade

LISTED = 10  # of lost instances and problems named in a refusal


@dataclass(slots=True)
class Restored:
    """What came back."""

    instances: int
    rows: int
    lost: list[str] = field(
        default_factory=list
    )  # SOP Instance UIDs whose bytes the repository does not have
    problems: list[str] = field(default_factory=list)  # with files of the repository


async def restore_backup(
    repository: Repository, manifest: Manifest, target: Target, report: Report, *, salvage: bool = False
) -> Restored:
    """Fill the target, and bring it to today's schema.

    Args:
        repository: its lock is held.
        manifest: which backup.
        target: must be empty.
        report: told how far it is.
        salvage: restore what there is, also when bytes of some instances are missing or damaged.

    Raises:
        NotRestorable: the target is not empty, or the backup is of a newer release.
        DamagedBackup: something of the backup is missing or damaged; the database has no rows then.
        Busy, StorageFull: as database and store.
    """
    _require_known(manifest)
    _require_segments(repository, manifest)
    await _make_schema(target, manifest)
    async with opened_target(target) as (database, objects):
        await _require_empty(database, manifest)
        left = await join_empty_store(database, objects)
        refill = Refill(repository, objects, report)
        with closing(refill.places):
            await refill.put_all(manifest.table("instance"))
            lost = list(_lost(repository, manifest, refill))
            _require_whole(lost, refill.problems, manifest, salvage=salvage)
            await database.transact(Load(repository, manifest, refill.places, report).fill)
        await upgrade(target.database_url)
        await database.transact(lambda unit: note_removals(unit, left, unit.now_us, Reason.ORPHANED))
    return Restored(manifest.instances - len(lost), manifest.rows, lost, refill.problems)


def _require_known(manifest: Manifest) -> None:
    if manifest.revision not in known_revisions():
        raise NotRestorable(
            f"The backup has the schema {manifest.revision}, of a newer release than this one ({HEAD})."
        )
    for table in manifest.tables:
        _require_table(table)


def _require_table(dump: TableDump) -> None:
    """Refuse a table that we do not have: its name and its columns' become part of statements."""
    known = next((table for table in carried_tables() if table.name == dump.name), None)
    keys = () if dump.key is None else (dump.key,)
    if known is None or not {*dump.columns, *keys} <= set(known.columns.keys()):
        raise DamagedBackup("The backup has a table or a column that this release does not know.")


def _require_segments(repository: Repository, manifest: Manifest) -> None:
    """What can be told before anything is written."""
    for table in manifest.tables:
        for label in table.segments:
            if not repository.exists(segment_name(label)):
                raise DamagedBackup(f"{segment_name(label)} is missing: rows of table {table.name}.")


async def _make_schema(target: Target, manifest: Manifest) -> None:
    found = await read_revision(target)
    if found is not None and found != manifest.revision:
        raise NotRestorable(
            f"The database to restore to has the schema {found}, the backup {manifest.revision}. "
            "Restore into a new database; the schema is brought to today's afterwards."
        )
    await upgrade(target.database_url, manifest.revision)


async def _require_empty(database: Database, manifest: Manifest) -> None:
    async with database.read() as connection:
        await require_no_rows(connection, [table.name for table in manifest.tables])


def _lost(repository: Repository, manifest: Manifest, refill: Refill) -> Iterator[str]:
    rows = read_rows(repository, manifest.table("instance"), "sop_instance_uid", "file_sha256")
    return (uid for uid, digest in rows if refill.places.of(digest) is None)


def _require_whole(
    lost: Sequence[str], problems: Sequence[str], manifest: Manifest, *, salvage: bool
) -> None:
    """Refuse to go on when bytes are missing that were there when the backup was made."""
    known = {damage.sop_instance_uid for damage in manifest.damaged}
    missing = [uid for uid in lost if uid not in known]
    if missing and not salvage:
        named = "; ".join([*problems[:LISTED], *(f"instance {uid}" for uid in missing[:LISTED])])
        raise DamagedBackup(
            f"The bytes of {len(missing)} instances are missing or damaged ({named}). "
            "Nothing was restored to the database; --salvage restores everything else."
        )
