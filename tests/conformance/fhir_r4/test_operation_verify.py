"""DiagnosticReport/{id}/$verify: a person's word in the record and in the archive at once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import httpx
import pytest
from pydicom import Dataset, dcmread
from sqlalchemy import select

from fhir.interactions.authored import put_own_definitions
from fhir.model.validation import validate
from server.kernel.tables import AuditRow
from server.workflows.registry.versions import INSTALLER
from server.workflows.verify import act
from tests.conftest import sqlite_first
from tests.services.consents import consent, provision
from tests.unit.imaging.conftest import Hospital, instance
from tests.unit.imaging.conftest import hospital as hospital  # noqa: PLC0414  the fixture
from tests.unit.imaging.documents import LENGTH, VOLUME, report

STUDY = "2.25.100"
SCOPE = "user/DiagnosticReport.ru"
Parts = Sequence[dict[str, Any]]


@dataclass
class Clinic:
    """A hospital with one report, and a radiologist."""

    hospital: Hospital
    report_id: str
    person: dict[str, str]

    async def verify(self, action: str, *parameters: dict[str, Any], **headers: str) -> httpx.Response:
        said = [{"name": "action", "valueCode": action}, *parameters]
        if not any(each["name"] == "verifier" for each in said):
            said.append({"name": "verifier", "valueString": "Lovelace^Ada"})
        body = {"resourceType": "Parameters", "parameter": said}
        url = f"/fhir/DiagnosticReport/{self.report_id}/$verify"
        return await self.hospital.http.post(url, json=body, headers={**self.person, **headers})

    async def read(self) -> dict[str, Any]:
        return dict((await self.hospital.http.get(f"/fhir/DiagnosticReport/{self.report_id}")).json())

    async def observations(self) -> dict[str, dict[str, Any]]:
        """By what they are of."""
        return {o["code"]["text"]: o for o in await self.hospital.search("Observation")}

    async def documents(self) -> list[str]:
        """SOP Instance UIDs of the SR documents that QIDO lists."""
        found = await self.hospital.http.get(
            f"/dicom-web/studies/{STUDY}/instances", params={"Modality": "SR"}
        )
        return [each["00080018"]["Value"][0] for each in (found.json() if found.content else [])]

    async def document(self, uid: str) -> Dataset:
        path = f"/dicom-web/studies/{STUDY}/series/{STUDY}.9/instances/{uid}"
        answer = await self.hospital.http.get(
            path, headers={"Accept": 'multipart/related; type="application/dicom"'}
        )
        assert answer.status_code == 200, answer.text
        start = answer.content.index(b"DICM") - 128
        return dcmread(BytesIO(answer.content[start : answer.content.rindex(b"\r\n--")]))


@pytest.fixture
async def clinic(hospital: Hospital) -> Clinic:
    await hospital.store(instance(), report(LENGTH, VOLUME, InstitutionName="General"))
    await hospital.run_jobs()
    found = await hospital.only("DiagnosticReport")
    return Clinic(hospital, found["id"], await hospital.headers(SCOPE))


def in_unit(value: float, unit: str) -> dict[str, Any]:
    return {"value": value, "system": "http://unitsofmeasure.org", "code": unit}


def verdict(observation: dict[str, Any], **part: Any) -> dict[str, Any]:
    reference = {"name": "reference", "valueReference": {"reference": f"Observation/{observation['id']}"}}
    return {"name": "observation", "part": [reference, part]}


async def test_accepting_makes_both_final(clinic: Clinic) -> None:
    (before,) = await clinic.documents()
    answer = await clinic.verify("accept")
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["id"], said["status"], said["meta"]["versionId"]) == (clinic.report_id, "final", "2")
    assert answer.headers["etag"] == 'W/"2"'
    assert validate(said) == []
    assert said["resultsInterpreter"] == [{"type": "Practitioner", "display": "Ada Lovelace"}]
    assert {o["status"] for o in (await clinic.observations()).values()} == {"final"}
    (after,) = await clinic.documents()
    assert said["identifier"][0]["value"] == f"urn:oid:{after}"
    made, first = await clinic.document(after), await clinic.document(before)  # still there by its UID
    assert (made.VerificationFlag, made.CompletionFlag, made.PreliminaryFlag) == (
        "VERIFIED",
        "COMPLETE",
        "FINAL",
    )
    observer = made.VerifyingObserverSequence[0]
    assert (observer.VerifyingObserverName, observer.VerifyingOrganization) == ("Lovelace^Ada", "General")
    replaced = made.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert replaced.ReferencedSOPInstanceUID == before
    assert made.ContentSequence == first.ContentSequence
    study = await clinic.hospital.only(f"ImagingStudy?identifier=urn:oid:{STUDY}")
    assert [series["numberOfInstances"] for series in study["series"]] == [1, 1]
    await clinic.hospital.run_jobs()
    assert await clinic.read() == said  # no job takes the edition for one that was received
    again = await clinic.verify("accept")
    assert (again.status_code, again.json()) == (200, said)
    assert await clinic.documents() == [after]


@sqlite_first
async def test_amending_changes_what_is_said(clinic: Clinic) -> None:
    observed = await clinic.observations()
    answer = await clinic.verify(
        "amend",
        {"name": "conclusion", "valueString": "A scar."},
        {"name": "reason", "valueString": "seen before"},
        verdict(observed["Volume"], name="verdict", valueCode="reject"),
        verdict(observed["Length"], name="value", valueQuantity=in_unit(8.25, "mm")),
    )
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["status"], said["conclusion"]) == ("final", "A scar.")
    after = await clinic.observations()
    assert after["Length"]["valueQuantity"]["value"] == 8.25
    assert after["Length"]["id"] == observed["Length"]["id"]
    assert {name: o["status"] for name, o in after.items()} == {
        "Finding": "final", "Length": "final", "Volume": "entered-in-error",
    }  # fmt: skip
    (uid,) = await clinic.documents()
    values = [item for item in (await clinic.document(uid)).iterall() if item.keyword == "NumericValue"]
    assert [str(each.value) for each in values] == ["8.25"]
    (provenance, _) = await clinic.hospital.search("Provenance?_sort=-recorded")
    assert provenance["reason"] == [{"text": "seen before"}]
    assert provenance["agent"][-1]["who"]["display"] == "Ada Lovelace"
    corrected = await clinic.verify("amend", {"name": "conclusion", "valueString": "Nothing."})
    assert (corrected.json()["status"], corrected.json()["conclusion"]) == ("amended", "Nothing.")
    same = await clinic.verify("amend", {"name": "conclusion", "valueString": "Nothing."})
    assert same.json()["meta"]["versionId"] == corrected.json()["meta"]["versionId"]


async def test_rejecting_takes_both_back(clinic: Clinic) -> None:
    (before,) = await clinic.documents()
    answer = await clinic.verify("reject", {"name": "reason", "valueString": "wrong <side>"})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["status"] == "entered-in-error"
    assert "wrong &lt;side&gt;" in said["text"]["div"]
    assert validate(said) == []
    assert {o["status"] for o in (await clinic.observations()).values()} == {"entered-in-error"}
    assert await clinic.documents() == []
    assert (await clinic.document(before)).VerificationFlag == "UNVERIFIED"
    (rejection, _) = await clinic.hospital.search(
        f"Provenance?target=DiagnosticReport/{clinic.report_id}&_sort=-recorded"
    )
    assert rejection["activity"]["coding"][0]["code"] == "NULLIFY"
    study = await clinic.hospital.only(f"ImagingStudy?identifier=urn:oid:{STUDY}")
    assert [series["modality"]["code"] for series in study["series"]] == ["CT"]
    again = await clinic.verify("reject", {"name": "reason", "valueString": "wrong <side>"})
    assert again.json() == said
    assert (await clinic.verify("accept")).status_code == 422
    await clinic.hospital.run_jobs()
    assert await clinic.read() == said


@pytest.mark.parametrize(
    ("guard", "loser"), [({}, 409), ({"If-Match": 'W/"1"'}, 412)], ids=["unguarded", "If-Match"]
)
async def test_of_two_who_read_the_same_one_wins(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, guard: dict[str, str], loser: int
) -> None:
    both, edition = asyncio.Barrier(2), act._edition

    async def when_both_have_read(*args: Any) -> bytes | None:
        file = await edition(*args)
        await both.wait()
        return file

    monkeypatch.setattr(act, "_edition", when_both_have_read)
    words = [
        clinic.verify("amend", {"name": "conclusion", "valueString": f"Word {n}."}, **guard) for n in range(2)
    ]
    answers = await asyncio.gather(*words)
    assert sorted(each.status_code for each in answers) == [200, loser]
    (won,) = [each.json() for each in answers if each.status_code == 200]
    assert await clinic.read() == won
    assert [f"urn:oid:{uid}" for uid in await clinic.documents()] == [won["identifier"][0]["value"]]


@sqlite_first
async def test_a_guard_is_kept(clinic: Clinic) -> None:
    assert (await clinic.verify("accept", **{"If-Match": 'W/"7"'})).status_code == 412
    assert (await clinic.verify("accept", **{"If-Match": 'W/"1"'})).status_code == 200


@sqlite_first
async def test_a_person_answers_for_it(clinic: Clinic) -> None:
    hospital, url = clinic.hospital, f"/fhir/DiagnosticReport/{clinic.report_id}/$verify"
    for scope, status in (
        ("system/*.cruds", 403),
        ("user/DiagnosticReport.rs", 403),
        ("user/Observation.u", 403),
    ):
        clinic.person = await hospital.headers(scope)
        assert (await clinic.verify("accept")).status_code == status, scope
    assert (await hospital.http.get(url)).status_code == 405
    clinic.person = await hospital.headers(SCOPE, subject="user:ada")
    assert (await clinic.verify("accept")).status_code == 400  # the token names the person, nobody else does
    body = {"resourceType": "Parameters", "parameter": [{"name": "action", "valueCode": "accept"}]}
    answer = await hospital.http.post(url, json=body, headers=clinic.person)
    assert answer.json()["resultsInterpreter"][0]["display"] == "ada"
    async with hospital.services.database.read() as connection:
        query = select(AuditRow.principal).where(AuditRow.interaction == "verify-accept")
        assert (await connection.execute(query)).scalars().all() == ["user:ada"]


@sqlite_first
async def test_two_patients(clinic: Clinic) -> None:
    hospital = clinic.hospital
    await hospital.store(instance("2.25.200", PatientID="P2", PatientName="Roe^Ben"))
    await hospital.run_jobs()
    ben = await hospital.only("Patient?identifier=P2")
    ada = await hospital.only("Patient?identifier=P1")
    clinic.person = await hospital.headers("user/DiagnosticReport.u patient/*.rs", ben["id"])
    hidden = await clinic.verify("accept")
    unknown = await hospital.http.post(
        "/fhir/DiagnosticReport/unknown/$verify",
        json={
            "resourceType": "Parameters",
            "parameter": [
                {"name": "action", "valueCode": "accept"},
                {"name": "verifier", "valueString": "x"},
            ],
        },
        headers=clinic.person,
    )
    assert (hidden.status_code, hidden.text) == (unknown.status_code, unknown.text) == (404, hidden.text)
    clinic.person = await hospital.headers("user/DiagnosticReport.u patient/*.rs", ada["id"])
    assert (await clinic.verify("accept")).status_code == 200


@sqlite_first
async def test_who_may_not_read_is_told_nothing(clinic: Clinic) -> None:
    hospital = clinic.hospital
    patient = (await clinic.read())["subject"]["reference"].removeprefix("Patient/")
    denial = consent(patient, provision("deny", types="ImagingStudy"))
    made = (await hospital.http.post("/fhir/Consent", json=denial)).json()
    before = await clinic.read()
    for action, word in (("accept", ()), ("reject", (REASON,))):
        said = await clinic.verify(action, *word)
        assert said.status_code == 422, said.text
        assert "no document" in said.text  # as if there were none
    assert await clinic.read() == before
    await hospital.http.put(f"/fhir/Consent/{made['id']}", json=made | {"status": "inactive"})
    clinic.person = await hospital.headers("user/DiagnosticReport.u")
    for action, word in (("accept", ()), ("accept", ()), ("reject", (REASON,)), ("reject", (REASON,))):
        said = await clinic.verify(action, *word)
        assert (said.status_code, said.content) == (200, b""), (action, said.text)
    assert (await clinic.read())["meta"]["versionId"] == "3"


@sqlite_first
async def test_only_a_report_of_a_document_is_verified(clinic: Clinic) -> None:
    ours = await clinic.read()
    others = {name: ours[name] for name in ("resourceType", "status", "code", "subject", "identifier")}
    made = await clinic.hospital.http.post("/fhir/DiagnosticReport", json=others)
    clinic.report_id = made.json()["id"]
    assert (await clinic.verify("accept")).status_code == 422
    assert (await clinic.read())["status"] == "preliminary"


@sqlite_first
async def test_a_report_that_names_the_document_of_another_is_not_verified(clinic: Clinic) -> None:
    """Whoever writes DiagnosticReports could otherwise have a person sign what that person did not see."""
    await clinic.hospital.store(report(VOLUME, number=2))
    await clinic.hospital.run_jobs()
    found = await clinic.hospital.search("DiagnosticReport")
    (other,) = [each for each in found if each["id"] != clinic.report_id]
    forged = await clinic.read() | {"identifier": other["identifier"]}
    url = f"/fhir/DiagnosticReport/{clinic.report_id}"
    assert (await clinic.hospital.http.put(url, json=forged)).status_code == 200
    before = await clinic.documents()
    for action in ("accept", "reject"):
        said = await clinic.verify(action, *([REASON] if action == "reject" else []))
        assert said.status_code == 422, said.text
    assert sorted(await clinic.documents()) == sorted(before)
    clinic.report_id = other["id"]
    assert (await clinic.verify("accept")).status_code == 200


REASON = {"name": "reason", "valueString": "wrong side"}
INVALID: Sequence[tuple[str, str, Parts]] = [
    ("no action", "agree", ()),
    ("a change without amend", "accept", ({"name": "conclusion", "valueString": "x"},)),
    ("amend without a change", "amend", ()),
    ("reject without a reason", "reject", ()),
    ("an unknown parameter", "accept", ({"name": "colour", "valueString": "x"},)),
    ("an empty conclusion", "amend", ({"name": "conclusion", "valueString": "   "},)),
    ("no name", "accept", ({"name": "verifier", "valueString": "^=^"},)),
    ("two conclusions", "amend", ({"name": "conclusion", "valueString": "x"},) * 2),
    (
        "parts of nothing",
        "amend",
        ({"name": "observation", "part": [{"name": "verdict", "valueCode": "reject"}]},),
    ),
    ("no verdict", "amend", (verdict({"id": "x"}, name="verdict", valueCode="perhaps"),)),
    ("judged twice", "amend", (verdict({"id": "x"}, name="verdict", valueCode="reject"),) * 2),
]
UNPROCESSABLE: Sequence[tuple[str, str, dict[str, Any]]] = [
    ("another unit", "Length", {"valueQuantity": in_unit(1, "cm")}),
    ("too many digits", "Length", {"valueDecimal": 1.12345678901234567}),
    ("a text for a number", "Length", {"valueString": "long"}),
    ("a value for a group", "Finding", {"valueString": "none"}),
]


@sqlite_first
async def test_what_makes_no_sense_is_refused(clinic: Clinic) -> None:
    for what, action, parameters in INVALID:
        answer = await clinic.verify(action, *parameters)
        assert (answer.status_code, answer.json()["resourceType"]) == (400, "OperationOutcome"), what
    observed = await clinic.observations()
    for what, of, value in UNPROCESSABLE:
        answer = await clinic.verify("amend", verdict(observed[of], name="value", **value))
        assert (answer.status_code, answer.json()["resourceType"]) == (422, "OperationOutcome"), what
    stranger = await clinic.verify("amend", verdict({"id": "stranger"}, name="verdict", valueCode="reject"))
    assert stranger.status_code == 422
    assert (await clinic.read())["meta"]["versionId"] == "1"


@sqlite_first
async def test_its_definition_is_published_and_told_of(clinic: Clinic) -> None:
    hospital = clinic.hospital
    await hospital.services.database.transact(lambda unit: put_own_definitions(unit, INSTALLER))
    definition = await hospital.only("OperationDefinition?code=verify")
    assert validate(definition) == []
    assert definition["affectsState"] is True
    statement = (await hospital.http.get("/fhir/metadata")).json()
    (told,) = [each for each in statement["rest"][0]["resource"] if each["type"] == "DiagnosticReport"]
    assert {"name": "verify", "definition": definition["url"]} in told["operation"]
