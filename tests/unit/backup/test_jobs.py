"""Jobs go on after a restore, in whichever queue they are then."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from server.kernel.job_queues import job_queue
from server.kernel.jobs import RECORD, Beats, Job, JobQueue, Next, Taken

ALL_WAYS = [(a, b) for a in ("sqlite", "postgresql") for b in ("sqlite", "postgresql")]


async def take_all(queue: JobQueue) -> list[Taken]:
    found = []
    while (taken := await queue.take(RECORD)) is not None:
        found.append(taken)
        await queue.finish(taken)
    return found


def told(jobs: Sequence[Taken]) -> list[tuple[Any, ...]]:
    return [(each.task, each.args, each.tries, each.failures) for each in jobs]


@pytest.mark.parametrize("kinds", ALL_WAYS, ids="-to-".join)
async def test_jobs_that_wait_or_run_are_run_after_a_restore(
    source: Any, target: Any, repository: Path, kinds: Sequence[str]
) -> None:
    first = job_queue(source.database, [RECORD], Beats())
    await first.open()

    async def defer(unit: Any) -> None:
        unit.defer(
            Job("running", {"text": "Grüße \"'", "number": 1.5, "none": None}, priority=20, dedupe_key="a")
        )
        unit.defer(Job("tried", priority=19, dedupe_key="t"))
        unit.defer(Job("given up", priority=18))
        unit.defer(Job("joined", {"which": "running"}, priority=17, dedupe_key="b"))

    await source.database.transact(defer)
    running, tried, failed, joined = [await first.take(RECORD) for _ in range(4)]
    assert (running.task, tried.task, failed.task, joined.task) == ("running", "tried", "given up", "joined")
    await first.try_again(tried, Next(0.0, 1), "a problem")
    await first.give_up(failed, Next(None, 1), "for good")
    again = Job("joined", {"which": "waiting"}, priority=5, dedupe_key="b")
    await source.database.transact(lambda unit: _defer(unit, again))
    taken = await source.back_up(repository)
    await first.close()
    await target.restore(repository, taken.id)

    second = job_queue(target.database, [RECORD], Beats())
    await second.open()
    jobs = await take_all(second)
    await second.close()
    assert sorted(told(jobs), key=lambda each: each[0]) == [
        ("joined", {"which": "waiting"}, 0, 0),
        ("running", {"text": "Grüße \"'", "number": 1.5, "none": None}, 0, 0),
        ("tried", {}, 1, 1),
    ]


async def _defer(unit: Any, job: Job) -> None:
    unit.defer(job)
