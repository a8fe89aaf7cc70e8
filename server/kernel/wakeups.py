"""Wake-ups: "look now", said to whoever waits for a topic, in this process and, by Redis, in the others.

A wake-up carries nothing and may be lost: what there is to see stands in the database, and whoever waits
looks by itself after a while. So losing Redis costs time only.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Wakeup:
    """One who waits."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Have it look."""
        self._event.set()

    async def wait(self, at_most_s: float) -> bool:
        """Return when told (at once if that was since the last time) or after a while; was it told?"""
        try:
            async with asyncio.timeout(at_most_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Wakeups(Protocol):
    """Tells those who wait for a topic."""

    def tell(self, topic: str) -> None:
        """Wake whoever waits for the topic; returns at once and never fails."""

    def waiting(self, topic: str) -> AbstractContextManager[Wakeup]:
        """Within, a `Wakeup` that is told of the topic."""

    async def run(self, stop: asyncio.Event) -> None:
        """Carry wake-ups between processes, until `stop`; runs beside the work."""


class LocalWakeups:
    """Wake-ups within this process."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[Wakeup]] = defaultdict(set)

    def tell(self, topic: str) -> None:
        for wakeup in self._waiting.get(topic, ()):
            wakeup.tell()

    @contextmanager
    def waiting(self, topic: str) -> Iterator[Wakeup]:
        wakeup = Wakeup()
        self._waiting[topic].add(wakeup)
        try:
            yield wakeup
        finally:
            self._waiting[topic].discard(wakeup)

    async def run(self, stop: asyncio.Event) -> None:
        await stop.wait()

    def tell_all(self) -> None:
        """Wake everybody: something may have been missed."""
        for topic in list(self._waiting):
            self.tell(topic)
