"""Which workitems the engine may claim now, and in which order, as SQL."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, exists, or_, select

from dicomweb.worklist.change import WORKITEM
from dicomweb.worklist.state import Priority, State
from dicomweb.worklist.tables import WorkitemAttempt
from dicomweb.worklist.workitem import NOBODYS, Outcome
from server.kernel.rows import table_of

CURRENT = table_of(WorkitemAttempt).alias("current_attempt")  # the attempt that Workitem.attempt names

RANK: Mapping[str, int] = {Priority.HIGH.value: 0, Priority.MEDIUM.value: 1, Priority.LOW.value: 2}


def is_current() -> ColumnElement[bool]:
    """Joins the current attempt; outside performers have none."""
    return and_(CURRENT.c.workitem_pk == WORKITEM.c.pk, CURRENT.c.number == WORKITEM.c.attempt)


def claimable(now_us: int) -> ColumnElement[bool]:
    """Workitems to start, and workitems of the engine that nobody works on any more.

    A successor waits until its predecessor has ended: results come out in the order of their input. It does
    not wait for an outside performer, who has no lease and may never end.
    Each branch names what it needs of the attempt, so that a row without one never qualifies for a retry,
    also when PostgreSQL checks a row again that changed under the query.
    """
    w, a = WORKITEM.c, CURRENT.c
    due = or_(w.not_before_us.is_(None), w.not_before_us <= now_us)
    to_start = and_(w.state == State.SCHEDULED.value, due, ~_predecessor_in_progress())
    failed = and_(a.outcome.in_([Outcome.FAILED.value, Outcome.RELEASED.value]), due)
    abandoned = and_(a.outcome == Outcome.RUNNING.value, a.lease_until_us < now_us)
    return or_(to_start, and_(w.state == State.IN_PROGRESS.value, or_(failed, abandoned)))


def queue_order() -> tuple[ColumnElement[Any], ...]:
    """STAT first, then the oldest."""
    c = WORKITEM.c
    return case(RANK, value=c.priority, else_=len(RANK)), c.scheduled_us, c.pk


def worth_a_look() -> Select[Any]:
    """Whether any workitem waits for the engine or is performed by it; cheap, and without the clock."""
    return select(WORKITEM.c.pk).where(is_engines()).limit(1)


def is_engines() -> ColumnElement[bool]:
    """Open workitems that are the engine's to perform, or that it performs."""
    c = WORKITEM.c
    waiting = and_(c.state == State.SCHEDULED.value, c.model_name != NOBODYS)
    return or_(waiting, and_(c.state == State.IN_PROGRESS.value, c.attempt > 0))


def _predecessor_in_progress() -> ColumnElement[bool]:
    predecessor = WORKITEM.alias("predecessor")
    return exists(
        select(predecessor.c.pk).where(
            predecessor.c.workitem_uid == WORKITEM.c.predecessor_uid,
            predecessor.c.state == State.IN_PROGRESS.value,
            predecessor.c.attempt > 0,
        )
    )
