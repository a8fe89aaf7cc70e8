"""`X-Provenance`: stored with what is written, or neither is (FHIR R4 provenance.html#header)."""

import json
from collections.abc import Callable
from typing import Any

import httpx

from tests.asked_in_turn import asked_in_turn

PROVENANCE = {
    "resourceType": "Provenance",
    "recorded": "2026-01-01T00:00:00.000Z",
    "agent": [{"who": {"display": "Dr. Müller"}}],
}
HEADER = {"X-Provenance": json.dumps(PROVENANCE)}
OBSERVATION = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}


async def provenances(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    found = (await client.get("/Provenance")).json()
    return [each["resource"] for each in found.get("entry", ())]


async def targets(client: httpx.AsyncClient) -> list[list[str]]:
    return [[each["reference"] for each in one["target"]] for one in await provenances(client)]


async def test_create_update_and_patch_have_theirs(client: httpx.AsyncClient) -> None:
    made = (await client.post("/Observation", json=OBSERVATION, headers=HEADER)).json()
    place = f"Observation/{made['id']}"
    put = await client.put(f"/{place}", json=made, headers=HEADER)
    assert put.status_code == 200, put.text
    patch = b'[{"op":"replace","path":"/status","value":"amended"}]'
    patched = await client.patch(
        f"/{place}", content=patch, headers={**HEADER, "content-type": "application/json-patch+json"}
    )
    assert patched.status_code == 200, patched.text
    assert await targets(client) == [[f"{place}/_history/{n}"] for n in (1, 2, 3)]
    assert (await provenances(client))[0]["agent"] == PROVENANCE["agent"]
    found = (await client.get(f"/Provenance?target={place}&_summary=count")).json()
    assert found["total"] == 3


async def test_header_may_hold_utf8(client: httpx.AsyncClient) -> None:
    header = [(b"x-provenance", json.dumps(PROVENANCE, ensure_ascii=False).encode())]
    await client.post("/Observation", json=OBSERVATION, headers=httpx.Headers(header))
    assert (await provenances(client))[0]["agent"] == PROVENANCE["agent"]


async def test_condition_that_is_fulfilled_writes_none(client: httpx.AsyncClient) -> None:
    sent = {**OBSERVATION, "identifier": [{"system": "http://x.test", "value": "1"}]}
    headers = {**HEADER, "If-None-Exist": "identifier=http://x.test|1"}
    for status in (201, 200):
        assert (await client.post("/Observation", json=sent, headers=headers)).status_code == status
    assert len(await provenances(client)) == 1


async def test_transaction_has_one_for_all(client: httpx.AsyncClient) -> None:
    old = (await client.post("/Observation", json=OBSERVATION)).json()["id"]
    gone = (await client.post("/Observation", json=OBSERVATION)).json()["id"]
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "resource": {**OBSERVATION, "id": old},
                "request": {"method": "PUT", "url": f"Observation/{old}"},
            },
            {"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}},
            {"request": {"method": "DELETE", "url": f"Observation/{gone}"}},
            {"request": {"method": "GET", "url": f"Observation/{old}"}},
        ],
    }
    answer = await client.post("", json=bundle, headers=HEADER)
    assert answer.status_code == 200, answer.text
    (one,) = await targets(client)
    assert f"Observation/{old}/_history/2" in one
    assert len(one) == 2
    assert sum(each.startswith("Patient/") for each in one) == 1
    bundle["type"] = "batch"
    assert (await client.post("", json=bundle, headers=HEADER)).status_code == 400


@asked_in_turn(
    "header",
    [
        "",
        "no json",
        "[]",
        json.dumps({"resourceType": "Patient"}),
        json.dumps({**PROVENANCE, "target": [{"reference": "Patient/1"}]}),
        json.dumps({**PROVENANCE, "id": "mine"}),
        json.dumps({**PROVENANCE, "recorded": "yesterday"}),
        json.dumps({name: value for name, value in PROVENANCE.items() if name != "agent"}),
    ],
)
async def test_with_a_bad_one_nothing_is_written(client: httpx.AsyncClient, header: str) -> None:
    answer = await client.post("/Observation", json=OBSERVATION, headers={"X-Provenance": header})
    assert answer.status_code == 400, answer.text
    assert (await client.get("/Observation?_summary=count")).json()["total"] == 0


async def test_delete_takes_none(client: httpx.AsyncClient) -> None:
    made = (await client.post("/Observation", json=OBSERVATION)).json()["id"]
    assert (await client.delete(f"/Observation/{made}", headers=HEADER)).status_code == 400


async def test_it_needs_the_grant_and_stays_within_reach(
    client: httpx.AsyncClient, create: Callable[..., Any], confine: Callable[..., dict[str, str]]
) -> None:
    ada, ben = [await create({"resourceType": "Patient"}) for _ in range(2)]
    mine = {**OBSERVATION, "subject": {"reference": f"Patient/{ada}"}}
    no_grant = confine(ada, resource_type="Observation")
    assert (await client.post("/Observation", json=mine, headers={**HEADER, **no_grant})).status_code == 403
    of_ben = {**PROVENANCE, "agent": [{"who": {"reference": f"Patient/{ben}"}}]}
    strange = {"X-Provenance": json.dumps(of_ben), **confine(ada)}
    assert (await client.post("/Observation", json=mine, headers=strange)).status_code == 403
    assert (await client.get("/Observation?_summary=count")).json()["total"] == 0
    made = await client.post("/Observation", json=mine, headers={**HEADER, **confine(ada)})
    assert made.status_code == 201, made.text
    (one,) = await provenances(client)
    for patient, status in ((ada, 200), (ben, 404)):
        answer = await client.get(f"/Provenance/{one['id']}", headers=confine(patient))
        assert answer.status_code == status
