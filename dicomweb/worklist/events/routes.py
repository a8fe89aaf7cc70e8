"""Routes of subscriptions, and the channel of their reports (PS3.18 §11.10–11.12, §8.10.4).

Access is that of the FHIR Task: `r` for a workitem and for the channel, `s` besides for a worklist. The
channel's token comes in the Authorization header, never in the URL: a browser's WebSocket cannot send one.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import quote

import structlog
from fastapi import APIRouter, Request, Response, WebSocket
from starlette.websockets import WebSocketDisconnect

from dicomweb.urls import ROOT, origin_of
from dicomweb.worklist.events.channel import Channel
from dicomweb.worklist.events.filter import parse_filter
from dicomweb.worklist.events.subscriptions import (
    FILTERED_WORKLIST,
    WORKLISTS,
    Subscriber,
    Wanted,
    subscribe,
    suspend,
    unsubscribe,
)
from server.kernel.access import Access, Permission, Reach, access_of, refresh_of
from server.kernel.audit import Action, AuditEntry
from server.kernel.event_hub import EventHub, Inbox
from server.kernel.faults import Fault, FaultKind
from server.kernel.metrics import counter, gauge
from server.kernel.services import Services

REFRESH_S = 1.0  # until a channel looks again what its token opens; look-ups themselves are cached for 5 s
MAX_CHANNELS = 100  # open ones of a principal in one process
NO_LOCK = '299 isthmus: "Deletion Lock not granted."'

# RFC 6455 §7.4.1 and IANA's registry
GOING_AWAY, POLICY, TRY_AGAIN, RESTART = 1001, 1008, 1013, 1012

_CHANNELS = gauge("isthmus_ups_channels", "Open channels of subscribers.")
_SENT = counter("isthmus_ups_reports", "Reports sent to subscribers.")
_CUT_OFF = counter("isthmus_ups_channels_cut_off", "Channels closed because their client read too slowly.")

_AE_TITLE = re.compile(r"[ !-\[\]-~]{1,16}")  # VR AE, PS3.5 Table 6.2-1

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Notifications:
    """What channels need beside the services."""

    hub: EventHub
    leaving: Callable[[], Awaitable[None]]  # returns when this process is on its way out
    channels: Counter[str] = field(default_factory=Counter)  # open ones by the Principal's id

    @contextmanager
    def open(self, principal: str) -> Iterator[None]:
        """Within, the principal has one channel more.

        Raises:
            TooManyChannels: it has enough.
        """
        if self.channels[principal] >= MAX_CHANNELS:
            raise TooManyChannels(f"A principal may have {MAX_CHANNELS} open channels.")
        self.channels[principal] += 1
        try:
            yield
        finally:
            self.channels[principal] -= 1
            if not self.channels[principal]:
                del self.channels[principal]


class TooManyChannels(Fault):
    """Each event is looked at for each channel: nobody may have any number of them."""

    kind = FaultKind.TOO_MANY_REQUESTS


class AeTitleInvalid(Fault):
    """No Application Entity title."""


class DeletionLockInvalid(Fault):
    """The query parameter deletionlock is neither true nor false."""


def build_router(services: Services, notifications: Notifications) -> APIRouter:
    """The routes of subscriptions, to be mounted under the DICOMweb root."""
    router = APIRouter(tags=["UPS-RS"])
    of_workitem = "/workitems/{workitem_uid}/subscribers/{ae_title}"

    @router.post(of_workitem)
    async def subscribe_ae(request: Request, workitem_uid: str, ae_title: str) -> Response:
        """Subscribe to a workitem or, under a well-known UID, to the worklist (PS3.18 §11.10)."""
        return await _subscribe(services, request, workitem_uid, ae_title)

    @router.delete(of_workitem)
    async def unsubscribe_ae(request: Request, workitem_uid: str, ae_title: str) -> Response:
        """Unsubscribe (PS3.18 §11.11)."""
        subscriber, reach = _subscriber(request, ae_title), _reach(request, workitem_uid)
        await services.database.transact(lambda unit: unsubscribe(unit, subscriber, workitem_uid, reach))
        return Response(status_code=HTTPStatus.OK)

    @router.post(of_workitem + "/suspend")
    async def suspend_ae(request: Request, workitem_uid: str, ae_title: str) -> Response:
        """Suspend a worklist subscription: no new workitems (PS3.18 §11.12)."""
        subscriber, reach = _subscriber(request, ae_title), _reach(request, workitem_uid)
        await services.database.transact(lambda unit: suspend(unit, subscriber, workitem_uid, reach))
        return Response(status_code=HTTPStatus.OK)

    @router.websocket("/subscribers/{ae_title}")
    async def open_channel(socket: WebSocket, ae_title: str) -> None:
        """Open Notification Connection (PS3.18 §8.10.4)."""
        await _serve_channel(services, notifications, socket, ae_title)

    return router


async def _subscribe(services: Services, request: Request, workitem_uid: str, ae_title: str) -> Response:
    subscriber, reach = _subscriber(request, ae_title), _reach(request, workitem_uid)
    keys = parse_filter(_filters(request)) if workitem_uid == FILTERED_WORKLIST else ()
    wanted = Wanted(workitem_uid, _deletion_lock(request), keys)
    is_locked = await services.database.transact(lambda unit: subscribe(unit, subscriber, wanted, reach))
    channel = f"{services.public_base}{ROOT}/subscribers/{quote(subscriber.ae_title)}"
    headers = {"Content-Location": channel.replace("http", "ws", 1)}
    if not is_locked:
        headers["Warning"] = NO_LOCK
    return Response(status_code=HTTPStatus.CREATED, headers=headers)


async def _serve_channel(
    services: Services, notifications: Notifications, socket: WebSocket, ae_title: str
) -> None:
    """Serve one channel until its client, its token or this process leaves."""
    access = access_of(socket.scope)
    origin = socket.headers.get("origin")
    try:
        subscriber = Subscriber(access.principal, _parse_ae_title(ae_title))
        reach = access.reach("Task", Permission.READ)
        if origin not in (None, origin_of(services.public_base)):  # with no token, any page could listen
            raise AeTitleInvalid("The channel is not for pages of other origins.")
        entry = AuditEntry(
            access.principal, Action.EXECUTE, "ups-channel", "Task", None, reach.audited_patient_id
        )
        await services.read_audit.record_retrieval(entry)
        with notifications.open(access.principal.id):
            await _report(Channel(services, subscriber, access), notifications, socket)
    except Fault:
        await _close(socket, POLICY)


async def _report(channel: Channel, notifications: Notifications, socket: WebSocket) -> None:
    async with notifications.hub.listen() as inbox:
        await socket.accept()
        with _CHANNELS.track_inprogress():
            code = await _until_the_end(channel, inbox, notifications, socket)
        await _close(socket, code)


async def _until_the_end(
    channel: Channel, inbox: Inbox, notifications: Notifications, socket: WebSocket
) -> int:
    """Send reports; returns the close code of what came first to end the channel."""
    endings = {
        asyncio.create_task(_send(channel, inbox, socket)): TRY_AGAIN,
        asyncio.create_task(_read(socket)): GOING_AWAY,
        asyncio.create_task(_refresh(channel, socket)): POLICY,
        asyncio.create_task(_wait(notifications.leaving)): RESTART,
        asyncio.create_task(_wait(inbox.cut_off)): TRY_AGAIN,
    }
    try:
        await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
        ended = next(task for task in endings if task.done())
        if error := ended.exception():
            log.warning(
                "channel ended", reason=str(error) if isinstance(error, Fault) else type(error).__name__
            )
        if inbox.is_cut_off:
            _CUT_OFF.inc()
        return endings[ended]
    finally:
        for task in endings:
            task.cancel()
        await asyncio.wait(endings)


async def _send(channel: Channel, inbox: Inbox, socket: WebSocket) -> None:
    while (event := await inbox.next()) is not None:
        for message in await channel.messages(event):
            await socket.send_text(message.decode())
            _SENT.inc()


async def _read(socket: WebSocket) -> None:
    """Read what the client sends, which means nothing, until it goes."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _refresh(channel: Channel, socket: WebSocket) -> None:
    """Renew what the channel's token opens; ends when it opens nothing more."""
    refresh = refresh_of(socket.scope)
    while True:
        await asyncio.sleep(REFRESH_S)
        access = await refresh()
        access.reach("Task", Permission.READ)
        channel.access = access


async def _wait(what: Callable[[], Awaitable[None]]) -> None:
    await what()


async def _close(socket: WebSocket, code: int) -> None:
    with suppress(RuntimeError, WebSocketDisconnect):  # the client was first
        await socket.close(code)


def _subscriber(request: Request, ae_title: str) -> Subscriber:
    return Subscriber(access_of(request.scope).principal, _parse_ae_title(ae_title))


def _reach(request: Request, target: str) -> Reach:
    """How far the token opens what is subscribed to.

    Raises:
        Forbidden: not at all.
    """
    access: Access = access_of(request.scope)
    if target in WORKLISTS:
        access.reach("Task", Permission.SEARCH)
    return access.reach("Task", Permission.READ)


def _parse_ae_title(text: str) -> str:
    """An AE title; blanks around it mean nothing (PS3.5 Table 6.2-1).

    Raises:
        AeTitleInvalid: it is none.
    """
    title = text.strip(" ")
    if not title or not _AE_TITLE.fullmatch(title):
        raise AeTitleInvalid("An AE title has 1 to 16 printable characters, and no backslash.")
    return title


def _deletion_lock(request: Request) -> bool:
    text = request.query_params.get("deletionlock", "false")
    if text not in ("true", "false"):
        raise DeletionLockInvalid("deletionlock must be true or false.")
    return text == "true"


def _filters(request: Request) -> list[str]:
    return request.query_params.getlist("filter")
