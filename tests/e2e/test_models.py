"""A model's life: production, a canary, a shadow, a version that fails, and the gate (docs/models.md, §8)."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import orjson
import pytest
from pydicom import FileDataset
from sqlalchemy import delete, select, update

from ai_engine.runners.port import RemoteUnavailable
from ai_engine.tables import RoutingRule, ShadowResult
from dicomweb.worklist.claims import claim
from dicomweb.worklist.tables import Workitem
from server.kernel.access import Principal
from server.kernel.database import UnitOfWork
from server.kernel.rows import Row, table_of
from server.kernel.tables import AuditRow
from server.workflows.registry.add import add_bundle
from server.workflows.registry.shadow import ServerOutOfReach, ShadowRuns
from server.workflows.registry.shadow_rows import RUN, defer_shadow_runs
from server.workflows.registry.traffic import slot_of
from server.workflows.registry.watch import watch_models
from server.workflows.report.graph import report_id_of
from tests.conftest import sqlite_first
from tests.services.bundles import MEAN, RAISES, make_bundle

pytestmark = sqlite_first

INVALID = """\
def run(voxels, affine, parameters):
    return {"labels": None, "values": [{"name": "other", "value": 1.0}], "not_measured": {}}
"""

SLICES = 3
QUEUE = ("job", "procrastinate_jobs", "procrastinate_events", "procrastinate_workers")


class Model:
    """The tiny model on the system of these tests."""

    def __init__(self, system: Any, kit: Any, new_chest: Callable[..., Sequence[FileDataset]]) -> None:
        self.system, self.kit, self.new_chest = system, kit, new_chest
        self.database = system.services.database

    async def add(self, version: str, script: str = MEAN, **changes: Any) -> None:
        folder = make_bundle(self.system.folder / version, "tiny", version, script=script, **changes)
        await add_bundle(self.database, folder, Principal("user:ada", "tests"))

    async def put(self, what: str, **said: Any) -> None:
        answer = await self.system.http.put(f"/admin/api/models/tiny/{what}", json=said)
        assert answer.status_code == 200, answer.text

    async def promote(self, version: str, to: str, status: int = 200) -> dict[str, Any]:
        path = f"/admin/api/models/tiny/versions/{version}/promote"
        answer = await self.system.http.post(path, json={"to": to, "reason": "a test"})
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    async def stages(self) -> dict[str, str]:
        answer = (await self.system.http.get("/admin/api/models/tiny")).json()
        return {each["version"]: each["stage"] for each in answer["versions"]}

    async def send(self) -> str:
        """Send a study and settle it; returns its UID."""
        study = self.new_chest("TINY-1", SLICES)
        await self.system.schedule(self.kit, study)
        return str(study[0].StudyInstanceUID)

    async def set_priority(self, workitem_uid: str, priority: str) -> None:
        row = table_of(Workitem)

        async def work(unit: UnitOfWork) -> None:
            await unit.execute(
                update(row).where(row.c.workitem_uid == workitem_uid).values(priority=priority)
            )

        await self.database.transact(work)

    async def version_of(self, study: str) -> str:
        c = table_of(Workitem).c
        async with self.database.read() as connection:
            query = select(c.model_version).where(c.study_instance_uid == study)
            return str((await connection.execute(query)).scalar_one())

    async def everything_but(self, *tables: str) -> dict[str, list[Any]]:
        """Every row that anybody could be answered from."""
        async with self.database.read() as connection:
            return {
                table.name: sorted(map(repr, (await connection.execute(select(table))).all()))
                for table in Row.metadata.sorted_tables
                if table.name not in (*QUEUE, *tables)
            }


@pytest.fixture
async def model(system: Any, kit: Any, new_chest: Callable[..., Sequence[FileDataset]]) -> Model:
    """The tiny model, in production and alone."""

    async def disable(unit: UnitOfWork) -> None:
        await unit.execute(update(table_of(RoutingRule)).values(enabled=False))

    await system.services.database.transact(disable)
    model = Model(system, kit, new_chest)
    await model.add("1.0.0")
    await model.promote("1.0.0", "production")
    return model


async def test_canary_gets_its_share_and_goes_back_when_it_fails(model: Model) -> None:
    await model.add("2.0.0", INVALID)
    await model.promote("2.0.0", "canary")
    await model.put("traffic", canary=50)
    await model.put("limits", limits={"minimum_studies": 1, "error_rate": 0.01})
    studies = [await model.send() for _ in range(5)]
    for study in studies:
        expected = "2.0.0" if slot_of("tiny", study) < 5000 else "1.0.0"
        assert await model.version_of(study) == expected
    await model.put("traffic", canary=100)
    studies.append(await model.send())
    assert await model.version_of(studies[-1]) == "2.0.0"
    while await model.system.worker.step():
        pass
    assert await watch_models(model.system.services) == 0
    assert await model.stages() == {"1.0.0": "production", "2.0.0": "candidate"}
    told = (await model.system.http.get("/admin/api/models/tiny")).json()
    newest = told["history"][0]
    assert (newest["act"], newest["by"], told["canaryShare"]) == ("rollback", "system:registry", 0)
    assert "studies failed within 24 h" in newest["reason"]
    assert await model.version_of(await model.send()) == "1.0.0"


async def test_failing_production_gives_way_to_the_version_before(model: Model) -> None:
    await model.add("2.0.0", INVALID)
    await model.promote("2.0.0", "production")
    await model.put("limits", limits={"minimum_studies": 1, "error_rate": 0.01})
    await model.send()
    assert await model.system.worker.step() == 1
    waits = await model.send()
    assert await model.version_of(waits) == "2.0.0"
    await watch_models(model.system.services)
    assert await model.stages() == {"1.0.0": "production", "2.0.0": "candidate"}
    assert await model.system.worker.step() == 1
    assert await model.version_of(waits) == "1.0.0"  # what waited is not published by the version taken back
    await watch_models(model.system.services)  # and that was all
    assert await model.stages() == {"1.0.0": "production", "2.0.0": "candidate"}


async def shadow_jobs(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The shadow jobs that a clinical run defers, as they are deferred."""
    from server.workflows import publish

    deferred: list[dict[str, Any]] = []

    async def listen(unit: UnitOfWork, claim: Any, summary: Any) -> None:
        before = len(unit._jobs)
        await defer_shadow_runs(unit, claim, summary)
        deferred.extend(dict(job.args) for job in unit._jobs[before:] if job.task == RUN)

    monkeypatch.setattr(publish, "defer_shadow_runs", listen)
    await model.send()
    assert await model.system.worker.step() == 1
    return deferred


async def test_shadow_leaves_nothing_but_its_own_row(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    await model.add("2.0.0", parameters={"offset": 7.0})
    await model.promote("2.0.0", "shadow")
    (args,) = await shadow_jobs(model, monkeypatch)
    assert args.keys() == {
        "workitem",
        "version",
    }  # jobs are shown, and outlive their study: no findings in them
    runs = ShadowRuns(model.system.services, model.system.models)
    before = await model.everything_but("shadow_result")
    objects = [each.name async for each in model.system.services.objects.list_objects()]
    await runs.run(args)
    await runs.run(args)  # once more is once
    assert await model.everything_but("shadow_result") == before
    assert [each.name async for each in model.system.services.objects.list_objects()] == objects
    answer = (await model.system.http.get("/admin/api/models/tiny/shadow-results")).json()
    (result,) = answer["shadowResults"]
    assert (result["outcome"], result["version"], result["clinicalVersion"]) == (
        "completed",
        "2.0.0",
        "1.0.0",
    )
    row = table_of(AuditRow)
    of_list = select(row.c.patient_id).where(row.c.interaction == "list-shadow-results")
    async with model.database.read() as connection:
        (patient,) = (await connection.execute(select(table_of(Workitem).c.patient_id))).scalars()
        audited = set((await connection.execute(of_list)).scalars())
    assert patient
    assert audited == {None, patient}  # whose findings were read
    (difference,) = result["agreement"]["differences"].values()
    assert difference == pytest.approx(7, abs=0.11)
    assert result["agreement"]["dice"] is None  # this model draws nothing


async def test_shadow_of_a_deleted_study_leaves_no_row(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    await model.add("2.0.0")
    await model.promote("2.0.0", "shadow")
    (args,) = await shadow_jobs(model, monkeypatch)
    row = table_of(ShadowResult)
    await model.database.transact(lambda unit: unit.execute(delete(row)))  # what the deletion of a study does
    await ShadowRuns(model.system.services, model.system.models).run(args)
    async with model.database.read() as connection:
        assert (await connection.execute(select(row))).first() is None


async def test_shadow_that_fails_is_tried_three_times(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    await model.add("2.0.0", RAISES)
    await model.promote("2.0.0", "shadow")
    (args,) = await shadow_jobs(model, monkeypatch)
    runs = ShadowRuns(model.system.services, model.system.models)
    for _ in range(4):
        await runs.run(args)
    found = await only_result(model)
    assert (found["outcome"], found["tries"], found["fault"]) == ("failed", 3, "model-raised")
    assert await model.stages() == {"1.0.0": "production", "2.0.0": "shadow"}


async def only_result(model: Model) -> dict[str, Any]:
    row = table_of(ShadowResult)
    async with model.database.read() as connection:
        return dict((await connection.execute(select(row))).mappings().one())


@pytest.mark.parametrize(
    ("error", "raised", "row"),
    [
        (KeyError("a defect"), None, ("failed", 3, "KeyError")),
        (RemoteUnavailable("no server"), ServerOutOfReach, ("running", 0, None)),
        (asyncio.CancelledError(), asyncio.CancelledError, ("running", 0, None)),
    ],
    ids=["any defect is told", "an outage is no try", "SIGTERM is no try"],
)
async def test_shadow_that_is_broken_off(
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    raised: type[BaseException] | None,
    row: tuple[str, int, str | None],
) -> None:
    await model.add("2.0.0")
    await model.promote("2.0.0", "shadow")
    (args,) = await shadow_jobs(model, monkeypatch)

    async def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(ShadowRuns, "_work", broken)
    runs = ShadowRuns(model.system.services, model.system.models)
    for _ in range(3):
        with pytest.raises(raised) if raised else nullcontext():
            await runs.run(args)
    found = await only_result(model)
    assert (found["outcome"], found["tries"], found["fault"]) == row


async def test_shadow_that_left_the_stage_is_called_off(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    await model.add("2.0.0")
    await model.promote("2.0.0", "shadow")
    (args,) = await shadow_jobs(model, monkeypatch)
    await model.promote("2.0.0", "candidate")
    await ShadowRuns(model.system.services, model.system.models).run(args)
    found = await only_result(model)
    assert (found["outcome"], found["tries"], found["clinical"]) == ("called-off", 0, None)


async def test_shadow_stands_back_for_clinical_work(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from server.workflows.registry.shadow import ClinicalWorkWaits

    await model.add("2.0.0")
    await model.promote("2.0.0", "shadow")
    (args,) = await shadow_jobs(model, monkeypatch)
    await model.send()  # waits
    runs = ShadowRuns(model.system.services, model.system.models)
    for _ in range(5):
        with pytest.raises(ClinicalWorkWaits):
            await runs.run(args)
    taken = await claim(model.database, "another-worker", 30)
    assert taken is not None
    await model.set_priority(taken.workitem_uid, "HIGH")
    with pytest.raises(ClinicalWorkWaits):
        await runs.run(args)  # STAT is in hand
    await model.set_priority(taken.workitem_uid, "MEDIUM")
    await runs.run(args)  # what stood back was not tried
    answer = (await model.system.http.get("/admin/api/models/tiny/shadow-results")).json()
    assert [(each["outcome"], each["tries"]) for each in answer["shadowResults"]] == [("completed", 1)]


async def test_decisions_by_http(model: Model) -> None:
    criterion = {"metric": "sensitivity", "holdout": "chests", "threshold": 0.9}
    await model.put("gate", criteria=[criterion], reason="a test")
    await model.add("2.0.0")
    refused = await model.promote("2.0.0", "canary", 422)
    assert "not evaluated on the whole of chests" in refused["detail"]
    assert (await model.promote("1.0.0", "canary", 409))["detail"].startswith("tiny 1.0.0 is production")
    await model.promote("9.9.9", "shadow", 404)
    http = model.system.http
    for path, body in (
        ("gate", {"criteria": [{**criterion, "bound": "upper"}]}),
        ("traffic", {"canary": 101}),
        ("traffic", {"canary": 0.001}),
        ("limits", {"limits": {"error_rate": 2}}),
    ):
        answer = await http.put(f"/admin/api/models/tiny/{path}", content=orjson.dumps(body))
        assert answer.status_code == 400, (path, answer.text)
    assert (await http.put("/admin/api/models/tiny/traffic", json={"canary": 10})).status_code == 409
    assert (await http.post("/admin/api/models/tiny/rollback")).status_code == 409
    for path in ("", "/evaluations", "/shadow-results"):
        assert (await http.get(f"/admin/api/models/none{path}")).status_code == 404, path
    for path in ("/admin/api/models", "/admin/api/models/tiny", "/admin/api/models/tiny/versions"):
        sent = [await http.request(method, path, content=b"PK") for method in ("POST", "PUT")]
        assert {answer.status_code for answer in sent} <= {404, 405}, path  # code comes in by no door
    retired = await http.post("/admin/api/models/tiny/versions/2.0.0/retire", json={})
    assert {each["version"]: each["stage"] for each in retired.json()["versions"]}["2.0.0"] == "retired"


async def test_decision_on_what_another_has_changed_is_refused(model: Model) -> None:
    http, path = model.system.http, "/admin/api/models/tiny"
    seen = (await http.get(path)).headers["etag"]
    limits = {"limits": {"error_rate": 0.1}}
    first = await http.put(f"{path}/limits", json=limits, headers={"If-Match": seen})
    assert (first.status_code, first.headers["etag"]) == (200, f'W/"{first.json()["revision"]}"')
    for what, said in (
        ("limits", limits),
        ("gate", {"criteria": [], "reason": "x"}),
        ("traffic", {"canary": 1}),
    ):
        answer = await http.put(f"{path}/{what}", json=said, headers={"If-Match": seen})
        assert answer.status_code == 412, what
        assert "Somebody has decided about tiny since" in answer.json()["detail"]
    for what in ("rollback", "versions/1.0.0/retire", "versions/1.0.0/bar", "versions/1.0.0/unbar"):
        answer = await http.post(f"{path}/{what}", json={}, headers={"If-Match": seen})
        assert answer.status_code == 412, what
    answer = await http.put(f"{path}/limits", json=limits, headers={"If-Match": "seven"})
    assert answer.status_code == 400
    assert (await http.put(f"{path}/limits", json=limits, headers={"If-Match": "*"})).status_code == 200


async def test_report_would_write_the_same_device(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from server.workflows.report import record

    async def nothing(_unit: UnitOfWork, _ids: Sequence[str]) -> frozenset[str]:
        return frozenset()

    monkeypatch.setattr(record, "of_the_registry", nothing)
    await model.send()
    assert await model.system.worker.step() == 1
    (version,) = (await model.system.http.get("/admin/api/models/tiny")).json()["versions"]
    device = (await model.system.http.get(f"/fhir/Device/{version['device']}")).json()
    made = (await model.system.http.get(f"/fhir/Device/{version['device']}/_history/1")).json()
    assert made.pop("type")["text"] == "Manual Processing"  # the observer of an SR states no family
    assert {**device, "meta": None} == {**made, "meta": None}


async def test_verdict_counts_for_the_version(model: Model) -> None:
    study = await model.send()
    assert await model.system.worker.step() == 1
    report = report_id_of(study, "tiny")
    token = await model.system.token("user/DiagnosticReport.ru")
    said = [{"name": "action", "valueCode": "accept"}, {"name": "verifier", "valueString": "Lovelace^Ada"}]
    answer = await model.system.http.post(
        f"/fhir/DiagnosticReport/{report}/$verify",
        json={"resourceType": "Parameters", "parameter": said},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 200, answer.text
    (version,) = (await model.system.http.get("/admin/api/models/tiny")).json()["versions"]
    assert version["verdicts"] == {"verified": 1}
    device = (await model.system.http.get(f"/fhir/Device/{version['device']}")).json()
    assert (device["status"], device["meta"]["versionId"]) == ("active", "1")  # reports leave it alone
