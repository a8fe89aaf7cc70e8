"""A job goes on with the trace of the act that deferred it, on both databases."""

from server.kernel.database import Database, UnitOfWork
from server.kernel.job_queues import job_queue
from server.kernel.job_runner import JobRunner
from server.kernel.jobs import DEFAULT_BEATS, RECORD, Args, Job
from server.kernel.tracing import close_tracing, span
from tests.services.otlp import Receiver


async def run(database: Database, seen: list[Args]) -> None:
    """Run what is due: `first` defers `second`."""

    async def first(args: Args) -> None:
        seen.append(args)
        await defer(database, Job("second", {"of": "first"}))

    async def second(args: Args) -> None:
        seen.append(args)

    queue = job_queue(database, (RECORD,), DEFAULT_BEATS)
    await queue.open()
    await JobRunner(queue, {"first": first, "second": second}, {RECORD: 1}).run_due()
    await queue.close()


async def defer(database: Database, job: Job) -> None:
    async def work(unit: UnitOfWork) -> None:
        unit.defer(job)

    await database.transact(work)


async def test_jobs_of_jobs_are_one_trace(database: Database, receiver: Receiver) -> None:
    seen: list[Args] = []
    with span("request"):
        await defer(database, Job("first", {"study": "x"}))
    await run(database, seen)
    close_tracing()
    assert seen == [{"study": "x"}, {"of": "first"}]
    (second,) = receiver.named("job second")
    assert receiver.ancestry(second) == ["database write", "job first", "database write", "request"]
    assert second.attributes == {"isthmus.queue": RECORD, "isthmus.tries": 0}


async def test_without_traces_nothing_is_carried(database: Database) -> None:
    seen: list[Args] = []
    await defer(database, Job("first", {"study": "x"}))
    await run(database, seen)
    assert seen == [{"study": "x"}, {"of": "first"}]
