"""The engine claims workitems: the next in the queue, or one whose worker was lost (DESIGN §2, §6).

An attempt's lease keeps others away; when that has run out the next claim marks it lost and goes on with a
new number, while the workitem stays IN PROGRESS. Outside performers have no attempts: nothing here touches
their workitems.
"""

from typing import Any

from sqlalchemy import RowMapping, and_, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from dicomweb.worklist.attempts import (
    DEFAULT_RETRY,
    RetryPolicy,
    count_tries,
    end_canceled,
    is_current_attempt,
)
from dicomweb.worklist.change import WORKITEM, change, change_state, change_state_by
from dicomweb.worklist.codes import UNSPECIFIED_REASON
from dicomweb.worklist.eligible import CURRENT, claimable, is_current, queue_order, worth_a_look
from dicomweb.worklist.state import Event, State
from dicomweb.worklist.tables import WorkitemAttempt
from dicomweb.worklist.workitem import Claim, Outcome, Reason, claim_of
from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of
from server.kernel.uids import new_uid

_ATTEMPT = table_of(WorkitemAttempt)

GIVEN_UP_AT_ONCE = 100  # workitems one claim may give up before it returns; bounds its transaction


async def is_any_claimable(connection: AsyncConnection, now_us: int) -> bool:
    """Whether a claim would find something to do now."""
    if (await connection.execute(worth_a_look())).first() is None:
        return False
    waiting = select(WORKITEM.c.pk).select_from(WORKITEM.outerjoin(CURRENT, is_current()))
    return (await connection.execute(waiting.where(claimable(now_us)).limit(1))).first() is not None


async def claim(
    database: Database, worker: str, lease_s: float, retry: RetryPolicy = DEFAULT_RETRY
) -> Claim | None:
    """Take the next workitem: STAT first, then the oldest; None: nothing is to be done now.

    On the way it gives up what was tried often enough and what was asked to stop while nobody worked on it.
    """
    async with database.read() as connection:
        if (await connection.execute(worth_a_look())).first() is None:
            return None

    async def work(unit: UnitOfWork) -> Claim | None:
        for _ in range(GIVEN_UP_AT_ONCE):
            row = await _next(unit)
            if row is None:
                return None
            if row["attempt"] == 0 or await _may_retry(unit, row, worker, retry):
                return await _take(unit, row, worker, lease_s)
        return None

    return await database.transact(work)


async def _next(unit: UnitOfWork) -> RowMapping | None:
    """The next claimable workitem, locked; rows that others hold are passed over (PostgreSQL)."""
    query = (
        select(WORKITEM, CURRENT.c.outcome)
        .select_from(WORKITEM.outerjoin(CURRENT, is_current()))
        .where(claimable(unit.now_us))
        .order_by(*queue_order())
        .limit(1)
        .with_for_update(of=WORKITEM, skip_locked=True)
    )
    return (await unit.execute(query)).mappings().first()


async def _may_retry(unit: UnitOfWork, row: RowMapping, worker: str, retry: RetryPolicy) -> bool:
    """Whether a workitem without a living attempt is tried again; ends it as CANCELED when never again."""
    if row["outcome"] == Outcome.RUNNING.value and not await _mark_lost(unit, row):
        return False  # a heartbeat came between
    if row["cancel_requested_us"] is not None:
        await end_canceled(unit, row, worker, None)
        return False
    if await count_tries(unit, row) >= retry.attempts:
        text = f"The worker was lost in attempt {row['attempt']}, which was the last."
        await end_canceled(unit, row, worker, Reason(UNSPECIFIED_REASON, text))
        return False
    return True


async def _mark_lost(unit: UnitOfWork, row: RowMapping) -> bool:
    """End an attempt whose lease has run out; the lease is read again, in the state it has now."""
    expired = and_(is_current_attempt(row), _ATTEMPT.c.lease_until_us < unit.now_us)
    lost = {"outcome": Outcome.LOST.value, "ended_us": unit.now_us}
    return (await unit.execute(update(_ATTEMPT).where(expired).values(**lost))).rowcount == 1


async def _take(unit: UnitOfWork, row: RowMapping, worker: str, lease_s: float) -> Claim:
    taken = claim_of(row, attempt=row["attempt"] + 1, worker=worker)
    act = change_state_by(taken.principal)
    columns: dict[str, Any] = {"attempt": taken.attempt, "not_before_us": None, "progress_text": None}
    if row["state"] == State.SCHEDULED.value:
        columns |= {"transaction_uid": new_uid(), "started_us": unit.now_us}
        await change_state(unit, row, Event.START, act, columns)
    else:
        await change(unit, row, act, {**columns, "progress": 0})
    attempt = {
        "workitem_pk": taken.workitem_pk,
        "model_version": taken.model_version,
        "number": taken.attempt,
        "worker": worker,
        "started_us": unit.now_us,
        "lease_until_us": unit.now_us + int(lease_s * SECOND_US),
        "outcome": Outcome.RUNNING.value,
    }
    await unit.execute(insert(_ATTEMPT), [attempt])
    return taken
