"""The job queue, on both databases: nothing lost, nothing twice at once, everything to its end."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

import server.migrations
from server.kernel.clock import SECOND_US, now_us
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Busy, NotFound
from server.kernel.job_overview import job_facts, list_jobs, retry_failed
from server.kernel.jobs import (
    FAILURE_DELAYS_S,
    INFERENCE,
    LEISURE,
    LOW,
    MAX_TRIES,
    NOTIFY,
    QUEUES,
    RECORD,
    ROUTINE,
    STAT,
    STORAGE,
    Beats,
    Emitted,
    Job,
    JobQueue,
    JobState,
    Next,
    Taken,
    after_failure,
    without_duplicates,
)
from server.kernel.tables import OutboxEvent
from tests.ports.jobs import QUICK, SOON_S, count, defer, opened, take
from tests.services.jobs import hurry

VERSIONS = Path(server.migrations.__file__).parent / "versions"
MORTAL = Beats(beat_s=0.2, dead_after_s=0.2)  # dead unless heard of all the time


class Act(Exception):
    """The act fails."""


async def test_rollback_leaves_neither_event_nor_job(database: Database, queue: JobQueue) -> None:
    async def work(unit: UnitOfWork) -> None:
        unit.emit("study.changed", "1.2.3")
        unit.defer(Job("a"))
        await unit.flush()
        raise Act

    with pytest.raises(Act):
        await database.transact(work)
    assert await count(database, OutboxEvent) == 0
    assert await queue.take(RECORD) is None


async def test_commit_leaves_event_and_job(database: Database, queue: JobQueue) -> None:
    async def work(unit: UnitOfWork) -> None:
        unit.emit("study.changed", "1.2.3")
        unit.defer(Job("a", {"study": "1.2.3"}))

    await database.transact(work)
    assert await count(database, OutboxEvent) == 1
    taken = await take(queue)
    assert (taken.task, taken.args, taken.tries, taken.failures) == ("a", {"study": "1.2.3"}, 0, 0)
    assert await queue.take(RECORD) is None


async def test_rollback_to_a_savepoint_drops_its_jobs(database_url: str) -> None:
    database = Database(database_url, subscriptions={"seen": [lambda event: Job(event.subject)]})

    async def work(unit: UnitOfWork) -> None:
        unit.emit("seen", "kept")
        with suppress(ZeroDivisionError):
            async with unit.savepoint():
                unit.emit("seen", "dropped")
                unit.defer(Job("dropped too"))
                unit.emit("seen", str(1 / 0))

    await database.transact(work)
    async with opened(database) as queue:
        assert (await take(queue)).task == "kept"
        assert await queue.take(RECORD) is None
    await database.close()


async def test_subscribed_events_become_jobs(database_url: str) -> None:
    def derive(event: Emitted) -> Job | None:
        return Job("look", {"at": event.subject}) if event.payload["wanted"] else None

    database = Database(database_url, subscriptions={"seen": [derive]})

    async def work(unit: UnitOfWork) -> None:
        unit.emit("seen", "a", {"wanted": True})
        unit.emit("seen", "b", {"wanted": False})
        unit.emit("other", "c", {"wanted": True})

    await database.transact(work)
    async with opened(database) as queue:
        assert (await take(queue)).args == {"at": "a"}
        assert await queue.take(RECORD) is None
    await database.close()


async def test_highest_priority_first_then_the_oldest(database: Database, queue: JobQueue) -> None:
    order = [("low", LOW), ("first", ROUTINE), ("second", ROUTINE), ("stat", STAT)]
    for name, priority in order:
        await defer(database, Job(name, priority=priority))
    assert [(await take(queue)).task for _ in order] == ["stat", "first", "second", "low"]


async def test_queues_do_not_see_each_others_jobs(database: Database, queue: JobQueue) -> None:
    await defer(database, Job("a", queue=STORAGE))
    assert await queue.take(RECORD) is None
    assert (await take(queue, STORAGE)).queue == STORAGE


async def test_job_waits_until_it_is_due(database: Database, queue: JobQueue) -> None:
    await defer(database, Job("a", delay_s=3600))
    assert await queue.take(RECORD) is None
    assert 3500 < (await queue.due_in_s(QUEUES))[RECORD] <= 3600
    await hurry(database)
    assert (await queue.due_in_s(QUEUES))[RECORD] == 0
    assert (await take(queue)).task == "a"
    assert await queue.due_in_s(QUEUES) == {}


async def test_burst_makes_one_job_the_soonest_and_most_urgent(database: Database, queue: JobQueue) -> None:
    await defer(database, Job("other", priority=ROUTINE))
    await defer(database, Job("a", delay_s=60, dedupe_key="a:1"), Job("a", delay_s=90, dedupe_key="a:1"))
    await defer(database, Job("a", delay_s=0, dedupe_key="a:1", priority=STAT))
    await defer(database, Job("a", delay_s=60, dedupe_key="a:1"))
    assert (await take(queue)).task == "a"
    assert (await take(queue)).task == "other"
    assert await queue.due_in_s(QUEUES) == {}


async def test_job_in_hand_does_not_stand_for_a_later_act(database: Database, queue: JobQueue) -> None:
    await defer(database, Job("a", dedupe_key="a:1"))
    first = await take(queue)
    await defer(database, Job("a", dedupe_key="a:1"))
    assert await queue.finish(first)
    assert (await take(queue)).id != first.id


async def test_act_under_way_is_seen_by_the_job_that_it_joins(database: Database, queue: JobQueue) -> None:
    """The job waits already when the act joins it; a runner must not take it before the act is committed."""
    await defer(database, Job("a", dedupe_key="a:1"))
    joined, go_on = asyncio.Event(), asyncio.Event()

    async def work(unit: UnitOfWork) -> None:
        unit.emit("effect", "1")
        unit.defer(Job("a", dedupe_key="a:1"))
        await unit.flush()
        joined.set()
        await go_on.wait()

    act = asyncio.create_task(database.transact(work))
    await joined.wait()
    taking = asyncio.create_task(
        queue.take(RECORD)
    )  # PostgreSQL: finds nothing; SQLite: waits for the writer
    if not database.is_sqlite:
        assert await taking is None
    go_on.set()
    await act
    taken = await taking or await take(queue)
    assert taken.task == "a"
    assert await count(database, OutboxEvent) == 1  # what a run begun before the commit would have missed


async def test_exclusive_jobs_run_one_at_a_time(database: Database, queue: JobQueue) -> None:
    job = Job("a", dedupe_key="a", exclusive=True)
    await defer(database, job)
    first = await take(queue)
    await defer(database, job)
    assert await queue.due_in_s(QUEUES) == {}
    assert await queue.take(RECORD) is None
    await queue.finish(first)
    assert (await take(queue)).task == "a"


async def test_two_runners_never_have_one_job(database: Database) -> None:
    await defer(database, *(Job("a", {"n": n}) for n in range(40)))
    seen: list[int] = []

    async def empty(queue: JobQueue) -> None:
        while (taken := await queue.take(RECORD)) is not None:
            seen.append(taken.args["n"])
            await queue.finish(taken)

    async with opened(database) as one, opened(database) as other:
        await asyncio.gather(empty(one), empty(other))
    assert sorted(seen) == list(range(40))


async def test_retried_job_waits_and_knows_its_past(database: Database, queue: JobQueue) -> None:
    await defer(database, Job("a", {"n": 1}))
    assert await queue.try_again(await take(queue), Next(3600, 1), "it was not there")
    assert await queue.take(RECORD) is None
    await hurry(database)
    again = await take(queue)
    assert (again.args, again.tries, again.failures) == ({"n": 1}, 1, 1)


async def test_retried_job_joins_the_one_that_waits(database: Database, queue: JobQueue) -> None:
    await defer(database, Job("a", dedupe_key="a:1"))
    first = await take(queue)
    await defer(database, Job("a", dedupe_key="a:1"))
    assert await queue.try_again(first, Next(0, 1), "problem")
    second = await take(queue)
    assert (second.tries, second.id != first.id) == (0, True)
    assert await queue.take(RECORD) is None


async def test_failed_job_is_not_run_again(database: Database, queue: JobQueue) -> None:
    await defer(database, Job("a"))
    assert await queue.give_up(await take(queue), Next(None, 5), "problem")
    assert await queue.due_in_s(QUEUES) == {}
    assert await queue.take(RECORD) is None


async def recovered(queue: JobQueue) -> None:
    async with asyncio.timeout(SOON_S):
        while not await queue.recover():
            await asyncio.sleep(0.02)
            await queue.beat()


async def test_job_of_a_dead_runner_is_taken_over_and_the_dead_is_fenced(database: Database) -> None:
    await defer(database, Job("a"))
    async with opened(database, MORTAL) as dead, opened(database, MORTAL) as living:
        lost = await take(dead)
        await recovered(living)
        taken = await take(living)
        assert (taken.id, taken.tries, taken.failures) == (lost.id, 1, 1)
        assert lost.id not in await dead.beat()
        assert not await dead.finish(lost)
        assert not await dead.try_again(lost, Next(0, 0), None)
        assert not await dead.give_up(lost, Next(None, 1), "late")
        assert await living.finish(taken)


async def test_living_runner_keeps_its_jobs(database: Database) -> None:
    await defer(database, Job("a"))
    async with opened(database) as owner, opened(database) as other:
        taken = await take(owner)
        for _ in range(12):  # twice as long as a runner may be silent
            await asyncio.sleep(QUICK.dead_after_s / 6)
            assert await owner.beat() == {taken.id}
            assert await other.recover() == 0
        assert await owner.finish(taken)


async def test_job_that_kills_its_runners_ends_as_failed(database: Database) -> None:
    await defer(database, Job("a"))
    deaths = 0
    async with opened(database, MORTAL) as living:
        while await living.due_in_s(QUEUES):
            async with opened(database, MORTAL) as dead:
                await take(dead)
                await recovered(living)
                deaths += 1
    assert deaths == len(FAILURE_DELAYS_S) + 1


def taken_after(tries: int, failures: int) -> Taken:
    return Taken(1, "a", {}, RECORD, tries, failures)


def test_back_off_grows_and_ends() -> None:
    waits = [after_failure(taken_after(n, n), ValueError()).delay_s for n in range(6)]
    assert waits == [*FAILURE_DELAYS_S, None, None]


def test_trouble_of_the_database_is_not_held_against_a_job() -> None:
    assert after_failure(taken_after(7, 2), Busy()) == Next(60.0, 2)
    assert after_failure(taken_after(MAX_TRIES - 1, 2), Busy()).delay_s is None


def test_duplicates_make_one_that_is_soonest_and_most_urgent() -> None:
    slow, quick = Job("a", delay_s=5, priority=STAT, dedupe_key="k"), Job("a", priority=LOW, dedupe_key="k")
    for jobs in ([slow, quick], [quick, slow]):
        (single,) = without_duplicates(jobs)
        assert (single.delay_s, single.priority) == (0, STAT)


def test_migration_installs_the_schema_of_the_installed_library() -> None:
    """Jobs go straight into its table: a release that changes it needs a migration, and a look at us."""
    from procrastinate.schema import SchemaManager

    assert (VERSIONS / "0003_procrastinate.sql").read_text() == SchemaManager.get_schema()


async def test_failed_job_is_seen_and_can_be_tried_again(database: Database, queue: JobQueue) -> None:
    wanted = Job("a", {"n": 1}, STORAGE, LOW, dedupe_key="a:1", exclusive=True)
    await defer(database, Job("other"), wanted)
    await queue.give_up(await take(queue, STORAGE), Next(None, 5), "ValueError")
    (failed,) = await list_jobs(database, JobState.FAILED, 0)
    assert (failed.task, failed.args, failed.queue, failed.tries) == ("a", {"n": 1}, STORAGE, 1)
    assert failed.problem == "ValueError"
    assert abs((failed.changed_us or 0) - now_us()) < 60 * SECOND_US
    assert await list_jobs(database, JobState.FAILED, failed.id) == []
    await database.transact(lambda unit: retry_failed(unit, failed.id))
    assert await list_jobs(database, JobState.FAILED, 0) == []
    again = await take(queue, STORAGE)
    assert (again.task, again.args, again.tries, again.failures) == ("a", {"n": 1}, 0, 0)
    await defer(database, wanted)
    assert await queue.take(STORAGE) is None  # it is exclusive as before
    with pytest.raises(NotFound):
        await database.transact(lambda unit: retry_failed(unit, failed.id))


async def test_facts_tell_what_stands_where(database: Database, queue: JobQueue) -> None:
    await defer(database, Job("waits"), Job("runs", queue=STORAGE), Job("later", delay_s=60, queue=INFERENCE))
    await take(queue, STORAGE)
    for job in (Job("waits", queue=NOTIFY, priority=LEISURE), Job("fails", priority=STAT)):
        await defer(database, job)
    await queue.give_up(await take(queue), Next(None, 5), "ValueError")
    standing, overdue = await job_facts(database)
    counted = {labels: value for labels, value in standing.values if value}
    assert counted == {
        (RECORD, "waiting"): 1,
        (RECORD, "failed"): 1,
        (STORAGE, "running"): 1,
        (INFERENCE, "waiting"): 1,
        (NOTIFY, "waiting"): 1,
    }
    ages = dict(overdue.values)
    assert ages[RECORD,] > 0
    assert ages[STORAGE,] == ages[INFERENCE,] == ages[NOTIFY,] == 0
