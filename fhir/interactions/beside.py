"""What takes long for a large resource is done in a thread: on the event loop everybody would wait for it."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LARGE_BODY_BYTES = 256 << 10  # some 20 ms to read; a few megabytes would take seconds


async def beside(size: int, work: Callable[..., T], *arguments: object) -> T:
    """What a function makes of a text of so many bytes, in a thread if they are many."""
    if size <= LARGE_BODY_BYTES:
        return work(*arguments)
    return await asyncio.to_thread(work, *arguments)
