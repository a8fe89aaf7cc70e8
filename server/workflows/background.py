"""Work that no request started: loops that run a step until told to stop."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from server.kernel.faults import Fault

Step = Callable[[], Awaitable[int]]  # does what is waiting and returns how much that was

BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 15.0)  # after failures in a row; the last one repeats

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Loop:
    """A step that is run again after `rest_s` while there is work, else after `idle_s`."""

    name: str
    step: Step
    idle_s: float
    rest_s: float = 0.0  # lets a burst gather, for what is done once however much has come


async def run_loop(loop: Loop, stop: asyncio.Event) -> None:
    """Run the loop until `stop`; a failing step is logged and tried again later, it never ends the loop."""
    failures = 0
    while not stop.is_set():
        try:
            did = await loop.step()
            failures = 0
        except Exception as error:  # noqa: BLE001  the outermost layer of background work
            did = 0
            failures += 1
            log.warning("step failed", loop=loop.name, failures=failures, **described(error))
        if seconds := _seconds_until_next(loop, did, failures):
            await _pause(stop, seconds)


def _seconds_until_next(loop: Loop, did: int, failures: int) -> float:
    if failures:
        return BACKOFF_S[min(failures, len(BACKOFF_S)) - 1]
    return loop.rest_s if did else loop.idle_s


def described(error: BaseException) -> dict[str, object]:
    """An error for the log: an expected fault by its text, a defect of ours by where it happened."""
    return {"reason": str(error)} if isinstance(error, Fault) else {"exc_info": error}


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
