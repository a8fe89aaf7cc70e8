"""What children made, kept for the next who asks for the same, and made once for all who ask at once."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from functools import partial

from dicomweb.pixels.metrics import RESULTS
from dicomweb.pixels.pool import Result

MAX_KEPT_BYTES = 64 << 20  # of one process
MAX_KEPT_ENTRY_BYTES = 16 << 20  # a larger one would turn out too many others
KEPT_S = 600.0  # the instance may be deleted, and then no copy may stay


class ResultCache:
    """Results by a key that names everything which they depend on; for one event loop.

    Only what succeeds is kept. Who is cancelled does not take the work from others who wait for it; when the
    last one goes, what still waits in line is not done at all.
    """

    def __init__(self, max_bytes: int = MAX_KEPT_BYTES, kept_s: float = KEPT_S) -> None:
        self._max_bytes = max_bytes
        self._kept_s = kept_s
        self._kept: OrderedDict[Hashable, Result] = OrderedDict()
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}
        self._bytes = 0
        self._under_way: dict[Hashable, asyncio.Future[Result]] = {}
        self._waiting: Counter[asyncio.Future[Result]] = Counter()  # who waits for what is under way

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Result]]) -> Result:
        """The result under `key`: kept, under way, or made now; raises what `make` raises."""
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            RESULTS.labels("kept").inc()
            return kept
        making = self._under_way.get(key)
        RESULTS.labels("made" if making is None else "shared").inc()
        if making is None:
            making = asyncio.ensure_future(make())
            self._under_way[key] = making
            making.add_done_callback(partial(self._made, key))
        self._waiting[making] += 1
        try:
            return await asyncio.shield(making)
        finally:
            self._waiting[making] -= 1
            if not self._waiting[making]:
                del self._waiting[making]
                self._abandon(key, making)

    def _abandon(self, key: Hashable, making: "asyncio.Future[Result]") -> None:
        """Nobody waits any more; who asks from now on does not share in what is being given up."""
        if not making.done():
            del self._under_way[key]
            making.cancel()

    def _made(self, key: Hashable, making: "asyncio.Future[Result]") -> None:
        is_wanted = self._under_way.get(key) is making
        if is_wanted:
            del self._under_way[key]
        if making.cancelled() or making.exception() is not None or not is_wanted:
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
