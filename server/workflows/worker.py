"""The worker: claims a workitem, runs its model, publishes the findings; nothing is acknowledged before that.

A heartbeat prolongs the claim while the work runs. When the lease is lost, or somebody asked to cancel, the
work is stopped where it is. What the input or the model cannot give ends as a visible CANCELED workitem with
the reason; what may pass (a busy database, a lost runner) is tried again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import structlog

from ai_engine.bundle import BundleInvalid
from ai_engine.preprocess.refusal import SeriesRefused
from ai_engine.runners.kinds import UnsupportedRunnerKind
from ai_engine.runners.port import ModelOutputInvalid, RunnerFault, SandboxUnavailable
from dicomweb.worklist.attempts import LeaseLost, cancel, claim, fail_attempt, heartbeat
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
from server.kernel.faults import Busy, Fault
from server.kernel.services import Services
from server.workflows.background import not_a_fault
from server.workflows.model_input import InputDamaged, InputGone
from server.workflows.models import ModelNotUsable

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Progress:
    """How far the work is; written by the work, sent by the heartbeat."""

    percent: int = 0
    text: str = "claimed"

    def at(self, percent: int, text: str) -> None:
        """Say what is being done now."""
        self.percent, self.text = percent, text


Work = Callable[[Claim, Progress], Awaitable[None]]  # analyse and publish


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
    InputDamaged: (OBJECTS_INCORRECTLY_FORMATTED, False),
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
    for kind, (code, retryable) in _VERDICTS.items():
        if isinstance(error, kind):
            return Reason(code, str(error)), retryable
    if isinstance(error, Fault):
        return Reason(UNSPECIFIED_REASON, str(error)), False
    return Reason(UNSPECIFIED_REASON, f"The engine failed ({type(error).__name__})."), True


@dataclass(slots=True)
class Worker:
    """One worker process: one workitem at a time."""

    services: Services
    settings: WorkerSettings
    work: Work
    performed: int = field(default=0)

    async def step(self) -> int:
        """Do one workitem, if one waits; returns how many were done."""
        taken = await claim(self.services.database, self.settings.name, self.settings.lease_s)
        if taken is None:
            return 0
        with structlog.contextvars.bound_contextvars(workitem=taken.workitem_uid, attempt=taken.attempt):
            await self._perform(taken)
        self.performed += 1
        return 1

    async def _perform(self, taken: Claim) -> None:
        progress = Progress()
        work = asyncio.ensure_future(self.work(taken, progress))
        beat = asyncio.create_task(self._beat(taken, progress, work))
        try:
            await asyncio.shield(work)
            log.info("workitem completed", model=taken.model_name)
        except LeaseLost:
            log.warning("lease lost; the work is dropped")
        except asyncio.CancelledError:
            if not await self._ended_by_beat(beat, taken):
                work.cancel()
                raise  # the process is asked to stop; the lease runs out and another worker goes on
        except Exception as error:  # noqa: BLE001  whatever the work raises becomes the attempt's outcome
            await self._fail(taken, error)
        finally:
            beat.cancel()

    async def _beat(self, taken: Claim, progress: Progress, work: "asyncio.Future[None]") -> bool:
        """Prolong the lease until the work ends; stop the work when it must not go on.

        Returns whether the work was stopped because somebody asked to cancel it.
        """
        while not work.done():
            await asyncio.sleep(self.settings.beat_s)
            try:
                answer = await heartbeat(
                    self.services.database,
                    taken,
                    self.settings.lease_s,
                    progress=progress.percent,
                    text=progress.text,
                )
            except LeaseLost:
                work.cancel()
                return False
            except Busy:
                continue  # the lease lasts three beats
            if answer.cancel_requested:
                work.cancel()
                return True
        return False

    async def _ended_by_beat(self, beat: "asyncio.Task[bool]", taken: Claim) -> bool:
        """Whether the work was stopped by the heartbeat, not by the end of this process."""
        if not beat.done():
            return False
        if beat.result():
            log.info("cancelled on request")
            await self.services.database.transact(lambda unit: cancel(unit, taken))
        return True

    async def _fail(self, taken: Claim, error: Exception) -> None:
        reason, retryable = verdict_on(error)
        log.warning("attempt failed", reason=reason.text, retryable=retryable, exc_info=not_a_fault(error))
        try:
            await fail_attempt(self.services.database, taken, reason, retryable=retryable)
        except LeaseLost:
            log.warning("lease lost before the failure was recorded")
