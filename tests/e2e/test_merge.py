"""Two Patients become one and two again: whose data a token opens, on both doors (DESIGN §5, Identity)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest
from pydicom import Dataset, FileDataset
from sqlalchemy import select

from ai_engine.tables import SettlingStudy
from server.auth.tokens import issue_token
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow
from tests.conftest import sqlite_first

SITE = "urn:isthmus:site:patient-id"


@dataclass
class Hospital:
    """The system with patients in it, who are named by their Patient ID."""

    system: Any
    kit: Any
    new_chest: Callable[..., Sequence[FileDataset]]
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    @property
    def http(self) -> httpx.AsyncClient:
        return self.system.http

    async def settle_down(self) -> None:
        """Let everything happen that follows from what was done."""
        await self.system.run_jobs()

    async def store(self, patient: str, **attributes: Any) -> str:
        """One study of one instance, by an administrator; returns its UID."""
        instance = self.new_chest(patient, 1)[0]
        for keyword, value in attributes.items():
            setattr(instance, keyword, value)
        answer = await self.stow(self.http, instance)
        assert answer.status_code == 200, answer.text
        await self.settle_down()
        return str(instance.StudyInstanceUID)

    async def stow(self, client: httpx.AsyncClient, *instances: Dataset) -> httpx.Response:
        body = self.kit.multipart([self.kit.part10(each) for each in instances])
        return await client.post("/dicom-web/studies", content=body, headers=self.kit.stow_headers)

    async def patient(self, value: str) -> str:
        answer = await self.http.get("/fhir/Patient", params={"identifier": f"{SITE}|{value}"})
        return str(answer.json()["entry"][0]["resource"]["id"])

    async def token(self, patient: str) -> httpx.AsyncClient:
        """A fresh token, so that no lookup is cached."""
        token = await issue_token(self.system.services.database, scope="patient/*.cruds", patient=patient)
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.system.app),
            base_url="http://127.0.0.1",
            headers={"Authorization": f"Bearer {token}"},
        )
        self.clients.append(client)
        return client

    async def merge(self, source: str, target: str, act: str = "merge") -> httpx.Response:
        body = {"source": source, "target": target}
        answer = await self.http.post(f"/admin/api/patients/{act}", json=body)
        await self.settle_down()
        return answer

    async def studies(self, patient: str) -> set[str]:
        """The studies that a token of this patient finds: alike on both doors, and it can open these only."""
        client = await self.token(patient)
        listed = await client.get("/dicom-web/studies")
        uids = {each["0020000D"]["Value"][0] for each in (listed.json() if listed.content else [])}
        for uid in uids:
            assert (await client.get(f"/dicom-web/studies/{uid}/metadata")).status_code == 200
        found = await search(client, "ImagingStudy")
        assert uids == {each["identifier"][0]["value"].removeprefix("urn:oid:") for each in found}
        return uids

    async def observe(self, patient: str) -> str:
        """An Observation by an EHR."""
        observation = {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": f"Patient/{patient}"},
        }
        return str((await self.http.post("/fhir/Observation", json=observation)).json()["id"])

    async def order(self, patient: str, *identifiers: dict[str, str], **elements: Any) -> str:
        """A ServiceRequest by an EHR."""
        order = {
            "resourceType": "ServiceRequest",
            "status": "active",
            "intent": "order",
            "subject": {"reference": f"Patient/{patient}"},
            "identifier": list(identifiers),
            **elements,
        }
        answer = await self.http.post("/fhir/ServiceRequest", json=order)
        assert answer.status_code == 201, answer.text
        await self.settle_down()
        return str(answer.json()["id"])

    async def imaging_study(self, uid: str) -> dict[str, Any]:
        found = await search(self.http, "ImagingStudy", identifier=f"urn:dicom:uid|urn:oid:{uid}")
        assert len(found) == 1
        return found[0]

    async def based_on(self, uid: str) -> set[str]:
        references = (await self.imaging_study(uid)).get("basedOn", [])
        return {each["reference"].removeprefix("ServiceRequest/") for each in references}


async def search(client: httpx.AsyncClient, resource_type: str, **asked: str) -> list[dict[str, Any]]:
    answer = await client.get(f"/fhir/{resource_type}", params={"_count": "1000", **asked})
    assert answer.status_code == 200, answer.text
    return [entry["resource"] for entry in answer.json().get("entry", [])]


async def ids(client: httpx.AsyncClient, resource_type: str) -> set[str]:
    return {each["id"] for each in await search(client, resource_type)}


@pytest.fixture
async def hospital(system: Any, kit: Any, new_chest: Callable[..., Sequence[FileDataset]]) -> Any:
    hospital = Hospital(system, kit, new_chest)
    yield hospital
    for client in hospital.clients:
        await client.aclose()


async def test_studies_move_to_the_target_and_back(hospital: Hospital) -> None:
    theirs = {name: await hospital.store(name) for name in ("OLD", "NEW", "OTHER")}
    old, new, other = [await hospital.patient(name) for name in theirs]
    for patient, name in ((old, "OLD"), (new, "NEW"), (other, "OTHER")):
        assert await hospital.studies(patient) == {theirs[name]}

    answer = await hospital.merge(old, new)
    assert (answer.status_code, answer.json()) == (200, {"source": old, "target": new, "studies": 1})
    assert await hospital.studies(new) == {theirs["OLD"], theirs["NEW"]}
    assert await hospital.studies(old) == set()
    assert await hospital.studies(other) == {theirs["OTHER"]}
    moved = await hospital.imaging_study(theirs["OLD"])
    assert moved["subject"] == {"reference": f"Patient/{new}"}

    later = {name: await hospital.store(name) for name in ("OLD", "NEW")}
    assert await hospital.studies(new) == {*later.values(), theirs["OLD"], theirs["NEW"]}

    answer = await hospital.merge(old, new, "unmerge")
    assert (answer.status_code, answer.json()) == (200, {"source": old, "target": new, "studies": 2})
    assert await hospital.studies(old) == {theirs["OLD"], later["OLD"]}
    assert await hospital.studies(new) == {theirs["NEW"], later["NEW"]}
    assert await hospital.studies(other) == {theirs["OTHER"]}


async def test_merges_within_merges(hospital: Hospital) -> None:
    theirs = {name: await hospital.store(name) for name in ("A", "B", "C")}
    a, b, c = [await hospital.patient(name) for name in theirs]
    await hospital.merge(a, b)
    await hospital.merge(b, c)
    assert await hospital.studies(c) == set(theirs.values())
    assert await hospital.studies(b) == set()
    assert (await hospital.merge(a, b, "unmerge")).json()["studies"] == 1
    assert await hospital.studies(a) == {theirs["A"]}
    assert await hospital.studies(c) == {theirs["B"], theirs["C"]}
    await hospital.merge(b, c, "unmerge")
    assert await hospital.studies(b) == {theirs["B"]}
    assert await hospital.studies(c) == {theirs["C"]}


async def test_resources_that_name_the_source_are_open_to_the_target(hospital: Hospital) -> None:
    for name in ("OLD", "NEW"):
        await hospital.store(name)
    old, new = await hospital.patient("OLD"), await hospital.patient("NEW")
    of_old, of_new = await hospital.observe(old), await hospital.observe(new)

    async def seen(patient: str) -> set[str]:
        client = await hospital.token(patient)
        for each in (of_old, of_new):
            read = await client.get(f"/fhir/Observation/{each}")
            assert (read.status_code == 200) == (each in await ids(client, "Observation"))
        return await ids(client, "Observation") | await ids(client, "Patient")

    assert await seen(new) == {of_new, new}
    await hospital.merge(old, new)
    assert await seen(new) == {of_new, new, of_old, old}
    assert await seen(old) == {of_old, old}
    await hospital.merge(old, new, "unmerge")
    assert await seen(new) == {of_new, new}
    assert await seen(old) == {of_old, old}


async def test_findings_published_while_merged_go_back_with_their_study(hospital: Hospital) -> None:
    await hospital.store("NEW")
    chest = hospital.new_chest("OLD")
    await hospital.store("OLD")
    old, new = await hospital.patient("OLD"), await hospital.patient("NEW")
    await hospital.merge(old, new)
    workitem = await hospital.system.analyse(hospital.kit, chest)
    assert workitem["00741000"]["Value"] == ["COMPLETED"]
    await hospital.settle_down()
    kinds = ("DiagnosticReport", "Observation", "Task")

    async def seen(patient: str) -> dict[str, set[str]]:
        client = await hospital.token(patient)
        steps = await client.get("/dicom-web/workitems")
        assert bool(steps.content and steps.json()) == bool(await ids(client, "Task"))
        return {kind: await ids(client, kind) for kind in kinds}

    published = await seen(new)
    assert all(published.values())
    assert not any((await seen(old)).values())
    await hospital.merge(old, new, "unmerge")
    assert await seen(old) == published
    assert not any((await seen(new)).values())
    await hospital.merge(old, new)
    assert await seen(new) == published
    assert not any((await seen(old)).values())


async def test_a_merge_starts_no_analysis(hospital: Hospital) -> None:
    theirs = {name: await hospital.store(name) for name in ("OLD", "NEW")}

    async def waiting() -> tuple[bytes, list[Any]]:
        async with hospital.system.services.database.read() as connection:
            settling = (await connection.execute(select(table_of(SettlingStudy)))).all()
        return (await hospital.http.get("/dicom-web/workitems")).content, list(settling)

    before = await waiting()
    assert len(before[1]) == len(theirs)
    await hospital.merge(*[await hospital.patient(name) for name in theirs])
    assert await waiting() == before


async def test_a_token_stores_for_those_whom_it_opens(hospital: Hospital) -> None:
    for name in ("OLD", "NEW"):
        await hospital.store(name)
    old, new = await hospital.patient("OLD"), await hospital.patient("NEW")
    await hospital.merge(old, new)
    instance = hospital.new_chest("OLD", 1)[0]
    refused = await hospital.stow(await hospital.token(old), instance)
    assert refused.status_code == 409
    assert (await hospital.stow(await hospital.token(new), instance)).status_code == 200


@sqlite_first  # what is merged is asked of both
@pytest.mark.parametrize("active", ["", '"active":true,', '"active":false,'])
async def test_the_patients_say_so_and_are_else_as_sent(hospital: Hospital, active: str) -> None:
    extension = '"extension":[{"url":"http://example.org/weight","valueDecimal":1.0E+1}]'
    sent = f'{{"resourceType":"Patient",{active}{extension},"birthDate":"1970-01"}}'.encode()
    headers = {"Content-Type": "application/fhir+json"}
    made = [await hospital.http.post("/fhir/Patient", content=sent, headers=headers) for _ in range(2)]
    source, target = (each.json()["id"] for each in made)

    async def stored(patient: str) -> tuple[dict[str, Any], bytes]:
        text = (await hospital.http.get(f"/fhir/Patient/{patient}")).content
        return {k: v for k, v in orjson.loads(text).items() if k != "meta"}, text

    before = await stored(source)
    await hospital.merge(source, target)
    merged, text = await stored(source)
    assert merged["active"] is False
    assert merged["link"] == [{"other": {"reference": f"Patient/{target}"}, "type": "replaced-by"}]
    assert extension.encode() in text
    other, text = await stored(target)
    assert other["link"] == [{"other": {"reference": f"Patient/{source}"}, "type": "replaces"}]
    assert other.get("active") == before[0].get("active")
    assert extension.encode() in text
    await hospital.merge(source, target, "unmerge")
    assert (await stored(source))[0] == before[0]
    assert "link" not in (await stored(target))[0]
    assert extension.encode() in (await stored(source))[1]


@sqlite_first
async def test_links_that_others_wrote_stay(hospital: Hospital) -> None:
    made = [
        (await hospital.http.post("/fhir/Patient", json={"resourceType": "Patient"})).json() for _ in "abc"
    ]
    source, target, third = (each["id"] for each in made)
    theirs = {"other": {"reference": f"Patient/{third}"}, "type": "seealso"}
    await hospital.http.put(f"/fhir/Patient/{source}", json={**made[0], "link": [theirs]})
    await hospital.merge(source, target)
    merged = (await hospital.http.get(f"/fhir/Patient/{source}")).json()
    assert [each["type"] for each in merged["link"]] == ["seealso", "replaced-by"]
    await hospital.merge(source, target, "unmerge")
    assert (await hospital.http.get(f"/fhir/Patient/{source}")).json()["link"] == [theirs]


@sqlite_first
async def test_refusals(hospital: Hospital) -> None:
    for name in ("A", "B", "C"):
        await hospital.store(name)
    a, b, c = [await hospital.patient(name) for name in ("A", "B", "C")]
    assert (await hospital.merge("nobody", b)).status_code == 404
    assert (await hospital.merge(a, "nobody")).status_code == 404
    assert (await hospital.merge(a, b, "unmerge")).status_code == 409
    await hospital.merge(a, b)
    for source, target in ((a, a), (a, c), (b, a), (c, a)):
        assert (await hospital.merge(source, target)).status_code == 409, (source, target)
    assert (await hospital.merge(a, c, "unmerge")).status_code == 409
    for body in (b"", b"{", b"[]", b'{"source": "a"}', b'{"source": "a", "target": 1}'):
        answer = await hospital.http.post("/admin/api/patients/merge", content=body)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"


async def test_acts_are_audited(hospital: Hospital) -> None:
    for name in ("OLD", "NEW"):
        await hospital.store(name)
    old, new = await hospital.patient("OLD"), await hospital.patient("NEW")
    await hospital.merge(old, new)
    await hospital.merge(old, new, "unmerge")
    c = table_of(AuditRow).c
    query = select(c.interaction, c.resource_id, c.patient_id).where(c.interaction.in_(["merge", "unmerge"]))
    async with hospital.system.services.database.read() as connection:
        rows = [tuple(row) for row in await connection.execute(query.order_by(c.sequence))]
    assert rows == [("merge", old, new), ("unmerge", old, new)]


async def test_writes_of_a_patient_do_not_merge(hospital: Hospital) -> None:
    theirs = {name: await hospital.store(name) for name in ("MINE", "THEIRS")}
    mine, other = await hospital.patient("MINE"), await hospital.patient("THEIRS")
    of_other = await hospital.observe(other)
    stored = (await hospital.http.get(f"/fhir/Patient/{mine}")).json()
    link = {"link": [{"other": {"reference": f"Patient/{other}"}, "type": "replaces"}]}
    taken = {"identifier": [*stored["identifier"], {"system": SITE, "value": "THEIRS"}]}
    confined = await hospital.token(mine)
    for disguise in (link, taken, {**link, **taken}):
        refused = await confined.put(f"/fhir/Patient/{mine}", json={**stored, **disguise})
        assert refused.status_code == 403, refused.text
    # Also the write of somebody who may write all Patients opens nothing more to this one's token.
    written = await hospital.http.put(f"/fhir/Patient/{mine}", json={**stored, **link, **taken})
    assert written.status_code == 200, written.text
    await hospital.settle_down()
    assert await hospital.studies(mine) == {theirs["MINE"]}
    assert (await (await hospital.token(mine)).get(f"/fhir/Observation/{of_other}")).status_code == 404
    later = await hospital.store("THEIRS")
    assert await hospital.studies(other) == {theirs["THEIRS"], later}


ACC = {"system": "urn:oid:1.2.3.4", "value": "ACC-7"}


def issued(oid: str) -> dict[str, Any]:
    issuer = Dataset()
    issuer.UniversalEntityID, issuer.UniversalEntityIDType = oid, "ISO"
    return {"AccessionNumber": "ACC-7", "IssuerOfAccessionNumberSequence": [issuer]}


async def test_a_study_is_based_on_the_order_of_its_patient_with_its_accession_number(
    hospital: Hospital,
) -> None:
    for name in ("MINE", "THEIRS"):
        await hospital.store(name)
    mine, other = await hospital.patient("MINE"), await hospital.patient("THEIRS")
    order = await hospital.order(mine, {"system": "urn:x", "value": "1"}, ACC)
    await hospital.order(mine, {"system": "urn:oid:9.9", "value": "ACC-7"})
    await hospital.order(mine, {**ACC, "value": "ACC-70"})
    await hospital.order(mine, ACC, status="entered-in-error")
    await hospital.order(other, ACC)
    assert await hospital.based_on(await hospital.store("MINE", **issued("1.2.3.4"))) == {order}
    assert await hospital.based_on(await hospital.store("MINE")) == set()
    anybodys = await hospital.store("MINE", AccessionNumber="ACC-7")  # no issuer: every system will do
    assert len(await hospital.based_on(anybodys)) == 2


async def test_an_order_may_come_after_its_study_and_change(hospital: Hospital) -> None:
    study = await hospital.store("MINE", **issued("1.2.3.4"))
    mine = await hospital.patient("MINE")
    order = await hospital.order(mine, ACC)
    assert await hospital.based_on(study) == {order}
    stored = (await hospital.http.get(f"/fhir/ServiceRequest/{order}")).json()
    del stored["identifier"]
    await hospital.http.put(f"/fhir/ServiceRequest/{order}", json=stored)
    await hospital.settle_down()
    assert await hospital.based_on(study) == set()


async def test_orders_of_the_source_count_for_the_target_while_merged(hospital: Hospital) -> None:
    await hospital.store("OLD")
    study = await hospital.store("NEW", **issued("1.2.3.4"))
    old, new = await hospital.patient("OLD"), await hospital.patient("NEW")
    order = await hospital.order(old, ACC)
    assert await hospital.based_on(study) == set()
    await hospital.merge(old, new)
    assert await hospital.based_on(study) == {order}
    await hospital.merge(old, new, "unmerge")
    assert await hospital.based_on(study) == set()


async def test_a_report_names_the_order_that_was_there(hospital: Hospital) -> None:
    await hospital.store("MINE")
    order = await hospital.order(await hospital.patient("MINE"), ACC)
    chest = hospital.new_chest("MINE")
    for instance in chest:
        instance.AccessionNumber = "ACC-7"
    await hospital.system.analyse(hospital.kit, chest)
    (report,) = await search(hospital.http, "DiagnosticReport")
    assert report["basedOn"] == [{"reference": f"ServiceRequest/{order}"}]
