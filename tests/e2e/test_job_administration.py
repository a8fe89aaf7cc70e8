"""Failed jobs are seen and tried again by an administrator, and by nobody else."""

from typing import Any

import pytest
from sqlalchemy import select

from server.kernel.database import UnitOfWork
from server.kernel.job_queues import job_queue
from server.kernel.jobs import DEFAULT_BEATS, QUEUES, RECORD, Job, Next
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow


@pytest.fixture
async def failed(system: Any) -> None:
    """One job has failed, another waits."""
    database = system.services.database

    async def work(unit: UnitOfWork) -> None:
        unit.defer(Job("project-study", {"study": "1.2.3"}))
        unit.defer(Job("project-task", {"workitem": "1.2.4"}))

    await database.transact(work)
    queue = job_queue(database, QUEUES, DEFAULT_BEATS)
    await queue.open()
    taken = await queue.take(RECORD)
    assert taken is not None
    await queue.give_up(taken, Next(None, 5), "ValueError")
    await queue.close()


@pytest.mark.usefixtures("failed")
async def test_failed_job_is_listed_and_retried(system: Any) -> None:
    listed = (await system.http.get("/admin/api/jobs")).json()
    (job,) = listed["jobs"]
    assert (job["task"], job["arguments"], job["problem"]) == (
        "project-study",
        {"study": "1.2.3"},
        "ValueError",
    )
    assert (job["tries"], listed["after"]) == (1, None)
    assert (await system.http.post(f"/admin/api/jobs/{job['id']}/retry")).status_code == 204
    assert (await system.http.post(f"/admin/api/jobs/{job['id']}/retry")).status_code == 404
    assert (await system.http.get("/admin/api/jobs")).json()["jobs"] == []
    waiting = (await system.http.get("/admin/api/jobs?state=waiting")).json()["jobs"]
    assert [each["task"] for each in waiting] == ["project-task", "project-study"]
    c = table_of(AuditRow).c
    query = select(c.interaction, c.resource_id).where(c.interaction.in_(["list-jobs", "retry-job"]))
    async with system.services.database.read() as connection:
        audited = {tuple(row) for row in await connection.execute(query)}
    assert audited == {("list-jobs", None), ("retry-job", str(job["id"]))}


async def test_unknown_state_is_refused(system: Any) -> None:
    assert (await system.http.get("/admin/api/jobs?state=asleep")).status_code == 400


@pytest.mark.usefixtures("failed")
async def test_metrics_tell_of_the_failed_job(system: Any) -> None:
    text = (await system.http.get("/metrics")).text
    assert 'isthmus_jobs{queue="record",state="failed"} 1.0' in text
