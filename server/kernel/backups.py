"""When this installation was last backed up, as the database knows it: for metrics and alerts."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork
from server.kernel.metrics import Fact, fact
from server.kernel.rows import table_of
from server.kernel.tables import BackupRepository

_REPOSITORY = table_of(BackupRepository)


async def record_backup(unit: UnitOfWork, repository_id: str, backup: Mapping[str, Any]) -> None:
    """Note the newest backup in a repository; `backup` has the other columns of `BackupRepository`."""
    await unit.execute(delete(_REPOSITORY).where(_REPOSITORY.c.repository_id == repository_id))
    await unit.execute(insert(_REPOSITORY), [{"repository_id": repository_id, **backup}])


async def last_backup_us(connection: AsyncConnection) -> int | None:
    """When the newest backup was complete, wherever it is; None: there is none."""
    newest: int | None = (await connection.execute(select(func.max(_REPOSITORY.c.finished_us)))).scalar_one()
    return newest


async def backup_facts(database: Database) -> Iterable[Fact]:
    """When the newest backup was complete; 0: there is none."""
    async with database.read() as connection:
        last_us = await last_backup_us(connection)
    text = "When the newest backup of this installation was complete, Unix time; 0: there is none."
    return [fact("isthmus_backup_last_success_timestamp_seconds", text, (last_us or 0) / SECOND_US)]
