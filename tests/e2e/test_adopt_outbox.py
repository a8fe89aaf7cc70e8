"""The first start after a release without jobs: what its loops had not read is not lost (decision 0013)."""

from collections.abc import Sequence
from typing import Any

from pydicom import FileDataset
from sqlalchemy import insert, select, text, update

from ai_engine.tables import SettlingStudy
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.kernel.tables import OutboxCursor
from server.workflows.adopt_outbox import READERS, adopt_outbox
from server.workflows.projection import imaging_study_id_of

CURSOR = table_of(OutboxCursor)


async def forget_jobs(system: Any, *readers: str) -> None:
    """As that release left it: readers of the outbox that stand at its beginning, and no jobs."""
    jobs = "job" if system.services.database.is_sqlite else "procrastinate_jobs"

    async def work(unit: UnitOfWork) -> None:
        await unit.execute(text(f"DELETE FROM {jobs}"))
        await unit.execute(
            insert(CURSOR), [{"reader": reader, "xact": 0, "sequence": 0} for reader in readers]
        )

    await system.services.database.transact(work)


async def store(system: Any, kit: Any, chest: Sequence[FileDataset]) -> str:
    body = kit.multipart([kit.part10(dataset) for dataset in chest])
    answer = await system.http.post("/dicom-web/studies", content=body, headers=kit.stow_headers)
    assert answer.status_code == 200, answer.text
    return str(chest[0].StudyInstanceUID)


async def cursors(system: Any) -> list[str]:
    async with system.services.database.read() as connection:
        return list((await connection.execute(select(CURSOR.c.reader))).scalars())


async def test_unread_events_become_jobs(system: Any, kit: Any, chest: Sequence[FileDataset]) -> None:
    uid = await store(system, kit, chest)
    await forget_jobs(system, *READERS, "somebody-else")
    assert await system.run_jobs(quiet_time_s=0) == 0
    await adopt_outbox(system.services.database)
    assert await cursors(system) == ["somebody-else"]
    await system.run_jobs(quiet_time_s=0)
    assert (await system.http.get(f"/fhir/ImagingStudy/{imaging_study_id_of(uid)}")).status_code == 200
    assert (await system.workitem(uid))["00741000"]["Value"] == ["SCHEDULED"]


async def test_studies_that_settle_already_are_looked_at(
    system: Any, kit: Any, chest: Sequence[FileDataset]
) -> None:
    uid = await store(system, kit, chest)
    await system.run_jobs(quiet_time_s=3600)

    async def end_quiet_time(unit: UnitOfWork) -> None:
        await unit.execute(update(table_of(SettlingStudy)).values(due_us=unit.now_us))

    await system.services.database.transact(end_quiet_time)
    await forget_jobs(system, "project-tasks")
    await adopt_outbox(system.services.database)
    await system.run_jobs()
    assert (await system.workitem(uid))["00741000"]["Value"] == ["SCHEDULED"]


async def test_a_new_database_has_nothing_to_adopt(system: Any) -> None:
    await adopt_outbox(system.services.database)
    assert await system.run_jobs() == 0
