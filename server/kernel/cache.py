"""A cache of bytes: for what is made anew when it is not there, and never changes under its key.

Rule: a key is derived from the content (a hash of what the value is made of), so nothing in a cache is ever
out of date; access is decided before a cache is asked.
"""

import asyncio
import time
from collections import OrderedDict
from typing import Protocol

TTL_S = 600.0  # what was deleted is gone from every cache after this time
MAX_VALUE_BYTES = 1 << 20  # larger ones are not kept
MAX_CACHED_BYTES = 64 << 20  # in one process; whose last use is longest ago makes room


class Cache(Protocol):
    """Keeps values for a while, if there is room."""

    async def get(self, key: str) -> bytes | None:
        """The value; None: make it. Never fails."""

    async def put(self, key: str, value: bytes) -> None:
        """Keep a value. Never fails."""


class LocalCache:
    """Keeps values in this process."""

    def __init__(self) -> None:
        self._values: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._size = 0

    async def get(self, key: str) -> bytes | None:
        found = self._values.get(key)
        if found is None:
            return None
        if found[1] < time.monotonic():
            self._drop(key)
            return None
        self._values.move_to_end(key)
        return found[0]

    async def put(self, key: str, value: bytes) -> None:
        if len(value) > MAX_VALUE_BYTES:
            return
        self._drop(key)
        self._values[key] = (value, time.monotonic() + TTL_S)
        self._size += len(value)
        asyncio.get_running_loop().call_later(TTL_S, self._drop_old, key)
        while self._size > MAX_CACHED_BYTES:
            self._drop(next(iter(self._values)))

    def _drop_old(self, key: str) -> None:
        """Its time is over, unless it was put anew: what was deleted goes also when nobody asks again."""
        if key in self._values and self._values[key][1] <= time.monotonic():
            self._drop(key)

    def _drop(self, key: str) -> None:
        value, _ = self._values.pop(key, (b"", 0.0))
        self._size -= len(value)
