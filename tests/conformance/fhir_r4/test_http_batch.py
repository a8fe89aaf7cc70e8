"""FHIR R4 http.html#transaction, batch: entries that have nothing to do with each other."""

from typing import Any

import httpx
import pytest

from tests.conformance.fhir_r4.bundles import bundle, entry, observation, patient, statuses

A = "urn:uuid:0c3201bd-1cbf-4d64-b04d-cd9187a4c6e0"


async def process(client: httpx.AsyncClient, *entries: Any, **headers: str) -> Any:
    answer = await client.post("/", json=bundle("batch", *entries), headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["type"] == "batch-response"
    return answer.json()


async def test_an_entry_that_fails_fails_alone(client: httpx.AsyncClient) -> None:
    answer = await process(
        client,
        entry("POST", "Patient", patient()),
        entry("POST", "Patient", {"resourceType": "Patient", "gender": "blue"}),
        entry("POST", "Nothing", patient()),
        entry("GET", "Patient/missing"),
        entry("POST", "http://elsewhere/Patient", patient()),
        entry("POST", "Patient", patient()),
    )
    assert statuses(answer) == ["201", "400", "404", "404", "400", "201"]
    issue = answer["entry"][1]["response"]["outcome"]["issue"][0]
    assert issue["expression"] == ["Bundle.entry[1].resource.gender"]
    assert (await client.get("/Patient?_summary=count")).json()["total"] == 2


async def test_every_interaction_of_an_entry(client: httpx.AsyncClient, create: Any) -> None:
    one, two = await create(patient("1")), await create(patient("2"))
    reads = (
        f"Patient/{one}",
        f"Patient/{one}/_history/1",
        f"Patient/{one}/_history",
        "Patient?identifier=http://mrn|1",
        f"Patient/{one}/Observation",
        "Patient/$meta",
        f"http://fhir.test/fhir/Patient/{one}",
        "?_type=Patient",
        "_history",
    )
    answer = await process(
        client,
        *(entry("GET", url) for url in reads),
        entry("PUT", f"Patient/{one}", {**patient("1"), "id": one}),
        entry("DELETE", f"Patient/{two}"),
        entry("GET", "Patient/x/y/z"),
        entry("GET", f"Patient/{two}"),
    )
    assert statuses(answer) == ["200"] * len(reads) + ["200", "204", "400", "410"]
    assert all("resource" in each for each in answer["entry"][: len(reads)])


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_operations_by_post(client: httpx.AsyncClient, create: Any, kind: str) -> None:
    """As terminology clients before `$batch-validate-code` ask for many codes at once."""
    one = await create(patient("1"))
    gender = {"system": "http://hl7.org/fhir/administrative-gender", "code": "male"}
    parameters = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "url", "valueUri": "http://hl7.org/fhir/ValueSet/administrative-gender"},
            {"name": "coding", "valueCoding": gender},
        ],
    }
    asked = bundle(
        kind,
        entry("POST", "ValueSet/$validate-code", parameters),
        entry("POST", "Patient/$validate", {"resourceType": "Patient", "gender": "male"}),
        entry("POST", f"Patient/{one}/$meta"),
    )
    answer = await client.post("/", json=asked)
    assert answer.status_code == 200, answer.text
    assert statuses(answer.json()) == ["200"] * 3
    assert answer.json()["entry"][0]["resource"]["parameter"][0] == {"name": "result", "valueBoolean": True}


async def test_a_bundle_asks_for_no_operation_that_changes_something(
    client: httpx.AsyncClient, create: Any
) -> None:
    one = await create(patient("1"))
    tag = {"tag": [{"system": "urn:t", "code": "t"}]}
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": tag}]}
    answer = await process(client, entry("POST", f"Patient/{one}/$meta-add", parameters))
    assert statuses(answer) == ["404"]
    assert "tag" not in (await client.get(f"/Patient/{one}")).json()["meta"]


async def test_references_between_entries_are_not_rewritten(client: httpx.AsyncClient) -> None:
    answer = await process(
        client,
        entry("POST", "Patient", patient(), A),
        entry("POST", "Observation", observation(A)),
        prefer="return=representation",
    )
    assert answer["entry"][1]["resource"]["subject"]["reference"] == A


async def test_the_same_resource_twice_is_no_matter(client: httpx.AsyncClient) -> None:
    update = entry("PUT", "Patient/x", {**patient(), "id": "x"})
    answer = await process(client, update, update)
    assert sorted(statuses(answer)) == ["200", "201"]


async def test_entries_are_judged_alone(client: httpx.AsyncClient) -> None:
    answer = await process(
        client, entry("POST", "Patient", patient()), entry("GET", "Patient"), **{"x-rights": "reader"}
    )
    assert statuses(answer) == ["403", "403"]
