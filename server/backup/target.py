"""An installation's database and object store: what a backup is made from, or restored to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import select

from server.backup.faults import NotRestorable
from server.kernel.database import Database
from server.kernel.database_limits import DEFAULT_LIMITS, DatabaseLimits
from server.kernel.object_store import ObjectStore
from server.kernel.object_stores import join_installation, open_store
from server.kernel.rows import table_of
from server.kernel.store_config import StoreConfig
from server.kernel.tables import Installation

_INSTALLATION = table_of(Installation)


@dataclass(frozen=True, slots=True)
class Target:
    """Which database, and which store."""

    database_url: str
    objects: StoreConfig
    limits: DatabaseLimits = DEFAULT_LIMITS


@asynccontextmanager
async def opened_target(target: Target) -> AsyncIterator[tuple[Database, ObjectStore]]:
    """Both, opened."""
    database, objects = Database(target.database_url, target.limits), open_store(target.objects)
    try:
        yield database, objects
    finally:
        await objects.close()
        await database.close()


async def join_empty_store(database: Database, objects: ObjectStore) -> None:
    """Make the store this database's; objects in it can only be those of a restore that was interrupted.

    Raises:
        NotRestorable: there are objects in it that were not put for this database.
        OtherInstallation: it is another one's.
    """
    async with database.read() as connection:
        is_joined = (await connection.execute(select(_INSTALLATION.c.name))).first() is not None
    if not is_joined:
        async for found in objects.list_objects():
            raise NotRestorable(f"The object store to restore to is not empty: it has {found.name}.")
    await join_installation(database, objects)
