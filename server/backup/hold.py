"""Nothing is removed from the object store while a backup copies it: a row that says so, renewed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from sqlalchemy import delete, insert

from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Busy
from server.kernel.rows import table_of
from server.kernel.tables import MaintenanceHold
from server.kernel.uids import new_id

HOLD_S = 600.0  # of a backup that died: so long nothing is removed after it
RENEW_S = 60.0

_HOLD = table_of(MaintenanceHold)
log = structlog.get_logger(__name__)


@asynccontextmanager
async def objects_held(database: Database) -> AsyncIterator[None]:
    """No object is removed until the context is left."""
    name = f"backup {new_id()}"
    await _renew(database, name)
    renewing = asyncio.create_task(_keep_renewing(database, name))
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        await database.transact(lambda unit: _drop(unit, name))


async def _keep_renewing(database: Database, name: str) -> None:
    while True:
        await asyncio.sleep(RENEW_S)
        try:
            await _renew(database, name)
        except Busy as busy:  # it holds for several times the pause
            log.warning("hold not renewed", reason=str(busy))


async def _renew(database: Database, name: str) -> None:
    async def work(unit: UnitOfWork) -> None:
        await _drop(unit, name)
        until_us = unit.now_us + int(HOLD_S * SECOND_US)
        await unit.execute(insert(_HOLD), [{"name": name, "until_us": until_us}])

    await database.transact(work)


async def _drop(unit: UnitOfWork, name: str) -> None:
    await unit.execute(delete(_HOLD).where(_HOLD.c.name == name))
