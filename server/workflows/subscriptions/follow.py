"""The reader of the outbox that finds out whom to notify: in each server, one of them at a time."""

import asyncio
from collections.abc import Set as AbstractSet

import structlog

from fhir.interactions.write import CHANGED
from fhir.subscriptions.match import match_changes
from server.kernel.services import Services
from server.kernel.wakeups import Wakeup
from server.workflows.background import described
from server.workflows.subscriptions.authority import authority_of

LOOK_S = 0.5  # between looks that no commit of this process asked for
BURST_S = 0.05  # in which commits gather
FAILED_S = 2.0  # after a look that failed

log = structlog.get_logger(__name__)


async def follow_changes(services: Services, stop: asyncio.Event) -> None:
    """Look at what changed until `stop`: soon after a commit of this process, else every `LOOK_S`."""
    wakeup = Wakeup()

    def tell(kinds: AbstractSet[str]) -> None:
        if CHANGED in kinds:
            wakeup.tell()

    services.database.on_events(tell)
    stopped = asyncio.create_task(stop.wait())
    looking = asyncio.create_task(_look_on(services, wakeup))
    await asyncio.wait([stopped, looking], return_when=asyncio.FIRST_COMPLETED)
    for task in (stopped, looking):
        task.cancel()
    await asyncio.wait([stopped, looking])


async def _look_on(services: Services, wakeup: Wakeup) -> None:
    access_by = authority_of(services)
    while True:
        try:
            did = await match_changes(services, access_by)
        except Exception as error:  # noqa: BLE001  the outermost layer of background work
            log.warning("changes cannot be matched", **described(error))
            await asyncio.sleep(FAILED_S)
            continue
        if did is None:  # nobody listens: commits need not wake us
            await asyncio.sleep(LOOK_S)
            continue
        if not did:
            await wakeup.wait(LOOK_S)
        await asyncio.sleep(BURST_S)
