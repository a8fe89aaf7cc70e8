"""When a study is settled, and what starts its analysis again (DESIGN §2)."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pydicom import FileDataset
from sqlalchemy import select, update

from ai_engine.bundle import shipped_bundles
from ai_engine.tables import RoutingRule, SettlingStudy
from server.kernel.clock import SECOND_US
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.workflows import projection, settle
from tests.conftest import sqlite_first

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


async def store(system: Any, kit: Any, datasets: Sequence[FileDataset]) -> None:
    body = kit.multipart([kit.part10(dataset) for dataset in datasets])
    answer = await system.http.post("/dicom-web/studies", content=body, headers=kit.stow_headers)
    assert answer.status_code == 200, answer.text


async def workitems(system: Any) -> list[dict[str, Any]]:
    answer = await system.http.get("/dicom-web/workitems")
    return list(answer.json())


async def settle_all(system: Any, quiet_time_s: float = 0) -> None:
    await system.run_jobs(quiet_time_s)


async def test_study_waits_for_its_quiet_time(system: Any, kit: Any, chest: Sequence[FileDataset]) -> None:
    await store(system, kit, chest)
    await settle_all(system, 3600)
    assert await workitems(system) == []


async def test_settled_study_is_scheduled_once(system: Any, kit: Any, chest: Sequence[FileDataset]) -> None:
    await store(system, kit, chest)
    await settle_all(system)
    await settle_all(system)
    assert len(await workitems(system)) == 1


@sqlite_first
async def test_next_instance_starts_the_quiet_time_anew(
    system: Any, kit: Any, chest: Sequence[FileDataset]
) -> None:
    await store(system, kit, chest[:-1])
    await settle_all(system, 3600)
    first = await due_us(system)
    await store(system, kit, chest[-1:])
    await settle_all(system, 7200)
    assert await due_us(system) >= first + 3600 * SECOND_US


async def due_us(system: Any) -> int:
    async with system.services.database.read() as connection:
        query = select(table_of(SettlingStudy).c.due_us)
        return int((await connection.execute(query)).scalar_one())


@sqlite_first
async def test_same_instances_again_start_nothing(
    system: Any, kit: Any, chest: Sequence[FileDataset]
) -> None:
    await store(system, kit, chest)
    await settle_all(system)
    await store(system, kit, chest)
    assert await system.run_jobs(quiet_time_s=0) == 0


async def test_late_instance_updates_a_scheduled_workitem(
    system: Any, kit: Any, chest: Sequence[FileDataset]
) -> None:
    await store(system, kit, chest[:-1])
    await settle_all(system)
    await store(system, kit, chest[-1:])
    await settle_all(system)
    (workitem,) = await workitems(system)
    uid = workitem["00080018"]["Value"][0]
    whole = (await system.http.get(f"/dicom-web/workitems/{uid}")).text
    assert str(chest[-1].SOPInstanceUID) in whole


@sqlite_first
async def test_own_objects_start_nothing(system: Any, kit: Any, chest: Sequence[FileDataset]) -> None:
    await system.analyse(kit, chest)
    await settle_all(system)
    states = [workitem["00741000"]["Value"][0] for workitem in await workitems(system)]
    assert states == ["COMPLETED"]


def captured(dataset: FileDataset) -> FileDataset:
    """The same picture as a secondary capture in a series of its own."""
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SECONDARY_CAPTURE
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{dataset.SOPInstanceUID}1"[:64]
    dataset.SeriesInstanceUID = f"{dataset.SeriesInstanceUID}1"[:64]
    return dataset


@sqlite_first
@pytest.mark.parametrize(
    ("sop_classes", "expected"),
    [
        pytest.param(["CTImageStorage"], 0, id="no rule names the class"),
        pytest.param(["SecondaryCaptureImageStorage"], 1, id="a rule names the class"),
    ],
)
async def test_derived_object_counts_only_for_a_rule_that_names_it(
    system: Any,
    kit: Any,
    new_chest: Callable[..., Sequence[FileDataset]],
    sop_classes: list[str],
    expected: int,
) -> None:
    manifest = json.loads((shipped_bundles()[0] / "isthmus.json").read_text())
    selection = json.dumps(manifest["wants"] | {"sop_classes": sop_classes})

    async def choose(unit: UnitOfWork) -> None:
        await unit.execute(update(table_of(RoutingRule)).values(selection=selection))

    await system.services.database.transact(choose)
    await store(system, kit, [captured(new_chest(slices=1)[0])])
    await settle_all(system)
    assert len(await workitems(system)) == expected


async def test_study_that_cannot_be_looked_at_holds_up_no_other(
    system: Any, kit: Any, new_chest: Callable[..., Sequence[FileDataset]], monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned, healthy = new_chest("POISON"), new_chest("HEALTHY")
    await store(system, kit, poisoned)
    await store(system, kit, healthy)
    real = settle.summarise

    def stumble(rows: list[Any]) -> Any:
        if any(row["sop_instance_uid"] == str(poisoned[0].SOPInstanceUID) for row in rows):
            raise ValueError("a study like no other")
        return real(rows)

    monkeypatch.setattr(settle, "summarise", stumble)
    await settle_all(system)
    (workitem,) = await workitems(system)
    assert str(healthy[0].StudyInstanceUID) in str(workitem)
    assert await due_us(system) > 0  # the other one waits for its next try


async def test_study_that_cannot_be_projected_holds_up_no_other(
    system: Any, kit: Any, new_chest: Callable[..., Sequence[FileDataset]], monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned, healthy = new_chest("POISON", 1), new_chest("HEALTHY", 1)
    await store(system, kit, poisoned)
    await store(system, kit, healthy)
    real = projection.imaging_study

    def stumble(facts: Any) -> Any:
        if facts.study_instance_uid == str(poisoned[0].StudyInstanceUID):
            raise ValueError("a study like no other")
        return real(facts)

    monkeypatch.setattr(projection, "imaging_study", stumble)
    await system.run_jobs()
    listed = (await system.http.get("/fhir/ImagingStudy")).json()
    assert listed["total"] == 1
    assert str(healthy[0].StudyInstanceUID) in str(listed)
    patients = (await system.http.get("/fhir/Patient")).json()
    assert patients["total"] == 1  # what was begun for the other one is undone
