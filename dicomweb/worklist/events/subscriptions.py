"""Who is told of which workitems (PS3.4 CC.2.3.1, Table CC.2.3-2).

That table keeps a state for each workitem and AE. Here a row says what an AE asked for: of one workitem, or,
under a well-known UID, of all. A row of one workitem takes precedence, also one that says "not"; a suspended
worklist subscription goes on for the workitems that were there when it was suspended (`until_pk`).
An AE title belongs to its principal: two principals with one title do not meet.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from dicomweb.worklist.change import SUBSCRIBED, WORKITEM
from dicomweb.worklist.events.filter import Filter, decode_filter, encode_filter
from dicomweb.worklist.reach import within
from dicomweb.worklist.state import FINAL_STATES, WorkitemUnknown
from dicomweb.worklist.tables import WorkitemSubscription
from server.kernel.access import Principal, Reach
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import SECOND_US
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault, FaultKind, NotFound
from server.kernel.rows import table_of

WORKLIST = "1.2.840.10008.5.1.4.34.5"  # UPS Global Subscription SOP Instance (PS3.6 Table A-1)
FILTERED_WORKLIST = "1.2.840.10008.5.1.4.34.5.1"  # UPS Filtered Global Subscription SOP Instance
WORKLISTS = frozenset({WORKLIST, FILTERED_WORKLIST})

MAX_SUBSCRIPTIONS = 10_000  # of one principal, under all its titles
KEPT_US = 24 * 3600 * SECOND_US  # a subscription without lock outlives the end of its workitem so long

_SUBSCRIPTION = table_of(WorkitemSubscription)
_C = _SUBSCRIPTION.c


class SubscriptionUnknown(NotFound):
    """This AE has no such subscription (PS3.18 Tables 11.11.3-1, 11.12.3-1)."""


class TooManySubscriptions(Fault):
    """The principal has as many as it may have."""

    kind = FaultKind.CONFLICT


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Who is to be told."""

    principal: Principal
    ae_title: str

    @property
    def is_it(self) -> ColumnElement[bool]:
        """The rows of this subscriber."""
        return and_(_C.principal == self.principal.id, _C.ae_title == self.ae_title)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a subscriber asks for."""

    target: str  # a workitem's UID, or one of `WORKLISTS`
    deletion_lock: bool = False
    filter: Filter = ()


async def subscribe(unit: UnitOfWork, subscriber: Subscriber, wanted: Wanted, reach: Reach) -> bool:
    """Subscribe; returns whether the deletion lock was granted, if one was asked for.

    To a workitem: the subscriber gets its state as the first report. To a worklist: no lock is granted.

    Raises:
        WorkitemUnknown: no such workitem within reach.
        TooManySubscriptions: the principal has enough.
    """
    await unit.lock([f"ups-subscriber:{subscriber.principal.id}"])
    await _make_room(unit, subscriber.principal)
    if wanted.target in WORKLISTS:
        await _put(unit, subscriber, wanted.target, filter=encode_filter(wanted.filter))
        await unit.execute(delete(_SUBSCRIPTION).where(subscriber.is_it, ~_C.is_subscribed))
        _audit(unit, subscriber, Action.CREATE, "ups-subscribe", wanted.target, reach.audited_patient_id)
        return not wanted.deletion_lock
    row = await _workitem(unit, wanted.target, reach)
    await _put(unit, subscriber, wanted.target, deletion_lock=wanted.deletion_lock)
    said = {"principal": subscriber.principal.id, "ae_title": subscriber.ae_title, "state": row["state"]}
    unit.emit(SUBSCRIBED, wanted.target, said)
    _audit(unit, subscriber, Action.CREATE, "ups-subscribe", wanted.target, row["patient_id"])
    return True


async def unsubscribe(unit: UnitOfWork, subscriber: Subscriber, target: str, reach: Reach) -> None:
    """End a subscription; that of a worklist ends those of single workitems, with their locks, too.

    Raises:
        SubscriptionUnknown: there is none.
    """
    await unit.lock([f"ups-subscriber:{subscriber.principal.id}"])
    if target in WORKLISTS:
        worklist = await unit.execute(delete(_SUBSCRIPTION).where(subscriber.is_it, _C.target == target))
        if worklist.rowcount == 0:
            raise SubscriptionUnknown("There is no such subscription.")
        await unit.execute(delete(_SUBSCRIPTION).where(subscriber.is_it, _C.target.not_in(WORKLISTS)))
        _audit(unit, subscriber, Action.DELETE, "ups-unsubscribe", target, reach.audited_patient_id)
        return
    row = await _workitem(unit, target, reach)
    if condition_of(await rows_for(unit.connection, subscriber, target), row["pk"]) is None:
        raise SubscriptionUnknown("There is no such subscription.")
    await unit.execute(delete(_SUBSCRIPTION).where(subscriber.is_it, _C.target == target))
    if condition_of(await rows_for(unit.connection, subscriber, target), row["pk"]) is not None:
        await _put(unit, subscriber, target, is_subscribed=False)
    _audit(unit, subscriber, Action.DELETE, "ups-unsubscribe", target, row["patient_id"])


async def suspend(unit: UnitOfWork, subscriber: Subscriber, target: str, reach: Reach) -> None:
    """Subscribe to no new workitems from now on (PS3.18 §11.12).

    Raises:
        SubscriptionUnknown: there is no worklist subscription, or it is suspended already.
    """
    await unit.lock([f"ups-subscriber:{subscriber.principal.id}"])
    newest = (await unit.execute(select(func.max(WORKITEM.c.pk)))).scalar_one() or 0
    suspended = update(_SUBSCRIPTION).where(subscriber.is_it, _C.target == target, _C.until_pk.is_(None))
    if target not in WORKLISTS or (await unit.execute(suspended.values(until_pk=newest))).rowcount == 0:
        raise SubscriptionUnknown("There is no such worklist subscription.")
    _audit(unit, subscriber, Action.UPDATE, "ups-suspend", target, reach.audited_patient_id)


async def rows_for(
    connection: AsyncConnection, subscriber: Subscriber, workitem_uid: str
) -> list[RowMapping]:
    """What the subscriber has said that bears on a workitem."""
    targets = (workitem_uid, *WORKLISTS)
    query = select(_SUBSCRIPTION).where(subscriber.is_it, _C.target.in_(targets))
    return list((await connection.execute(query)).mappings())


def condition_of(rows: Iterable[RowMapping], workitem_pk: int) -> Filter | None:
    """What a workitem must match to be reported, by these rows; empty: nothing; None: it is not reported."""
    by_target = {
        row["target"]: row for row in rows if row["until_pk"] is None or workitem_pk <= row["until_pk"]
    }
    single = next((row for target, row in by_target.items() if target not in WORKLISTS), None)
    if single is not None:
        return () if single["is_subscribed"] else None
    if WORKLIST in by_target:
        return ()
    filtered = by_target.get(FILTERED_WORKLIST)
    return decode_filter(filtered["filter"]) if filtered is not None else None


async def _workitem(unit: UnitOfWork, workitem_uid: str, reach: Reach) -> RowMapping:
    columns = (WORKITEM.c.pk, WORKITEM.c.state, WORKITEM.c.patient_id)
    found = await unit.execute(
        select(*columns).where(WORKITEM.c.workitem_uid == workitem_uid, within(reach)).with_for_update()
    )
    row = found.mappings().one_or_none()
    if row is None:
        raise WorkitemUnknown
    return row


async def _put(unit: UnitOfWork, subscriber: Subscriber, target: str, **said: Any) -> None:
    """Make the row of a target say this, whatever it said before."""
    await unit.execute(delete(_SUBSCRIPTION).where(subscriber.is_it, _C.target == target))
    row = {
        "principal": subscriber.principal.id,
        "ae_title": subscriber.ae_title,
        "target": target,
        "is_subscribed": True,
        "deletion_lock": False,
        "filter": "[]",
        "created_us": unit.now_us,
        **said,
    }
    await unit.execute(insert(_SUBSCRIPTION), [row])


async def _make_room(unit: UnitOfWork, principal: Principal) -> None:
    """See that there are not too many; if so, forget first what can have no effect any more."""
    if await _count(unit, principal) < MAX_SUBSCRIPTIONS:
        return
    c = WORKITEM.c
    ended = c.state.in_([state.value for state in FINAL_STATES]) & (c.ended_us < unit.now_us - KEPT_US)
    is_spent = select(c.pk).where(c.workitem_uid == _C.target, ended).exists()
    theirs = and_(_C.principal == principal.id, ~_C.deletion_lock)
    await unit.execute(delete(_SUBSCRIPTION).where(theirs, is_spent))
    if await _count(unit, principal) >= MAX_SUBSCRIPTIONS:
        raise TooManySubscriptions(f"A principal may have {MAX_SUBSCRIPTIONS} subscriptions.")


async def _count(unit: UnitOfWork, principal: Principal) -> int:
    count = select(func.count()).select_from(_SUBSCRIPTION).where(_C.principal == principal.id)
    return int((await unit.execute(count)).scalar_one())


def _audit(  # noqa: PLR0913, PLR0917  an entry has so many parts
    unit: UnitOfWork,
    subscriber: Subscriber,
    action: Action,
    interaction: str,
    target: str,
    patient_id: str | None,
) -> None:
    unit.audit(AuditEntry(subscriber.principal, action, interaction, "Task", target, patient_id))
