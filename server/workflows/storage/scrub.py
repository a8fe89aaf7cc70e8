"""The scrub: every stored instance is read again and its digest compared, round after round.

Its rate is of all processes together. Damage is written down until a later round finds the bytes whole.
"""

import structlog

from server.kernel.faults import Busy, Fault
from server.kernel.services import Services
from server.workflows.storage.damage import clear_damage, forget_deleted, record_damage
from server.workflows.storage.lying import Lying, after, lying, prove
from server.workflows.storage.walk import Walk, end_walk, go_on, take_step

SCRUB = "scrub"
INSTANCES_AT_ONCE = 500
STEP_S = 60.0  # the rate is per minute
EVERY_S = 24 * 3600.0  # a round begins so long after the last one ended

log = structlog.get_logger(__name__)


async def scrub(services: Services) -> int:
    """Read the next instances, when that is due; returns how many.

    Raises:
        Busy: the store failed as a whole.
    """
    if services.storage.scrub_bytes_per_minute == 0:
        return 0
    walk = await take_step(services, SCRUB)
    if walk is None:
        return 0
    try:
        read, last = await _read_some(services, walk)
    except BaseException:
        await go_on(services, SCRUB, walk.after_id, STEP_S)
        raise
    if last is None:
        await services.database.transact(forget_deleted)
        await end_walk(services, SCRUB, EVERY_S)
    else:
        await go_on(services, SCRUB, last, STEP_S)
    return read


async def _read_some(services: Services, walk: Walk) -> tuple[int, int | None]:
    """Read up to a minute's bytes; returns how many instances, and the last one; None: none is left."""
    async with services.database.read() as connection:
        waiting = await lying(connection, after(walk.after_id), limit=INSTANCES_AT_ONCE)
    left, whole, read = services.storage.scrub_bytes_per_minute, list[int](), 0
    last: int | None = walk.after_id if waiting else None
    for instance in waiting:
        if left <= 0:
            break
        if await _is_whole(services, instance):
            whole.append(instance.id)
        left, read, last = left - instance.stored.length, read + 1, instance.id
    await clear_damage(services, whole)
    return read, last


async def _is_whole(services: Services, instance: Lying) -> bool:
    try:
        await prove(services.objects, instance)
    except Busy as fault:
        await services.objects.check()  # the store as a whole is well: so it is this object
        await record_damage(services, instance, fault)
        return False
    except Fault as fault:
        await record_damage(services, instance, fault)
        return False
    return True
