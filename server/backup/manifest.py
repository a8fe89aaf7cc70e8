"""What a backup says of itself: one JSON file, whose appearance makes the backup.

Its name has the instant that the backup shows, in UTC, and a digest of the file: a manifest that was changed
is not found under its name.
"""

from datetime import UTC, datetime

import msgspec

from server.backup.faults import DamagedBackup, NotABackup, NotRestorable
from server.backup.repository import FORMAT, Repository
from server.kernel.clock import SECOND_US

FOLDER = "backups"
DIGEST_CHARACTERS = 12


class TableDump(msgspec.Struct, frozen=True):
    """The rows of one table."""

    name: str
    columns: tuple[str, ...]
    rows: int
    segments: tuple[str, ...]  # their labels, in the order of the rows
    key: str | None = None  # the column that the database numbers; None: there is none
    next_key: int | None = None  # the number that it gives next


class Damage(msgspec.Struct, frozen=True):
    """An instance whose bytes could not be read whole when the backup was made."""

    sop_instance_uid: str
    problem: str


class Manifest(msgspec.Struct, frozen=True):
    """One backup."""

    isthmus: str  # the version of the program that made it
    revision: str  # of the schema
    database: str  # "sqlite" or "postgresql"
    snapshot_us: int  # the instant it shows, by the database clock
    finished_us: int
    parent: str | None  # the backup before it in the repository; for people, nothing depends on it
    tables: tuple[TableDump, ...]  # a table comes after those that its rows refer to
    instances: int
    instance_bytes: int
    new_instances: int  # of them, those whose bytes the repository did not have
    new_bytes: int  # that this backup added to the repository, all files
    damaged: tuple[Damage, ...] = ()
    format: int = FORMAT

    def table(self, name: str) -> TableDump:
        """The rows of one table."""
        return next(each for each in self.tables if each.name == name)

    @property
    def rows(self) -> int:
        """The rows of all tables."""
        return sum(each.rows for each in self.tables)


def write_manifest(repository: Repository, manifest: Manifest) -> str:
    """Make the backup be there; returns its id."""
    content = msgspec.json.format(msgspec.json.encode(manifest))
    digest = repository.label(content)[:DIGEST_CHARACTERS]
    backup_id = f"{_instant(manifest.snapshot_us):%Y%m%dT%H%M%S.%fZ}-{digest}"
    repository.write(manifest_name(backup_id), content)
    return backup_id


def read_manifest(repository: Repository, backup_id: str) -> Manifest:
    """A backup's manifest.

    Raises:
        NotABackup: there is none of this id.
        DamagedBackup: it is not what was written.
        NotRestorable: it is of a newer format.
    """
    if backup_id not in backup_ids(repository):
        raise NotABackup(f"There is no backup {backup_id} in {repository.root}.")
    content = repository.read(manifest_name(backup_id))
    if not backup_id.endswith(f"-{repository.label(content)[:DIGEST_CHARACTERS]}"):
        raise DamagedBackup(f"{manifest_name(backup_id)} is not what was written.")
    if msgspec.json.decode(content)["format"] > FORMAT:
        raise NotRestorable(f"Backup {backup_id} was made by a newer release.")
    return msgspec.json.decode(content, type=Manifest)


def backup_ids(repository: Repository) -> list[str]:
    """The ids of all backups, oldest first."""
    names = repository.names(FOLDER)
    return [name.removeprefix(f"{FOLDER}/").removesuffix(".json") for name in names if name.endswith(".json")]


def id_at(repository: Repository, instant_us: int | None) -> str:
    """The newest backup that shows this instant or an earlier one; None: the newest.

    Raises:
        NotABackup: there is none.
    """
    limit = "~" if instant_us is None else f"{_instant(instant_us):%Y%m%dT%H%M%S.%fZ}~"
    found = [backup_id for backup_id in backup_ids(repository) if backup_id <= limit]
    if not found:
        raise NotABackup(f"There is no backup of that time in {repository.root}.")
    return found[-1]


def manifest_name(backup_id: str) -> str:
    """The name of a backup's file in the repository."""
    return f"{FOLDER}/{backup_id}.json"


def _instant(instant_us: int) -> datetime:
    whole, micros = divmod(instant_us, SECOND_US)
    return datetime.fromtimestamp(whole, UTC).replace(microsecond=micros)
