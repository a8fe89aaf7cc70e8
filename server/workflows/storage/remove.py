"""Removal: when an object is due, what still lives in it is packed away, then it goes for good.

Nothing goes while a backup holds it, nor from a store that is not ours. A claim moves the due instant, so
several processes share the work and a failure is tried again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import ColumnElement, and_, delete, select, update

from server.kernel.clock import SECOND_US
from server.kernel.database import UnitOfWork
from server.kernel.faults import Busy, Fault
from server.kernel.object_removal import is_removal_held
from server.kernel.object_store import ObjectInUse
from server.kernel.object_stores import join_installation
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.tables import ObjectRemoval
from server.workflows.storage.lying import Lying, in_object, lying
from server.workflows.storage.move import move_instances

OBJECTS_AT_ONCE = 20  # claimed by one step
RETRY_S = 600  # an object that could not be removed is claimed again after

_REMOVAL = table_of(ObjectRemoval)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Claimed:
    object_name: str
    due_us: int


async def remove_due(services: Services) -> int:
    """Remove some objects that are due; returns how many were claimed.

    Raises:
        OtherInstallation: the store is not ours.
        Busy: all of them failed for want of the store or the database.
    """
    claimed = await services.database.transact(_claim)
    if not claimed:
        return 0
    await join_installation(services.database, services.objects)
    failures: list[Busy] = []
    for each in claimed:
        try:
            await _remove(services, each)
        except Fault as fault:
            if isinstance(fault, Busy) and not isinstance(fault, ObjectInUse):  # which is only too early
                failures.append(fault)
            await _note_problem(services, each, str(fault))
    if failures and len(failures) == len(claimed):
        raise failures[0]
    return len(claimed)


async def _claim(unit: UnitOfWork) -> list[_Claimed]:
    if await is_removal_held(unit.connection, unit.now_us):
        return []
    due = (
        select(_REMOVAL.c.object_name)
        .where(_REMOVAL.c.due_us <= unit.now_us)
        .order_by(_REMOVAL.c.due_us)
        .limit(OBJECTS_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    names = list((await unit.execute(due)).scalars())
    due_us = unit.now_us + RETRY_S * SECOND_US
    if names:
        claim = update(_REMOVAL).where(_REMOVAL.c.object_name.in_(names))
        await unit.execute(claim.values(due_us=due_us))
    return [_Claimed(name, due_us) for name in names]


async def _remove(services: Services, claimed: _Claimed) -> None:
    async with services.database.read() as connection:
        alive = await lying(connection, in_object(claimed.object_name))
    if alive:
        await _pack_away(services, claimed, alive)
        return
    if await _is_held(services):  # since it was claimed
        return
    await services.objects.remove(claimed.object_name)
    await services.database.transact(lambda unit: unit.execute(delete(_REMOVAL).where(_is(claimed))))
    log.info("object removed", object=claimed.object_name)


async def _pack_away(services: Services, claimed: _Claimed, alive: Sequence[Lying]) -> None:
    """Move out what lives in the object; reads under way have the grace before it goes."""
    await move_instances(services, alive)
    async with services.database.read() as connection:
        left = len(await lying(connection, in_object(claimed.object_name)))
    if left:
        await _note_problem(services, claimed, f"{left} instances in it are damaged and cannot be moved")
        return
    grace_us = int(services.storage.remove_after_s * SECOND_US)

    async def work(unit: UnitOfWork) -> None:
        later = update(_REMOVAL).where(_is(claimed))
        await unit.execute(later.values(due_us=unit.now_us + grace_us, problem=None))

    await services.database.transact(work)


async def _note_problem(services: Services, claimed: _Claimed, problem: str) -> None:
    log.warning("object not removed", object=claimed.object_name, problem=problem)
    noted = update(_REMOVAL).where(_is(claimed)).values(problem=problem)
    await services.database.transact(lambda unit: unit.execute(noted))


async def _is_held(services: Services) -> bool:
    return await services.database.transact(lambda unit: is_removal_held(unit.connection, unit.now_us))


def _is(claimed: _Claimed) -> ColumnElement[bool]:
    """The claimed row, unless somebody has noted it anew meanwhile."""
    return and_(_REMOVAL.c.object_name == claimed.object_name, _REMOVAL.c.due_us == claimed.due_us)
