"""The sweep: objects that no instance lies in, such as those of a put whose transaction never committed.

It only notes them for removal. It leaves young objects alone, for their transaction may be under way; and
when most of what the store holds looks like orphans it takes that for a mistake of ours or the operator's.
"""

from collections.abc import Sequence

import structlog
from sqlalchemy import select

from server.kernel.clock import SECOND_US
from server.kernel.object_removal import Reason, is_removal_held, note_removals
from server.kernel.object_store import ListedObject
from server.kernel.object_stores import join_installation
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.tables import ObjectRemoval
from server.workflows.storage.lying import NAMES_PER_QUERY, referred_to
from server.workflows.storage.walk import end_walk, take_step

SWEEP = "sweep"
EVERY_S = 6 * 3600.0
AGAIN_S = 600.0  # after a backup held it up
YOUNG_S = 3600  # far longer than from a put to the end of its transaction
FEW_OBJECTS = 100  # up to so many, any share may be orphans
MAX_ORPHANED_SHARE = 0.5
MAX_ORPHANS = 10_000  # noted by one sweep

_REMOVAL = table_of(ObjectRemoval)

log = structlog.get_logger(__name__)


async def sweep_orphans(services: Services) -> int:
    """Note what nobody refers to for removal, when the sweep is due; returns how many objects.

    Raises:
        OtherInstallation: the store is not ours.
        Busy: the store or the database failed.
    """
    if await take_step(services, SWEEP) is None:
        return 0
    async with services.database.read() as connection:
        held = await is_removal_held(connection, services.clock())
    if held:
        await end_walk(services, SWEEP, AGAIN_S, "held by a backup")
        return 0
    await join_installation(services.database, services.objects)
    listed, orphans = await _find_orphans(services)
    if listed > FEW_OBJECTS and len(orphans) > MAX_ORPHANED_SHARE * listed:
        refusal = f"{len(orphans)} of {listed} objects look orphaned; nothing was noted for removal"
        log.error("sweep refused", listed=listed, orphans=len(orphans))
        await end_walk(services, SWEEP, EVERY_S, refusal)
        return 0
    some = orphans[:MAX_ORPHANS]
    await services.database.transact(lambda unit: note_removals(unit, some, unit.now_us, Reason.ORPHANED))
    await end_walk(services, SWEEP, EVERY_S)
    log.info("sweep ended", listed=listed, orphans=len(orphans))
    return len(some)


async def _find_orphans(services: Services) -> tuple[int, list[str]]:
    """How many objects there are, and which of them nobody refers to."""
    listed, orphans, page = 0, list[str](), list[ListedObject]()
    async for each in services.objects.list_objects():
        listed += 1
        page.append(each)
        if len(page) == NAMES_PER_QUERY:
            orphans += await _orphans_of(services, page)
            page = []
    return listed, orphans + await _orphans_of(services, page)


async def _orphans_of(services: Services, page: Sequence[ListedObject]) -> list[str]:
    oldest_us = services.clock() - YOUNG_S * SECOND_US
    names = [each.name for each in page if each.modified_us < oldest_us]
    async with services.database.read() as connection:
        kept = await referred_to(connection, names)
        noted = select(_REMOVAL.c.object_name).where(_REMOVAL.c.object_name.in_(names))
        kept.update((await connection.execute(noted)).scalars())
    return [name for name in names if name not in kept]
