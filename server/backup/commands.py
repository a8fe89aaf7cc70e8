"""`isthmus backup` and `isthmus restore`: an installation to and from a repository, with progress."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from sqlalchemy import select
from sqlalchemy.engine import make_url

from dicomweb.tables import Instance
from server.backup.faults import NotABackup, NotBackedUp
from server.backup.manifest import Manifest, backup_ids, id_at, read_manifest
from server.backup.progress import Report
from server.backup.prune import prune_backups
from server.backup.repository import Place, opened, opened_or_made
from server.backup.restore import Restored, restore_backup
from server.backup.take import Source, Taken, take_backup
from server.backup.target import Target, opened_target, read_revision
from server.backup.verify import verify_backups
from server.kernel.clock import SECOND_US, instant_text
from server.kernel.database import Database
from server.kernel.faults import Fault, FaultKind
from server.kernel.rows import table_of
from server.migrations import HEAD
from server.settings import Settings

MAX_NAMED = 20  # instances and problems that are named one by one
SEALED = "sealed/%"  # as the names of objects begin that are encrypted in the store

_INSTANCE = table_of(Instance)


class FolderFailed(Fault):
    """A folder, most likely that of the backups, cannot be read or written."""

    kind = FaultKind.BUSY


@dataclass(frozen=True, slots=True)
class Outcome:
    """Lines to print, and whether everything is as it should be."""

    lines: list[str]
    passed: bool = True


async def back_up(settings: Settings, folder: Path, *, plain: bool = False) -> Outcome:
    """Make a backup of this installation."""
    await _require_schema(settings)
    async with opened_target(_target(settings)) as (database, objects):
        if settings.backup_key is None and not plain:
            await _require_nothing_sealed(database)
        with _folder_faults(folder), _bar() as report, opened_or_made(_place(settings, folder)) as repository:
            taken = await take_backup(Source(database, objects), repository, report)
    return _told(taken)


async def restore(
    settings: Settings, folder: Path, *, backup: str | None, at: str | None, salvage: bool
) -> Outcome:
    """Restore a backup to the database and store of the settings."""
    with (
        _folder_faults(folder),
        _bar() as report,
        opened(_place(settings, folder), alone=False) as repository,
    ):
        chosen = backup or id_at(repository, _parse_instant(at))
        manifest = read_manifest(repository, chosen)
        settings.data.mkdir(parents=True, exist_ok=True)
        restored = await restore_backup(repository, manifest, _target(settings), report, salvage=salvage)
    return _told_of_restore(chosen, manifest, restored)


def list_backups(settings: Settings, folder: Path) -> Outcome:
    """The backups in a repository, oldest first."""
    with _folder_faults(folder), opened(_place(settings, folder), alone=False) as repository:
        found = [(backup_id, read_manifest(repository, backup_id)) for backup_id in backup_ids(repository)]
    return Outcome([_line(backup_id, manifest) for backup_id, manifest in found])


def verify(settings: Settings, folder: Path, *, backup: str | None) -> Outcome:
    """Check one backup, or all, without restoring."""
    with (
        _folder_faults(folder),
        _bar() as report,
        opened(_place(settings, folder), alone=False) as repository,
    ):
        ids = backup_ids(repository) if backup is None else [backup]
        if not ids:
            raise NotABackup(f"There is no backup in {folder}.")
        problems = verify_backups(repository, ids, report)
    if problems:
        return Outcome([*_some(problems), f"{len(problems)} problems"], passed=False)
    return Outcome([f"{len(ids)} backups are whole"])


def prune(settings: Settings, folder: Path, *, keep: int) -> Outcome:
    """Keep the newest backups, remove the others and what only they needed."""
    with _folder_faults(folder), _bar() as report, opened(_place(settings, folder), alone=True) as repository:
        pruned = prune_backups(repository, keep, report)
    return Outcome([f"{len(pruned.backups)} backups removed, {_mb(pruned.freed_bytes)} freed"])


async def _require_schema(settings: Settings) -> None:
    url = make_url(settings.database)
    is_missing = url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file()  # noqa: ASYNC240
    found = None if is_missing else await read_revision(_target(settings))
    if found is None:
        raise NotBackedUp("There is nothing to back up: there is no database, or it is empty.")
    if found != HEAD:
        raise NotBackedUp(
            f"The database has the schema {found}, this program {HEAD}. "
            "Back up with the release that serves it, or run `isthmus db upgrade` first."
        )


async def _require_nothing_sealed(database: Database) -> None:
    sealed = select(_INSTANCE.c.id).where(_INSTANCE.c.object_name.like(SEALED)).limit(1)
    async with database.read() as connection:
        if (await connection.execute(sealed)).first() is not None:
            raise NotBackedUp(
                "The object store is encrypted, this backup would not be. "
                "Give a key for the backup (--key-file), or say --plain."
            )


def _place(settings: Settings, folder: Path) -> Place:
    return Place(folder, settings.backup_key)


def _target(settings: Settings) -> Target:
    return Target(settings.database, settings.objects, settings.database_limits)


def _parse_instant(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise NotABackup(f"{text} is no instant such as 2026-11-25T17:00:00Z.") from None
    local = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(local.timestamp() * SECOND_US)


def _told(taken: Taken) -> Outcome:
    manifest = taken.manifest
    lines = [
        f"{_counted(manifest)}; new: {manifest.new_instances} instances, {_mb(manifest.new_bytes)} written",
        *_some([f"damaged: instance {each.sop_instance_uid}: {each.problem}" for each in manifest.damaged]),
        f"backup {taken.id}",
    ]
    return Outcome(lines, passed=not manifest.damaged)


def _told_of_restore(backup_id: str, manifest: Manifest, restored: Restored) -> Outcome:
    when = instant_text(manifest.snapshot_us)
    lines = [
        f"restored backup {backup_id} of {when}: {restored.instances} instances, {restored.rows} rows",
        *_some([f"without its bytes: instance {uid}" for uid in restored.lost]),
        *_some(restored.problems),
    ]
    return Outcome(lines, passed=not restored.lost)


def _line(backup_id: str, manifest: Manifest) -> str:
    seconds = (manifest.finished_us - manifest.snapshot_us) / SECOND_US
    damage = f", {len(manifest.damaged)} damaged" if manifest.damaged else ""
    return (
        f"{backup_id} {manifest.database} {_counted(manifest)}{damage}; "
        f"{_mb(manifest.new_bytes)} new, {seconds:.1f} s"
    )


def _counted(manifest: Manifest) -> str:
    return f"{manifest.instances} instances ({_mb(manifest.instance_bytes)}), {manifest.rows} rows"


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _some(lines: list[str]) -> list[str]:
    more = len(lines) - MAX_NAMED
    return [*lines[:MAX_NAMED], *([f"… and {more} more"] if more > 0 else [])]


@contextmanager
def _folder_faults(folder: Path) -> Iterator[None]:
    """A disk that fails is one line, not a traceback."""
    try:
        yield
    except OSError as error:
        raise FolderFailed(f"{error.filename or folder}: {error.strerror or error}") from error


@contextmanager
def _bar() -> Iterator[Report]:
    """Progress on standard error while it is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(
        *columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as bar:

        def report(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what)
            bar.update(tasks[what], completed=done, total=total)

        yield report
