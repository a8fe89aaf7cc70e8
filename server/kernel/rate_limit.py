"""Rate limits by the generic cell rate algorithm (ITU-T I.371 Annex A): a steady rate, and bursts above it.

A key's state is one instant, its theoretical arrival time; keys that rest cost nothing.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

ROUNDING_S = 1e-6  # of sums of instants as floats: no wait, or the first of a burst would at times be refused
MAX_KEYS = 100_000  # bounds memory; whose last use is longest ago is forgotten, and so begins anew


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second in the long run, and so many at once."""

    name: str  # part of the key, and a label of metrics
    per_s: float
    burst: int

    @property
    def interval_s(self) -> float:
        """The time that one costs."""
        return 1 / self.per_s

    @property
    def tolerance_s(self) -> float:
        """How far ahead of time a burst may run."""
        return self.burst * self.interval_s


class RateLimiter(Protocol):
    """Counts what each key has taken."""

    async def take(self, rate: Rate, key: str) -> float:
        """Take one; 0: it may be taken, else nothing was and it may be in so many seconds. Never fails."""

    async def give_back(self, rate: Rate, key: str) -> None:
        """Take one back, which turned out not to count. Never fails."""


class LocalRateLimiter:
    """Counts in this process."""

    def __init__(self) -> None:
        self._arrival: OrderedDict[tuple[str, str], float] = OrderedDict()

    async def take(self, rate: Rate, key: str) -> float:
        now = time.monotonic()
        arrival = self._next_arrival(rate, key, now)
        if (wait := arrival - rate.tolerance_s - now) > ROUNDING_S:
            return wait
        self._arrival[rate.name, key] = arrival
        self._arrival.move_to_end((rate.name, key))
        if len(self._arrival) > MAX_KEYS:
            self._arrival.popitem(last=False)
        return 0.0

    async def give_back(self, rate: Rate, key: str) -> None:
        if (arrival := self._arrival.get((rate.name, key))) is not None:
            self._arrival[rate.name, key] = arrival - rate.interval_s

    def _next_arrival(self, rate: Rate, key: str, now: float) -> float:
        return max(self._arrival.get((rate.name, key), now), now) + rate.interval_s
