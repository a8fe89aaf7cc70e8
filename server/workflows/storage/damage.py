"""Damage that was found: written down where administrators and metrics see it, until it is whole again."""

from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import delete, exists, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from dicomweb.tables import Instance
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.tables import DamagedObject as DamagedRow
from server.workflows.storage.lying import Lying

PAGE = 100  # rows of an answer
IDS_PER_QUERY = 500  # below every database's limit of bound values

_DAMAGED, _INSTANCE = table_of(DamagedRow), table_of(Instance)

log = structlog.get_logger(__name__)


async def record_damage(services: Services, instance: Lying, fault: Fault) -> None:
    """Write down that an instance's bytes are not what they should be, unless it moved or went meanwhile."""

    async def work(unit: UnitOfWork) -> bool:
        c, stored = _INSTANCE.c, instance.stored
        there = select(c.id).where(
            c.id == instance.id, c.object_name == stored.object_name, c.object_offset == stored.offset
        )
        if (await unit.execute(there)).first() is None:
            return False
        d = _DAMAGED.c
        known = select(d.found_us).where(d.instance_id == instance.id)
        found_us = (await unit.execute(known)).scalar_one_or_none()
        await unit.execute(delete(_DAMAGED).where(d.instance_id == instance.id))
        row = {
            "instance_id": instance.id,
            "sop_instance_uid": instance.sop_instance_uid,
            "object_name": stored.object_name,
            "problem": str(fault),
            "found_us": unit.now_us if found_us is None else found_us,
            "checked_us": unit.now_us,
        }
        await unit.execute(insert(_DAMAGED), row)
        return True

    if await services.database.transact(work):
        log.error(
            "damaged object", object=instance.stored.object_name, instance=instance.id, problem=str(fault)
        )


async def damaged_among(connection: AsyncConnection, instance_ids: Sequence[int]) -> set[int]:
    """Which of these instances are known to be damaged."""
    found: set[int] = set()
    for start in range(0, len(instance_ids), IDS_PER_QUERY):
        some = _DAMAGED.c.instance_id.in_(instance_ids[start : start + IDS_PER_QUERY])
        found.update((await connection.execute(select(_DAMAGED.c.instance_id).where(some))).scalars())
    return found


async def clear_damage(services: Services, instance_ids: Sequence[int]) -> None:
    """These were found whole."""
    async with services.database.read() as connection:
        whole = sorted(await damaged_among(connection, instance_ids))
    if whole:
        gone = delete(_DAMAGED).where(_DAMAGED.c.instance_id.in_(whole))
        await services.database.transact(lambda unit: unit.execute(gone))
        log.info("damaged objects are whole again", count=len(whole))


async def forget_deleted(unit: UnitOfWork) -> None:
    """Drop what was written down of instances that are not there any more."""
    await unit.execute(delete(_DAMAGED).where(~exists().where(_INSTANCE.c.id == _DAMAGED.c.instance_id)))


async def list_damaged(connection: AsyncConnection, after_id: int) -> list[dict[str, Any]]:
    """A page of what is damaged, in the order of instance ids."""
    query = select(_DAMAGED).where(_DAMAGED.c.instance_id > after_id).order_by(_DAMAGED.c.instance_id)
    return [dict(row) for row in (await connection.execute(query.limit(PAGE))).mappings()]


async def count_damaged(connection: AsyncConnection) -> int:
    """How many instances are known to be damaged."""
    return (await connection.execute(select(func.count()).select_from(_DAMAGED))).scalar_one()
