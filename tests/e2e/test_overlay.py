"""Merged and corrected studies on both doors: what they show, and what the record says (DESIGN §5)."""

import io
from typing import Any

import pydicom
import pytest
from sqlalchemy import select

from dicomweb.tables import StudyOverlay, SurvivingPatient
from server.kernel.object_stores import join_installation
from server.kernel.rows import table_of
from tests.e2e.test_merge import Hospital, hospital

__all__ = ["hospital"]  # a fixture

ONE_DATABASE = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
OLGA = {"PatientName": "Old^Olga", "PatientBirthDate": "19500102", "PatientSex": "F"}
NORA = {"PatientName": "New^Nora", "PatientBirthDate": "19500201", "PatientSex": "F"}
DICOM_JSON = {"Accept": "application/dicom+json"}


async def by_id(hospital: Hospital, patient_id: str) -> dict[str, str]:
    """Study Instance UID → Patient's Name of the studies that a search by Patient ID finds."""
    answer = await hospital.http.get(
        "/dicom-web/studies", params={"PatientID": patient_id}, headers=DICOM_JSON
    )
    found = answer.json() if answer.content else []
    assert {each["00100020"]["Value"][0] for each in found} <= {patient_id}
    return {each["0020000D"]["Value"][0]: each["00100010"]["Value"][0]["Alphabetic"] for each in found}


async def files(hospital: Hospital, study: str) -> list[pydicom.Dataset]:
    metadata = (await hospital.http.get(f"/dicom-web/studies/{study}/metadata", headers=DICOM_JSON)).json()
    found = []
    for each in metadata:
        series, instance = each["0020000E"]["Value"][0], each["00080018"]["Value"][0]
        path = f"/dicom-web/studies/{study}/series/{series}/instances/{instance}"
        file = await hospital.http.get(path, headers={"Accept": "application/dicom"})
        assert file.status_code == 200, file.text
        found.append(pydicom.dcmread(io.BytesIO(file.content)))
        assert found[-1].PatientID == each["00100020"]["Value"][0]
        assert str(found[-1].PatientName) == each["00100010"]["Value"][0]["Alphabetic"]
    return found


async def test_a_merged_study_shows_the_patient_who_stays(hospital: Hospital) -> None:
    theirs = await hospital.store("OLD", **OLGA, IssuerOfPatientID="")
    await hospital.store("NEW", **NORA)
    old, new = await hospital.patient("OLD"), await hospital.patient("NEW")
    await hospital.merge(old, new)
    later = await hospital.store("OLD", **OLGA)
    found = await by_id(hospital, "NEW")
    assert found[theirs] == found[later] == "New^Nora"
    assert await by_id(hospital, "OLD") == {}
    (file,) = await files(hospital, later)
    assert (file.PatientID, file.PatientBirthDate) == ("NEW", "19500201")
    (item,) = file.OriginalAttributesSequence
    assert item.ReasonForTheAttributeModification == "COERCE"
    (before,) = item.ModifiedAttributesSequence
    assert (before.PatientID, str(before.PatientName)) == ("OLD", "Old^Olga")

    await hospital.merge(old, new, "unmerge")
    found = await by_id(hospital, "OLD")
    assert found[theirs] == found[later] == "Old^Olga"
    (file,) = await files(hospital, theirs)
    assert "OriginalAttributesSequence" not in file
    async with hospital.system.services.database.read() as connection:
        for table in (StudyOverlay, SurvivingPatient):
            assert (await connection.execute(select(table_of(table)))).all() == []


@ONE_DATABASE
async def test_merges_within_merges_show_the_last(hospital: Hospital) -> None:
    theirs = {name: await hospital.store(name, PatientName=f"{name}^Ann") for name in ("A", "B", "C")}
    a, b, c = [await hospital.patient(name) for name in theirs]
    await hospital.merge(a, b)
    assert set((await by_id(hospital, "B")).values()) == {"B^Ann"}
    await hospital.merge(b, c)
    assert await by_id(hospital, "C") == dict.fromkeys(theirs.values(), "C^Ann")
    await hospital.merge(b, c, "unmerge")
    assert await by_id(hospital, "B") == dict.fromkeys([theirs["A"], theirs["B"]], "B^Ann")
    await hospital.merge(a, b, "unmerge")
    assert await by_id(hospital, "A") == {theirs["A"]: "A^Ann"}


async def test_what_came_in_the_new_name_stays_with_its_study(hospital: Hospital) -> None:
    """A device that has heard of the merge sends the rest of a study; the merge was wrong, though."""
    first, second, third = hospital.new_chest("OLD", 3)
    for each, said in ((first, OLGA), (second, NORA), (third, NORA)):
        for keyword, value in said.items():
            setattr(each, keyword, value)
    second.PatientID = third.PatientID = "NEW"
    assert (await hospital.stow(hospital.http, first)).status_code == 200
    assert (await hospital.stow(hospital.http, second)).status_code == 409  # another patient's, so far
    await hospital.store("NEW", **NORA)
    old, new = await hospital.patient("OLD"), await hospital.patient("NEW")
    await hospital.merge(old, new)
    assert (await hospital.stow(hospital.http, second)).status_code == 200
    study = str(first.StudyInstanceUID)
    assert {file.PatientID for file in await files(hospital, study)} == {"NEW"}
    await hospital.merge(old, new, "unmerge")
    shown = await files(hospital, study)
    assert {(file.PatientID, str(file.PatientName)) for file in shown} == {("OLD", "Old^Olga")}
    assert (await hospital.stow(hospital.http, third)).status_code == 409
    await hospital.merge(old, new)
    assert (await hospital.stow(hospital.http, third)).status_code == 200


@ONE_DATABASE
async def test_corrections_and_merges_lie_over_each_other(hospital: Hospital) -> None:
    theirs = await hospital.store("OLD", **OLGA)
    await hospital.store("NEW", **NORA)
    old, new = await hospital.patient("OLD"), await hospital.patient("NEW")
    path = f"/admin/api/studies/{theirs}/corrections"
    body = {"reason": "x", "attributes": {"PatientName": {"Value": ["Right^Rita"]}}}
    assert (await hospital.http.put(path, json=body)).status_code == 200
    await hospital.merge(old, new)
    assert (await by_id(hospital, "NEW"))[theirs] == "Right^Rita"
    (file,) = await files(hospital, theirs)
    assert sorted(i.ReasonForTheAttributeModification for i in file.OriginalAttributesSequence) == [
        "COERCE",
        "CORRECT",
    ]
    state = (await hospital.http.delete(path)).json()
    assert state["merged"]["00100020"]["Value"] == ["NEW"]
    assert (await by_id(hospital, "NEW"))[theirs] == "New^Nora"
    await hospital.http.put(path, json=body)
    await hospital.merge(old, new, "unmerge")
    assert await by_id(hospital, "OLD") == {theirs: "Right^Rita"}


async def test_the_record_follows_a_correction(hospital: Hospital) -> None:
    services = hospital.system.services
    await join_installation(services.database, services.objects)
    uid = await hospital.store("P1", **OLGA, StudyDescription="Chest", AccessionNumber="A1")
    patient = await hospital.patient("P1")
    attributes: dict[str, Any] = {
        "StudyDescription": {"Value": ["Head"]},
        "AccessionNumber": {"Value": ["A2"]},
        "PatientName": {"Value": ["Old^Olga^M"]},
        "PatientBirthDate": {"Value": ["19510203"]},
    }
    path = f"/admin/api/studies/{uid}/corrections"
    answer = await hospital.http.put(path, json={"reason": "x", "attributes": attributes})
    assert answer.status_code == 200, answer.text
    await hospital.settle_down()
    study = await hospital.imaging_study(uid)
    assert study["description"] == "Head"
    assert [each["value"] for each in study["identifier"]][1:] == ["A2"]
    known = (await hospital.http.get(f"/fhir/Patient/{patient}")).json()
    assert (known["birthDate"], known["name"][0]["given"]) == ("1951-02-03", ["Olga", "M"])
    # The next study that says it right belongs to the patient: the identity was corrected too.
    again = await hospital.store("P1", **{**OLGA, "PatientBirthDate": "19510203"})
    assert await hospital.studies(patient) == {uid, again}
    (change,) = [
        each
        for each in (await hospital.http.get("/admin/api/changes")).json()["changes"]
        if each["change"] == "corrected"
    ]
    assert change["studyInstanceUID"] == uid
    await hospital.http.delete(path)
    assert (await hospital.http.get(f"/fhir/Patient/{patient}")).json()["birthDate"] == "1950-01-02"


@ONE_DATABASE
async def test_a_patient_that_others_wrote_stays_as_they_did(hospital: Hospital) -> None:
    uid = await hospital.store("P1", **OLGA)
    patient = await hospital.patient("P1")
    known = (await hospital.http.get(f"/fhir/Patient/{patient}")).json()
    await hospital.http.put(f"/fhir/Patient/{patient}", json={**known, "active": True})
    body = {"reason": "x", "attributes": {"PatientName": {"Value": ["Right^Rita"]}}}
    await hospital.http.put(f"/admin/api/studies/{uid}/corrections", json=body)
    assert (await hospital.http.get(f"/fhir/Patient/{patient}")).json()["name"] == known["name"]


@ONE_DATABASE
async def test_a_correction_opens_nothing(hospital: Hospital) -> None:
    uid = await hospital.store("P1", **OLGA)
    other = await hospital.store("P2", **NORA)
    one, two = await hospital.patient("P1"), await hospital.patient("P2")
    attributes = {"PatientName": {"Value": ["New^Nora"]}, "PatientBirthDate": {"Value": ["19500201"]}}
    await hospital.http.put(
        f"/admin/api/studies/{uid}/corrections", json={"reason": "x", "attributes": attributes}
    )
    assert await hospital.studies(one) == {uid}
    assert await hospital.studies(two) == {other}
