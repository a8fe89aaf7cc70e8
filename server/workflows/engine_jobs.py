"""Jobs that wake the engine: a workitem waits, or a performer is to stop what nobody performs.

The worklist is the truth, and the claim decides what is worked on: a job is a durable call to look there with
the workitem's priority. One too many finds nothing to do. One too few is made up for by `wake_for_waiting`,
which also finds the workitems whose worker was lost.
"""

from collections.abc import Awaitable, Callable, Mapping

from dicomweb.worklist.change import CANCEL_REQUESTED, CHANGED
from dicomweb.worklist.claims import is_any_claimable
from dicomweb.worklist.state import Priority, State
from dicomweb.worklist.workitem import NOBODYS
from server.kernel.jobs import INFERENCE, LOW, ROUTINE, STAT, Args, Emitted, Handlers, Job, Subscriptions
from server.kernel.services import Services

ANALYSE = "analyse"
WAKE_S = 5.0  # between looks for workitems that no job tells of

PRIORITY_OF: Mapping[str, int] = {
    Priority.HIGH.value: STAT,
    Priority.MEDIUM.value: ROUTINE,
    Priority.LOW.value: LOW,
}


def analyse_job(workitem_uid: str, priority: str, delay_s: float = 0.0) -> Job:
    """Have a worker look at the worklist for the sake of this workitem."""
    return Job(
        ANALYSE,
        {"workitem": workitem_uid},
        INFERENCE,
        PRIORITY_OF[priority],
        delay_s,
        f"{ANALYSE}:{workitem_uid}",
    )


def _workitem_changed(event: Emitted) -> Job | None:
    """One that waits is to be worked on; one that has ended may let its successor begin.

    What names none of our models is none of the engine's.
    """
    if event.payload["state"] == State.IN_PROGRESS.value or event.payload["model_name"] == NOBODYS:
        return None
    return analyse_job(event.subject, event.payload["priority"])


def _cancel_requested(event: Emitted) -> Job | None:
    """Between two attempts it is the next claim that ends the workitem."""
    if event.payload["model_name"] == NOBODYS:
        return None
    return analyse_job(event.subject, event.payload["priority"])


SUBSCRIPTIONS: Subscriptions = {CHANGED: (_workitem_changed,), CANCEL_REQUESTED: (_cancel_requested,)}


def engine_handlers(step: Callable[[], Awaitable[int]]) -> Handlers:
    """What the jobs do, where `step` is a worker's."""

    async def analyse(_args: Args) -> None:
        await step()

    return {ANALYSE: analyse}


async def wake_for_waiting(services: Services) -> int:
    """Defer a job when any workitem could be claimed; returns whether one could."""
    async with services.database.read() as connection:
        if not await is_any_claimable(connection, services.clock()):
            return 0
    waking = Job(ANALYSE, {}, INFERENCE, LOW, dedupe_key=f"{ANALYSE}:waiting")
    await services.database.defer(waking)
    return 1
