"""FHIR clients that others wrote, against a server: what they take for granted holds."""

import json
from pathlib import Path
from typing import Any

import pytest
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import MultipleResourcesFound, OperationOutcome, ResourceNotFound

from tests.services.fhir_kit import run_with_fhir_kit

MRN = "urn:example:mrn"


@pytest.fixture
def fhirpy(lone_server: Any) -> SyncFHIRClient:
    return SyncFHIRClient(
        f"{lone_server.base}/fhir",
        authorization=f"Bearer {lone_server.token()}",
        requests_config={"proxies": {"http": ""}},
    )


def person(client: SyncFHIRClient, mrn: str, family: str) -> Any:
    identifier = [{"system": MRN, "value": mrn}]
    return client.resource("Patient", identifier=identifier, name=[{"family": family, "given": ["A"]}])


def test_fhirpy_writes_reads_and_deletes(fhirpy: SyncFHIRClient) -> None:
    patient = person(fhirpy, "py-1", "Fhirpy")
    patient.save()
    assert patient["meta"]["versionId"] == "1"
    patient["birthDate"] = "1970-01-01"
    patient.save()
    again = fhirpy.reference("Patient", patient.id).to_resource()
    assert (again["birthDate"], again["meta"]["versionId"]) == ("1970-01-01", "2")
    again.delete()
    with pytest.raises(ResourceNotFound):
        fhirpy.reference("Patient", patient.id).to_resource()


def test_fhirpy_searches_page_by_page_with_includes(fhirpy: SyncFHIRClient) -> None:
    patient = person(fhirpy, "py-2", "Pages")
    patient.save()
    for number in range(7):
        fhirpy.resource(
            "Observation",
            status="final",
            code={"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
            subject=patient.to_reference(),
            effectiveDateTime=f"2026-01-0{number + 1}",
            valueQuantity={"value": 60 + number, "unit": "/min"},
        ).save()
    found = fhirpy.resources("Observation").search(patient=patient.id).sort("-date").limit(3)
    assert [each["valueQuantity"]["value"] for each in found.fetch_all()] == [66, 65, 64, 63, 62, 61, 60]
    assert found.count() == 7
    bundle = found.include("Observation", "subject").fetch_raw()
    included = [each["resource"] for each in bundle["entry"] if each["search"]["mode"] == "include"]
    assert [each["id"] for each in included] == [patient.id]
    assert fhirpy.resources("Patient").has("Observation", "patient", code="8867-4").fetch_all() == [patient]
    chained = fhirpy.resources("Observation").search(patient__Patient__family="Pages")
    assert len(chained.fetch_all()) == 7


def test_fhirpy_updates_conditionally(fhirpy: SyncFHIRClient) -> None:
    by_mrn = fhirpy.resources("Patient").search(identifier=f"{MRN}|py-3")
    _, created = by_mrn.update(person(fhirpy, "py-3", "First"))
    same, created_again = by_mrn.update(person(fhirpy, "py-3", "Second"))
    assert (created, created_again) == (True, False)
    assert same["name"][0]["family"] == "Second"
    person(fhirpy, "py-3", "Twin").save()
    with pytest.raises(MultipleResourcesFound):
        by_mrn.update(person(fhirpy, "py-3", "Third"))


def test_fhirpy_is_told_what_is_wrong(fhirpy: SyncFHIRClient) -> None:
    with pytest.raises(OperationOutcome) as refused:
        fhirpy.resource("Patient", gender="blue").save()
    assert refused.value.resource["issue"][0]["expression"] == ["Patient.gender"]


def test_fhirpy_sends_a_transaction(fhirpy: SyncFHIRClient) -> None:
    entry = [
        {
            "fullUrl": "urn:uuid:1b3b2f6e-5a52-4a38-8d3c-0d8a3f0c5a01",
            "resource": person(fhirpy, "py-4", "Bundle").serialize(),
            "request": {"method": "POST", "url": "Patient", "ifNoneExist": f"identifier={MRN}|py-4"},
        },
        {
            "resource": {
                "resourceType": "Observation",
                "status": "final",
                "code": {"text": "x"},
                "subject": {"reference": "urn:uuid:1b3b2f6e-5a52-4a38-8d3c-0d8a3f0c5a01"},
            },
            "request": {"method": "POST", "url": "Observation"},
        },
    ]
    bundle = fhirpy.resource("Bundle", type="transaction", entry=entry)
    answers = [fhirpy.execute("", "post", bundle.serialize()) for _ in range(2)]
    assert [each["response"]["status"][:3] for each in answers[0]["entry"]] == ["201", "201"]
    assert [each["response"]["status"][:3] for each in answers[1]["entry"]] == ["200", "201"]
    patient = fhirpy.resources("Patient").search(identifier=f"{MRN}|py-4").get()
    observed = fhirpy.resources("Observation").search(patient=patient.id).fetch_all()
    assert [each["subject"]["reference"] for each in observed] == [f"Patient/{patient.id}"] * 2


SCRIPT = """
import { Client } from 'fhir-kit-client';
const [baseUrl, token] = process.argv.slice(2);
const client = new Client({ baseUrl, bearerToken: token });
const told = {};
const identifier = [{ system: 'urn:example:mrn', value: 'kit-1' }];
const patient = { resourceType: 'Patient', identifier, name: [{ family: 'Kit' }] };

told.capability = (await client.capabilityStatement()).fhirVersion;
const made = await client.create({ resourceType: 'Patient', body: patient });
told.read = (await client.read({ resourceType: 'Patient', id: made.id })).name[0].family;
const active = { ...made, active: true };
const changed = await client.update({ resourceType: 'Patient', id: made.id, body: active });
told.version = changed.meta.versionId;
const old = await client.vread({ resourceType: 'Patient', id: made.id, version: '1' });
told.old = old.active === undefined;
const options = { headers: { 'If-None-Exist': 'identifier=urn:example:mrn|kit-1' } };
told.same = (await client.create({ resourceType: 'Patient', body: patient, options })).id === made.id;
const jsonPatch = [{ op: 'replace', path: '/active', value: false }];
told.patched = (await client.patch({ resourceType: 'Patient', id: made.id, jsonPatch })).active;

const observation = (value) => ({
  resourceType: 'Observation', status: 'final', code: { text: 'x' },
  subject: { reference: `Patient/${made.id}` }, valueInteger: value,
});
const entry = [0, 1, 2, 3, 4].map((value) => ({
  resource: observation(value), request: { method: 'POST', url: 'Observation' },
}));
const body = { resourceType: 'Bundle', type: 'transaction', entry };
const statusOf = (each) => each.response.status.slice(0, 3);
told.transaction = (await client.transaction({ body })).entry.map(statusOf);
told.batch = (await client.batch({ body: { ...body, type: 'batch', entry: [
  { request: { method: 'GET', url: `Patient/${made.id}` } },
  { request: { method: 'GET', url: 'Patient/none' } },
] } })).entry.map(statusOf);

const searchParams = { patient: made.id, _count: 2 };
let page = await client.search({ resourceType: 'Observation', searchParams });
told.pages = [];
while (page) {
  told.pages.push(page.entry.length);
  page = await client.nextPage({ bundle: page });
}
const post = { resourceType: 'Observation', searchParams, options: { postSearch: true } };
told.posted = (await client.search(post)).entry.length;
const compartment = { resourceType: 'Patient', id: made.id };
const within = { resourceType: 'Observation', compartment };
told.compartment = (await client.compartmentSearch(within)).entry.length;
told.history = (await client.history({ resourceType: 'Patient', id: made.id })).entry.length;
const everything = { name: '$everything', resourceType: 'Patient', id: made.id, method: 'GET' };
told.everything = (await client.operation(everything)).entry.length;
await client.delete({ resourceType: 'Patient', id: made.id });
told.gone = await client.read({ resourceType: 'Patient', id: made.id }).catch((e) => e.response.status);
const bad = { resourceType: 'Patient', gender: 'blue' };
told.refused = await client.create({ resourceType: 'Patient', body: bad })
  .catch((e) => [e.response.status, e.response.data.issue[0].expression[0]]);
console.log(JSON.stringify(told));
"""


@pytest.mark.slow
def test_fhir_kit_client_does_all_of_it(lone_server: Any, tmp_path: Path) -> None:
    said = run_with_fhir_kit(SCRIPT, tmp_path, f"{lone_server.base}/fhir", lone_server.token())
    assert json.loads(said) == {
        "capability": "4.0.1",
        "read": "Kit",
        "version": "2",
        "old": True,
        "same": True,
        "patched": False,
        "transaction": ["201"] * 5,
        "batch": ["200", "404"],
        "pages": [2, 2, 1],
        "posted": 2,
        "compartment": 5,
        "history": 3,
        "everything": 6,
        "gone": 410,
        "refused": [400, "Patient.gender"],
    }
