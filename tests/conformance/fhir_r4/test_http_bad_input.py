"""FHIR R4 http.html: what cannot be understood is refused, and is no failure of ours."""

import json
from typing import Any

import httpx
import pytest

from fhir.interactions import patch as patching
from fhir.interactions.body import MAX_RESOURCE_BYTES
from fhir.interactions.policed import references_of
from fhir.model.json_codec import MAX_DEPTH
from tests.asked_in_turn import asked_in_turn
from tests.conformance.fhir_r4.bundles import bundle, entry, observation, patient, statuses

JSON_PATCH = {"content-type": "application/json-patch+json"}
FHIR = {"content-type": "application/fhir+json"}


async def patched(client: httpx.AsyncClient, resource_id: str, body: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await client.patch(f"/Patient/{resource_id}", content=content, headers=JSON_PATCH)


@asked_in_turn(
    "body",
    [
        pytest.param(b'[{"op":' + b"[" * 3000 + b"]" * 3000 + b',"path":"/active"}]', id="deep operation"),
        pytest.param(b'[{"op":"\xff","path":"/active"}]', id="operation not UTF-8"),
        pytest.param(b'[{"op":"remove","path":"/\xff"}]', id="path not UTF-8"),
        pytest.param(b'[{"op":"test","op":"remove","path":"/name"}]', id="a name twice"),
        pytest.param(b'[{"op":"add","path":"/active","value":1e99999}]', id="huge number"),
        pytest.param(b'[{"op":"add","path":"/active","value":"\\u0000"}]', id="NUL"),
        pytest.param(b'[["op"]]', id="no objects"),
        pytest.param(b"[", id="cut off"),
    ],
)
async def test_patch_that_is_no_patch(client: httpx.AsyncClient, create: Any, body: bytes) -> None:
    answer = await patched(client, await create(patient()), body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"


async def test_patch_that_copies_without_end(client: httpx.AsyncClient, create: Any) -> None:
    doubling = [{"op": "copy", "from": "/name", "path": "/name/-"} for _ in range(60)]
    answer = await patched(client, await create(patient(name=[{"family": "A"}])), doubling)
    assert answer.status_code == 422, answer.text
    assert "copies at most" in answer.text


def nested(levels: int, inner: Any) -> Any:
    for _ in range(levels):
        inner = {"url": "http://x", "extension": [inner]}
    return inner


async def test_patch_that_makes_it_too_deep(client: httpx.AsyncClient, create: Any) -> None:
    """Otherwise nothing could read it again: no patch, no operation, no index."""
    resource_id = await create(patient())
    most = (MAX_DEPTH - 6) // 2
    half = nested(most, {"url": "http://x", "valueBoolean": True})
    end = "/extension/0" * (most + 1)
    answer = await patched(
        client,
        resource_id,
        [
            {"op": "add", "path": "/extension", "value": [half]},
            {"op": "remove", "path": f"{end}/valueBoolean"},
            {"op": "add", "path": f"{end}/extension", "value": [half]},
        ],
    )
    assert answer.status_code == 400, answer.text
    assert "nested deeper" in answer.text
    assert (await patched(client, resource_id, [])).status_code == 200


async def test_patch_that_makes_it_too_large(
    client: httpx.AsyncClient, create: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource_id = await create(patient())
    monkeypatch.setattr(patching, "MAX_RESOURCE_BYTES", 400)
    add = [{"op": "add", "path": "/name", "value": [{"family": "n" * 400}]}]
    assert (await patched(client, resource_id, add)).status_code == 413


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize(
    "path",
    [
        "Patient/%00",
        "Patient/%00/_history",
        "Patient/%00/Observation",
        "Patient/%00/$everything",
        "Binary/%00",
    ],
)
async def test_url_of_an_entry_with_nul(client: httpx.AsyncClient, kind: str, path: str) -> None:
    answer = await client.post("", json=bundle(kind, entry("GET", path)))
    status = int(statuses(answer.json())[0]) if kind == "batch" else answer.status_code
    assert status == 400, answer.text
    assert "The URL holds NUL." in answer.text


@pytest.mark.parametrize("full_url", [None, "urn:uuid:0c3201bd-1cbf-4d64-b04d-cd9187a4c6e0"])
async def test_reference_of_an_entry_that_is_not_utf8(
    client: httpx.AsyncClient, full_url: str | None
) -> None:
    made = json.dumps(
        bundle("transaction", entry("POST", "Observation", observation("@"), full_url))
    ).encode()
    answer = await client.post("", content=made.replace(b'"@"', b'"\xff"'), headers=FHIR)
    assert answer.status_code == 400, answer.text
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[0]"]


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_resource_of_an_entry_that_is_too_large(client: httpx.AsyncClient, kind: str) -> None:
    most = 1 << 20  # of a string
    long = {"url": "http://x", "valueString": "s" * (most - 10)}
    basic = {
        "resourceType": "Basic",
        "code": {"text": "x"},
        "extension": [long] * (MAX_RESOURCE_BYTES // most + 1),
    }
    answer = await client.post("", json=bundle(kind, entry("POST", "Basic", basic)))
    status = int(statuses(answer.json())[0]) if kind == "batch" else answer.status_code
    assert status == 413, answer.text[:300]


@pytest.mark.parametrize("number", ["%C2%B2", "%D9%A1", "-1", "0", "1.0", "x"])  # ², an Arabic 1
@pytest.mark.parametrize(
    "call", ["/Patient/$everything?_count=", "/Observation/$lastn?patient=x&code=y&max="]
)
async def test_number_of_an_operation_that_is_none(client: httpx.AsyncClient, call: str, number: str) -> None:
    answer = await client.get(call + number)
    assert answer.status_code == 400, answer.text


async def test_number_of_an_operation_that_is_huge(client: httpx.AsyncClient) -> None:
    for call in ("/Patient/$everything?_count=", "/Observation/$lastn?patient=x&code=y&max="):
        assert (await client.get(call + "9" * 30)).status_code == 200


def test_version_of_a_reference_that_is_no_number() -> None:
    """A digit of another script, or above the line, is none of a version."""
    subject = {"reference": "Patient/1/_history/\u00b2"}
    found = references_of(observation("x") | {"subject": subject}, "http://fhir.test/fhir")
    assert found == {("Patient", "1"): ("Observation.subject.reference", None)}
