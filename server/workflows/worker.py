"""The worker: claims a workitem, runs its model, publishes the findings; nothing is acknowledged before that.

A heartbeat prolongs the claim while the work runs. When the lease is lost, or somebody asked to cancel, the
work is stopped where it is. What the input or the model cannot give ends as a visible CANCELED workitem with
the reason; what may pass (a busy database, a lost runner) is tried again.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from ai_engine.bundle import BundleInvalid
from ai_engine.preprocess.refusal import SeriesRefused
from ai_engine.runners.kinds import UnsupportedRunnerKind
from ai_engine.runners.port import ModelOutputInvalid, RemoteUnavailable, RunnerFault, SandboxUnavailable
from dicomweb.worklist.attempts import LeaseLost, cancel, fail, heartbeat, postpone, release
from dicomweb.worklist.claims import claim
from dicomweb.worklist.codes import (
    EQUIPMENT_FAILURE,
    OBJECT_SET_INCOMPLETE,
    OBJECT_TYPES_NOT_SUPPORTED,
    OBJECTS_INCORRECTLY_FORMATTED,
    RESOURCE_INADEQUATE,
    UNSPECIFIED_REASON,
    Code,
)
from dicomweb.worklist.workitem import Claim, Reason
from server.kernel.clock import SECOND_US
from server.kernel.database import UnitOfWork
from server.kernel.end_task import end_task
from server.kernel.faults import Busy, Fault
from server.kernel.object_store import DamagedObject
from server.kernel.services import Services
from server.kernel.tracing import Kind, joined, span
from server.workflows.background import described
from server.workflows.engine_jobs import analyse_job
from server.workflows.loaded_models import ModelNotUsable
from server.workflows.model_input import InputGone
from server.workflows.model_metrics import Ended, count_ended

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Progress:
    """How far the work is; written by the work, sent by the heartbeat."""

    percent: int = 0
    text: str = "claimed"
    version: str | None = None  # of the model, where another than the claim names has taken over

    def at(self, percent: int, text: str) -> None:
        """Say what is being done now."""
        self.percent, self.text = percent, text


Work = Callable[[Claim, Progress], Coroutine[Any, Any, None]]  # analyse and publish


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How one worker process behaves."""

    name: str  # unique among living workers; audit shows it
    lease_s: float

    @property
    def beat_s(self) -> float:
        """Seconds between heartbeats: a third of the lease, and often enough to watch."""
        return min(self.lease_s / 3, 1.0)


# Why an attempt failed, by fault: the reason's code, and whether another attempt can help. First match.
_VERDICTS: Mapping[type[BaseException], tuple[Code, bool]] = {
    SeriesRefused: (OBJECT_TYPES_NOT_SUPPORTED, False),
    InputGone: (OBJECT_SET_INCOMPLETE, False),
    DamagedObject: (OBJECTS_INCORRECTLY_FORMATTED, False),
    ModelNotUsable: (RESOURCE_INADEQUATE, False),
    BundleInvalid: (RESOURCE_INADEQUATE, False),
    UnsupportedRunnerKind: (RESOURCE_INADEQUATE, False),
    SandboxUnavailable: (RESOURCE_INADEQUATE, False),
    ModelOutputInvalid: (EQUIPMENT_FAILURE, False),
    RunnerFault: (EQUIPMENT_FAILURE, True),
    Busy: (RESOURCE_INADEQUATE, True),
}


def verdict_on(error: BaseException) -> tuple[Reason, bool]:
    """The discontinuation reason for an error, and whether the work is worth another attempt."""
    fault = fault_code(error)
    for kind, (code, retryable) in _VERDICTS.items():
        if isinstance(error, kind):
            return Reason(code, str(error), fault), retryable
    if isinstance(error, Fault):
        return Reason(UNSPECIFIED_REASON, str(error), fault), False
    return Reason(UNSPECIFIED_REASON, f"The engine failed ({type(error).__name__}).", fault), True


def fault_code(error: BaseException) -> str:
    """What an error is called where it is counted: no text of it."""
    return error.code if isinstance(error, RunnerFault) else type(error).__name__


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process; a step does one workitem, and several steps may be under way."""

    services: Services
    settings: WorkerSettings
    work: Work

    async def step(self) -> int:
        """Do one workitem, if one waits; returns how many were done."""
        asked_ns = time.time_ns()
        taken = await claim(self.services.database, self.settings.name, self.settings.lease_s)
        if taken is None:
            return 0
        with (
            structlog.contextvars.bound_contextvars(workitem=taken.workitem_uid, attempt=taken.attempt),
            joined(taken.traceparent),
            span("workitem", _attributes(taken), Kind.CONSUMER, since_ns=asked_ns) as one,
        ):
            with span("claim", since_ns=asked_ns):
                pass  # it has been, before there was a trace to tell it to
            ended, version = await self._perform(taken)
            one.set({"isthmus.outcome": ended.value, "isthmus.version": version})
            if ended in (Ended.FAILED, Ended.LOST):
                one.failed(ended.value)
        return 1

    async def _perform(self, taken: Claim) -> tuple[Ended, str]:
        """Let the work run while heartbeats hold the claim; then write down how it ended.

        Returns that, and the version of the model that ran.
        """
        progress = Progress()
        work = asyncio.create_task(self.work(taken, progress))
        try:
            asked_to_cancel = await self._watch(taken, progress, work)
        except asyncio.CancelledError:  # this process must stop before the work is done
            await asyncio.shield(self._release(taken, work))
            raise
        ended = await self._end(taken, work, asked_to_cancel=asked_to_cancel)
        version = progress.version or taken.model_version
        count_ended(replace(taken, model_version=version), ended)
        return ended, version

    async def _end(self, taken: Claim, work: "asyncio.Task[None]", *, asked_to_cancel: bool) -> Ended:
        if asked_to_cancel:
            return await self._cancel(taken)
        if work.cancelled():
            log.warning("lease lost; the work is dropped")
            return Ended.LOST
        if error := work.exception():
            return await self._fail(taken, error)
        log.info("workitem completed", model=taken.model_name)
        return Ended.COMPLETED

    async def _watch(self, taken: Claim, progress: Progress, work: "asyncio.Task[None]") -> bool:
        """Prolong the lease until the work has ended; stop it when it must not go on.

        Returns whether it was stopped because somebody asked to cancel the workitem.
        """
        while not (await asyncio.wait([work], timeout=self.settings.beat_s))[0]:
            try:
                answer = await heartbeat(
                    self.services.database,
                    taken,
                    self.settings.lease_s,
                    progress=progress.percent,
                    text=progress.text,
                )
            except Busy:
                continue  # the lease lasts three beats
            except LeaseLost:
                work.cancel()
            else:
                if answer.cancel_requested and work.cancel():
                    await asyncio.wait([work])
                    return work.cancelled()
        return False

    async def _release(self, taken: Claim, work: "asyncio.Task[None]") -> None:
        """Stop the work and give the workitem back, so that another worker need not wait for the lease."""
        await end_task(work)
        try:
            await self.services.database.transact(lambda unit: release(unit, taken))
        except (LeaseLost, Busy) as fault:  # it is published already, or the lease must run out
            log.warning("workitem not given back", reason=str(fault))
        else:
            log.info("workitem given back")

    async def _cancel(self, taken: Claim) -> Ended:
        try:
            await self.services.database.transact(lambda unit: cancel(unit, taken))
        except LeaseLost:
            log.warning("lease lost before the cancellation was recorded")
            return Ended.LOST
        log.info("cancelled on request")
        return Ended.CANCELED

    async def _fail(self, taken: Claim, error: BaseException) -> Ended:
        if isinstance(error, LeaseLost):
            log.warning("lease lost; the work is dropped")
            return Ended.LOST
        reason, retryable = verdict_on(error)
        outage = isinstance(error, RemoteUnavailable | Busy)
        log.warning("attempt failed", retryable=retryable, outage=outage, **described(error))
        try:
            waits = await self._record_failure(taken, reason, retryable=retryable, outage=outage)
        except LeaseLost:
            log.warning("lease lost before the failure was recorded")
            return Ended.LOST
        if waits:
            return Ended.WAITING
        return Ended.REFUSED if isinstance(error, SeriesRefused | InputGone) else Ended.FAILED

    async def _record_failure(
        self, taken: Claim, reason: Reason, *, retryable: bool, outage: bool = False
    ) -> bool:
        """End the attempt; when there will be another, the job that calls for it is deferred with that.

        Returns whether the workitem waits for the end of an outage, and the attempt counts for nothing.
        """

        async def work(unit: UnitOfWork) -> bool:
            again_us = await postpone(unit, taken, reason) if outage else None
            waits = again_us is not None
            if again_us is None:
                again_us = await fail(unit, taken, reason, retryable=retryable)
            if again_us is not None:
                delay_s = (again_us - unit.now_us) / SECOND_US
                unit.defer(analyse_job(taken.workitem_uid, taken.priority.value, delay_s))
            return waits

        return await self.services.database.transact(work)


def _attributes(taken: Claim) -> dict[str, str | int | float | bool]:
    """What a trace says of a workitem: nothing of the study."""
    return {
        "isthmus.workitem": taken.workitem_uid,
        "isthmus.attempt": taken.attempt,
        "isthmus.rule": taken.rule,
        "isthmus.model": taken.model_name,
        "isthmus.version": taken.model_version,
    }
