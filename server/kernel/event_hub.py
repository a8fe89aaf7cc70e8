"""Events of the outbox for whoever listens in this process, in order, soon after they happen.

One reader for all listeners. It reads when it is woken (`Wakeups`) and each `LOOK_S` anyway, so a lost
wake-up costs that time and no event. It keeps no cursor: a listener gets what happens while it listens.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from server.kernel.database import Database
from server.kernel.faults import Fault
from server.kernel.outbox import BATCH, Event, Position, read_end, read_events
from server.kernel.wakeups import Wakeup, Wakeups

TOPIC = "events"
LOOK_S = 1.0  # between looks that nobody asked for
# After a wake-up: an event is readable once every transaction older than its own has ended (see outbox).
SOON_S = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
MAX_WAITING = 1000  # events that a listener may be behind

log = structlog.get_logger(__name__)


class Inbox:
    """The events of one listener; one that falls too far behind is cut off, and told so."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._filled = asyncio.Event()
        self._cut = asyncio.Event()

    @property
    def is_cut_off(self) -> bool:
        """Whether it fell too far behind."""
        return self._cut.is_set()

    async def cut_off(self) -> None:
        """Return when it is cut off."""
        await self._cut.wait()

    def put(self, events: Sequence[Event]) -> None:
        """Add events, if the listener can still be helped."""
        if len(self._events) + len(events) > MAX_WAITING:
            self._cut.set()
            self._events.clear()
        if not self.is_cut_off:
            self._events.extend(events)
        self._filled.set()

    async def next(self) -> Event | None:
        """The next event; None: the listener was cut off."""
        while not self._events:
            if self.is_cut_off:
                return None
            self._filled.clear()
            await self._filled.wait()
        return self._events.popleft()


class EventHub:
    """Reads the events of some kinds for the listeners of this process, while there are any."""

    def __init__(self, database: Database, wakeups: Wakeups, kinds: Sequence[str]) -> None:
        self._database = database
        self._wakeups = wakeups
        self._kinds = tuple(kinds)
        self._inboxes: set[Inbox] = set()
        self._position: Position | None = None  # None: nobody listens
        self._first_listener = Wakeup()

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[Inbox]:
        """Within, an inbox that gets every event from now on.

        Raises:
            Busy: the database cannot say where "now" is.
        """
        async with self._database.read() as connection:
            now = await read_end(connection, self._kinds)
        if self._position is None:
            self._position = now
        inbox = Inbox()
        self._inboxes.add(inbox)
        self._first_listener.tell()
        try:
            yield inbox
        finally:
            self._inboxes.discard(inbox)
            if not self._inboxes:
                self._position = None

    async def run(self, stop: asyncio.Event) -> None:
        """Read for the listeners until `stop`."""
        stopped = asyncio.create_task(stop.wait())
        reading = asyncio.create_task(self._read_on())
        await asyncio.wait([stopped, reading], return_when=asyncio.FIRST_COMPLETED)
        for task in (stopped, reading):
            task.cancel()
        await asyncio.wait([stopped, reading])

    async def _read_on(self) -> None:
        with self._wakeups.waiting(TOPIC) as wakeup:
            while True:
                if not self._inboxes:
                    await self._first_listener.wait(3600)
                elif await wakeup.wait(LOOK_S):
                    await self._look_soon()
                else:
                    await self._look()

    async def _look_soon(self) -> None:
        """Look until what the wake-up was about can be read."""
        for delay_s in SOON_S:
            await asyncio.sleep(delay_s)
            if await self._look():
                return

    async def _look(self) -> bool:
        """Hand on what there is; returns whether there was anything."""
        found = 0
        while self._position is not None:
            try:
                async with self._database.read() as connection:
                    events = await read_events(connection, self._position, self._kinds)
            except Fault as fault:
                log.warning("events cannot be read", reason=str(fault))
                return True  # it is of no use to look again at once
            if events and self._position is not None:
                self._position = max(self._position, events[-1].position)
                for inbox in self._inboxes:
                    inbox.put(events)
            found += len(events)
            if len(events) < BATCH:
                break
        return bool(found)
