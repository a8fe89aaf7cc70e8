"""Deletion of what was analysed: both doors, the worklist, the audit trail, and back again (DESIGN §5)."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydicom import Dataset, FileDataset
from sqlalchemy import select

from ai_engine.runners.process import RunnerPolicy
from dicomweb.worklist.claims import claim
from server.auth.tokens import issue_token
from server.kernel.retention_policy import RetentionPolicy, RetentionRule
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow, ObjectRemoval
from server.workflows.analysis import build_worker
from server.workflows.projection import imaging_study_id_of
from server.workflows.publish import ResultRefused
from server.workflows.retention.routes import build_router
from server.workflows.worker import Progress, WorkerSettings
from tests.conformance.ps3_18.kit import EVERYTHING, Injected
from tests.conftest import sqlite_first
from tests.services.gated_store import Gated

DELETED = 0xC003


@dataclass
class Archive:
    """The system, and what the tests of deletion do with it."""

    system: Any
    kit: Any
    new_chest: Callable[..., Sequence[FileDataset]]

    @property
    def http(self) -> httpx.AsyncClient:
        return self.system.http

    async def settle_down(self) -> None:
        """Let everything happen that follows from what was done."""
        await self.system.run_jobs()

    async def stow(self, *instances: Dataset, client: httpx.AsyncClient | None = None) -> httpx.Response:
        body = self.kit.multipart([self.kit.part10(each) for each in instances])
        http = client or self.http
        return await http.post("/dicom-web/studies", content=body, headers=self.kit.stow_headers)

    async def store(self, *instances: Dataset) -> str:
        answer = await self.stow(*instances)
        assert answer.status_code == 200, answer.text
        await self.settle_down()
        return str(instances[0].StudyInstanceUID)

    async def delete(self, study: str, reason: str = "wrong patient") -> httpx.Response:
        answer = await self.http.request("DELETE", f"/admin/api/studies/{study}", json={"reason": reason})
        await self.settle_down()
        return answer

    async def imaging_study(self, study: str) -> dict[str, Any]:
        answer = await self.http.get(f"/fhir/ImagingStudy/{imaging_study_id_of(study)}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def search(self, resource_type: str, **parameters: str) -> list[dict[str, Any]]:
        answer = await self.http.get(f"/fhir/{resource_type}", params=parameters)
        return [entry["resource"] for entry in answer.json().get("entry", ())]

    async def statuses(self, *paths: str) -> set[int]:
        return {(await self.http.get(path)).status_code for path in paths}

    async def qido(self, query: str) -> list[Any]:
        answer = await self.http.get(f"/dicom-web/{query}")
        return list(answer.json()) if answer.content else []

    async def patient(self, value: str) -> str:
        (found,) = await self.search("Patient", identifier=f"urn:isthmus:site:patient-id|{value}")
        return str(found["id"])

    async def token(self, patient: str) -> httpx.AsyncClient:
        token = await issue_token(self.system.services.database, scope="patient/*.cruds", patient=patient)
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.system.app),
            base_url="http://127.0.0.1",
            headers={"Authorization": f"Bearer {token}"},
        )

    async def audited(self, interaction: str) -> list[Any]:
        table = table_of(AuditRow)
        query = select(table).where(table.c.interaction == interaction).order_by(table.c.sequence)
        async with self.system.services.database.read() as connection:
            return list((await connection.execute(query)).all())


@pytest.fixture
def archive(system: Any, kit: Any, new_chest: Callable[..., Sequence[FileDataset]]) -> Archive:
    return Archive(system, kit, new_chest)


def study_references(resources: list[dict[str, Any]], study: str) -> list[dict[str, Any]]:
    """The references to the ImagingStudy of a study in reports and Observations."""
    target = f"ImagingStudy/{imaging_study_id_of(study)}"
    return [
        each
        for resource in resources
        for each in [*resource.get("imagingStudy", ()), *resource.get("derivedFrom", ())]
        if each.get("reference") == target
    ]


async def test_a_deleted_study_is_gone_and_its_report_stays_and_says_so(
    archive: Archive, chest: Sequence[FileDataset]
) -> None:
    await archive.system.analyse(archive.kit, chest)
    await archive.settle_down()
    study = str(chest[0].StudyInstanceUID)
    url = f"/dicom-web/studies/{study}"
    instance = f"{url}/series/{chest[0].SeriesInstanceUID}/instances/{chest[0].SOPInstanceUID}"
    before = [await archive.search(kind) for kind in ("DiagnosticReport", "Observation")]
    shown = await archive.imaging_study(study)
    stored = len(await archive.qido(f"studies/{study}/instances"))
    assert stored > len(chest)  # with what the engine made

    answer = await archive.delete(study, "asked for by the patient")

    assert answer.json() == {"study": study, "instances": stored}
    paths = (url, f"{url}/metadata", instance, f"{instance}/metadata", f"{instance}/frames/1")
    assert await archive.statuses(*paths) == {404}
    for query in ("studies", "series", "instances", f"studies/{study}/series"):
        assert await archive.qido(query) == []
    gone = await archive.imaging_study(study)
    assert gone["status"] == "cancelled"
    assert (gone["numberOfSeries"], gone["numberOfInstances"]) == (0, 0)
    assert "series" not in gone
    for kept in ("identifier", "subject", "started", "modality"):
        assert gone[kept] == shown[kept]
    assert gone["note"][0]["text"] == "The images were deleted. Reason: asked for by the patient"
    after = [await archive.search(kind) for kind in ("DiagnosticReport", "Observation")]
    for kept, was in zip(after, before, strict=True):
        assert len(kept) == len(was) > 0
        assert all("its images were deleted on" in each["display"] for each in study_references(kept, study))
        assert len(study_references(kept, study)) == len(kept)
        assert [unmarked(each) for each in kept] == [unmarked(each) for each in was]  # not a word else
    (entry,) = await archive.audited("delete-study")
    assert (entry.action, entry.resource_id, entry.occurrences) == ("D", study, stored)


def unmarked(resource: dict[str, Any]) -> dict[str, Any]:
    """A resource without what a deletion may change."""
    bare = {name: value for name, value in resource.items() if name != "meta"}
    for element in ("imagingStudy", "derivedFrom"):
        if element in bare:
            bare[element] = [
                {name: value for name, value in each.items() if name != "display"} for each in bare[element]
            ]
    return bare


async def test_its_objects_are_to_be_removed_at_once(archive: Archive, chest: Sequence[FileDataset]) -> None:
    study = await archive.store(*chest[:2])
    assert (await archive.delete(study)).status_code == 200
    async with archive.system.services.database.read() as connection:
        (row,) = (await connection.execute(select(table_of(ObjectRemoval)))).all()
    assert row.reason == "deleted"
    assert row.due_us <= row.noted_us


async def test_what_was_deleted_is_stored_again_only_when_released(
    archive: Archive, chest: Sequence[FileDataset]
) -> None:
    await archive.system.analyse(archive.kit, chest)
    await archive.settle_down()
    study = str(chest[0].StudyInstanceUID)
    assert (await archive.delete(study)).status_code == 200

    refused = await archive.stow(*chest[:2])
    assert refused.status_code == 409
    for failed in refused.json()["00081198"]["Value"]:
        assert failed["00081197"]["Value"] == [DELETED]
        (attribute,) = failed["00741048"]["Value"]
        assert attribute["00000902"]["Value"][0].startswith("It was deleted here")
    assert [(each.outcome, each.occurrences) for each in await archive.audited("stow")][-1] == ("4", 2)
    assert await archive.qido("studies") == []

    (tombstone,) = (await archive.http.get("/admin/api/tombstones")).json()["tombstones"]
    assert (tombstone["uid"], tombstone["level"], tombstone["reason"]) == (study, "study", "wrong patient")
    assert (await archive.http.post(f"/admin/api/tombstones/{study}/release")).status_code == 200
    assert (await archive.http.post(f"/admin/api/tombstones/{study}/release")).status_code == 404
    await archive.store(*chest)
    assert (await archive.imaging_study(study))["status"] == "available"
    assert "note" not in await archive.imaging_study(study)
    reports = await archive.search("DiagnosticReport")
    assert len(study_references(reports, study)) == 1
    assert not any("display" in each for each in study_references(reports, study))


async def test_a_deleted_instance_does_not_come_back_with_its_study(
    archive: Archive, chest: Sequence[FileDataset]
) -> None:
    study = await archive.store(*chest[:3])
    series = f"/dicom-web/studies/{study}/series/{chest[0].SeriesInstanceUID}"
    tag = (await archive.http.get(f"{series}/metadata")).headers["etag"]
    assert (await archive.http.delete(f"{series}/instances/{chest[1].SOPInstanceUID}")).status_code == 204
    await archive.settle_down()

    fresh = await archive.http.get(f"{series}/metadata", headers={"If-None-Match": tag})
    assert fresh.status_code == 200
    assert len(fresh.json()) == 2
    again = await archive.stow(*chest[:4])
    assert again.status_code == 202
    (failed,) = again.json()["00081198"]["Value"]
    assert failed["00081155"]["Value"] == [str(chest[1].SOPInstanceUID)]
    await archive.settle_down()
    assert len(await archive.qido(f"studies/{study}/instances")) == 3
    assert (await archive.imaging_study(study))["numberOfInstances"] == 3


async def test_the_last_instance_takes_series_and_study_along(
    archive: Archive, chest: Sequence[FileDataset]
) -> None:
    study = await archive.store(*chest[:2])
    series = f"/dicom-web/studies/{study}/series/{chest[0].SeriesInstanceUID}"
    for instance in chest[:2]:
        await archive.http.delete(f"{series}/instances/{instance.SOPInstanceUID}")
    await archive.settle_down()
    assert await archive.qido("studies") == await archive.qido("series") == []
    assert (await archive.imaging_study(study))["status"] == "cancelled"
    assert (await archive.http.delete(f"/dicom-web/studies/{study}")).status_code == 404
    assert await archive.store(*chest[2:3]) == study  # the study itself has no tombstone
    assert (await archive.imaging_study(study))["status"] == "available"
    assert (await archive.stow(chest[0])).status_code == 409  # but its instances do


@sqlite_first  # the next test publishes too late on both
async def test_waiting_analyses_end_and_running_ones_cannot_publish(
    archive: Archive, chest: Sequence[FileDataset]
) -> None:
    study = await archive.store(*chest)
    assert (await archive.http.post(f"/admin/api/studies/{study}/settled")).status_code == 200
    claimed = await claim(archive.system.services.database, "test", 30)
    assert claimed is not None
    assert (await archive.delete(study)).status_code == 200
    workitem = await archive.system.workitem(study)
    assert workitem["00741000"]["Value"] == ["IN PROGRESS"]
    (task,) = await archive.search("Task")
    assert task["status"] == "in-progress"

    await archive.system.worker._perform(claimed)  # it goes on, finds nothing and ends

    await archive.settle_down()
    workitem = await archive.system.workitem(study)
    assert workitem["00741000"]["Value"] == ["CANCELED"]
    (task,) = await archive.search("Task")
    assert task["status"] == "cancelled"
    assert task["statusReason"]["text"] == "The images to be analysed were deleted."
    assert await archive.qido("instances") == []
    assert (await archive.imaging_study(study))["status"] == "cancelled"


@pytest.mark.parametrize("levels", ["study", "its series one by one"])
async def test_a_result_that_comes_after_the_deletion_is_refused(
    archive: Archive, chest: Sequence[FileDataset], levels: str
) -> None:
    study = await archive.store(*chest)
    assert (await archive.http.post(f"/admin/api/studies/{study}/settled")).status_code == 200
    services = archive.system.services
    slow = Gated(services.objects)
    late, models = build_worker(
        replace(services, objects=slow), WorkerSettings("late", 30), RunnerPolicy(allow_unsandboxed=True)
    )
    claimed = await claim(services.database, "late", 30)
    assert claimed is not None
    working = asyncio.create_task(late.work(claimed, Progress()))  # no heartbeat tells it to stop
    await slow.reached.wait()  # the result is encoded, and its bytes are written

    if levels == "study":
        assert (await archive.delete(study)).status_code == 200
    else:
        series = f"/dicom-web/studies/{study}/series/{chest[0].SeriesInstanceUID}"
        assert (await archive.http.delete(series)).status_code == 204
    slow.go_on.set()
    with pytest.raises(ResultRefused) as refused:
        await working
    await late._fail(claimed, refused.value)
    await models.close()

    await archive.settle_down()
    assert await archive.qido("instances") == await archive.qido("studies") == []
    assert await archive.search("DiagnosticReport") == []
    workitem = await archive.system.workitem(study)
    assert workitem["00741000"]["Value"] == ["CANCELED"]
    assert (await archive.imaging_study(study))["status"] == "cancelled"


async def test_a_scheduled_analysis_is_canceled_with_its_study(
    archive: Archive, chest: Sequence[FileDataset]
) -> None:
    study = await archive.store(*chest)
    assert (await archive.http.post(f"/admin/api/studies/{study}/settled")).status_code == 200
    assert (await archive.delete(study)).status_code == 200
    workitem = await archive.system.workitem(study)
    assert workitem["00741000"]["Value"] == ["CANCELED"]
    (reason,) = workitem["00741002"]["Value"][0]["0074100E"]["Value"]
    assert reason["00080100"]["Value"] == ["110523"]  # Object Set incomplete, CID 9300
    assert await archive.system.worker.step() == 0


@sqlite_first
async def test_less_input_is_looked_at_again(archive: Archive, chest: Sequence[FileDataset]) -> None:
    study = await archive.store(*chest)
    assert (await archive.http.post(f"/admin/api/studies/{study}/settled")).status_code == 200
    series = f"/dicom-web/studies/{study}/series/{chest[0].SeriesInstanceUID}"
    assert (await archive.http.delete(f"{series}/instances/{chest[0].SOPInstanceUID}")).status_code == 204
    await archive.system.run_jobs(quiet_time_s=0)
    answer = await archive.http.get("/dicom-web/workitems", params={"StudyInstanceUID": study})
    assert [each["00741000"]["Value"][0] for each in answer.json()] == ["SCHEDULED", "CANCELED"]


async def test_events_from_before_do_not_bring_a_study_back(
    archive: Archive, chest: Sequence[FileDataset]
) -> None:
    stored = await archive.stow(*chest[:2])
    assert stored.status_code == 200  # and nothing has read its event yet
    study = str(chest[0].StudyInstanceUID)
    assert (await archive.delete(study)).status_code == 200
    await archive.system.run_jobs(quiet_time_s=0)
    assert (await archive.imaging_study(study))["status"] == "cancelled"
    assert (await archive.imaging_study(study))["subject"]["reference"].startswith("Patient/")
    assert len(await archive.search("Patient")) == 1


async def test_a_token_of_a_patient_deletes_only_what_is_the_patients(archive: Archive) -> None:
    mine, theirs = archive.new_chest("MINE"), archive.new_chest("THEIRS")
    await archive.store(*mine[:2])
    other = await archive.store(*theirs[:1])
    client = await archive.token(await archive.patient("MINE"))
    series = f"/dicom-web/studies/{other}/series/{theirs[0].SeriesInstanceUID}"
    for path in (f"/dicom-web/studies/{other}", series, f"{series}/instances/{theirs[0].SOPInstanceUID}"):
        assert (await client.delete(path)).status_code == 404
    assert len(await archive.qido("studies")) == 2
    assert (await client.delete(f"/dicom-web/studies/{mine[0].StudyInstanceUID}")).status_code == 204
    assert len(await archive.qido("studies")) == 1
    token = await issue_token(archive.system.services.database, scope="system/*.crus")
    headers = {"Authorization": f"Bearer {token}"}
    for path in (f"/dicom-web/studies/{other}", f"/admin/api/studies/{other}"):
        answer = await archive.http.request("DELETE", path, headers=headers, json={"reason": "x"})
        assert answer.status_code == 403
    await client.aclose()


async def test_reports_of_a_deleted_study_follow_a_merge_and_its_end(archive: Archive) -> None:
    chest = archive.new_chest("SOURCE")
    await archive.system.analyse(archive.kit, chest)
    await archive.store(*archive.new_chest("TARGET", 1))
    source, target = await archive.patient("SOURCE"), await archive.patient("TARGET")
    study = str(chest[0].StudyInstanceUID)
    assert (await archive.delete(study)).status_code == 200
    pair = {"source": source, "target": target}
    for act, whose in (("merge", target), ("unmerge", source)):
        answer = await archive.http.post(f"/admin/api/patients/{act}", json=pair)
        assert answer.status_code == 200, answer.text
        await archive.settle_down()
        subject = {"reference": f"Patient/{whose}"}
        for kind in ("DiagnosticReport", "Observation"):
            assert {each["subject"]["reference"] for each in await archive.search(kind)} == {
                f"Patient/{whose}"
            }
        assert (await archive.imaging_study(study))["subject"] == subject
        (task,) = await archive.search("Task")
        assert task["for"] == subject


async def test_a_hold_on_a_study_wins_until_it_is_released(
    archive: Archive, chest: Sequence[FileDataset]
) -> None:
    study = await archive.store(*chest[:2])
    placed = await archive.http.post("/admin/api/holds", json={"study": study, "reason": "case 12"})
    assert placed.status_code == 201
    series = f"/dicom-web/studies/{study}/series/{chest[0].SeriesInstanceUID}"
    for path in (f"/dicom-web/studies/{study}", f"{series}/instances/{chest[0].SOPInstanceUID}"):
        refused = await archive.http.delete(path)
        assert refused.status_code == 409
        assert refused.json()["error"] == "A legal hold is in force: nothing of this study may be deleted."
    assert (await archive.delete(study)).status_code == 409
    assert len(await archive.qido(f"studies/{study}/instances")) == 2
    assert [each.outcome for each in await archive.audited("delete-held")] == ["4"] * 3
    number = placed.json()["id"]
    (listed,) = (await archive.http.get("/admin/api/holds")).json()["holds"]
    assert (listed["id"], listed["study_instance_uid"], listed["reason"]) == (number, study, "case 12")
    released = await archive.http.post(f"/admin/api/holds/{number}/release", json={"reason": "closed"})
    assert released.status_code == 200
    assert (await archive.http.get("/admin/api/holds")).json()["holds"] == []
    (ended,) = (await archive.http.get("/admin/api/holds?ended=true")).json()["holds"]
    assert ended["release_reason"] == "closed"
    assert (await archive.delete(study)).status_code == 200


async def test_a_hold_on_a_patient_covers_later_and_merged_studies(archive: Archive) -> None:
    first = await archive.store(*archive.new_chest("HELD", 1))
    other = await archive.store(*archive.new_chest("OTHER", 1))
    held, survivor = await archive.patient("HELD"), await archive.patient("OTHER")
    placed = await archive.http.post("/admin/api/holds", json={"patient": held, "reason": "case 13"})
    assert placed.status_code == 201
    later = await archive.store(*archive.new_chest("HELD", 1))
    contradicting = archive.new_chest("HELD", 1)[0]
    contradicting.PatientBirthDate = "19010101"
    conflict = await archive.store(contradicting)
    for study in (first, later, conflict):
        assert (await archive.delete(study)).status_code == 409
    pair = {"source": held, "target": survivor}
    assert (await archive.http.post("/admin/api/patients/merge", json=pair)).status_code == 200
    merged = await archive.store(*archive.new_chest("OTHER", 1))
    for study in (first, later, other, merged):
        assert (await archive.delete(study)).status_code == 409
    assert (await archive.http.post("/admin/api/patients/unmerge", json=pair)).status_code == 200
    assert (await archive.delete(other)).status_code == 200
    assert (await archive.delete(first)).status_code == 409


UNCLEAR: tuple[Any, ...] = (
    {"reason": "neither"},
    {"study": "1.2.3", "patient": "x", "reason": "both"},
    {"study": "no uid", "reason": "x"},
    {"patient": "a/b", "reason": "x"},
    {"study": "1.2.3", "reason": " "},
    {"study": "1.2.3", "reason": "two\nlines"},
    {"study": "1.2.3", "reason": "x" * 1001},
    {"study": "1.2.3"},
    ["1.2.3"],
)


@sqlite_first
async def test_an_order_that_is_not_clear_is_refused(archive: Archive) -> None:
    answers = [(await archive.http.post("/admin/api/holds", json=body)).status_code for body in UNCLEAR]
    assert answers == [400] * len(UNCLEAR)


async def test_what_is_not_known_cannot_be_held_deleted_or_released(archive: Archive) -> None:
    reason = {"reason": "x"}
    for body in ({"study": "1.2.3", **reason}, {"patient": "nobody", **reason}):
        assert (await archive.http.post("/admin/api/holds", json=body)).status_code == 404
    assert (await archive.http.post("/admin/api/holds/7/release", json=reason)).status_code == 404
    assert (await archive.http.post("/admin/api/tombstones/1.2.3/release")).status_code == 404
    assert (await archive.delete("1.2.3")).status_code == 404
    assert (await archive.http.delete("/dicom-web/studies/1.2.3")).status_code == 404
    nameless = await archive.http.request("DELETE", "/admin/api/studies/1.2.3", content=b"")
    assert nameless.status_code == 400


@sqlite_first
async def test_rules_show_what_they_would_delete(archive: Archive, chest: Sequence[FileDataset]) -> None:
    assert (await archive.http.get("/admin/api/retention")).json() == {"rules": []}
    study = await archive.store(*chest[:1])
    rule = RetentionRule(1, modality="CT", counted_from="study_date")
    services = replace(archive.system.services, retention=RetentionPolicy((rule,)))
    app = FastAPI()
    app.include_router(build_router(services), prefix="/admin/api")
    transport = httpx.ASGITransport(Injected(app, {"all": EVERYTHING}))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        answer = await http.get("/admin/api/retention", headers={"Authorization": "Bearer all"})
    (shown,) = answer.json()["rules"]
    assert (shown["rule"], shown["dryRun"], shown["more"]) == ("CT, 1 days from Study Date", False, False)
    assert [each["studyInstanceUID"] for each in shown["due"]] == [study]
