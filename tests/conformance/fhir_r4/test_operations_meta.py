"""FHIR R4 resource-operation-meta.html, -meta-add, -meta-delete; and what operations.html asks of any."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.asked_in_turn import asked_in_turn

TAG, LABEL = {"system": "urn:t", "code": "x"}, {"system": "urn:l", "code": "R"}


def parameters(**meta: Any) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}]}


def returned(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    (one,) = answer.json()["parameter"]
    assert one["name"] == "return"
    return dict(one["valueMeta"])


@pytest.fixture
async def one(create: Callable[..., Any]) -> str:
    patient = {"resourceType": "Patient", "meta": {"tag": [TAG], "source": "urn:s"}, "active": True}
    return f"/Patient/{await create(patient)}"


async def test_meta_of_a_resource(client: httpx.AsyncClient, one: str) -> None:
    for answer in (await client.get(f"{one}/$meta"), await client.post(f"{one}/$meta")):
        found = returned(answer)
        assert (found["tag"], found["versionId"], found["source"]) == ([TAG], "1", "urn:s")
    assert (await client.get("/Patient/none/$meta")).status_code == 404


async def test_add_and_delete_make_versions(client: httpx.AsyncClient, one: str) -> None:
    added = await client.post(
        f"{one}/$meta-add", json=parameters(tag=[TAG], security=[LABEL], profile=["urn:p"])
    )
    found = returned(added)
    assert (found["tag"], found["security"], found["profile"]) == ([TAG], [LABEL], ["urn:p"])
    assert (found["versionId"], found["source"]) == ("2", "urn:s")
    assert (await client.get("/Patient?_security=urn:l|R")).json()["total"] == 1
    again = await client.post(f"{one}/$meta-add", json=parameters(tag=[{**TAG, "display": "X"}]))
    assert returned(again)["versionId"] == "2"
    less = await client.post(f"{one}/$meta-delete", json=parameters(tag=[TAG], profile=["urn:other"]))
    assert ("tag" in returned(less), returned(less)["profile"]) == (False, ["urn:p"])
    assert (await client.get(one)).json()["active"] is True
    assert (await client.get("/Patient?_tag=urn:t|x")).json()["total"] == 0


async def test_in_use_on_a_type_and_everywhere(
    client: httpx.AsyncClient, one: str, create: Callable[..., Any], confine: Callable[..., Any]
) -> None:
    assert one
    other = {"resourceType": "Patient", "meta": {"tag": [TAG, {"code": "y"}], "profile": ["urn:p"]}}
    patient = await create(other)
    await create({"resourceType": "Group", "type": "person", "actual": True, "meta": {"security": [LABEL]}})
    assert returned(await client.get("/Patient/$meta")) == {"tag": [{"code": "y"}, TAG], "profile": ["urn:p"]}
    assert returned(await client.get("/$meta"))["security"] == [LABEL]
    confined = await client.get("/$meta", headers=confine(one.rpartition("/")[2]))
    assert returned(confined) == {"tag": [TAG]}
    assert returned(await client.get("/Patient/$meta", headers=confine(patient)))["profile"] == ["urn:p"]


@asked_in_turn(
    ("method", "path", "body", "status"),
    [
        ("GET", "{one}/$meta-add", None, 405),
        ("POST", "{one}/$meta-add", None, 400),
        ("POST", "{one}/$meta-add", {"resourceType": "Parameters"}, 400),
        ("POST", "{one}/$meta-add", {"resourceType": "Patient"}, 400),
        ("POST", "{one}/$meta-add", parameters(tag=[{"nope": 1}]), 400),
        ("POST", "/Patient/none/$meta-add", parameters(tag=[TAG]), 404),
        ("POST", "/Patient/$meta-add", parameters(tag=[TAG]), 404),
        ("GET", "/$nothing", None, 404),
        ("GET", "/Patient/$export", None, 404),
        ("GET", "/Nothing/$meta", None, 404),
    ],
)
async def test_refusals(
    client: httpx.AsyncClient, one: str, method: str, path: str, body: Any, status: int
) -> None:
    answer = (
        await client.request(method, path.format(one=one), json=body)
        if body
        else await client.request(method, path.format(one=one))
    )
    assert answer.status_code == status, answer.text


async def test_another_patients_resource_is_not_there(
    client: httpx.AsyncClient, one: str, create: Callable[..., Any], confine: Callable[..., Any]
) -> None:
    other = confine(await create({"resourceType": "Patient"}))
    assert (await client.get(f"{one}/$meta", headers=other)).status_code == 404
    for name in ("$meta-add", "$meta-delete"):
        answer = await client.post(f"{one}/{name}", json=parameters(tag=[TAG]), headers=other)
        assert answer.status_code == 404


async def test_a_provenance_by_header_stays_whose_it_is(
    client: httpx.AsyncClient, one: str, confine: Callable[..., Any]
) -> None:
    as_one = confine(one.rpartition("/")[2])
    said = {
        "resourceType": "Provenance",
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"who": {"display": "A"}}],
    }
    told = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    told["subject"] = {"reference": one.lstrip("/")}
    made = await client.post("/Observation", json=told, headers=as_one | {"x-provenance": json.dumps(said)})
    assert made.status_code == 201, made.text
    (provenance,) = (await client.get("/Provenance", headers=as_one)).json()["entry"]
    path = f"/Provenance/{provenance['resource']['id']}"
    assert (await client.post(f"{path}/$meta-add", json=parameters(tag=[TAG]))).status_code == 200
    assert (await client.get(path, headers=as_one)).json()["meta"]["tag"] == [TAG]


async def test_the_content_of_a_binary_stays(client: httpx.AsyncClient) -> None:
    made = await client.post("/Binary", content=b"bytes", headers={"content-type": "text/plain"})
    path = "/Binary/" + made.headers["location"].split("/Binary/")[1].split("/")[0]
    assert (await client.post(f"{path}/$meta-add", json=parameters(tag=[TAG]))).status_code in (200, 400, 405)
    assert (await client.get(path)).content == b"bytes"


async def test_versions(client: httpx.AsyncClient) -> None:
    for answer in (await client.get("/$versions"), await client.post("/$versions")):
        assert answer.status_code == 200
        stated = {each["name"]: each["valueCode"] for each in answer.json()["parameter"]}
        assert stated == {"version": "4.0", "default": "4.0"}
