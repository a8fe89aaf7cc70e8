"""An SR of any vendor that is stored becomes a DiagnosticReport: once, as a version, or leaves a reason."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from dicomweb.store.reindex import refresh_index
from dicomweb.tables import Instance, Study
from server.kernel.rows import table_of
from server.workflows.documents import map as mapping
from server.workflows.documents.tables import ReportDocument
from tests.conftest import sqlite_first

from .conftest import Hospital, instance, open_hospital
from .documents import DOSE, LENGTH, VOLUME, report

STUDY = "2.25.100"


async def documents(hospital: Hospital) -> list[Any]:
    async with hospital.services.database.read() as connection:
        return list((await connection.execute(select(table_of(ReportDocument)))).all())


async def test_a_received_document_becomes_a_report_of_the_patient(hospital: Hospital) -> None:
    await hospital.store(instance(), report(LENGTH), instance("2.25.200", PatientID="P2", PatientName="Roe"))
    await hospital.run_jobs()
    found = await hospital.only("DiagnosticReport")
    ada = await hospital.only("Patient?identifier=P1")
    ben = await hospital.only("Patient?identifier=P2")
    study = await hospital.only(f"ImagingStudy?identifier=urn:oid:{STUDY}")
    assert found["status"] == "preliminary"
    assert found["subject"] == {"reference": f"Patient/{ada['id']}"}
    assert found["imagingStudy"][0]["reference"] == f"ImagingStudy/{study['id']}"
    assert found["conclusion"] == "One nodule."
    observed = {o["code"]["text"]: o for o in await hospital.search("Observation")}
    assert observed["Length"]["valueQuantity"]["value"] == 7.1
    assert observed["Finding"]["valueCodeableConcept"]["text"] == "Nodule"
    (provenance,) = await hospital.search(f"Provenance?target=DiagnosticReport/{found['id']}")
    assert provenance["entity"][0]["what"]["identifier"]["value"] == f"urn:oid:{STUDY}.9.1"
    for patient, count in ((ada, 1), (ben, 0)):
        caller = await hospital.headers("patient/*.rs", patient["id"])
        assert len(await hospital.search("DiagnosticReport", **caller)) == count
        assert len(await hospital.search("Observation", **caller)) == 2 * count
    # Known already, a late image, and another document, for which the study is looked through again.
    await hospital.store(report(LENGTH), instance(number=2), report(VOLUME, number=2))
    await hospital.run_jobs()
    assert await hospital.only(f"DiagnosticReport?_id={found['id']}") == found
    assert len(await hospital.search("DiagnosticReport")) == 2


async def test_a_new_edition_is_a_new_version(hospital: Hospital) -> None:
    first = report(LENGTH, VOLUME)
    second = report(LENGTH, number=2, replaces=first, VerificationFlag="VERIFIED", CompletionFlag="COMPLETE")
    await hospital.store(first)
    await hospital.run_jobs()
    before = await hospital.only("DiagnosticReport")
    await hospital.store(second)
    await hospital.run_jobs()
    after = await hospital.only("DiagnosticReport")
    assert (after["id"], after["meta"]["versionId"], after["status"]) == (before["id"], "2", "final")
    assert after["identifier"][0]["value"] == f"urn:oid:{STUDY}.9.2"
    statuses = sorted(o["status"] for o in await hospital.search("Observation"))
    assert statuses == ["entered-in-error", "final", "final"]
    await hospital.store(report(VOLUME, number=3, replaces=first))  # of what was replaced by another already
    await hospital.run_jobs()
    assert len(await hospital.search("DiagnosticReport")) == 1


@sqlite_first
async def test_documents_of_nobody_are_nobodys(hospital: Hospital) -> None:
    await hospital.store(report(LENGTH, PatientID=""), instance("2.25.200", PatientID="P2"))
    await hospital.run_jobs()
    assert "subject" not in await hospital.only("DiagnosticReport")
    ben = await hospital.only("Patient?identifier=P2")
    caller = await hospital.headers("patient/*.rs", ben["id"])
    assert await hospital.search("DiagnosticReport", **caller) == []
    assert await hospital.search("Observation", **caller) == []


@sqlite_first
async def test_what_is_no_report_of_findings_is_left(hospital: Hospital) -> None:
    engine = report(LENGTH, number=2)
    await hospital.store(report(LENGTH, SOPClassUID=DOSE), engine)

    async def as_if_made_here(unit: Any) -> None:
        c = table_of(Instance).c
        made = update(table_of(Instance)).where(c.sop_instance_uid == engine.SOPInstanceUID)
        await unit.execute(made.values(origin="engine"))

    await hospital.services.database.transact(as_if_made_here)
    await hospital.run_jobs()
    assert await hospital.search("DiagnosticReport") == []
    assert await documents(hospital) == []


@sqlite_first
async def test_what_cannot_be_mapped_is_stored_and_says_why(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mapping, "MAX_DOCUMENT_BYTES", 10)
    await hospital.store(report(LENGTH))
    await hospital.run_jobs()
    (noted,) = await documents(hospital)
    assert (noted.report_id, noted.problem) == (None, "The document is larger than 10 bytes.")
    assert await hospital.search("DiagnosticReport") == []
    assert (await hospital.http.get(f"/dicom-web/studies/{STUDY}/instances")).status_code == 200
    logged = [line for line in capsys.readouterr().out.splitlines() if "makes no report" in line]
    assert len(logged) == 1
    assert "Doe" not in logged[0]


@sqlite_first
async def test_documents_of_an_earlier_release_are_looked_at(hospital: Hospital) -> None:
    await hospital.store(report(LENGTH))
    await hospital.run_jobs()

    async def forget(unit: Any) -> None:
        await unit.execute(update(table_of(Study)).values(index_version=1))
        await unit.execute(delete(table_of(ReportDocument)))

    await hospital.services.database.transact(forget)
    await refresh_index(hospital.services)
    await hospital.run_jobs()
    assert len(await documents(hospital)) == 1


@sqlite_first
async def test_another_data_set_in_its_place_is_looked_at_anew(tmp_path: Path, database_url: str) -> None:
    async with open_hospital(tmp_path / "data", database_url, duplicates="replace") as hospital:
        await hospital.store(report(LENGTH, VOLUME))
        await hospital.run_jobs()
        before = await hospital.only("DiagnosticReport")
        await hospital.store(report(LENGTH, CompletionFlag="PARTIAL"), expect=202)
        await hospital.run_jobs()
        after = await hospital.only("DiagnosticReport")
        assert (after["id"], after["meta"]["versionId"]) == (before["id"], "2")
        statuses = {o["code"]["text"]: o["status"] for o in await hospital.search("Observation")}
        assert statuses == {"Finding": "preliminary", "Length": "preliminary", "Volume": "entered-in-error"}


@sqlite_first
async def test_reports_follow_their_study_to_another_patient(hospital: Hospital) -> None:
    await hospital.store(report(LENGTH), instance("2.25.200", PatientID="P2", PatientName="Roe^Ann"))
    await hospital.run_jobs()
    ada, ann = [(await hospital.only(f"Patient?identifier={value}"))["id"] for value in ("P1", "P2")]
    pair = {"source": ada, "target": ann}
    assert (await hospital.http.post("/admin/api/patients/merge", json=pair)).status_code == 200
    await hospital.run_jobs()
    for resource_type in ("DiagnosticReport", "Observation"):
        assert {r["subject"]["reference"] for r in await hospital.search(resource_type)} == {f"Patient/{ann}"}


async def test_a_deleted_study_leaves_its_report_which_says_so(hospital: Hospital) -> None:
    await hospital.store(instance(), report(LENGTH))
    await hospital.run_jobs()
    gone = await hospital.http.delete(f"/dicom-web/studies/{STUDY}")
    assert gone.status_code == 204, gone.text
    left = await hospital.only("DiagnosticReport")
    assert "images were deleted" in left["imagingStudy"][0]["display"]
    released = await hospital.http.post(f"/admin/api/tombstones/{STUDY}/release")
    assert released.status_code == 200, released.text
    await hospital.store(instance(), report(LENGTH))
    await hospital.run_jobs()
    again = await hospital.only("DiagnosticReport")
    assert again["id"] == left["id"]
    assert "display" not in again["imagingStudy"][0]
