"""Packing: what lies in journals and small objects becomes one object a series, once its study is settled.

A series is claimed by moving its due instant, so several processes share the work, and one that cannot be
packed now is tried again later and holds up no other. Packing again is also how objects get sealed, or sealed
with another master key: whatever does not lie under the prefix of today is moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from dicomweb.tables import Instance, Series, Study
from server.kernel.clock import SECOND_US
from server.kernel.database import UnitOfWork
from server.kernel.faults import Busy, Fault
from server.kernel.object_stores import note_prefix
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.tables import Installation
from server.workflows.storage.damage import damaged_among
from server.workflows.storage.lying import Lying, in_series, lying
from server.workflows.storage.move import move_instances

SERIES_AT_ONCE = 8  # claimed by one step
RETRY_S = 900  # a series that could not be packed is claimed again after
MAX_REPACKED_BYTES = 64 << 20  # late instances join a packed object up to this size; a larger one stays

_SERIES, _STUDY, _INSTANCE = table_of(Series), table_of(Study), table_of(Instance)
_INSTALLATION = table_of(Installation)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ClaimedSeries:
    """A series to be packed, and the due instant that the claim has set."""

    id: int
    study_instance_uid: str
    due_us: int


async def pack_settled(services: Services) -> int:
    """Pack some series that wait for it; returns how many were claimed.

    Raises:
        Busy: every one of them failed for want of the store or the database.
    """
    claimed = await services.database.transact(lambda unit: _claim(unit, services))
    failures: list[Busy] = []
    for series in claimed:
        try:
            await _pack(services, series)
        except Busy as failure:
            failures.append(failure)
        except Fault as fault:
            log.warning("series not packed", series=series.id, reason=str(fault))
    if failures and len(failures) == len(claimed):
        raise failures[0]
    return len(claimed)


async def follow_prefix(unit: UnitOfWork, prefix: str) -> None:
    """When objects get other names from now on, have every series packed anew under them."""
    if await note_prefix(unit, prefix):
        await unit.execute(update(_SERIES).where(_SERIES.c.pack_due_us.is_(None)).values(pack_due_us=0))


async def _claim(unit: UnitOfWork, services: Services) -> list[ClaimedSeries]:
    """The next series; none for a process whose objects have the names of yesterday.

    During a rolling restart it would find everything in its place, and the move to today's names undone.
    """
    noted = (await unit.execute(select(_INSTALLATION.c.objects_prefix))).scalar_one_or_none()
    if noted not in (None, services.objects.prefix):
        return []
    settled_us = unit.now_us - int(services.storage.pack_after_s * SECOND_US)
    waiting = (
        select(_SERIES.c.id, _STUDY.c.study_instance_uid)
        .join(_STUDY, _SERIES.c.study_id == _STUDY.c.id)
        .where(_SERIES.c.pack_due_us <= unit.now_us, _STUDY.c.changed_us <= settled_us)
        .order_by(_SERIES.c.pack_due_us)
        .limit(SERIES_AT_ONCE)
        .with_for_update(of=_SERIES, skip_locked=True)
    )
    rows = (await unit.execute(waiting)).all()
    due_us = unit.now_us + RETRY_S * SECOND_US
    if rows:
        claim = update(_SERIES).where(_SERIES.c.id.in_([row.id for row in rows]))
        await unit.execute(claim.values(pack_due_us=due_us))
    return [ClaimedSeries(row.id, row.study_instance_uid, due_us) for row in rows]


async def _pack(services: Services, series: ClaimedSeries) -> None:
    prefix = services.objects.prefix
    async with services.database.read() as connection:
        strays = await _strays(connection, series.id, prefix)
    moved = await move_instances(services, strays)

    async def finish(unit: UnitOfWork) -> bool:
        await unit.lock([f"study:{series.study_instance_uid}"])
        if await _strays(unit.connection, series.id, prefix):
            return False  # come meanwhile: the claim runs out and it is looked at again
        mine = (_SERIES.c.id == series.id, _SERIES.c.pack_due_us == series.due_us)
        await unit.execute(update(_SERIES).where(*mine).values(pack_due_us=None))
        return True

    whole = await services.database.transact(finish)
    log.info("series packed", series=series.id, moved=moved, whole=whole)


async def _strays(connection: AsyncConnection, series_id: int, prefix: str) -> list[Lying]:
    """What of a series is to be moved; what is known to be damaged cannot be."""
    instances = await lying(connection, in_series(series_id))
    alone = await _is_alone(connection, instances)
    damaged = await damaged_among(connection, [each.id for each in instances])
    return to_move([each for each in instances if each.id not in damaged], prefix, alone=alone)


def to_move(instances: Sequence[Lying], prefix: str, *, alone: bool) -> list[Lying]:
    """What of a series must move so that it lies as it should.

    Args:
        instances: of the series.
        prefix: of the names of objects written now.
        alone: all that is small lies in one object `put/…` with nothing else in it: good as it is.
    """
    strays = [each for each in instances if not _lies_well(each, prefix, alone=alone)]
    if not any(not each.is_large for each in strays):
        return strays
    sizes: dict[str, int] = {}
    for each in instances:
        sizes[each.stored.object_name] = sizes.get(each.stored.object_name, 0) + each.stored.length
    wanted = {each.id for each in strays}
    return [
        each
        for each in instances
        if each.id in wanted or (not each.is_large and sizes[each.stored.object_name] < MAX_REPACKED_BYTES)
    ]


def _lies_well(instance: Lying, prefix: str, *, alone: bool) -> bool:
    name = instance.stored.object_name
    kind = name.removeprefix(prefix).partition("/")[0]  # "sealed" when the prefix is another one
    return name.startswith(prefix) and (kind in ("packed", "large") or (kind == "put" and alone))


async def _is_alone(connection: AsyncConnection, instances: Sequence[Lying]) -> bool:
    """Whether the small instances share one object with nothing else in it."""
    small = [each for each in instances if not each.is_large]
    names = {each.stored.object_name for each in small}
    if len(names) != 1:
        return False
    everything = select(func.count()).where(_INSTANCE.c.object_name.in_(names))
    return (await connection.execute(everything)).scalar_one() == len(small)
