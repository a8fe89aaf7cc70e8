"""Telling a subscriber what waits for it, in order (FHIR R4 subscription.html#rest-hook).

An empty notification is a POST to the endpoint; with a payload the endpoint is a FHIR base, and the resource
is PUT to `/type/id` below it, as it is at that moment. What is not accepted (2xx) is tried again, with all
that comes after it waiting, until the Subscription is given up: then it says `error`, and why.

A notification goes once it was accepted and that is committed; a server that dies in between sends it again.
What the subscriber may not read any more, what is not there any more, and what no longer fulfils the criteria
is dropped without a word.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import ColumnElement, and_, delete, false, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.interactions.body import unpack
from fhir.interactions.door import surroundings_of
from fhir.outcome import FHIR_JSON_UTF8
from fhir.search.compartment import SOMEBODY
from fhir.search.reach import AUDITED_PATIENT, R, within_reach
from fhir.search.value import InvalidSearch, Surroundings, UnsupportedSearch
from fhir.subscriptions.authority import AccessBy, AuthorityEnded, access_now, principal_of, reach_of
from fhir.subscriptions.match import deliver_job, select_changed
from fhir.subscriptions.request import ACTIVE, ERROR, OFF, query_of
from fhir.subscriptions.state import NOTIFICATION, STATE, Standing, end, find_standing, open_headers
from server.kernel.access import Access, Reach
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import SECOND_US
from server.kernel.database import UnitOfWork
from server.kernel.faults import Forbidden
from server.kernel.metrics import LONG_S, counter, histogram
from server.kernel.outbound_policy import DestinationRefused
from server.kernel.services import Services
from server.kernel.subscription_policy import LONGEST_RETRY_S, SubscriptionPolicy

if TYPE_CHECKING:
    from server.kernel.outbound import Outbound

IN_A_ROW = 50  # notifications of one job; then other subscribers have their turn

DELIVERED, FAILED, DROPPED = "delivered", "failed", "dropped"
_NOTIFICATIONS = counter("isthmus_notifications", "Notifications of Subscriptions, by outcome.", ("outcome",))
_DELAY = histogram(
    "isthmus_notification_delay_seconds", "From a change to its notification accepted.", (), LONG_S
)
_GIVEN_UP = counter("isthmus_subscriptions_given_up", "Subscriptions that were set to error.")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The notification that is next; `type` None: there is nothing that the subscriber may be told of."""

    number: int
    occurred_us: int
    type: str | None
    id: str | None
    body: bytes | None
    patient_id: str | None


async def deliver(services: Services, access_by: AccessBy, rid: int) -> None:
    """Deliver what waits for a Subscription, until something fails or others shall have their turn."""
    from server.kernel.outbound import Outbound  # here, so that the start of the server is not its import

    async with Outbound(services.subscriptions.outbound) as out:
        for _ in range(IN_A_ROW):
            if not await _deliver_next(services, access_by, rid, out):
                return
    await services.database.defer(deliver_job(rid))


async def _deliver_next(services: Services, access_by: AccessBy, rid: int, out: "Outbound") -> bool:
    """Deliver one notification; False: there is none, or not now."""
    found = await _find(services, access_by, rid)
    if isinstance(found, AuthorityEnded):
        await _end(services, rid, ERROR, str(found))
        return False
    if found is None:
        return False
    standing, waiting = found
    now = services.clock()
    if standing.end_us is not None and standing.end_us <= now:
        await _end(services, rid, OFF, None)
        return False
    if standing.next_us is not None and standing.next_us > now:
        await services.database.defer(deliver_job(rid, (standing.next_us - now) / SECOND_US))
        return False
    if waiting.type is None:
        await services.database.transact(lambda unit: _drop(unit, waiting))
        _NOTIFICATIONS.labels(DROPPED).inc()
        return True
    return await _tell(services, standing, waiting, out)


async def _find(
    services: Services, access_by: AccessBy, rid: int
) -> tuple[Standing, Waiting] | AuthorityEnded | None:
    async with services.database.read() as connection:
        active = await find_standing(connection, STATE.c.rid == rid, STATE.c.status == ACTIVE)
        if not active:
            return None
        standing = active[0]
        try:
            access = await access_now(connection, standing.authority, access_by)
            reach = reach_of(access, standing.resource_type)
        except AuthorityEnded as ended:
            return ended
        waiting = await _next(connection, standing, reach)
        if waiting is None:
            return None
        around = surroundings_of(services)
        if waiting.id and not await _still_matches(connection, standing, waiting.id, access, around):
            waiting = replace(waiting, type=None)
        return standing, waiting


async def _still_matches(
    connection: AsyncConnection, standing: Standing, resource_id: str, access: Access, around: Surroundings
) -> bool:
    """Whether the criteria find the resource as it would be sent; it may be another patient's by now."""
    try:
        query = query_of(standing.resource_type, standing.criteria, access, [resource_id])
    except (Forbidden, InvalidSearch, UnsupportedSearch):
        return False
    found = select_changed(query, reach_of(access, standing.resource_type), around)
    return (await connection.execute(found)).first() is not None


async def _next(connection: AsyncConnection, standing: Standing, reach: Reach) -> Waiting | None:
    n = NOTIFICATION.c
    kept = within_reach(reach, standing.resource_type)
    there: list[ColumnElement[bool]] = [n.resource_rid == R.c.rid, R.c.deleted == false()]
    if kept is not None:
        there.append(kept)
    query = (
        select(n.number, n.occurred_us, R.c.type, R.c.id, R.c.body, AUDITED_PATIENT.label("patient_id"))
        .select_from(NOTIFICATION.outerjoin(R, and_(*there)))
        .where(n.subscription_rid == standing.rid)
        .order_by(n.number)
        .limit(1)
    )
    row = (await connection.execute(query)).first()
    return None if row is None else Waiting(**row._mapping)


async def _tell(services: Services, standing: Standing, waiting: Waiting, out: "Outbound") -> bool:
    """Send a notification, audited before it leaves; returns whether it was accepted."""
    patient_id = None if waiting.patient_id == SOMEBODY else waiting.patient_id
    await services.read_audit.record(
        AuditEntry(
            principal_of(standing.authority), Action.READ, "notify", str(waiting.type), waiting.id, patient_id
        )
    )
    problem = await _send(services.subscriptions, standing, waiting, out)
    if problem is None:
        await services.database.transact(lambda unit: _accepted(unit, standing, waiting))
        _NOTIFICATIONS.labels(DELIVERED).inc()
        _DELAY.observe(max(0, services.clock() - waiting.occurred_us) / SECOND_US)
        return True
    _NOTIFICATIONS.labels(FAILED).inc()
    log.warning("notification failed", subscription=standing.id, tries=standing.failures + 1, reason=problem)
    if standing.failures + 1 >= services.subscriptions.attempts:
        text = f"Given up after {standing.failures + 1} tries: {problem}."
        await _end(services, standing.rid, ERROR, text)
    else:
        await services.database.transact(
            lambda unit: _failed(unit, standing, problem, services.subscriptions)
        )
    return False


async def _send(
    policy: SubscriptionPolicy, standing: Standing, waiting: Waiting, out: "Outbound"
) -> str | None:
    """Send it; returns what went wrong."""
    from server.kernel.outbound import Unreachable

    method, url, headers, body = request_of(standing, waiting)
    own = open_headers(standing.id, standing.headers, policy.keys)
    if standing.headers and not own:
        return "the secrets of its headers do not open with the master key"
    try:
        status = await out.send(method, url, [*headers.items(), *own], body)
    except DestinationRefused as refused:
        return str(refused).rstrip(".")
    except Unreachable as unreachable:
        return str(unreachable)
    return None if 200 <= status < 300 else f"the endpoint answered {status}"


def request_of(standing: Standing, waiting: Waiting) -> tuple[str, str, Mapping[str, str], bytes]:
    """Method, URL, headers and body of a notification (FHIR R4 subscription.html#rest-hook)."""
    if standing.payload is None:
        return "POST", standing.endpoint, {"Content-Length": "0"}, b""
    body = unpack(waiting.body or b"")
    url = f"{standing.endpoint.rstrip('/')}/{waiting.type}/{waiting.id}"
    return "PUT", url, {"Content-Type": FHIR_JSON_UTF8, "Content-Length": str(len(body))}, body


async def _accepted(unit: UnitOfWork, standing: Standing, waiting: Waiting) -> None:
    await _drop(unit, waiting)
    told = {"failures": 0, "next_us": None, "delivered_us": unit.now_us, "delivered": STATE.c.delivered + 1}
    await unit.execute(update(STATE).where(*_as_seen(standing)).values(told))


async def _failed(unit: UnitOfWork, standing: Standing, problem: str, policy: SubscriptionPolicy) -> None:
    delay_s = retry_delay_s(standing.failures, policy.first_retry_s, random.random())
    told = {
        "failures": standing.failures + 1,
        "next_us": unit.now_us + int(delay_s * SECOND_US),
        "error": problem,
        "error_us": unit.now_us,
    }
    await unit.execute(update(STATE).where(*_as_seen(standing)).values(told))
    unit.defer(deliver_job(standing.rid, delay_s))


def retry_delay_s(failures: int, first_s: float, chance: float) -> float:
    """Seconds until the next try after so many failures before: doubling, and up to a half less by chance."""
    return float(min(first_s * 2 ** min(failures, 30), LONGEST_RETRY_S)) * (1 - chance / 2)


def _as_seen(standing: Standing) -> Sequence[ColumnElement[bool]]:
    return STATE.c.rid == standing.rid, STATE.c.version_id == standing.version_id


async def _drop(unit: UnitOfWork, waiting: Waiting) -> None:
    await unit.execute(delete(NOTIFICATION).where(NOTIFICATION.c.number == waiting.number))


async def _end(services: Services, rid: int, status: str, reason: str | None) -> None:
    around = surroundings_of(services)

    async def work(unit: UnitOfWork) -> None:
        for standing in await find_standing(unit.connection, STATE.c.rid == rid, STATE.c.status == ACTIVE):
            await end(unit, standing, status, reason, around)

    await services.database.transact(work)
    if status == ERROR:
        _GIVEN_UP.inc()
        log.warning("subscription given up", reason=reason)


async def tend(services: Services) -> int:
    """See to what nobody else does: Subscriptions whose end has come, deliveries whose job was lost.

    Returns 0: there is no more to do until the next time.
    """
    around = surroundings_of(services)

    async def work(unit: UnitOfWork) -> None:
        over = await find_standing(unit.connection, STATE.c.status == ACTIVE, STATE.c.end_us <= unit.now_us)
        for standing in over:
            await end(unit, standing, OFF, None, around)
        due = STATE.c.next_us.is_(None) | (STATE.c.next_us <= unit.now_us)
        waits = select(NOTIFICATION.c.number).where(NOTIFICATION.c.subscription_rid == STATE.c.rid).exists()
        for rid in (await unit.execute(_active(due, waits))).scalars().all():
            unit.defer(deliver_job(rid))

    await services.database.transact(work)
    return 0


def _active(*conditions: Any) -> Any:
    return select(STATE.c.rid).where(STATE.c.status == ACTIVE, *conditions).order_by(STATE.c.rid)
