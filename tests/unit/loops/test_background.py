"""The loops that run beside the requests."""

import asyncio
import time

from server.workflows.background import Loop, run_loop


async def steps_within(seconds: float, did: int, *, idle_s: float, rest_s: float) -> int:
    stop, steps = asyncio.Event(), 0

    async def step() -> int:
        nonlocal steps
        steps += 1
        await asyncio.sleep(0)
        if time.monotonic() > until:
            stop.set()
        return did

    until = time.monotonic() + seconds
    asyncio.get_running_loop().call_later(seconds, stop.set)
    await run_loop(Loop("test", step, idle_s, rest_s), stop)
    return steps


async def test_a_loop_with_work_runs_again_at_once() -> None:
    assert await steps_within(0.05, 1, idle_s=60, rest_s=0) > 10


async def test_a_loop_without_work_waits() -> None:
    assert await steps_within(0.05, 0, idle_s=60, rest_s=0) == 1


async def test_a_resting_loop_lets_a_burst_gather() -> None:
    assert await steps_within(0.05, 1, idle_s=0, rest_s=60) == 1
