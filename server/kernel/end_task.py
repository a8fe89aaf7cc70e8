"""Ending a task for certain."""

import asyncio
from typing import Any

AGAIN_S = 0.5


async def end_task(task: "asyncio.Task[Any]") -> None:
    """Cancel a task and return when it has ended, whatever it raised.

    Once is not enough: `asyncio.wait_for` of Python 3.11 swallows a cancellation that comes together with
    what it waits for, and libraries wait for their notifications with it.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=AGAIN_S)
