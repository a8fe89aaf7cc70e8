"""What children made, kept for the next who asks for the same, and made once for all who ask at once."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from functools import partial

from dicomweb.pixels.pool import Result

MAX_KEPT_BYTES = 64 << 20  # of one process
MAX_KEPT_ENTRY_BYTES = 16 << 20  # a larger one would turn out too many others
KEPT_S = 600.0  # the instance may be deleted, and then no copy may stay


class ResultCache:
    """Results by a key that names everything which they depend on; for one event loop.

    Only what succeeds is kept. Who is cancelled does not take the work from others who wait for it.
    """

    def __init__(self, max_bytes: int = MAX_KEPT_BYTES, kept_s: float = KEPT_S) -> None:
        self._max_bytes = max_bytes
        self._kept_s = kept_s
        self._kept: OrderedDict[Hashable, Result] = OrderedDict()
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}
        self._bytes = 0
        self._under_way: dict[Hashable, asyncio.Future[Result]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Result]]) -> Result:
        """The result under `key`: kept, under way, or made now; raises what `make` raises."""
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        making = self._under_way.get(key)
        if making is None:
            making = asyncio.ensure_future(make())
            self._under_way[key] = making
            making.add_done_callback(partial(self._made, key))
        return await asyncio.shield(making)

    def _made(self, key: Hashable, making: "asyncio.Future[Result]") -> None:
        del self._under_way[key]
        if making.cancelled() or making.exception() is not None:
            return
        result = making.result()
        if len(result[1]) > min(MAX_KEPT_ENTRY_BYTES, self._max_bytes):
            return
        self._kept[key] = result
        self._bytes += len(result[1])
        self._timers[key] = making.get_loop().call_later(self._kept_s, self._drop, key)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Hashable) -> None:
        self._bytes -= len(self._kept.pop(key)[1])
        self._timers.pop(key).cancel()
