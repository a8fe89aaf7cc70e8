"""The worker holds its claim while it works, and stops when it must (DESIGN §2)."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pydicom import FileDataset
from sqlalchemy import select, update

from ai_engine.runners.port import RemoteUnavailable
from dicomweb.worklist.claims import claim
from dicomweb.worklist.tables import WorkitemAttempt
from dicomweb.worklist.workitem import Claim
from server.kernel.database import UnitOfWork
from server.kernel.faults import Busy
from server.kernel.metrics import REGISTRY
from server.kernel.rows import table_of
from server.workflows.worker import Progress, Worker, WorkerSettings

SOON_S = 30.0


@pytest.fixture
async def scheduled(system: Any, kit: Any, chest: Sequence[FileDataset]) -> str:
    """A study with a workitem; returns the Study Instance UID."""
    body = kit.multipart([kit.part10(dataset) for dataset in chest])
    await system.http.post("/dicom-web/studies", content=body, headers=kit.stow_headers)
    uid = str(chest[0].StudyInstanceUID)
    await system.http.post(f"/admin/api/studies/{uid}/settled")
    return uid


class Endless:
    """Work that goes on until it is stopped."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.stopped = False

    async def __call__(self, _claim: Claim, progress: Progress) -> None:
        progress.at(42, "thinking")
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped = True


async def test_progress_is_seen_and_a_cancel_request_stops_the_work(system: Any, scheduled: str) -> None:
    work = Endless()
    worker = Worker(system.services, WorkerSettings("w", 0.6), work)
    step = asyncio.create_task(worker.step())
    await work.started.wait()
    async with asyncio.timeout(SOON_S):
        while "thinking" not in str(workitem := await system.workitem(scheduled)):
            await asyncio.sleep(0.05)
    assert workitem["00741002"]["Value"][0]["00741004"]["Value"] == [42]
    uid = workitem["00080018"]["Value"][0]
    assert (await system.http.post(f"/dicom-web/workitems/{uid}/cancelrequest")).status_code == 202
    assert await asyncio.wait_for(step, SOON_S) == 1
    assert work.stopped
    workitem = await system.workitem(scheduled)
    assert workitem["00741000"]["Value"] == ["CANCELED"]


async def test_worker_that_lost_its_lease_drops_the_work(system: Any, scheduled: str) -> None:
    work = Endless()
    slow = Worker(system.services, WorkerSettings("slow", 0.6), work)
    step = asyncio.create_task(slow.step())
    await work.started.wait()

    async def expire(unit: UnitOfWork) -> None:
        await unit.execute(update(table_of(WorkitemAttempt)).values(lease_until_us=0))

    taken = None
    async with asyncio.timeout(SOON_S):
        while taken is None:
            await system.services.database.transact(expire)
            taken = await claim(system.services.database, "quick", 30)
    assert taken.attempt == 2
    assert await asyncio.wait_for(step, SOON_S) == 1
    assert work.stopped
    workitem = await system.workitem(scheduled)
    assert workitem["00741000"]["Value"] == ["IN PROGRESS"]  # the other worker's


async def test_worker_that_must_stop_gives_its_workitem_back(system: Any, scheduled: str) -> None:
    work = Endless()
    stopping = Worker(system.services, WorkerSettings("stopping", 3600), work)
    step = asyncio.create_task(stopping.step())
    await work.started.wait()
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    assert work.stopped
    taken = await claim(system.services.database, "other", 30)  # without waiting for the lease
    assert taken is not None
    assert taken.attempt == 2


async def test_worker_with_two_in_hand_stops_both_and_gives_both_back(
    system: Any, kit: Any, scheduled: str, new_chest: Callable[..., Sequence[FileDataset]]
) -> None:
    other = new_chest(patient_id="SECOND-1")
    await system.http.post(
        "/dicom-web/studies",
        content=kit.multipart([kit.part10(dataset) for dataset in other]),
        headers=kit.stow_headers,
    )
    await system.http.post(f"/admin/api/studies/{other[0].StudyInstanceUID}/settled")
    hands = Hands()
    stopping = Worker(system.services, WorkerSettings("stopping", 3600), hands)
    steps = [asyncio.create_task(stopping.step()) for _ in range(2)]
    await asyncio.wait_for(hands.full.wait(), SOON_S)
    for step in steps:
        step.cancel()
    assert await asyncio.gather(*steps, return_exceptions=True)
    assert hands.studies == {scheduled, str(other[0].StudyInstanceUID)}
    taken = [await claim(system.services.database, "other", 30) for _ in range(2)]
    assert {each.study_instance_uid for each in taken if each} == hands.studies


class Hands:
    """Work that goes on until it is stopped, for two workitems."""

    def __init__(self) -> None:
        self.studies: set[str] = set()
        self.full = asyncio.Event()

    async def __call__(self, taken: Claim, _progress: Progress) -> None:
        self.studies.add(taken.study_instance_uid)
        if len(self.studies) == 2:
            self.full.set()
        await asyncio.Event().wait()


async def test_defect_of_ours_is_a_retryable_failure_without_its_message(system: Any, scheduled: str) -> None:
    async def broken(_claim: Claim, _progress: Progress) -> None:
        raise KeyError("Demo^Phantom")

    assert await Worker(system.services, WorkerSettings("w", 30), broken).step() == 1
    workitem = await system.workitem(scheduled)
    assert workitem["00741000"]["Value"] == ["IN PROGRESS"]
    assert "KeyError" in str(workitem)
    assert "Demo^Phantom" not in str(workitem["00741002"])


@pytest.mark.parametrize(
    "outage",
    [
        RemoteUnavailable("the inference server is not there, or is busy"),
        Busy("The object store is not there; retry later."),
    ],
    ids=["inference server", "object store"],
)
async def test_outage_costs_no_attempt(outage: Exception, system: Any, scheduled: str) -> None:
    async def unreached(_claim: Claim, _progress: Progress) -> None:
        raise outage

    before = predictions("waiting"), predictions("failed")
    assert await Worker(system.services, WorkerSettings("w", 30), unreached).step() == 1
    workitem = await system.workitem(scheduled)
    assert workitem["00741000"]["Value"] == ["IN PROGRESS"]
    assert "not there" in str(workitem["00741002"])
    async with system.services.database.read() as connection:
        table = table_of(WorkitemAttempt)
        assert (await connection.execute(select(table.c.outcome))).scalars().all() == ["released"]
    assert (predictions("waiting"), predictions("failed")) == (before[0] + 1, before[1])


async def test_attempt_counts_for_the_version_that_ran(system: Any, scheduled: str) -> None:
    async def broken(_claim: Claim, progress: Progress) -> None:
        progress.version = "9.9.9"  # it took over
        raise KeyError

    before = predictions("failed"), predictions("failed", "9.9.9")
    assert await Worker(system.services, WorkerSettings("w", 30), broken).step() == 1
    assert (predictions("failed"), predictions("failed", "9.9.9")) == (before[0], before[1] + 1)


def predictions(outcome: str, version: str = "2.0.0") -> float:
    labels = {"model": "ct-quantification", "version": version, "outcome": outcome}
    return REGISTRY.get_sample_value("isthmus_predictions_total", labels) or 0
