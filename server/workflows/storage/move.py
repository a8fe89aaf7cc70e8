"""Moving instances into objects of their series: copy, proven; then switch the rows, fenced by their place.

A crash between copy and switch leaves an object that nobody refers to, for the sweep. Whoever deletes or
moves an instance meanwhile wins: its row does not lie where it lay, and is not switched.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, func, select, update

from dicomweb.tables import Instance, Series, Study
from server.kernel.clock import SECOND_US
from server.kernel.database import UnitOfWork
from server.kernel.object_removal import Reason, note_removals
from server.kernel.object_store import Body, DamagedObject, StoredRange
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.workflows.storage.damage import record_damage
from server.workflows.storage.lying import Lying, by_series, read_proven, spooled_proven

MAX_PACKED_BYTES = 1 << 30  # of one object; a longer series becomes several

_INSTANCE, _SERIES, _STUDY = table_of(Instance), table_of(Series), table_of(Study)
_SWITCH = (
    update(_INSTANCE)
    .where(
        _INSTANCE.c.id == bindparam("switched"),
        _INSTANCE.c.object_name == bindparam("old_name"),
        _INSTANCE.c.object_offset == bindparam("old_offset"),
    )
    .values(object_name=bindparam("new_name"), object_offset=bindparam("new_offset"))
)


@dataclass(frozen=True, slots=True)
class Moved:
    """An instance and its copy."""

    instance: Lying
    copy: StoredRange


async def move_instances(services: Services, instances: Sequence[Lying]) -> int:
    """Copy these instances into new objects, one or more a series, and switch to them; returns how many.

    What is damaged stays where it is, and is written down.

    Raises:
        Busy: the store or the database failed; what was switched before stays so.
    """
    switched = 0
    for group in by_series(instances).values():
        for large in (each for each in group if each.is_large):
            switched += await _move_large(services, large)
        for batch in _batches([each for each in group if not each.is_large]):
            switched += await _move_small(services, batch)
    return switched


async def _move_small(services: Services, batch: Sequence[Lying]) -> int:
    copied: list[Lying] = []

    async def bodies() -> AsyncIterator[Body]:
        for instance in batch:
            try:
                body = await read_proven(services.objects, instance)
            except DamagedObject as damage:
                await record_damage(services, instance, damage)
            else:
                copied.append(instance)
                yield body

    ranges = await services.objects.pack(bodies())
    return await _switch(services, [Moved(*each) for each in zip(copied, ranges, strict=True)])


async def _move_large(services: Services, instance: Lying) -> int:
    try:
        async with spooled_proven(services.objects, instance) as body:
            (copy,) = await services.objects.put([body])
    except DamagedObject as damage:
        await record_damage(services, instance, damage)
        return 0
    return await _switch(services, [Moved(instance, copy)])


async def _switch(services: Services, moved: Sequence[Moved]) -> int:
    """Refer to the copies, and have the objects that were left removed after the grace.

    A copy of what was deleted meanwhile is bytes that must go: then the new object is removed in its turn.
    """
    if not moved:
        return 0
    copies = sorted({each.copy.object_name for each in moved})
    of_series = _SERIES.c.id.in_(sorted({each.instance.series_id for each in moved}))
    studies = select(_STUDY.c.study_instance_uid).join(_SERIES, _SERIES.c.study_id == _STUDY.c.id)

    async def work(unit: UnitOfWork) -> int:
        uids = (await unit.execute(studies.where(of_series).distinct())).scalars()
        await unit.lock(f"study:{uid}" for uid in uids)
        await unit.execute(_SWITCH, [_parameters(each) for each in moved])
        switched = select(func.count()).where(_INSTANCE.c.object_name.in_(copies))
        count = (await unit.execute(switched)).scalar_one()
        left = {each.instance.stored.object_name for each in moved}
        grace_us = int(services.storage.remove_after_s * SECOND_US)
        await note_removals(unit, left, unit.now_us + grace_us, Reason.PACKED)
        if count < len(moved):
            await note_removals(unit, copies, unit.now_us, Reason.DELETED)
        return int(count)

    return await services.database.transact(work)


def _parameters(moved: Moved) -> dict[str, object]:
    return {
        "switched": moved.instance.id,
        "old_name": moved.instance.stored.object_name,
        "old_offset": moved.instance.stored.offset,
        "new_name": moved.copy.object_name,
        "new_offset": moved.copy.offset,
    }


def _batches(instances: Sequence[Lying]) -> Iterator[list[Lying]]:
    batch: list[Lying] = []
    for instance in instances:
        if batch and sum(each.stored.length for each in batch) + instance.stored.length > MAX_PACKED_BYTES:
            yield batch
            batch = []
        batch.append(instance)
    if batch:
        yield batch
