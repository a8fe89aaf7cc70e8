"""A channel whose client does not read: it is closed, and costs nobody else anything."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from dicomweb.worklist.events import routes
from dicomweb.worklist.events.report import KINDS
from dicomweb.worklist.events.routes import Notifications, build_router
from dicomweb.worklist.events.subscriptions import WORKLIST, Subscriber, Wanted, subscribe
from server.kernel import event_hub
from server.kernel.access import ACCESS_KEY, EVERYONE, REFRESH_KEY, Access, system_access
from server.kernel.database import Database
from server.kernel.event_hub import TOPIC, EventHub
from server.kernel.services import Services
from server.kernel.wakeups import LocalWakeups
from tests.unit.worklist.kit import armed_uid

ACCESS = system_access("watcher")
LONG_S = 60.0


class StuckClient:
    """A WebSocket whose messages nobody takes."""

    def __init__(self) -> None:
        self.accepted, self.reached, self.closed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.code = 0
        self._began = False

    async def receive(self) -> dict[str, Any]:
        if not self._began:
            self._began = True
            return {"type": "websocket.connect"}
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.accept":
            self.accepted.set()
        elif message["type"] == "websocket.close":
            self.code = message["code"]
            self.closed.set()
        else:
            self.reached.set()
            await asyncio.Event().wait()


async def refresh() -> Access:
    return ACCESS


async def test_client_that_does_not_read_is_cut_off(
    services: Services, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(event_hub, "MAX_WAITING", 3)
    wakeups, stop, never = LocalWakeups(), asyncio.Event(), asyncio.Event()
    database.on_events(lambda _kinds: wakeups.tell(TOPIC))
    hub = EventHub(database, wakeups, KINDS)
    reading = asyncio.create_task(hub.run(stop))
    app = FastAPI()
    app.include_router(build_router(services, Notifications(hub, never.wait)))
    subscriber = Subscriber(ACCESS.principal, "WATCHER")
    await database.transact(lambda unit: subscribe(unit, subscriber, Wanted(WORKLIST), EVERYONE))
    client = StuckClient()
    scope = {
        "type": "websocket",
        "path": "/subscribers/WATCHER",
        "raw_path": b"/subscribers/WATCHER",
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "subprotocols": [],
        ACCESS_KEY: ACCESS,
        REFRESH_KEY: refresh,
    }
    channel = asyncio.create_task(app(scope, client.receive, client.send))
    async with asyncio.timeout(LONG_S):
        await client.accepted.wait()
        await armed_uid(database, "1.2.3.0")
        await client.reached.wait()
        for number in range(1, 6):
            await armed_uid(database, f"1.2.3.{number}")
        await client.closed.wait()
        await channel
    assert client.code == 1013
    stop.set()
    await reading


def test_a_principal_has_a_bounded_number_of_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "MAX_CHANNELS", 1)
    notifications = Notifications(None, asyncio.Event().wait)  # type: ignore[arg-type]  # no event comes
    with (
        notifications.open("client:a"),
        notifications.open("client:b"),
        pytest.raises(routes.TooManyChannels),
        notifications.open("client:a"),
    ):
        pass
    with notifications.open("client:a"):
        pass
