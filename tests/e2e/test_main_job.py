"""A study goes in, findings come out: real HTTP, real processes, real clients (DESIGN §2)."""

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from fhirpy import SyncFHIRClient
from pydicom import Dataset, FileDataset

from tests.services import loopback

ANALYSIS_S = 120.0

SEG, SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34"


@pytest.fixture(scope="module")
def http(module_server: Any) -> httpx.Client:
    return module_server.client()


@pytest.fixture(scope="module")
def dicomweb(module_server: Any) -> Iterator[DICOMwebClient]:
    headers = {"Authorization": f"Bearer {module_server.token()}"}
    with requests.Session() as session:
        yield DICOMwebClient(f"{module_server.base}/dicom-web", headers=headers, session=session)


def analysed(server: Any, kit: Any, http: httpx.Client, study_uid: str, states: list[str]) -> None:
    server.wait_until(lambda: sorted(kit.states(http, study_uid)) == sorted(states), ANALYSIS_S)


def search(http: httpx.Client, query: str) -> list[dict[str, Any]]:
    answer = http.get(f"/fhir/{query}")
    assert answer.status_code == 200, answer.text
    return [entry["resource"] for entry in answer.json().get("entry", [])]


def errors_of(validator: Sequence[str], path: Path) -> list[str]:
    done = subprocess.run([*validator, str(path)], capture_output=True, text=True, check=False)
    return [line for line in (done.stdout + done.stderr).splitlines() if "Error" in line]


@pytest.fixture(scope="module")
def study(module_server: Any, http: httpx.Client, dicomweb: DICOMwebClient) -> str:
    """A chest CT that went in by dicomweb-client and was analysed."""
    from ai_engine.phantom.chest import PhantomSpec
    from ai_engine.phantom.datasets import PhantomStudy, phantom_datasets

    spec = PhantomSpec(seed=3, slices=60, rows=192, columns=192)
    datasets = list(phantom_datasets(PhantomStudy(seed=3, patient_id="E2E-1", accession_number="A1"), spec))
    uid = str(datasets[0].StudyInstanceUID)
    dicomweb.store_instances(datasets, study_instance_uid=uid)

    def completed() -> bool:
        found = http.get("/dicom-web/workitems", params={"StudyInstanceUID": uid})
        return found.status_code == 200 and [w["00741000"]["Value"] for w in found.json()] == [["COMPLETED"]]

    module_server.wait_until(completed, ANALYSIS_S)
    return uid


def test_objects_are_found_in_the_same_study(dicomweb: DICOMwebClient, study: str) -> None:
    series = dicomweb.search_for_series(study)
    assert sorted(each["00080060"]["Value"][0] for each in series) == ["CT", "SEG", "SR"]


@pytest.mark.parametrize(("modality", "sop_class"), [("SEG", SEG), ("SR", SR)])
def test_objects_have_no_errors(
    dicomweb: DICOMwebClient, study: str, tmp_path: Path, modality: str, sop_class: str
) -> None:
    (found,) = dicomweb.search_for_instances(study, search_filters={"Modality": modality})
    series, instance = found["0020000E"]["Value"][0], found["00080018"]["Value"][0]
    dataset = dicomweb.retrieve_instance(study, series, instance)
    assert dataset.SOPClassUID == sop_class
    assert dataset.PatientID == "E2E-1"
    path = tmp_path / "object.dcm"
    dataset.save_as(path, enforce_file_format=True)
    assert errors_of(["dciodvfy", "-new"], path) == []


def test_sr_is_readable_by_dcmtk(dicomweb: DICOMwebClient, study: str, tmp_path: Path) -> None:
    (found,) = dicomweb.search_for_instances(study, search_filters={"Modality": "SR"})
    dataset = dicomweb.retrieve_instance(study, found["0020000E"]["Value"][0], found["00080018"]["Value"][0])
    path = tmp_path / "sr.dcm"
    dataset.save_as(path, enforce_file_format=True)
    done = subprocess.run(["dsrdump", str(path)], capture_output=True, text=True, check=True)
    assert "Imaging Measurement" in done.stdout
    assert "UNVERIFIED" in done.stdout.upper()


def test_report_and_observations_are_found_in_the_record(http: httpx.Client, study: str) -> None:
    (imaging_study,) = search(http, f"ImagingStudy?identifier=urn:dicom:uid|urn:oid:{study}")
    (report,) = search(http, f"DiagnosticReport?imaging-study=ImagingStudy/{imaging_study['id']}")
    assert report["status"] == "preliminary"
    assert "Lung volume" in report["conclusion"]
    assert "Research use only" in report["conclusion"]
    patient = report["subject"]["reference"]
    observations = search(http, f"Observation?patient={patient}&status=preliminary&_count=100")
    named = {reference["reference"].split("/")[1] for reference in report["result"]}
    assert named <= {observation["id"] for observation in observations}
    quantities = [o["valueQuantity"] for o in observations if "valueQuantity" in o]
    assert {q["system"] for q in quantities} == {"http://unitsofmeasure.org"}
    (patient_resource,) = search(http, "Patient?identifier=urn:isthmus:site:patient-id|E2E-1")
    assert patient == f"Patient/{patient_resource['id']}"


def test_the_graph_is_whole(http: httpx.Client, study: str) -> None:
    (imaging_study,) = search(http, f"ImagingStudy?identifier=urn:dicom:uid|urn:oid:{study}")
    (report,) = search(http, f"DiagnosticReport?imaging-study=ImagingStudy/{imaging_study['id']}")
    (provenance,) = search(http, f"Provenance?target=DiagnosticReport/{report['id']}")
    device = provenance["agent"][0]["who"]["reference"]
    assert http.get(f"/fhir/{device}").json()["version"][0]["value"]
    (task,) = search(http, f"Task?focus=ImagingStudy/{imaging_study['id']}")
    assert task["status"] == "completed"
    assert {series["modality"]["code"] for series in imaging_study["series"]} == {"CT", "SEG", "SR"}
    accession = next(i for i in imaging_study["identifier"] if i["value"] == "A1")
    assert accession["type"]["coding"][0]["code"] == "ACSN"


def test_patient_token_opens_only_that_patient_on_both_doors(
    module_server: Any,
    http: httpx.Client,
    study: str,
    kit: Any,
    new_chest: Callable[..., Sequence[FileDataset]],
) -> None:
    other = new_chest("E2E-OTHER", 2)
    kit.store(http, other).raise_for_status()
    (patient,) = search(http, "Patient?identifier=urn:isthmus:site:patient-id|E2E-1")
    mine = module_server.client(module_server.token("patient/*.rs", patient["id"]))
    studies = mine.get("/dicom-web/studies").json()
    assert [each["0020000D"]["Value"][0] for each in studies] == [study]
    other_uid = str(other[0].StudyInstanceUID)
    assert mine.get(f"/dicom-web/studies/{other_uid}/metadata").status_code == 404
    assert {p["id"] for p in search(mine, "Patient")} == {patient["id"]}
    module_server.wait_until(
        lambda: search(http, "Patient?identifier=urn:isthmus:site:patient-id|E2E-OTHER"), 15
    )
    (stranger,) = search(http, "Patient?identifier=urn:isthmus:site:patient-id|E2E-OTHER")
    assert mine.get(f"/fhir/Patient/{stranger['id']}").status_code == 404


def test_client_credentials_open_both_doors(module_server: Any, study: str) -> None:
    lines = module_server.run("client", "add", "--name", "EHR", "--scope", "system/*.rs").splitlines()
    secret = dict(line.split(maxsplit=1) for line in lines)
    answer = httpx.post(
        f"{module_server.base}/auth/token",
        data={"grant_type": "client_credentials", "scope": "system/*.rs"},
        auth=(secret["client_id"], secret["client_secret"]),
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    ehr = module_server.client(answer.json()["access_token"])
    assert ehr.get("/fhir/DiagnosticReport").json()["entry"]
    assert ehr.get(f"/dicom-web/studies?StudyInstanceUID={study}").json()
    assert ehr.post("/fhir/Patient", json={"resourceType": "Patient"}).status_code == 403


def test_no_token_is_401_on_both_doors(module_server: Any) -> None:
    for path in ("/dicom-web/studies", "/fhir/Patient", "/admin/api/models"):
        answer = loopback.get(module_server.base + path)
        assert answer.status_code == 401
        assert answer.headers.get_list("www-authenticate")[0].startswith("Bearer")
        assert len(answer.headers.get_list("www-authenticate")) == 1


def test_late_instance_leads_to_one_successor(
    module_server: Any, http: httpx.Client, kit: Any, chest: Sequence[FileDataset]
) -> None:
    uid = str(chest[0].StudyInstanceUID)
    kit.store(http, chest[:-1]).raise_for_status()
    analysed(module_server, kit, http, uid, ["COMPLETED"])
    (old_seg,), (old_sr,) = kit.instances(http, uid, "SEG"), kit.instances(http, uid, "SR")
    kit.store(http, chest[-1:]).raise_for_status()
    analysed(module_server, kit, http, uid, ["COMPLETED", "COMPLETED"])
    (new_seg,), (new_sr,) = kit.instances(http, uid, "SEG"), kit.instances(http, uid, "SR")
    assert {old_seg, old_sr}.isdisjoint({new_seg, new_sr})
    sr = retrieve(http, uid, "SR", kit)
    assert (
        sr.PredecessorDocumentsSequence[0]
        .ReferencedSeriesSequence[0]
        .ReferencedSOPSequence[0]
        .ReferencedSOPInstanceUID
        == old_sr
    )
    (imaging_study,) = search(http, f"ImagingStudy?identifier=urn:dicom:uid|urn:oid:{uid}")
    (report,) = search(http, f"DiagnosticReport?imaging-study=ImagingStudy/{imaging_study['id']}")
    assert report["meta"]["versionId"] == "2"
    told = http.post(f"/admin/api/studies/{uid}/settled").json()
    assert [each["outcome"] for each in told] == ["unchanged"]  # our own SEG and SR start no loop


def retrieve(http: httpx.Client, study_uid: str, modality: str, kit: Any) -> Dataset:
    from io import BytesIO

    from pydicom import dcmread

    found = http.get(f"/dicom-web/studies/{study_uid}/instances", params={"Modality": modality}).json()[0]
    series, instance = found["0020000E"]["Value"][0], found["00080018"]["Value"][0]
    path = f"/dicom-web/studies/{study_uid}/series/{series}/instances/{instance}"
    answer = http.get(path, headers={"Accept": "application/dicom"})
    assert answer.status_code == 200, answer.text
    return dcmread(BytesIO(answer.content))


def test_refused_series_is_stored_and_its_task_says_why(
    module_server: Any, http: httpx.Client, kit: Any, chest: Sequence[FileDataset]
) -> None:
    uid = str(chest[0].StudyInstanceUID)
    kit.store(http, chest[:1]).raise_for_status()
    analysed(module_server, kit, http, uid, ["CANCELED"])
    (imaging_study,) = search(http, f"ImagingStudy?identifier=urn:dicom:uid|urn:oid:{uid}")
    tasks = f"Task?focus=ImagingStudy/{imaging_study['id']}&status=failed"
    module_server.wait_until(lambda: search(http, tasks), 15)
    assert "at least 10" in search(http, tasks)[0]["statusReason"]["text"]
    assert http.get(f"/dicom-web/studies/{uid}/metadata").status_code == 200


def test_server_and_worker_import_no_torch(module_server: Any, study: str) -> None:
    for process in (module_server.process.pid, module_server.worker().pid):
        assert "torch" not in Path(f"/proc/{process}/maps").read_text()


def test_metrics_tell_of_the_worklist(module_server: Any, study: str) -> None:
    text = loopback.get(f"{module_server.base}/metrics").text
    assert 'isthmus_workitems{state="SCHEDULED"} 0.0' in text
    completed = 'isthmus_predictions_total{model="ct-quantification",outcome="completed",version="2.0.0"}'
    assert completed in text
    assert 'isthmus_prediction_stage_seconds_count{model="ct-quantification",stage="model"' in text
    assert 'isthmus_report_turnaround_seconds_count{model="ct-quantification",version="2.0.0"}' in text


def test_log_names_no_patient(module_server: Any, study: str) -> None:
    assert "Demo^Phantom" not in module_server.log()
    assert "E2E-1" not in module_server.log()


def test_own_codes_are_published(http: httpx.Client, study: str) -> None:
    (code_system,) = search(http, "CodeSystem?url=https://isthmus.health/fhir/CodeSystem/isthmus")
    defined = {concept["code"] for concept in code_system["concept"]}
    used = {
        coding["code"]
        for observation in search(http, "Observation?_count=200")
        for coding in observation["code"].get("coding", [])
        if coding.get("system") == code_system["url"]
    }
    assert used
    assert used <= defined
    for code in used:
        asked = {"system": code_system["url"], "code": code}
        found = http.get("/fhir/CodeSystem/$lookup", params=asked).raise_for_status().json()
        assert {"display", "definition"} <= {each["name"] for each in found["parameter"]}
        asked = {"url": code_system["url"], "code": code}
        told = http.get("/fhir/CodeSystem/$validate-code", params=asked).raise_for_status().json()
        assert {"name": "result", "valueBoolean": True} in told["parameter"]


def test_own_search_parameter_is_published(http: httpx.Client) -> None:
    (parameter,) = search(http, "SearchParameter?code=imaging-study")
    assert parameter["base"] == ["DiagnosticReport"]


def test_a_fhir_client_reads_the_report(module_server: Any, study: str) -> None:
    client = SyncFHIRClient(f"{module_server.base}/fhir", authorization=f"Bearer {module_server.token()}")
    imaging_study = client.resources("ImagingStudy").search(identifier=f"urn:oid:{study}").get()
    report = (
        client.resources("DiagnosticReport")
        .search(imaging_study=imaging_study.to_reference().reference)
        .include("DiagnosticReport", "result")
        .fetch_raw()
    )
    kinds = Counter(entry.resource.resourceType for entry in report.entry)
    assert kinds["DiagnosticReport"] == 1
    assert kinds["Observation"] >= 3
    patient = client.reference(reference=imaging_study["subject"]["reference"]).to_resource()
    observations = client.resources("Observation").search(patient=patient.id).limit(5).fetch_all()
    assert len(observations) > 5  # through more than one page
    made = client.resource(
        "Observation", status="final", code={"text": "by hand"}, subject=patient.to_reference()
    )
    made.save()
    assert client.resources("Observation").search(_id=made.id).first()["code"]["text"] == "by hand"
