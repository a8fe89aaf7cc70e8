"""Letting old backups go, and what only they needed.

Manifests go first, so that a backup is whole or not there; then segments and packs that no backup left needs.
A pack of which less than half is needed is written anew. What an interruption leaves the next prune removes.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from server.backup.manifest import backup_ids, manifest_name, read_manifest
from server.backup.packs import (
    PackWriter,
    files_of,
    pack_ids,
    read_index,
    read_pack,
    remove_incomplete,
)
from server.backup.progress import Report
from server.backup.repository import Repository
from server.backup.segments import FOLDER, read_rows, segment_name
from server.kernel.disk_map import DiskMap


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went."""

    backups: Sequence[str]
    freed_bytes: int


def prune_backups(repository: Repository, keep: int, report: Report) -> Pruned:
    """Keep the newest `keep` backups, at least one; the lock is held alone.

    Raises:
        DamagedBackup: a backup that is to be kept cannot be read; nothing was removed.
    """
    ids = backup_ids(repository)
    kept, gone = ids[-keep:], ids[:-keep]
    manifests = [read_manifest(repository, backup_id) for backup_id in kept]
    with closing(DiskMap()) as segments, closing(DiskMap()) as bodies:
        for manifest in manifests:
            for table in manifest.tables:
                segments.put_all((segment_name(label).encode(), b"") for label in table.segments)
            rows = read_rows(repository, manifest.table("instance"), "file_sha256")
            bodies.put_all((digest, b"") for (digest,) in rows)
        before = _size(repository)
        repository.remove(manifest_name(backup_id) for backup_id in gone)
        names = [name for name in repository.names(FOLDER) if name.encode() not in segments]
        repository.remove(names)
        _prune_packs(repository, bodies, report)
    return Pruned(gone, before - _size(repository))


def _prune_packs(repository: Repository, needed: DiskMap, report: Report) -> None:
    remove_incomplete(repository)
    with closing(DiskMap()) as kept, PackWriter(repository) as packs:
        rewritten, ids = [], pack_ids(repository)
        for number, pack_id in enumerate(ids, 1):
            report("packs", number, len(ids))
            entries = read_index(repository, pack_id)
            live = [each for each in entries if each.digest in needed and each.digest not in kept]
            kept.put_all((each.digest, b"") for each in live)
            if 2 * sum(each.length for each in live) >= sum(each.length for each in entries) and live:
                continue
            if live:
                _copy(repository, pack_id, {each.digest for each in live}, packs)
            rewritten.append(pack_id)
    for pack_id in rewritten:  # their bodies are in complete packs by now
        repository.remove(files_of(pack_id))


def _copy(repository: Repository, pack_id: str, wanted: set[bytes], packs: PackWriter) -> None:
    for body in read_pack(repository, pack_id):
        if body.entry.digest in wanted:
            wanted.discard(body.entry.digest)
            for piece in body.checked():
                packs.write(piece)
            packs.end_body(body.entry.digest, body.entry.length)


def _size(repository: Repository) -> int:
    return sum(repository.size(name) for name in repository.names("."))
