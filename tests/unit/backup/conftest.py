"""Two installations of either kind, the first filled to the brim, and a repository between them."""

import hashlib
import math
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Integer,
    LargeBinary,
    Table,
    insert,
    select,
    update,
)

from dicomweb.tables import Instance
from server.backup.manifest import read_manifest
from server.backup.progress import say_nothing
from server.backup.repository import Place, opened, opened_or_made
from server.backup.restore import Restored, restore_backup
from server.backup.tables import carried_tables
from server.backup.take import Source, Taken, take_backup
from server.backup.target import Target
from server.kernel.database import Database, UnitOfWork
from server.kernel.object_store import ObjectStore, StoredRange
from server.kernel.object_stores import open_store
from server.kernel.rows import table_of
from server.kernel.store_config import StoreConfig
from server.kernel.tables import JobRow

INSTANCE, JOB = table_of(Instance), table_of(JobRow)
NewStore = Callable[[str, Path], StoreConfig]

ROWS = 3
PLACED = {  # what a restore decides anew
    "instance": {"object_name", "object_offset", "object_length"},
    "series": {"pack_due_us"},
}

TEXTS = ("", "Grüße – 日本語 \U0001f600 ' \" \\ \r\n\t end", "1.00")
NUMBERS = (0, 2**63 - 1, -(2**63))
SMALL_NUMBERS = (0, 2**31 - 1, -(2**31))
FLOATS = (math.inf, -0.1, 5e-324)
BYTES = (b"", bytes(range(256)), random.Random(1).randbytes(5000))


def value_of(column: Column[Any], number: int) -> Any:
    """A value that is easily lost on the way; distinct where it must be."""
    if column.foreign_keys:
        return number
    if column.primary_key and isinstance(column.type, Integer):
        return number
    if column.nullable and number == ROWS:
        return None
    at = number - 1
    if isinstance(column.type, Boolean):
        return bool(at % 2)
    if isinstance(column.type, BigInteger):
        return NUMBERS[at]
    if isinstance(column.type, Integer):
        return SMALL_NUMBERS[at]
    if isinstance(column.type, Float):
        return FLOATS[at]
    if isinstance(column.type, LargeBinary):
        return BYTES[at]
    return f"{number}{TEXTS[at]}" if _is_distinct(column) else TEXTS[at]


def _is_distinct(column: Column[Any]) -> bool:
    unique = any(column.name in each.columns for each in column.table.constraints if hasattr(each, "columns"))
    return unique or bool(column.unique) or column.primary_key


@dataclass
class Installed:
    """One installation: database and store."""

    url: str
    folder: Path
    database: Database
    config: StoreConfig
    objects: ObjectStore

    @property
    def target(self) -> Target:
        return Target(self.url, self.config)

    async def fill(self) -> None:
        """Put rows with odd values into every table that a backup carries."""

        async def work(unit: UnitOfWork) -> None:
            for table in carried_tables():
                if table is JOB:  # the queue's own business: test_jobs.py
                    continue
                rows = [
                    {column.key: value_of(column, number) for column in table.columns}
                    for number in range(1, ROWS + 1)
                ]
                if table.name in ("outbox_event", "outbox_cursor"):
                    rows = [{**row, "xact": 0, "sequence": at} for at, row in enumerate(rows, 1)]
                await unit.execute(insert(table), rows)

        await self.database.transact(work)
        for number in range(1, ROWS + 1):
            await self.store(number, random.Random(number).randbytes(1000 * number))

    async def store(self, instance: int, body: bytes) -> None:
        """Give an instance bytes."""
        (stored,) = await self.objects.put([body])
        values = {
            "object_name": stored.object_name,
            "object_offset": stored.offset,
            "object_length": stored.length,
            "file_sha256": hashlib.sha256(body).digest(),
        }
        await self.database.transact(
            lambda unit: unit.execute(update(INSTANCE).where(INSTANCE.c.id == instance).values(values))
        )

    async def execute(self, statement: Any) -> None:
        await self.database.transact(lambda unit: unit.execute(statement))

    async def rows(self, table: Table) -> list[dict[str, Any]]:
        """All rows, without what a restore decides anew."""
        ignored = PLACED.get(table.name, set())
        columns = [column for column in table.columns if column.name not in ignored]
        query = select(*columns).order_by(*table.primary_key.columns)
        async with self.database.read() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def everything(self) -> dict[str, list[dict[str, Any]]]:
        return {table.name: await self.rows(table) for table in carried_tables()}

    async def bodies(self) -> dict[int, bytes]:
        """The bytes of every instance, by its id."""
        c = INSTANCE.c
        query = select(c.id, c.object_name, c.object_offset, c.object_length).order_by(c.id)
        async with self.database.read() as connection:
            rows = (await connection.execute(query)).all()
        return {row.id: await self.objects.read(StoredRange(*row[1:])) for row in rows}

    async def object_names(self) -> set[str]:
        async with self.database.read() as connection:
            return set((await connection.execute(select(INSTANCE.c.object_name))).scalars())

    async def back_up(self, repository: Path, passphrase: str | None = None) -> Taken:
        with opened_or_made(Place(repository, passphrase)) as opened_repository:
            return await take_backup(Source(self.database, self.objects), opened_repository, say_nothing)

    async def restore(
        self, repository: Path, backup_id: str, passphrase: str | None = None, *, salvage: bool = False
    ) -> Restored:
        with opened(Place(repository, passphrase), alone=False) as opened_repository:
            manifest = read_manifest(opened_repository, backup_id)
            return await restore_backup(
                opened_repository, manifest, self.target, say_nothing, salvage=salvage
            )

    async def close(self) -> None:
        await self.objects.close()
        await self.database.close()


def installed(url: str, config: StoreConfig) -> Installed:
    return Installed(url, config.folder, Database(url), config, open_store(config))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture
def kinds() -> Sequence[str]:
    """On which database the source is, and on which the target; a test may ask for others."""
    return ("sqlite", "sqlite")


@pytest.fixture
def stores() -> Sequence[str]:
    """In which store the source has its objects, and in which the target; a test may ask for others."""
    return ("local disk", "local disk")


@pytest.fixture
def new_store(request: pytest.FixtureRequest) -> NewStore:
    """Says where a new store is, by its kind; each has a master key of its own."""

    def make(kind: str, folder: Path) -> StoreConfig:
        config = request.getfixturevalue("s3").config() if kind.startswith("S3") else None
        return StoreConfig(folder, [os.urandom(32)], kind.endswith("sealed"), config)

    return make


@pytest.fixture
def target_has_schema() -> bool:
    """Whether the target has the newest schema already: to make it takes longer than to restore the rows."""
    return True


@pytest.fixture
def urls(request: pytest.FixtureRequest, kinds: Sequence[str], target_has_schema: bool) -> tuple[str, str]:
    """Two databases without rows; the first has the newest schema."""
    first, second = (request.getfixturevalue(f"new_{kind}") for kind in kinds)
    return first(True), second(target_has_schema)


@pytest.fixture
async def source(
    urls: tuple[str, str], stores: Sequence[str], new_store: NewStore, tmp_path: Path
) -> AsyncIterator[Installed]:
    made = installed(urls[0], new_store(stores[0], tmp_path / "source"))
    yield made
    await made.close()


@pytest.fixture
async def target(
    urls: tuple[str, str], stores: Sequence[str], new_store: NewStore, tmp_path: Path
) -> AsyncIterator[Installed]:
    made = installed(urls[1], new_store(stores[1], tmp_path / "target"))
    yield made
    await made.close()
