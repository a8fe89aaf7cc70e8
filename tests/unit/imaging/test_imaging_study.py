"""What an ImagingStudy tells of its study (FHIR R4 imagingstudy.html; SMART Imaging Access)."""

from typing import Any

from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from fhir.model.builders.imaging_study import SIDES
from fhir.model.validation import validate
from tests.conftest import sqlite_first
from tests.services.consents import consent, label, provision
from tests.unit.report.documents import coded

from .conftest import Hospital, instance

CHEST_CT = Code("169069000", "SCT", "CT of chest")
COUGH = Code("49727002", "SCT", "Cough")


def request(reason: Code | None = None, words: str = "", procedure: Code | None = None) -> Dataset:
    made = Dataset()
    made.RequestedProcedureID = "R1"
    if reason:
        made.ReasonForRequestedProcedureCodeSequence = [coded(reason)]
    if procedure:
        made.RequestedProcedureCodeSequence = [coded(procedure)]
    made.ReasonForTheRequestedProcedure = words
    return made


async def studied(hospital: Hospital, *datasets: Dataset) -> dict[str, Any]:
    await hospital.store(*datasets)
    await hospital.run_jobs()
    found = await hospital.only("ImagingStudy")
    assert validate(found) == []
    return found


@sqlite_first
async def test_what_was_done_why_and_by_whom(hospital: Hospital) -> None:
    told = {
        "ProcedureCodeSequence": [coded(CHEST_CT)],
        "ReasonForPerformedProcedureCodeSequence": [coded(COUGH)],
        "ReferringPhysicianName": "Who^Dr",
        "NameOfPhysiciansReadingStudy": ["Roe^Richard", "Poe^Ann"],
        "OperatorsName": "Moe^Max",
        "PerformingPhysicianName": "Joe^Jim",
        "Laterality": "L",
        "StudyDescription": "Chest",
        "SeriesDescription": "axial",
        "BodyPartExamined": "CHEST",
        "TimezoneOffsetFromUTC": "+0100",
        "SeriesDate": "20260301",
        "SeriesTime": "1011",
    }
    found = await studied(hospital, instance(**told), instance(number=2, **told))
    assert found["procedureCode"][0]["coding"][0]["code"] == CHEST_CT.value
    assert found["reasonCode"][0]["text"] == "Cough"
    assert found["referrer"] == {"type": "Practitioner", "display": "Dr Who"}
    assert [each["display"] for each in found["interpreter"]] == ["Richard Roe", "Ann Poe"]
    assert (found["description"], found["started"]) == ("Chest", "2026-03-01T10:11:12+01:00")
    (series,) = found["series"]
    assert series["laterality"]["code"] == codes.SCT.Left.value
    assert [each["actor"]["display"] for each in series["performer"]] == ["Jim Joe", "Max Moe"]
    assert (series["description"], series["started"]) == ("axial", "2026-03-01T10:11:00+01:00")
    assert series["bodySite"] == {"display": "CHEST"}
    assert (found["numberOfInstances"], series["numberOfInstances"]) == (2, 2)


@sqlite_first
async def test_labels_are_given_to_the_study_that_it_names(hospital: Hospital) -> None:
    """What is denied by a label is closed on DICOMweb too: the label must find its study."""
    found = await studied(hospital, instance())
    url = f"/fhir/ImagingStudy/{found['id']}"
    patient = found["subject"]["reference"].removeprefix("Patient/")
    denial = consent(patient, provision("deny", label="R"))
    assert (await hospital.http.post("/fhir/Consent", json=denial)).status_code == 201
    labelled = found | {"meta": {"security": [label("R")]}}
    nameless = {name: value for name, value in labelled.items() if name != "identifier"}
    refused = [
        await hospital.http.put(url, json=nameless),
        await hospital.http.patch(
            url,
            json=[{"op": "remove", "path": "/identifier"}],
            headers={"Content-Type": "application/json-patch+json"},
        ),
    ]
    for answer in refused:
        assert answer.status_code == 400, answer.text
        assert answer.json()["issue"][0]["expression"] == ["ImagingStudy.identifier"]
    assert (await hospital.http.get("/dicom-web/studies")).json() != []
    assert (await hospital.http.put(url, json=labelled)).status_code == 200
    assert (await hospital.http.get("/dicom-web/studies")).json() == []


@sqlite_first
async def test_what_was_asked_for_counts_where_nothing_says_what_was_done(hospital: Hospital) -> None:
    asked = request(COUGH, "ignored", CHEST_CT)
    found = await studied(
        hospital,
        instance(RequestAttributesSequence=[asked, asked]),
        instance(series=2, RequestAttributesSequence=[request(words="persistent\r\ncough")]),
    )
    assert [each["text"] for each in found["procedureCode"]] == ["CT of chest"]
    assert [each["text"] for each in found["reasonCode"]] == ["Cough"]
    late = instance(number=3, ReasonForPerformedProcedureCodeSequence=[coded(CHEST_CT)])
    await hospital.store(late)  # a late instance brings what the study did not say yet
    await hospital.run_jobs()
    again = await hospital.only("ImagingStudy")
    assert [each["text"] for each in again["reasonCode"]] == ["CT of chest"]
    assert (again["meta"]["versionId"], again["numberOfInstances"]) == ("2", 3)


@sqlite_first
async def test_a_reason_in_words_stays_in_words(hospital: Hospital) -> None:
    found = await studied(
        hospital, instance(RequestAttributesSequence=[request(words="persistent\r\ncough")])
    )
    assert found["reasonCode"] == [{"text": "persistent cough"}]
    assert not {"referrer", "interpreter", "procedureCode"} & found.keys()


def test_sides_have_the_codes_of_the_dictionary() -> None:
    assert {side: each["code"] for side, each in SIDES.items()} == {
        "R": codes.SCT.Right.value,
        "L": codes.SCT.Left.value,
    }
