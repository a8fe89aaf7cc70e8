"""Events of the outbox for listeners: all, in order, soon; and what becomes of one that does not read."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from server.kernel import event_hub
from server.kernel.database import Database
from server.kernel.event_hub import TOPIC, EventHub, Inbox
from server.kernel.wakeups import LocalWakeups, Wakeups

LONG_S = 60.0


class DeafWakeups(LocalWakeups):
    """Every wake-up is lost."""

    def tell(self, topic: str) -> None:
        pass


@asynccontextmanager
async def hub_on(database: Database, wakeups: Wakeups) -> AsyncIterator[EventHub]:
    database.on_events(lambda _kinds: wakeups.tell(TOPIC))
    hub, stop = EventHub(database, wakeups, ["news"]), asyncio.Event()
    running = asyncio.create_task(hub.run(stop))
    async with asyncio.timeout(LONG_S):
        yield hub
    stop.set()
    await running


async def emit(database: Database, subject: str, kind: str = "news") -> None:
    async def work(unit: object) -> None:
        unit.emit(kind, subject)  # type: ignore[attr-defined]

    await database.transact(work)


async def take(inbox: Inbox, count: int) -> list[str]:
    found = [await inbox.next() for _ in range(count)]
    return [event.subject for event in found if event is not None]


async def test_listeners_get_what_happens_while_they_listen_in_order(database: Database) -> None:
    await emit(database, "before")
    async with hub_on(database, LocalWakeups()) as hub, hub.listen() as one:
        await emit(database, "1")
        await emit(database, "other", kind="gossip")
        assert await take(one, 1) == ["1"]
        async with hub.listen() as late:
            for subject in ("2", "3"):
                await emit(database, subject)
            assert await take(one, 2) == ["2", "3"]
            assert await take(late, 2) == ["2", "3"]


async def test_lost_wakeups_lose_no_event(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "LOOK_S", 0.01)
    async with hub_on(database, DeafWakeups()) as hub, hub.listen() as inbox:
        for number in range(5):
            await emit(database, str(number))
        assert await take(inbox, 5) == list("01234")


async def test_more_than_a_batch_is_read_at_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "BATCH", 2)
    async with hub_on(database, LocalWakeups()) as hub, hub.listen() as inbox:

        async def work(unit: object) -> None:
            for number in range(7):
                unit.emit("news", str(number))  # type: ignore[attr-defined]

        await database.transact(work)
        assert await take(inbox, 7) == list("0123456")


async def test_who_does_not_read_is_cut_off_and_the_others_are_not(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_hub, "MAX_WAITING", 3)
    async with hub_on(database, LocalWakeups()) as hub, hub.listen() as lazy, hub.listen() as quick:
        for number in range(4):
            await emit(database, str(number))
            assert await take(quick, 1) == [str(number)]
        await lazy.cut_off()
        assert await lazy.next() is None
        assert not quick.is_cut_off


async def test_nobody_listening_costs_no_reading(database: Database) -> None:
    async with hub_on(database, LocalWakeups()) as hub:
        async with hub.listen() as inbox:
            await emit(database, "heard")
            assert await take(inbox, 1) == ["heard"]
        await emit(database, "between")
        assert hub._position is None
        async with hub.listen() as inbox:
            await emit(database, "after")
            assert await take(inbox, 1) == ["after"]
