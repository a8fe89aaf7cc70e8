"""Stored objects as metrics: what is damaged, what waits to be packed or removed."""

from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from dicomweb.tables import Series
from server.kernel.clock import SECOND_US
from server.kernel.metrics import Fact, fact
from server.kernel.object_removal import Reason
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.tables import DamagedObject, ObjectRemoval, ObjectWalk
from server.workflows.storage.sweep import SWEEP

COUNTED_ROWS = 10_000  # of a kind; more are told as so many

_SERIES, _DAMAGED = table_of(Series), table_of(DamagedObject)
_REMOVAL, _WALK = table_of(ObjectRemoval), table_of(ObjectWalk)


async def storage_facts(services: Services) -> list[Fact]:
    """The figures now."""
    counted = {
        "isthmus_objects_damaged": select(_DAMAGED.c.instance_id),
        "isthmus_series_to_pack": select(_SERIES.c.id).where(_SERIES.c.pack_due_us.is_not(None)),
        "isthmus_objects_to_remove": select(_REMOVAL.c.object_name),
    }
    deleted = select(func.min(_REMOVAL.c.noted_us)).where(_REMOVAL.c.reason == Reason.DELETED.value)
    refusal = select(_WALK.c.refused).where(_WALK.c.name == SWEEP)
    async with services.database.read() as connection:
        facts = [fact(name, _TEXTS[name], await _count(connection, rows)) for name, rows in counted.items()]
        oldest_us = (await connection.execute(deleted)).scalar_one()
        refused = (await connection.execute(refusal)).scalar_one_or_none() is not None
    age_s = 0.0 if oldest_us is None else max(0, services.clock() - oldest_us) / SECOND_US
    return [
        *facts,
        fact(
            "isthmus_object_deletion_oldest_seconds", "Age of the oldest deletion whose bytes remain.", age_s
        ),
        fact("isthmus_object_sweep_refused", "1: the last sweep for orphans did nothing.", float(refused)),
    ]


async def _count(connection: AsyncConnection, rows: Select[Any]) -> float:
    some = rows.limit(COUNTED_ROWS).subquery()
    return float((await connection.execute(select(func.count()).select_from(some))).scalar_one())


_TEXTS = {
    "isthmus_objects_damaged": "Instances whose stored bytes are damaged or missing.",
    "isthmus_series_to_pack": "Series that do not lie as they should yet.",
    "isthmus_objects_to_remove": "Objects that are to be removed.",
}
