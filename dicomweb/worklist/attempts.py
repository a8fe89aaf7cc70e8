"""The engine performs what it has claimed: heartbeat, fence, complete, fail, wait, cancel (DESIGN §2, §6).

The current attempt is the one with the highest number. Its lease keeps others away (`claims`); whatever a
worker tries whose attempt was lost raises `LeaseLost`, in the very transaction in which it would have
published. A worker whose lease ran out unnoticed may still finish. Outside performers have no attempts:
nothing here touches their workitems.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, func, select, update

from dicomweb.worklist.change import WORKITEM, announce_progress, change, change_state, change_state_by, hold
from dicomweb.worklist.state import Event, FinalStateNotMet, State
from dicomweb.worklist.tables import WorkitemAttempt
from dicomweb.worklist.workitem import (
    Claim,
    Outcome,
    Reason,
    SeriesReference,
    decode_series,
    encode_series,
    final_reason,
    reason_columns,
    reason_of,
    worker_principal,
)
from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Fault, FaultKind
from server.kernel.rows import table_of

_ATTEMPT = table_of(WorkitemAttempt)

LONGEST_OUTAGE_US = 24 * 3600 * SECOND_US  # of what a workitem needs, counted from its first attempt
SHORTEST_WAIT_US, LONGEST_WAIT_US = 10 * SECOND_US, 600 * SECOND_US  # half of what it has waited, between


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often the engine tries, and how long it waits after a failure; the wait doubles each time."""

    attempts: int = 3
    first_delay_s: float = 10.0

    def delay_us(self, attempt: int) -> int:
        """The wait after attempt number `attempt` has failed."""
        return int(self.first_delay_s * 2 ** (attempt - 1) * SECOND_US)


DEFAULT_RETRY = RetryPolicy()


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The answer to a heartbeat."""

    cancel_requested: bool  # somebody wants the performer to stop: end with `cancel`


class LeaseLost(Fault):
    """The attempt is not the current one any more; its results must not be published."""

    kind = FaultKind.CONFLICT


async def heartbeat(
    database: Database, claim: Claim, lease_s: float, *, progress: int | None = None, text: str | None = None
) -> Heartbeat:
    """Prolong the lease and say how far the work is (per cent); None leaves what was said before.

    Raises:
        LeaseLost: another attempt has taken over, or the workitem has ended.
    """

    async def work(unit: UnitOfWork) -> Heartbeat:
        row = await fence(unit, claim)
        said = {"progress": progress, "progress_text": text}
        columns = {name: value for name, value in said.items() if value is not None}
        if columns:
            await unit.execute(update(WORKITEM).where(WORKITEM.c.pk == claim.workitem_pk).values(**columns))
            announce_progress(unit, row, progress, text)
        until = unit.now_us + int(lease_s * SECOND_US)
        await unit.execute(update(_ATTEMPT).where(is_current_attempt(row)).values(lease_until_us=until))
        return Heartbeat(cancel_requested=row["cancel_requested_us"] is not None)

    return await database.transact(work)


async def fence(unit: UnitOfWork, claim: Claim) -> RowMapping:
    """Hold the claimed workitem's row until the transaction ends; a publication does so first,
    under the study's lock.

    Raises:
        LeaseLost: the attempt is not the current, running one.
    """
    row = await hold(unit, WORKITEM.c.pk == claim.workitem_pk)
    if row is None or row["state"] != State.IN_PROGRESS.value or row["attempt"] != claim.attempt:
        raise LeaseLost(f"Attempt {claim.attempt} is not the current attempt of the workitem.")
    running = select(_ATTEMPT.c.pk).where(
        is_current_attempt(row), _ATTEMPT.c.outcome == Outcome.RUNNING.value
    )
    if (await unit.execute(running)).first() is None:
        raise LeaseLost(f"Attempt {claim.attempt} of the workitem has ended.")
    return row


async def complete(unit: UnitOfWork, claim: Claim, output: tuple[SeriesReference, ...]) -> None:
    """End a claimed workitem as COMPLETED, in the transaction that writes its results.

    Raises:
        LeaseLost: the attempt is not the current, running one.
        FinalStateNotMet: there is no output (PS3.4 Table CC.2.5-3).
    """
    row = await fence(unit, claim)
    columns = {
        "output": encode_series(output),
        "progress": 100,
        "progress_text": None,
        **reason_columns(None),
    }
    if not output:
        raise FinalStateNotMet
    await change_state(unit, row, Event.COMPLETE, change_state_by(claim.principal), columns)
    await _end_attempt(unit, row, Outcome.COMPLETED, None)


async def cancel(unit: UnitOfWork, claim: Claim, reason: Reason | None = None) -> None:
    """End a claimed workitem as CANCELED; without `reason`, for the reason of the cancel request.

    Raises:
        LeaseLost: the attempt is not the current, running one.
    """
    row = await fence(unit, claim)
    await end_canceled(unit, row, claim.worker, reason)
    await _end_attempt(unit, row, Outcome.CANCELED, reason)


async def fail(
    unit: UnitOfWork,
    claim: Claim,
    reason: Reason,
    *,
    retryable: bool = True,
    retry: RetryPolicy = DEFAULT_RETRY,
) -> int | None:
    """End the attempt as failed; returns the instant (µs) from which the engine tries again, None: never.

    When it will not, the workitem is CANCELED with `reason`. Until the next attempt it stays IN PROGRESS.

    Raises:
        LeaseLost: the attempt is not the current, running one.
    """
    row = await fence(unit, claim)
    await _end_attempt(unit, row, Outcome.FAILED, reason)
    asked_to_stop = row["cancel_requested_us"] is not None
    tries = await count_tries(unit, row)
    if asked_to_stop or not retryable or tries >= retry.attempts:
        await end_canceled(unit, row, claim.worker, None if asked_to_stop else reason)
        return None
    text = f"Attempt {claim.attempt} failed and will be repeated: {reason.text or 'no reason given'}"
    return await _wait(unit, row, claim, retry.delay_us(tries), text)


async def postpone(unit: UnitOfWork, claim: Claim, reason: Reason) -> int | None:
    """Give a claimed workitem back until a while from now (µs), as if it had not been tried: what it needs is
    out of order. None, and nothing is changed: it has waited for that long enough, or was asked to stop.

    Raises:
        LeaseLost: the attempt is not the current, running one.
    """
    row = await fence(unit, claim)
    waited_us = unit.now_us - row["started_us"]
    if waited_us >= LONGEST_OUTAGE_US or row["cancel_requested_us"] is not None:
        return None
    await _end_attempt(unit, row, Outcome.RELEASED, reason)
    text = f"Attempt {claim.attempt} waits: {reason.text or 'no reason given'}"
    delay_us = min(max(waited_us // 2, SHORTEST_WAIT_US), LONGEST_WAIT_US)
    return await _wait(unit, row, claim, delay_us, text)


async def _wait(unit: UnitOfWork, row: RowMapping, claim: Claim, delay_us: int, text: str) -> int:
    not_before_us = unit.now_us + delay_us
    columns = {"not_before_us": not_before_us, "progress": 0, "progress_text": text}
    await change(unit, row, change_state_by(claim.principal), columns)
    announce_progress(unit, row, 0, text)
    return not_before_us


async def hand_over(unit: UnitOfWork, row: RowMapping, model_version: str) -> None:
    """Write down that another version makes the current attempt at a held workitem."""
    await unit.execute(update(_ATTEMPT).where(is_current_attempt(row)).values(model_version=model_version))


async def release(unit: UnitOfWork, claim: Claim) -> None:
    """Give a claimed workitem back, at once and as if it had not been tried: its worker must stop.

    Raises:
        LeaseLost: the attempt is not the current, running one.
    """
    row = await fence(unit, claim)
    await _end_attempt(unit, row, Outcome.RELEASED, None)
    text = "The worker stopped; another one goes on."
    columns = {"progress": 0, "progress_text": text}
    await change(unit, row, change_state_by(claim.principal), columns)
    announce_progress(unit, row, 0, text)


async def fail_attempt(
    database: Database,
    claim: Claim,
    reason: Reason,
    *,
    retryable: bool = True,
    retry: RetryPolicy = DEFAULT_RETRY,
) -> int | None:
    """`fail` in a transaction of its own."""
    return await database.transact(lambda unit: fail(unit, claim, reason, retryable=retryable, retry=retry))


async def standing_output(unit: UnitOfWork, claim: Claim) -> tuple[SeriesReference, ...]:
    """What the engine's last COMPLETED workitem of this model and study wrote: what `claim` supersedes.

    Whoever asked for it: one report tells what a model made of a study.

    What an outside performer says that it made is none of the engine's to supersede.
    """
    c = WORKITEM.c
    query = (
        select(c.output)
        .where(c.study_instance_uid == claim.study_instance_uid, c.model_name == claim.model_name)
        .where(c.state == State.COMPLETED.value, c.pk < claim.workitem_pk, c.attempt > 0)
        .order_by(c.pk.desc())
        .limit(1)
    )
    output = (await unit.execute(query)).scalar_one_or_none()
    return decode_series(output) if output is not None else ()


async def count_tries(unit: UnitOfWork, row: RowMapping) -> int:
    """The attempts that count: those that ended by themselves, or with their worker."""
    counted = and_(_ATTEMPT.c.workitem_pk == row["pk"], _ATTEMPT.c.outcome != Outcome.RELEASED.value)
    return int((await unit.execute(select(func.count()).where(counted))).scalar_one())


async def end_canceled(unit: UnitOfWork, row: RowMapping, worker: str, reason: Reason | None) -> None:
    """End a held workitem as CANCELED, for this reason, else for that of the cancel request."""
    final = final_reason(reason, reason_of(row))
    act = change_state_by(worker_principal(worker))
    await change_state(unit, row, Event.CANCEL, act, {"progress_text": None, **reason_columns(final)})


async def _end_attempt(unit: UnitOfWork, row: RowMapping, outcome: Outcome, reason: Reason | None) -> None:
    ended: dict[str, Any] = {"outcome": outcome.value, "ended_us": unit.now_us}
    said = {"reason": reason.text if reason else None, "fault": reason.fault if reason else None}
    await unit.execute(update(_ATTEMPT).where(is_current_attempt(row)).values(ended | said))


def is_current_attempt(row: RowMapping) -> ColumnElement[bool]:
    """The attempt that a row of the workitem table names."""
    return and_(_ATTEMPT.c.workitem_pk == row["pk"], _ATTEMPT.c.number == row["attempt"])
