"""The worker process that `serve` starts beside itself in the embedded default, and keeps alive."""

import asyncio
import importlib.util
import os
import sys
from collections.abc import Mapping
from contextlib import suppress

import structlog

from server.kernel.faults import Fault, FaultKind

STOP_TIMEOUT_S = 10.0  # then the workitem in hand is left to its lease, and tried again
RESTART_DELAYS_S = (0.5, 1.0, 2.0, 5.0, 15.0)  # after deaths in a row; the last one repeats
STEADY_S = 60.0  # a worker that lived this long died by itself, not of its start

log = structlog.get_logger(__name__)


ENGINE_NEEDS = ("numpy", "scipy", "highdicom")  # of the extra [ai]


class EngineNotInstalled(Fault):
    """A worker needs what a server does not."""

    kind = FaultKind.NOT_IMPLEMENTED


def require_engine() -> None:
    """Make sure that a worker can run here.

    Raises:
        EngineNotInstalled: the extra [ai] is not installed.
    """
    missing = [name for name in ENGINE_NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise EngineNotInstalled(f"A worker needs {', '.join(missing)}: pip install 'isthmus[ai]'.")


async def keep_worker(stop: asyncio.Event, environment: Mapping[str, str]) -> None:
    """Run `isthmus worker` until `stop`, starting it again whenever it ends."""
    deaths = 0
    while not stop.is_set():
        started = asyncio.get_running_loop().time()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "server", "worker", env={**os.environ, **environment}
        )
        try:
            await _until_ended_or_stopped(process, stop)
        except asyncio.CancelledError:  # this process ends at once, and so does what it started
            process.kill()
            raise
        if stop.is_set():
            await _end(process)
            return
        lived_s = asyncio.get_running_loop().time() - started
        deaths = 0 if lived_s > STEADY_S else deaths + 1
        delay_s = RESTART_DELAYS_S[min(deaths, len(RESTART_DELAYS_S)) - 1]
        log.warning("worker process ended", returncode=process.returncode, restart_in_s=delay_s)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), delay_s)


async def _until_ended_or_stopped(process: asyncio.subprocess.Process, stop: asyncio.Event) -> None:
    waits = [asyncio.create_task(process.wait()), asyncio.create_task(stop.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
