"""FHIR R4 http.html#concurrency: clients at the same time, with conditions and patients in common."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import httpx

from tests.conformance.fhir_r4.bundles import entry, observation, patient, transaction

URNS = [f"urn:uuid:0c3201bd-1cbf-4d64-b04d-cd9187a4c6e{n}" for n in range(4)]


async def test_one_of_two_claims_by_other_words(
    client: httpx.AsyncClient, create: Callable[..., Any]
) -> None:
    """What a condition meant may be over when its turn comes."""
    task = {"resourceType": "Task", "status": "requested", "intent": "order"}
    claim = [{"op": "replace", "path": "/status", "value": "accepted"}]
    patch = {"content-type": "application/json-patch+json"}
    for _ in range(5):
        named = await create(task)
        conditions = (f"_id={named}&status=requested", f"_id={named}&status=requested&intent=order")
        answers = await asyncio.gather(
            *(client.patch(f"/Task?{condition}", json=claim, headers=patch) for condition in conditions)
        )
        assert sorted(answer.status_code for answer in answers) == [200, 404]


async def test_patients_with_identifiers_in_common(client: httpx.AsyncClient) -> None:
    """Each holds some of the same names: in one order, or two would wait for each other."""
    chance = random.Random(1)

    def somebody() -> Any:
        values = chance.sample("abcdef", 3)
        return {
            "resourceType": "Patient",
            "identifier": [{"system": "http://mrn", "value": v} for v in values],
        }

    answers = await asyncio.gather(*(client.post("/Patient", json=somebody()) for _ in range(80)))
    assert {answer.status_code for answer in answers} == {201}


async def test_transactions_over_the_same_patients(client: httpx.AsyncClient) -> None:
    """Each finds that others have made what it was going to make, and still is carried out."""
    chance = random.Random(2)

    def visit(number: int) -> Any:
        made = []
        for n in chance.sample(range(4), 3):
            if number % 2:
                made.append(entry("PUT", f"Patient?identifier=http://mrn|{n}", patient(str(n)), URNS[n]))
            else:
                condition = {"ifNoneExist": f"identifier=http://mrn|{n}"}
                made.append(entry("POST", "Patient", patient(str(n)), URNS[n], **condition))
            made.append(entry("POST", "Observation", observation(URNS[n])))
        return transaction(*made)

    answers = await asyncio.gather(*(client.post("", json=visit(number)) for number in range(12)))
    assert [answer.status_code for answer in answers] == [200] * 12
    for n in range(4):
        of_one = await client.get(f"/Observation?patient.identifier=http://mrn|{n}&_summary=count")
        assert of_one.json()["total"] > 0
    assert (await client.get("/Observation?patient:missing=false&_summary=count")).json()["total"] == 36


async def test_a_transaction_deletes_before_it_looks(
    client: httpx.AsyncClient, create: Callable[..., Any]
) -> None:
    """Also what a condition deletes; of two that match, the other one is meant."""
    await create(patient("1"))
    one, other = await create(patient("2")), await create(patient("2"))
    answer = await client.post(
        "",
        json=transaction(
            entry("DELETE", "Patient?identifier=http://mrn|1"),
            entry("DELETE", f"Patient/{one}"),
            entry("POST", "Patient", patient("1"), URNS[1], ifNoneExist="identifier=http://mrn|1"),
            entry("POST", "Patient", patient("2"), URNS[2], ifNoneExist="identifier=http://mrn|2"),
            entry("POST", "Observation", observation("Patient?identifier=http://mrn|2")),
            entry("POST", "Observation", observation(URNS[1])),
        ),
    )
    assert answer.status_code == 200, answer.text
    assert [e["response"]["status"][:3] for e in answer.json()["entry"]] == [
        "204", "204", "201", "200", "201", "201",
    ]  # fmt: skip
    found = await client.get(f"/Observation?patient={other}&_summary=count")
    assert found.json()["total"] == 1
