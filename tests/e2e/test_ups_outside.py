"""Workitems from outside in the whole system: performed by somebody else, and by our engine."""

import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from pydicom import FileDataset

from tests.conformance.ps3_18.worklist import TRANSACTION, code, input_of, performed, to_state, workitem

UID = "2.25.4711"
HEADERS = {"Content-Type": "application/dicom+json"}
FOR_MODEL = {"ScheduledStationNameCodeSequence": code("ct-quantification", "99ISTHMUS")}


async def send(http: httpx.AsyncClient, method: str, path: str, payload: Any) -> httpx.Response:
    return await http.request(method, f"/dicom-web{path}", content=json.dumps(payload), headers=HEADERS)


async def store(system: Any, kit: Any, chest: Sequence[FileDataset]) -> str:
    body = kit.multipart([kit.part10(dataset) for dataset in chest])
    stored = await system.http.post("/dicom-web/studies", content=body, headers=kit.stow_headers)
    assert stored.status_code == 200
    return str(chest[0].StudyInstanceUID)


async def task(system: Any) -> dict[str, Any]:
    """The one Task of the record, when every job has been done."""
    await system.run_jobs()
    found = (await system.http.get("/fhir/Task")).json()["entry"]
    (entry,) = found
    return dict(entry["resource"])


async def test_workitem_from_outside_runs_on_the_engine(
    system: Any, kit: Any, chest: Sequence[FileDataset]
) -> None:
    study = await store(system, kit, chest)
    asked = workitem(**FOR_MODEL, InputInformationSequence=input_of(study), PatientID=chest[0].PatientID)
    created = await send(system.http, "POST", f"/workitems?{UID}", asked)
    assert created.status_code == 201, created.text
    assert await system.worker.step() == 1  # nobody settled the study: the workitem counts as told
    done = await system.workitem(study)
    assert done["00741000"]["Value"] == ["COMPLETED"]
    assert done["00741204"]["Value"] == ["Read CT"]  # as it was sent
    (output,) = [each["00404033"]["Value"] for each in done["00741216"]["Value"]]
    assert {each["0020000D"]["Value"][0] for each in output} == {study}
    await system.run_jobs()
    reports = (await system.http.get("/fhir/DiagnosticReport")).json()["entry"]
    assert len(reports) == 1
    assert (await task(system))["status"] == "completed"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param(
            {"ScheduledStationNameCodeSequence": code("no-such-model", "99ISTHMUS")},
            "no model of this server",
            id="a model that there is not",
        ),
        pytest.param({"InputInformationSequence": []}, "must name one study", id="no input"),
        pytest.param(
            {"InputInformationSequence": input_of("1.2.3")}, "is not stored", id="a study that is not stored"
        ),
    ],
)
async def test_what_the_engine_cannot_run_is_refused(system: Any, changes: dict[str, Any], said: str) -> None:
    answer = await send(system.http, "POST", f"/workitems?{UID}", workitem(**(FOR_MODEL | changes)))
    assert answer.status_code == 400
    assert said in answer.json()["error"]


async def test_chosen_instances_are_taken_as_they_are(
    system: Any, kit: Any, chest: Sequence[FileDataset]
) -> None:
    study = await store(system, kit, chest[:3])
    series = str(chest[0].SeriesInstanceUID)
    named = [(str(each.SOPClassUID), str(each.SOPInstanceUID)) for each in chest[:2]]
    asked = workitem(**FOR_MODEL, InputInformationSequence=input_of(study, series, *named))
    asked |= {"00100020": {"vr": "LO", "Value": [chest[0].PatientID]}}
    assert (await send(system.http, "POST", f"/workitems?{UID}", asked)).status_code == 201
    assert await system.worker.step() == 1
    done = await system.workitem(study)  # two slices are too few for this model, which says so
    assert done["00741000"]["Value"] == ["CANCELED"]
    missing = input_of(study, series, (named[0][0], "1.2.3"))
    absent = workitem(**FOR_MODEL, InputInformationSequence=missing, PatientID=[])
    assert (await send(system.http, "POST", "/workitems?2.25.1", absent)).status_code == 400


async def test_outside_performer_completes_a_workitem(
    system: Any, kit: Any, chest: Sequence[FileDataset]
) -> None:
    study = await store(system, kit, chest[:1])
    asked = workitem(InputInformationSequence=input_of(study), PatientID=chest[0].PatientID)
    assert (await send(system.http, "POST", f"/workitems?{UID}", asked)).status_code == 201
    await system.run_jobs()
    assert await system.worker.step() == 0
    assert (await task(system))["status"] == "requested"
    assert (
        await send(system.http, "PUT", f"/workitems/{UID}/state", to_state("IN PROGRESS"))
    ).status_code == 200
    said = await send(system.http, "POST", f"/workitems/{UID}?transaction={TRANSACTION}", performed())
    assert said.status_code == 200
    assert (
        await send(system.http, "PUT", f"/workitems/{UID}/state", to_state("COMPLETED"))
    ).status_code == 200
    found = await task(system)
    assert (found["status"], found["description"]) == ("completed", "Read CT")
    assert found["focus"]["reference"].startswith("ImagingStudy/")
    patients = (await system.http.get("/fhir/Patient")).json()["entry"]
    assert found["for"]["reference"] == f"Patient/{patients[0]['resource']['id']}"


async def test_workitem_about_no_study_is_a_task_too(system: Any) -> None:
    odd = workitem(ProcedureStepLabel="\u0007 scan \n the patient ", PatientID=[], PatientName=[])
    assert (await send(system.http, "POST", f"/workitems?{UID}", odd)).status_code == 201
    found = await task(system)
    assert (found["status"], "focus" in found, "for" in found) == ("requested", False, False)
    cancelled = await system.http.post(f"/dicom-web/workitems/{UID}/cancelrequest")
    assert cancelled.status_code == 202
    assert (await task(system))["status"] == "cancelled"
