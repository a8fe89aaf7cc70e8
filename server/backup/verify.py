"""Checking backups without restoring them: every digest of everything they need."""

from collections.abc import Iterator, Sequence
from contextlib import closing

from server.backup.faults import DamagedBackup
from server.backup.manifest import Manifest, read_manifest
from server.backup.packs import pack_ids, read_pack
from server.backup.progress import Report
from server.backup.repository import Repository
from server.backup.segments import read_rows, read_segment
from server.kernel.disk_map import DiskMap


def verify_backups(repository: Repository, ids: Sequence[str], report: Report) -> list[str]:
    """What is wrong with these backups, one line each; everything in the packs is read and checked."""
    manifests, problems = [], []
    for backup_id in ids:
        try:
            manifests.append((backup_id, read_manifest(repository, backup_id)))
        except DamagedBackup as damage:
            problems.append(f"backup {backup_id}: {damage}")
    with closing(DiskMap()) as whole:
        problems += _check_packs(repository, whole, report)
        for backup_id, manifest in manifests:
            problems += [
                f"backup {backup_id}: {each}" for each in _check(repository, manifest, whole, report)
            ]
    return problems


def _check_packs(repository: Repository, whole: DiskMap, report: Report) -> Iterator[str]:
    """Read every body; those that are whole are noted."""
    ids = pack_ids(repository)
    for number, pack_id in enumerate(ids, 1):
        try:
            for body in read_pack(repository, pack_id):
                try:
                    for _ in body.checked():
                        pass
                    whole.put(body.entry.digest)
                except DamagedBackup as damage:
                    if not body.is_complete:
                        raise
                    yield str(damage)
        except DamagedBackup as damage:
            yield str(damage)
        report("packs", number, len(ids))


def _check(repository: Repository, manifest: Manifest, whole: DiskMap, report: Report) -> Iterator[str]:
    for number, table in enumerate(manifest.tables, 1):
        rows = 0
        for label in table.segments:
            try:
                rows += len(read_segment(repository, label))
            except DamagedBackup as damage:
                yield f"rows of table {table.name}: {damage}"
                break
        else:
            if rows != table.rows:
                yield f"table {table.name} has {rows} rows, not {table.rows}"
        report("tables", number, len(manifest.tables))
    yield from _missing_bytes(repository, manifest, whole)


def _missing_bytes(repository: Repository, manifest: Manifest, whole: DiskMap) -> Iterator[str]:
    known = {damage.sop_instance_uid for damage in manifest.damaged}
    rows = read_rows(repository, manifest.table("instance"), "sop_instance_uid", "file_sha256")
    try:
        for uid, digest in rows:
            if digest not in whole and uid not in known:
                yield f"the bytes of instance {uid} are missing or damaged"
    except DamagedBackup:
        return  # said already, of the table
