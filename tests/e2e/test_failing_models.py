"""Models that do not deliver: each ends as a visible failure, images stay, the worker lives (DESIGN §9)."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pydicom import FileDataset
from sqlalchemy import update

from ai_engine.tables import RoutingRule
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from tests.conftest import sqlite_first

pytestmark = sqlite_first  # the worklist's own tests fail attempts on both databases

RAISES = "def run(voxels, affine, parameters):\n    raise ValueError('patient Demo^Phantom')\n"
HANGS = "import time\ndef run(voxels, affine, parameters):\n    time.sleep(600)\n"
EATS = (
    "import numpy\n"
    "def run(voxels, affine, parameters):\n"
    "    hoard = [numpy.ones(1 << 24) for _ in range(1000)]\n"
    "    return {'labels': None, 'values': [], 'not_measured': {}}\n"
)
EXITS = "import os\ndef run(voxels, affine, parameters):\n    os._exit(3)\n"
BABBLES = "def run(voxels, affine, parameters):\n    return {'labels': 'yes', 'values': 7}\n"
STRANGE = (
    "def run(voxels, affine, parameters):\n"
    "    value = {'name': 'lungs_volume', 'value': float('nan')}\n"
    "    return {'labels': None, 'values': [value], 'not_measured': {}}\n"
)


@pytest.mark.parametrize(
    ("script", "runtime", "says"),
    [
        pytest.param(RAISES, {}, "raised", id="raises"),
        pytest.param(HANGS, {"timeout_s": 2}, "ran past 2 s", id="hangs"),
        pytest.param(EATS, {"memory_mb": 1024}, "memory", id="eats memory"),
        pytest.param(EXITS, {}, "ended its process", id="ends its process"),
    ],
)
async def test_failing_model_is_tried_again_then_given_up(
    system: Any, kit: Any, chest: Sequence[FileDataset], script: str, runtime: dict[str, Any], says: str
) -> None:
    await system.register(script, **runtime)
    workitem = await system.analyse(kit, chest)
    assert workitem["00741000"]["Value"] == ["IN PROGRESS"]  # two more attempts are allowed
    assert says in json.dumps(workitem)
    assert "Demo^Phantom" not in json.dumps(workitem["00741002"])
    await exhaust_attempts(system)
    workitem = await system.workitem(str(chest[0].StudyInstanceUID))
    assert workitem["00741000"]["Value"] == ["CANCELED"]
    assert says in json.dumps(workitem)
    await images_stay_and_the_task_says_why(system, chest, says)


async def exhaust_attempts(system: Any) -> None:
    """Let the worker use up its attempts without waiting for their back-off."""
    from dicomweb.worklist.tables import Workitem

    async def hurry(unit: UnitOfWork) -> None:
        await unit.execute(update(table_of(Workitem)).values(not_before_us=None))

    for _ in range(2):
        await system.services.database.transact(hurry)
        assert await system.worker.step() == 1


async def images_stay_and_the_task_says_why(system: Any, chest: Sequence[FileDataset], says: str) -> None:
    uid = str(chest[0].StudyInstanceUID)
    series = (await system.http.get(f"/dicom-web/studies/{uid}/series")).json()
    assert [each["00080060"]["Value"] for each in series] == [["CT"]]
    await system.run_jobs()
    (entry,) = (await system.http.get("/fhir/Task?status=failed")).json()["entry"]
    assert says in entry["resource"]["statusReason"]["text"]
    assert (await system.http.get("/fhir/DiagnosticReport")).json().get("entry", []) == []


@pytest.mark.parametrize(
    "script", [pytest.param(BABBLES, id="no mapping of values"), pytest.param(STRANGE, id="not a number")]
)
async def test_invalid_output_is_given_up_at_once(
    system: Any, kit: Any, chest: Sequence[FileDataset], script: str
) -> None:
    await system.register(script)
    workitem = await system.analyse(kit, chest)
    assert workitem["00741000"]["Value"] == ["CANCELED"]


async def test_changed_bundle_is_refused(
    system: Any, kit: Any, chest: Sequence[FileDataset], new_chest: Callable[..., Sequence[FileDataset]]
) -> None:
    await system.register(EXITS)
    (system.folder / "bundle/scripts/quantify.py").write_text(RAISES)
    workitem = await system.analyse(kit, chest)
    assert workitem["00741000"]["Value"] == ["CANCELED"]
    assert "not those that were registered" in json.dumps(workitem)


async def test_missing_pixel_spacing_is_named(system: Any, kit: Any, chest: Sequence[FileDataset]) -> None:
    for dataset in chest:
        del dataset.PixelSpacing
    workitem = await system.analyse(kit, chest)
    assert workitem["00741000"]["Value"] == ["CANCELED"]
    assert "PixelSpacing" in json.dumps(workitem)


async def test_study_that_no_model_wants_leaves_no_workitem(
    system: Any, kit: Any, chest: Sequence[FileDataset]
) -> None:
    for dataset in chest:
        dataset.Modality = "MR"
    body = kit.multipart([kit.part10(dataset) for dataset in chest])
    await system.http.post("/dicom-web/studies", content=body, headers=kit.stow_headers)
    settled = await system.http.post(f"/admin/api/studies/{chest[0].StudyInstanceUID}/settled")
    assert [each["outcome"] for each in settled.json()] == ["not-wanted"]
    assert "modality CT" in settled.json()[0]["reason"]
    assert settled.json()[0]["passed_over"] == [
        {"series": chest[0].SeriesInstanceUID, "reason": "is of another modality, SOP class or body part"}
    ]


async def test_cancel_request_stops_a_waiting_workitem(
    system: Any, kit: Any, chest: Sequence[FileDataset]
) -> None:
    await system.register(EXITS)
    workitem = await system.analyse(kit, chest)  # failed once, waits for its second attempt
    uid = workitem["00080018"]["Value"][0]
    answer = await system.http.post(f"/dicom-web/workitems/{uid}/cancelrequest")
    assert answer.status_code == 202
    assert await system.worker.step() == 0
    workitem = await system.workitem(str(chest[0].StudyInstanceUID))
    assert workitem["00741000"]["Value"] == ["CANCELED"]


async def test_rule_that_is_disabled_sees_nothing(
    system: Any, kit: Any, chest: Sequence[FileDataset]
) -> None:
    async def disable(unit: UnitOfWork) -> None:
        await unit.execute(update(table_of(RoutingRule)).values(enabled=False))

    await system.services.database.transact(disable)
    body = kit.multipart([kit.part10(dataset) for dataset in chest])
    await system.http.post("/dicom-web/studies", content=body, headers=kit.stow_headers)
    settled = await system.http.post(f"/admin/api/studies/{chest[0].StudyInstanceUID}/settled")
    assert settled.json() == []
