"""Models that do not deliver: each ends as a visible failure, images stay, the worker lives (DESIGN §9)."""

import json
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import FileDataset
from sqlalchemy import update

from ai_engine.bundle import SHIPPED_BUNDLES, load_bundle
from ai_engine.runners.process import RunnerPolicy
from ai_engine.tables import ModelVersion, RoutingRule
from server.app import build_app, build_services
from server.auth.tokens import issue_token
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.migrations import upgrade
from server.settings import Settings
from server.workflows.analysis import build_worker
from server.workflows.models import LoadedModels, register_shipped
from server.workflows.projection import project_waiting_studies, project_waiting_tasks
from server.workflows.worker import Worker, WorkerSettings


@dataclass
class System:
    """The whole server and one worker in this process; nothing runs by itself."""

    services: Services
    http: httpx.AsyncClient
    worker: Worker
    models: LoadedModels
    folder: Path

    async def register(self, script: str, **runtime: Any) -> None:
        """Put a bundle with this model code in place of the shipped one."""
        folder = self.folder / "bundle"
        shutil.copytree(SHIPPED_BUNDLES / "ct_quantification", folder)
        shutil.rmtree(folder / "scripts")
        (folder / "scripts").mkdir()
        (folder / "scripts/__init__.py").write_text("")
        (folder / "scripts/quantify.py").write_text(script)
        manifest = json.loads((folder / "isthmus.json").read_text())
        manifest["runtime"] |= {"entry": "scripts.quantify:run", **runtime}
        (folder / "isthmus.json").write_text(json.dumps(manifest))
        bundle = load_bundle(folder)

        async def work(unit: UnitOfWork) -> None:
            await unit.execute(
                update(table_of(ModelVersion)).values(path=str(bundle.path), digest=bundle.digest)
            )

        await self.services.database.transact(work)

    async def analyse(self, kit: Any, datasets: list[FileDataset]) -> dict[str, Any]:
        """Store a study, settle it, let the worker try once; returns the workitem."""
        body = kit.multipart([kit.part10(dataset) for dataset in datasets])
        stored = await self.http.post("/dicom-web/studies", content=body, headers=kit.stow_headers)
        assert stored.status_code == 200, stored.text
        uid = str(datasets[0].StudyInstanceUID)
        settled = await self.http.post(f"/admin/api/studies/{uid}/settled")
        assert [each["outcome"] for each in settled.json()] == ["scheduled"], settled.text
        assert await self.worker.step() == 1
        return await self.workitem(uid)

    async def workitem(self, study_instance_uid: str) -> dict[str, Any]:
        answer = await self.http.get("/dicom-web/workitems", params={"StudyInstanceUID": study_instance_uid})
        (found,) = answer.json()
        return dict(found)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    settings = Settings(data=tmp_path / "data", worker=False, allow_unsandboxed=True)
    settings.data.mkdir()
    await upgrade(settings.database)
    services = build_services(settings)
    await register_shipped(services.database)
    app = build_app(settings, services)
    token = await issue_token(services.database, scope="system/*.cruds")
    worker, models = build_worker(
        services, WorkerSettings("test-worker", 30), RunnerPolicy(allow_unsandboxed=True)
    )
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as http:
        yield System(services, http, worker, models, tmp_path)
    await models.close()
    await services.objects.close()
    await services.database.close()


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
    system: System, kit: Any, chest: list[FileDataset], script: str, runtime: dict[str, Any], says: str
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


async def exhaust_attempts(system: System) -> None:
    """Let the worker use up its attempts without waiting for their back-off."""
    from dicomweb.worklist.tables import Workitem

    async def hurry(unit: UnitOfWork) -> None:
        await unit.execute(update(table_of(Workitem)).values(not_before_us=None))

    for _ in range(2):
        await system.services.database.transact(hurry)
        assert await system.worker.step() == 1


async def images_stay_and_the_task_says_why(system: System, chest: list[FileDataset], says: str) -> None:
    uid = str(chest[0].StudyInstanceUID)
    series = (await system.http.get(f"/dicom-web/studies/{uid}/series")).json()
    assert [each["00080060"]["Value"] for each in series] == [["CT"]]
    await project_waiting_studies(system.services)
    await project_waiting_tasks(system.services)
    (entry,) = (await system.http.get("/fhir/Task?status=failed")).json()["entry"]
    assert says in entry["resource"]["statusReason"]["text"]
    assert (await system.http.get("/fhir/DiagnosticReport")).json().get("entry", []) == []


@pytest.mark.parametrize(
    "script", [pytest.param(BABBLES, id="no mapping of values"), pytest.param(STRANGE, id="not a number")]
)
async def test_invalid_output_is_given_up_at_once(
    system: System, kit: Any, chest: list[FileDataset], script: str
) -> None:
    await system.register(script)
    workitem = await system.analyse(kit, chest)
    assert workitem["00741000"]["Value"] == ["CANCELED"]


async def test_changed_bundle_is_refused(
    system: System, kit: Any, chest: list[FileDataset], new_chest: Callable[..., list[FileDataset]]
) -> None:
    await system.register(EXITS)
    (system.folder / "bundle/scripts/quantify.py").write_text(RAISES)
    workitem = await system.analyse(kit, chest)
    assert workitem["00741000"]["Value"] == ["CANCELED"]
    assert "not those that were registered" in json.dumps(workitem)


async def test_missing_pixel_spacing_is_named(system: System, kit: Any, chest: list[FileDataset]) -> None:
    for dataset in chest:
        del dataset.PixelSpacing
    workitem = await system.analyse(kit, chest)
    assert workitem["00741000"]["Value"] == ["CANCELED"]
    assert "PixelSpacing" in json.dumps(workitem)


async def test_study_that_no_model_wants_leaves_no_workitem(
    system: System, kit: Any, chest: list[FileDataset]
) -> None:
    for dataset in chest:
        dataset.Modality = "MR"
    body = kit.multipart([kit.part10(dataset) for dataset in chest])
    await system.http.post("/dicom-web/studies", content=body, headers=kit.stow_headers)
    settled = await system.http.post(f"/admin/api/studies/{chest[0].StudyInstanceUID}/settled")
    assert [each["outcome"] for each in settled.json()] == ["not-wanted"]
    assert "modality CT" in settled.json()[0]["reason"]


async def test_cancel_request_stops_a_waiting_workitem(
    system: System, kit: Any, chest: list[FileDataset]
) -> None:
    await system.register(EXITS)
    workitem = await system.analyse(kit, chest)  # failed once, waits for its second attempt
    uid = workitem["00080018"]["Value"][0]
    answer = await system.http.post(f"/dicom-web/workitems/{uid}/cancelrequest")
    assert answer.status_code == 202
    assert await system.worker.step() == 0
    workitem = await system.workitem(str(chest[0].StudyInstanceUID))
    assert workitem["00741000"]["Value"] == ["CANCELED"]


async def test_rule_that_is_disabled_sees_nothing(system: System, kit: Any, chest: list[FileDataset]) -> None:
    async def disable(unit: UnitOfWork) -> None:
        await unit.execute(update(table_of(RoutingRule)).values(enabled=False))

    await system.services.database.transact(disable)
    body = kit.multipart([kit.part10(dataset) for dataset in chest])
    await system.http.post("/dicom-web/studies", content=body, headers=kit.stow_headers)
    settled = await system.http.post(f"/admin/api/studies/{chest[0].StudyInstanceUID}/settled")
    assert settled.json() == []
