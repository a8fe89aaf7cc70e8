"""Create Workitem, PS3.18 §11.4."""

from typing import Any

import httpx
import pytest

from dicomweb.wire.dictionary import key_of
from dicomweb.wire.multipart import PartHead, message
from dicomweb.wire.native_xml import native_xml
from server.kernel.access import Access
from server.kernel.services import Services
from tests.asked_in_turn import asked_in_turn
from tests.conformance.ps3_18.kit import confined_to, granted
from tests.conformance.ps3_18.worklist import JSON, MODEL, UID, Data, Ups, code, input_of, without, workitem
from tests.conftest import sqlite_first
from tests.unit.worklist.kit import store_study
from tests.unit.worklist.kit import workitem as row_of

pytestmark = sqlite_first  # 11.7 and the worklist's own tests write workitems on both databases

PRIVATE = {
    "00091001": {"vr": "LO", "Value": ["of our own"]},
    "00091002": {"vr": "SQ", "Value": [{"00091003": {"vr": "DS", "Value": [1.5, None]}}]},
}


async def test_created_workitem_is_kept_as_sent(ups: Ups) -> None:
    sent = workitem() | PRIVATE
    answer = await ups.create(sent)
    assert (answer.status_code, answer.content) == (201, b"")
    assert answer.headers["location"] == f"http://testserver/dicom-web/workitems/{UID}"
    assert "warning" not in answer.headers
    shown = await ups.get()
    assert {key: shown[key] for key in sent} == sent
    assert shown["00080016"]["Value"] == ["1.2.840.10008.5.1.4.34.6.1"]
    assert shown["00404010"]["Value"]  # Scheduled Procedure Step Modification DateTime
    assert await ups.found() == [UID]


@pytest.mark.parametrize(
    ("path", "payload"),
    [
        pytest.param(f"?{UID}", {}, id="the query as PS3.18 writes it"),
        pytest.param(f"?workitem={UID}", {}, id="a parameter"),
        pytest.param(f"?AffectedSOPInstanceUID={UID}", {}, id="a parameter as DIMSE calls it"),
        pytest.param("", {"00080018": {"vr": "UI", "Value": [UID]}}, id="SOP Instance UID in the payload"),
        pytest.param("", {"00001000": {"vr": "UI", "Value": [UID]}}, id="Affected SOP Instance UID there"),
        pytest.param(f"?{UID}", {"00080018": {"vr": "UI", "Value": [UID]}}, id="both alike"),
    ],
)
async def test_workitem_uid(ups: Ups, path: str, payload: dict[str, Any]) -> None:
    answer = await ups.send("POST", f"/workitems{path}", workitem() | payload)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"].endswith(f"/workitems/{UID}")


async def test_workitem_uid_is_given_when_none_is_named(ups: Ups) -> None:
    answer = await ups.create(workitem(), uid=None)
    assert answer.status_code == 201
    assert (await ups.get(answer.headers["location"].rpartition("/")[2]))["00741000"]["Value"] == [
        "SCHEDULED"
    ]


@pytest.mark.parametrize("path", ["?1.2.x", "?" + "1" * 65, "?workitem=../etc"])
async def test_workitem_uid_that_is_none_is_400(ups: Ups, path: str) -> None:
    assert (await ups.send("POST", f"/workitems{path}", workitem())).status_code == 400


async def test_two_workitem_uids_are_400(ups: Ups) -> None:
    other = {"00080018": {"vr": "UI", "Value": ["1.2"]}}
    assert (await ups.create(workitem() | other)).status_code == 400


async def test_second_of_a_uid_is_409(ups: Ups) -> None:
    await ups.create(workitem())
    again = await ups.create(workitem(ProcedureStepLabel="another"))
    assert again.status_code == 409
    assert "inconsistent" in again.headers["warning"]
    assert (await ups.get())["00741204"]["Value"] == ["Read CT"]


async def test_attributes_of_type_2_that_were_added_are_said(ups: Ups) -> None:
    answer = await ups.create(without(workitem(WorklistLabel=[]), "AdmissionID", "InputInformationSequence"))
    assert answer.status_code == 201
    assert answer.headers["warning"] == '299 isthmus "The Workitem was created with modifications."'
    shown = await ups.get()
    assert shown[key_of("AdmissionID")] == {"vr": "LO"}
    assert shown[key_of("WorklistLabel")]["Value"] == ["Isthmus"]


@asked_in_turn(
    ("body", "content_type", "status"),
    [
        pytest.param(b"[{}]", "application/dicom+xml", 400, id="no XML"),
        pytest.param(b"[{}]", "text/xml", 415, id="another media type"),
        pytest.param(b"[{}]", "multipart/related", 400, id="multipart without a boundary"),
        pytest.param(b"[{}]", "", 415, id="no media type"),
        pytest.param(b"", "application/dicom+json", 400, id="nothing"),
        pytest.param(b"[]", "application/dicom+json", 400, id="no data set"),
        pytest.param(b"[{},{}]", "application/dicom+json", 400, id="two data sets"),
        pytest.param(b"[[]]", "application/dicom+json", 400, id="no object"),
        pytest.param(b'{"PatientID": {"vr": "LO"}}', "application/json", 400, id="a keyword for a tag"),
        pytest.param(b'{"00100020": "x"}', "application/json", 400, id="no attribute"),
        pytest.param(b'{"00100020": {"vr": "LO", "Value": "x"}}', "application/json", 400, id="no list"),
        pytest.param(b'{"00100020": {"vr": "LO", "Value": [{}]}}', "application/json", 400, id="item in LO"),
        pytest.param(
            b'{"7FE00010": {"vr": "OW", "BulkDataURI": "x"}}', "application/json", 400, id="bulk data"
        ),
        pytest.param(b"[" * 100_000, "application/json", 400, id="nested without end"),
        pytest.param(
            b'{"00404021":{"vr":"SQ","Value":[' * 40 + b"{}" + b"]}}" * 40,
            "application/json",
            400,
            id="sequences too deep",
        ),
        pytest.param(b" " * ((4 << 20) + 1), "application/json", 413, id="too large"),
        pytest.param(
            b'{"00404021":{"vr":"SQ","Value":[' + b"{}," * 70_000 + b"{}]}}",
            "application/json",
            413,
            id="{}",
        ),
        pytest.param(b"<Item/>" * 280_004, "application/dicom+xml", 413, id="elements"),
    ],
)
async def test_payload_that_is_none_is_refused(ups: Ups, body: bytes, content_type: str, status: int) -> None:
    headers = {"Content-Type": content_type}
    answer = await ups.http.post(f"/dicom-web/workitems?{UID}", content=body, headers=headers)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])


@asked_in_turn(
    "attribute",
    [
        pytest.param({"00100010": {"vr": "PN", "Value": ["x"]}}, id="text for a name"),
        pytest.param({"00100010": {"vr": "PN", "Value": [{"Alphabetic": 1}]}}, id="a number in a name"),
        pytest.param({"00404021": {"vr": "LO", "Value": ["x"]}}, id="a sequence as LO"),
        pytest.param({"00100020": {"vr": "SQ", "Value": [{}]}}, id="an LO as a sequence"),
        pytest.param({"00420011": {"vr": "OB", "InlineBinary": 1}}, id="binary as a number"),
        pytest.param({"00200013": {"vr": "IS", "Value": [2**64]}}, id="a number of 65 bits"),
    ],
)
async def test_attribute_of_another_shape_is_refused(ups: Ups, attribute: Data) -> None:
    """Some of them were taken, and then every search of the worklist answered 500."""
    assert (await ups.create(workitem() | attribute)).status_code == 400
    assert (await ups.http.get("/dicom-web/workitems")).json() == []


@pytest.mark.parametrize("is_multipart", [False, True])
async def test_payload_in_xml(ups: Ups, is_multipart: bool) -> None:
    document = native_xml(workitem())
    content_type = "application/dicom+xml"
    if is_multipart:
        document = message("a-boundary", [(PartHead(content_type), document)])
        content_type = 'multipart/related; type="application/dicom+xml"; boundary=a-boundary'
    answer = await ups.http.post(
        f"/dicom-web/workitems?{UID}", content=document, headers={"Content-Type": content_type}
    )
    assert answer.status_code == 201, answer.text
    shown = await ups.get()
    assert {key: shown[key] for key in workitem()} == workitem()


async def test_values_do_not_stand_in_a_refusal(ups: Ups) -> None:
    refused = await ups.create(workitem(ScheduledProcedureStepPriority="Doe^Jane"))
    assert refused.status_code == 400
    assert "ScheduledProcedureStepPriority" in refused.text
    assert "Doe" not in refused.text


@pytest.fixture
async def patients(services: Services, accesses: dict[str, Access]) -> None:
    """A study of each of two patients, one of nobody, and a token of the first patient."""
    await store_study(services.database, "1.1", "p1")
    await store_study(services.database, "1.2", "p2")
    await store_study(services.database, "1.3", None)
    accesses["patient"] = confined_to("p1")


@pytest.mark.parametrize(
    ("study", "patient_id", "status"),
    [
        pytest.param("1.1", [], 201, id="own study"),
        pytest.param("1.2", [], 403, id="another's study"),
        pytest.param("1.3", [], 403, id="nobody's study"),
        pytest.param("1.9", [], 403, id="a study that is not stored"),
        pytest.param("1.2", "MRN-1.1", 403, id="another's study under the own name"),
    ],
)
async def test_token_of_a_patient_creates_for_this_patient_only(
    ups: Ups, patients: None, study: str, patient_id: Any, status: int
) -> None:
    ups.http.headers["Authorization"] = "Bearer patient"
    sent = workitem(InputInformationSequence=input_of(study), PatientID=patient_id)
    answer = await ups.create(sent)
    assert answer.status_code == status, answer.text
    assert await ups.found() == ([UID] if status == 201 else [])


async def test_token_of_a_patient_names_no_other_study_beside_its_own(ups: Ups, patients: None) -> None:
    ups.http.headers["Authorization"] = "Bearer patient"
    sent = workitem(InputInformationSequence=[input_of("1.1"), input_of("1.2")], PatientID=[])
    assert (await ups.create(sent)).status_code == 403


async def test_studies_of_two_patients_are_400(ups: Ups, patients: None) -> None:
    sent = workitem(InputInformationSequence=[input_of("1.1"), input_of("1.2")], PatientID=[])
    assert (await ups.create(sent)).status_code == 400


async def test_workitem_is_within_reach_by_its_study(
    ups: Ups, patients: None, services: Services, accesses: dict[str, Access]
) -> None:
    accesses["other"] = confined_to("p2")
    await ups.create(workitem(InputInformationSequence=input_of("1.1"), PatientID=[]))
    assert (await row_of(services.database, UID))["patient_id"] == "p1"
    for token, status in (("patient", 200), ("other", 404)):
        ups.http.headers["Authorization"] = f"Bearer {token}"
        assert (await ups.http.get(f"/dicom-web/workitems/{UID}")).status_code == status


async def test_permission_to_create(ups: Ups, accesses: dict[str, Access]) -> None:
    accesses["some"] = granted("Task", "ruds")
    ups.http.headers["Authorization"] = "Bearer some"
    assert (await ups.create(workitem())).status_code == 403
    ups.http.headers["Authorization"] = ""
    assert (await ups.create(workitem())).status_code == 401


async def test_workitem_that_names_a_model_is_the_engines(ups: Ups, services: Services) -> None:
    named = workitem(
        ScheduledStationNameCodeSequence=code(MODEL, "99ISTHMUS"),
        InputInformationSequence=input_of("1.5", "1.5.1", ("1.2.840.10008.5.1.4.1.1.2", "1.5.1.1")),
    )
    assert (await ups.create(named)).status_code == 201
    row = await row_of(services.database, UID)
    assert (row["model_name"], row["model_version"], row["not_before_us"]) == (MODEL, "1.0.0", None)
    assert row["study_instance_uid"] == "1.5"


async def test_body_of_a_form_is_refused_before_it_is_read(ups: Ups) -> None:
    answer: httpx.Response = await ups.http.post("/dicom-web/workitems", data={"a": "b"})
    assert answer.status_code == 415
    assert JSON["Content-Type"] in answer.text
