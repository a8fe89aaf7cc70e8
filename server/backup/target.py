"""An installation's database and object store: what a backup is made from, or restored to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from sqlalchemy import select

from server.backup.faults import NotRestorable
from server.kernel.database import Database
from server.kernel.database_errors import as_faults, reaching_the_database
from server.kernel.database_limits import DEFAULT_LIMITS, DatabaseLimits
from server.kernel.object_store import ObjectStore
from server.kernel.object_stores import join_installation, open_store
from server.kernel.rows import table_of
from server.kernel.store_config import StoreConfig
from server.kernel.tables import Installation
from server.migrations import current_revision

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
    unhurried = replace(target.limits, statement_timeout_s=0)  # whole tables take longer than requests may
    database, objects = Database(target.database_url, unhurried), open_store(target.objects)
    try:
        yield database, objects
    finally:
        await objects.close()
        await database.close()


async def read_revision(target: Target) -> str | None:
    """The revision of the schema; None: there is none.

    Raises:
        Busy: the database cannot be reached.
    """
    with reaching_the_database(), as_faults():
        return await current_revision(target.database_url)


async def join_empty_store(database: Database, objects: ObjectStore) -> list[str]:
    """Make the store this database's; returns the objects that an interrupted restore has left in it.

    Raises:
        NotRestorable: there are objects in it that were not put for this database.
        OtherInstallation: it is another one's.
    """
    async with database.read() as connection:
        is_joined = (await connection.execute(select(_INSTALLATION.c.name))).first() is not None
    left = [found.name async for found in objects.list_objects()]
    if left and not is_joined:
        raise NotRestorable(f"The object store to restore to is not empty: it has {left[0]}.")
    await join_installation(database, objects)
    return left
