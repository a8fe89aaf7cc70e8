"""How Subscriptions stand: for administrators, and as facts of the metrics."""

from typing import Any

from sqlalchemy import func, select

from fhir.subscriptions.authority import principal_of
from fhir.subscriptions.request import ACTIVE, ERROR, OFF
from fhir.subscriptions.state import NOTIFICATION, STATE, select_standing
from server.kernel.clock import SECOND_US, instant_text, now_us
from server.kernel.database import Database
from server.kernel.metrics import Fact

PAGE = 100  # Subscriptions in one answer
COUNTED = 10_000  # notifications that wait, counted of one Subscription and of all


async def list_subscriptions(database: Database, after: int) -> dict[str, Any]:
    """One page of Subscriptions; `after` in the answer leads to the next, None: this is the last."""
    waiting = NOTIFICATION.c.subscription_rid == STATE.c.rid
    few = select(NOTIFICATION.c.number).where(waiting).limit(COUNTED).correlate(STATE).subquery()
    backlog = select(func.count()).select_from(few).scalar_subquery()
    oldest = select(func.min(NOTIFICATION.c.occurred_us)).where(waiting).scalar_subquery()
    query = select_standing().add_columns(backlog.label("backlog"), oldest.label("oldest_us"))
    async with database.read() as connection:
        rows = (
            await connection.execute(query.where(STATE.c.rid > after).order_by(STATE.c.rid).limit(PAGE))
        ).all()
    return {
        "subscriptions": [_told(row) for row in rows],
        "after": rows[-1].rid if len(rows) == PAGE else None,
    }


def _told(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "status": row.status,
        "criteria": f"{row.resource_type}?{row.criteria}" if row.criteria else row.resource_type,
        "endpoint": row.endpoint,
        "payload": row.payload,
        "principal": principal_of(row.authority).id,
        "since": instant_text(row.since_us),
        "end": _instant(row.end_us),
        "delivered": row.delivered,
        "lastDelivered": _instant(row.delivered_us),
        "backlog": row.backlog,
        "oldestWaiting": _instant(row.oldest_us),
        "failures": row.failures,
        "nextTry": _instant(row.next_us),
        "lastError": row.error,
        "lastErrorAt": _instant(row.error_us),
    }


def _instant(instant_us: int | None) -> str | None:
    return None if instant_us is None else instant_text(instant_us)


async def subscription_facts(database: Database) -> list[Fact]:
    """How many Subscriptions stand how, how many notifications wait, and how long the oldest has."""
    counts = [
        select(func.count()).select_from(STATE).where(STATE.c.status == status).scalar_subquery()
        for status in (ACTIVE, ERROR, OFF)
    ]
    few = select(NOTIFICATION.c.number).limit(COUNTED).subquery()
    waiting = select(func.count()).select_from(few).scalar_subquery()
    first = select(NOTIFICATION.c.occurred_us).order_by(NOTIFICATION.c.number).limit(1).scalar_subquery()
    async with database.read() as connection:
        *standing, waits, oldest_us = (await connection.execute(select(*counts, waiting, first))).one()
    by_status = [((status,), float(n)) for status, n in zip((ACTIVE, ERROR, OFF), standing, strict=True)]
    age_s = 0.0 if oldest_us is None else max(0, now_us() - oldest_us) / SECOND_US
    return [
        Fact("isthmus_subscriptions", "Subscriptions by status.", ("status",), by_status),
        Fact("isthmus_notifications_waiting", "Notifications not accepted yet.", (), [((), float(waits))]),
        Fact("isthmus_notification_oldest_waiting_seconds", "Age of the oldest.", (), [((), age_s)]),
    ]
