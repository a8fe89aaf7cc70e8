"""Background jobs as values, and the port of the queue that carries them. Pure.

A job is written in the transaction of the act that wants it (`UnitOfWork.defer`, or a subscription to one of
its events), so that it is there when the act is and never without it. It runs at least once: what it does is
told whole by its task and arguments, and doing it twice does no harm.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol

from server.kernel.faults import Busy

Args = Mapping[str, Any]  # JSON
TRACEPARENT = "traceparent"  # the argument that carries the trace of the act; handlers do not see it

# Queues, by who works on them.
RECORD = "record"  # what the record says of the archive; servers
STORAGE = "storage"  # care of the objects and tables, little at a time; servers
NOTIFY = "notify"  # subscribers, who may be slow to answer; servers
INFERENCE = "inference"  # models; workers
QUEUES = (RECORD, STORAGE, NOTIFY, INFERENCE)

# Of one queue the highest comes first, then the oldest.
STAT, ROUTINE, LOW = 10, 0, -10
LEISURE = -20  # may wait for as long as there is anything else to do: its age alarms nobody


class JobState(Enum):
    """How a job stands; one that succeeded is gone."""

    WAITING = "waiting"  # to be run when it is due
    RUNNING = "running"  # in the hands of a runner
    FAILED = "failed"  # given up, until somebody has it tried again


@dataclass(frozen=True, slots=True)
class Job:
    """Something to be done once the transaction that defers it has committed."""

    task: str
    args: Args = field(default_factory=dict)
    queue: str = RECORD
    priority: int = ROUTINE
    delay_s: float = 0.0  # from the act until it is due; lets a burst gather
    dedupe_key: str | None = None  # of jobs with one key that wait, one is enough: any does what all would do
    exclusive: bool = False  # no two jobs of its dedupe key run at once

    def __post_init__(self) -> None:
        if self.exclusive and self.dedupe_key is None:
            raise ValueError("an exclusive job needs a dedupe key")


@dataclass(frozen=True, slots=True)
class Emitted:
    """An event of a transaction, as its subscribers see it."""

    kind: str
    subject: str
    payload: Mapping[str, Any]


Derive = Callable[[Emitted], Job | None]  # what follows from an event; None: nothing
Subscriptions = Mapping[str, Sequence[Derive]]  # by the event's kind


def jobs_after(event: Emitted, subscriptions: Subscriptions) -> list[Job]:
    """The jobs that follow from an event."""
    derived = (derive(event) for derive in subscriptions.get(event.kind, ()))
    return [job for job in derived if job is not None]


def without_duplicates(jobs: Sequence[Job]) -> list[Job]:
    """One job per dedupe key: the soonest due, with the highest priority of all; in the order of their keys.

    The order is the same for everyone, so that two transactions never wait for each other.
    """
    single: dict[str, Job] = {}
    others = []
    for job in jobs:
        if job.dedupe_key is None:
            others.append(job)
        else:
            known = single.get(job.dedupe_key, job)
            sooner = job if job.delay_s < known.delay_s else known
            single[job.dedupe_key] = replace(sooner, priority=max(job.priority, known.priority))
    return others + [single[key] for key in sorted(single)]


Handler = Callable[[Args], Awaitable[None]]
Handlers = Mapping[str, Handler]  # by task


@dataclass(frozen=True, slots=True)
class Taken:
    """A job in the hands of a runner; `tries` makes this run of it unlike every other."""

    id: int
    task: str
    args: Args
    queue: str
    tries: int  # runs before this one
    failures: int  # of those, the ones that say something against the job


@dataclass(frozen=True, slots=True)
class Next:
    """What is to become of a job whose run did not succeed."""

    delay_s: float | None  # until it is tried again; None: it has failed
    failures: int


FAILURE_DELAYS_S = (1.0, 5.0, 30.0, 300.0)  # before each further try; then the job has failed
TROUBLE_DELAYS_S = (0.5, 2.0, 5.0, 15.0, 60.0)  # while the database or the store is gone; the last repeats
LOST = "The runner was lost."  # the problem of such a run
MAX_TRIES = 5000  # whatever the reason; more than three days of trouble


def after_failure(taken: Taken, error: BaseException | None) -> Next:
    """When to try a job again after `error`; None: its runner died.

    What is busy says nothing against the job. A runner that dies may: some jobs kill their runner.
    """
    if taken.tries + 1 >= MAX_TRIES:
        return Next(None, taken.failures + 1)
    if isinstance(error, Busy | TaskUnknown):
        return Next(TROUBLE_DELAYS_S[min(taken.tries, len(TROUBLE_DELAYS_S) - 1)], taken.failures)
    if taken.failures < len(FAILURE_DELAYS_S):
        delay_s = 0.0 if error is None else FAILURE_DELAYS_S[taken.failures]
        return Next(delay_s, taken.failures + 1)
    return Next(None, taken.failures + 1)


class TaskUnknown(Exception):
    """A job of another release: this program has no handler for it, a newer or older one has."""


BEAT_S, DEAD_AFTER_S = 5.0, 20.0


@dataclass(frozen=True, slots=True)
class Beats:
    """When a runner counts as dead. Its jobs are taken over within `dead_after_s + beat_s`."""

    beat_s: float = BEAT_S  # between signs of life, and between looks for the dead
    dead_after_s: float = DEAD_AFTER_S  # without a sign of life


DEFAULT_BEATS = Beats()


class JobQueue(Protocol):
    """What a runner asks of the queue of its database.

    A job that its runner has lost (its heart stopped, another runner recovered it) is fenced: `finish`,
    `try_again` and `give_up` do nothing then and return False. Every method may raise Busy: the database
    cannot be reached.
    """

    async def open(self) -> None:
        """Begin, as a runner with a name of its own."""

    async def close(self) -> None:
        """End; what is still in hand is left to the other runners."""

    async def due_in_s(self, queues: Sequence[str]) -> Mapping[str, float]:
        """Seconds until the next job of each queue is due, 0 when one is; a queue without any is left out."""

    async def take(self, queue: str) -> Taken | None:
        """The next job that is due, now in hand; None: nothing is due."""

    async def finish(self, taken: Taken) -> bool:
        """It is done: take it off the queue."""

    async def try_again(self, taken: Taken, after: Next, problem: str | None) -> bool:
        """Let it wait; when a job of its dedupe key waits already, that one goes on for both."""

    async def give_up(self, taken: Taken, after: Next, problem: str | None) -> bool:
        """Keep it as failed."""

    async def beat(self) -> frozenset[int]:
        """Say that this runner lives; returns which jobs are still its own."""

    async def let_go(self, ids: Collection[int]) -> None:
        """Let jobs wait again that this runner has taken and never heard that it did."""

    async def recover(self) -> int:
        """Take their jobs from runners that have died; returns how many there were."""

    async def added(self) -> None:
        """Wait until a job may have been added, or for as long as that can go unnoticed."""
