"""FHIR R4 http.html: update, patch, delete and their conditions, on a real door over both databases."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fhir.interactions.door import Policy
from fhir.routes import Offer
from tests.conftest import sqlite_first

PATCH = {"content-type": "application/json-patch+json"}
SYSTEM = "urn:test:mrn"


def patient(value: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "identifier": [{"system": SYSTEM, "value": value}], **more}


def outcome(answer: httpx.Response) -> str:
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome", body
    return str(body["issue"][0]["code"])


class TestUpdate:
    """http.html#update, #upsert, #concurrency"""

    async def test_an_unknown_id_creates(self, client: httpx.AsyncClient) -> None:
        made = await client.put("/Patient/own", json=patient("1", id="own"))
        assert (made.status_code, made.headers["etag"]) == (201, 'W/"1"')
        assert made.headers["location"].endswith("/Patient/own/_history/1")
        again = await client.put("/Patient/own", json=patient("2", id="own"))
        assert (again.status_code, again.headers["etag"]) == (200, 'W/"2"')

    async def test_the_body_names_the_id_of_the_url(self, client: httpx.AsyncClient) -> None:
        for body in (patient("1"), patient("1", id="other")):
            answer = await client.put("/Patient/own", json=body)
            assert answer.status_code == 400
            assert answer.json()["issue"][0]["expression"] == ["Patient.id"]

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"if-match": 'W/"1"'}, 200),
            ({"if-match": '"1"'}, 200),
            ({"if-match": 'W/"7", W/"1"'}, 200),
            ({"if-match": "*"}, 200),
            ({"if-match": 'W/"2"'}, 412),
            ({"if-match": "1"}, 400),
            ({"if-match": 'W/"x"'}, 400),
            ({"if-none-match": "*"}, 412),
            ({"if-none-match": 'W/"2"'}, 200),
        ],
    )
    async def test_preconditions(
        self, client: httpx.AsyncClient, create: Callable[..., Any], headers: dict[str, str], status: int
    ) -> None:
        one = await create(patient("1"))
        answer = await client.put(f"/Patient/{one}", json=patient("1", id=one), headers=headers)
        assert answer.status_code == status

    async def test_if_match_without_a_resource_is_412(self, client: httpx.AsyncClient) -> None:
        body = patient("1", id="none")
        answer = await client.put("/Patient/none", json=body, headers={"if-match": 'W/"1"'})
        assert answer.status_code == 412
        assert (await client.get("/Patient/none")).status_code == 404

    async def test_of_parallel_updates_of_one_version_one_is_made(
        self, client: httpx.AsyncClient, create: Callable[..., Any]
    ) -> None:
        one = await create(patient("1"))
        answers = await asyncio.gather(
            *(
                client.put(f"/Patient/{one}", json=patient(str(n), id=one), headers={"if-match": 'W/"1"'})
                for n in range(6)
            )
        )
        assert sorted(a.status_code for a in answers) == [200, 412, 412, 412, 412, 412]
        assert (await client.get(f"/Patient/{one}")).headers["etag"] == 'W/"2"'


class TestConditionalUpdate:
    """http.html#cond-update"""

    async def test_no_match_creates_and_one_is_written(self, client: httpx.AsyncClient) -> None:
        url = f"/Patient?identifier={SYSTEM}|7"
        made = await client.put(url, json=patient("7"))
        assert made.status_code == 201
        written = await client.put(url, json=patient("7", gender="female"))
        assert (written.status_code, written.json()["id"]) == (200, made.json()["id"])
        assert written.json()["meta"]["versionId"] == "2"

    async def test_no_match_with_an_id_is_an_update_as_create(self, client: httpx.AsyncClient) -> None:
        made = await client.put(f"/Patient?identifier={SYSTEM}|7", json=patient("7", id="mine"))
        assert (made.status_code, made.json()["id"]) == (201, "mine")

    async def test_one_match_with_another_id_is_400(self, client: httpx.AsyncClient) -> None:
        await client.put("/Patient/a", json=patient("7", id="a"))
        answer = await client.put(f"/Patient?identifier={SYSTEM}|7", json=patient("7", id="b"))
        assert answer.status_code == 400

    async def test_several_matches_are_412(
        self, client: httpx.AsyncClient, create: Callable[..., Any]
    ) -> None:
        await create(patient("7"))
        await create(patient("7"))
        answer = await client.put(f"/Patient?identifier={SYSTEM}|7", json=patient("7"))
        assert answer.status_code == 412

    @pytest.mark.parametrize("criteria", ["", "?", "?unknown=1", "?_count=1", "?_sort=family"])
    async def test_no_criteria_are_400(self, client: httpx.AsyncClient, criteria: str) -> None:
        assert (await client.put(f"/Patient{criteria}", json=patient("7"))).status_code == 400

    async def test_parallel_ones_make_one_resource(self, client: httpx.AsyncClient) -> None:
        url = f"/Patient?identifier={SYSTEM}|7"
        answers = await asyncio.gather(*(client.put(url, json=patient("7")) for _ in range(6)))
        assert sorted(a.status_code for a in answers) == [200] * 5 + [201]
        assert len({a.json()["id"] for a in answers}) == 1


class TestDelete:
    """http.html#delete"""

    async def test_a_deleted_resource_is_gone_and_can_come_back(
        self, client: httpx.AsyncClient, create: Callable[..., Any]
    ) -> None:
        one = await create(patient("1"))
        gone = await client.delete(f"/Patient/{one}")
        assert (gone.status_code, gone.content, gone.headers["etag"]) == (204, b"", 'W/"2"')
        read = await client.get(f"/Patient/{one}")
        assert (read.status_code, outcome(read)) == (410, "deleted")
        assert (await client.get(f"/Patient/{one}/_history/2")).status_code == 410
        assert (await client.get(f"/Patient/{one}/_history/1")).status_code == 200
        assert (await client.get("/Patient")).json()["total"] == 0
        assert (await client.get(f"/Patient?identifier={SYSTEM}|1")).json()["total"] == 0
        back = await client.put(f"/Patient/{one}", json=patient("1", id=one))
        assert (back.status_code, back.headers["etag"]) == (201, 'W/"3"')
        assert (await client.get(f"/Patient?identifier={SYSTEM}|1")).json()["total"] == 1

    async def test_what_is_not_there_is_204(
        self, client: httpx.AsyncClient, create: Callable[..., Any]
    ) -> None:
        one = await create(patient("1"))
        await client.delete(f"/Patient/{one}")
        for path in (f"/Patient/{one}", "/Patient/never"):
            answer = await client.delete(path)
            assert (answer.status_code, "etag" in answer.headers) == (204, False)
        assert len((await client.get(f"/Patient/{one}/_history")).json()["entry"]) == 2

    async def test_who_prefers_an_outcome_gets_one(
        self, client: httpx.AsyncClient, create: Callable[..., Any]
    ) -> None:
        one = await create(patient("1"))
        prefers = {"prefer": "return=OperationOutcome"}
        for said in ("Deleted.", "There was nothing to delete."):
            answer = await client.delete(f"/Patient/{one}", headers=prefers)
            assert (answer.status_code, answer.json()["issue"][0]["diagnostics"]) == (200, said)

    async def test_if_match_guards_it(self, client: httpx.AsyncClient, create: Callable[..., Any]) -> None:
        one = await create(patient("1"))
        assert (await client.delete(f"/Patient/{one}", headers={"if-match": 'W/"2"'})).status_code == 412
        assert (await client.delete(f"/Patient/{one}", headers={"if-match": 'W/"1"'})).status_code == 204

    async def test_conditional_takes_one_and_refuses_several(
        self, client: httpx.AsyncClient, create: Callable[..., Any]
    ) -> None:
        url = f"/Patient?identifier={SYSTEM}|7"
        assert (await client.delete(url)).status_code == 204
        one, _ = await create(patient("7")), await create(patient("8"))
        assert (await client.delete(url)).status_code == 204
        assert (await client.get(f"/Patient/{one}")).status_code == 410
        assert (await client.get("/Patient")).json()["total"] == 1
        for _ in "ab":
            await create(patient("7"))
        assert (await client.delete(url)).status_code == 412
        assert (await client.delete("/Patient")).status_code == 400
        assert (await client.get("/Patient")).json()["total"] == 3


class TestDeleteMultiple:
    """http.html#3.1.0.7.1, by policy"""

    @pytest.fixture
    def offer(self) -> Offer:
        return Offer(Policy(delete_multiple=True))

    async def test_all_that_match_go(self, client: httpx.AsyncClient, create: Callable[..., Any]) -> None:
        for value in ("7", "7", "7", "8"):
            await create(patient(value))
        assert (await client.delete(f"/Patient?identifier={SYSTEM}|7")).status_code == 204
        assert (await client.get("/Patient")).json()["total"] == 1


class TestDeleteWithReferencesThatMustLead:
    """references.html#integrity, by policy"""

    @pytest.fixture
    def offer(self) -> Offer:
        return Offer(Policy(require_references=True))

    async def test_what_is_referred_to_stays(
        self, client: httpx.AsyncClient, create: Callable[..., Any]
    ) -> None:
        one = await create(patient("1"))
        subject = {"reference": f"Patient/{one}"}
        told = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": subject}
        other = await create(told)
        refused = await client.delete(f"/Patient/{one}")
        assert (refused.status_code, outcome(refused)) == (409, "conflict")
        assert (await client.get(f"/Patient/{one}")).status_code == 200
        assert (await client.delete(f"/Observation/{other}")).status_code == 204
        assert (await client.delete(f"/Patient/{one}")).status_code == 204

    async def test_both_go_in_one_transaction(
        self, client: httpx.AsyncClient, create: Callable[..., Any]
    ) -> None:
        one = await create(patient("1"))
        subject = {"reference": f"Patient/{one}"}
        told = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": subject}
        other = await create(told)
        urls = (f"Patient/{one}", f"Observation/{other}")
        entries = [{"request": {"method": "DELETE", "url": url}} for url in urls]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        assert (await client.post("/", json=bundle)).status_code == 200
        assert (await client.get("/Patient")).json()["total"] == 0


class TestNoUpdateAsCreate:
    """http.html#upsert, by policy"""

    @pytest.fixture
    def offer(self) -> Offer:
        return Offer(Policy(create_on_update=False))

    async def test_an_unknown_id_is_405(self, client: httpx.AsyncClient) -> None:
        assert (await client.put("/Patient/x", json=patient("1", id="x"))).status_code == 405
        named = await client.put(f"/Patient?identifier={SYSTEM}|1", json=patient("1", id="x"))
        assert named.status_code == 405
        unnamed = await client.put(f"/Patient?identifier={SYSTEM}|1", json=patient("1"))
        assert unnamed.status_code == 201


@sqlite_first
class TestPatch:
    """http.html#patch with RFC 6902"""

    async def test_changes_what_it_names_and_nothing_else(self, client: httpx.AsyncClient) -> None:
        sent = b"""{"resourceType":"Observation","id":"o","status":"final","code":{"text":"x"},
            "valueQuantity":{"value":1.00,"unit":"mm"},"component":[{"code":{"text":"c"},"valueInteger":1}]}"""
        await client.put("/Observation/o", content=sent, headers={"content-type": "application/fhir+json"})
        operations = b"""[{"op":"test","path":"/status","value":"final"},
            {"op":"replace","path":"/status","value":"amended"},
            {"op":"add","path":"/component/-","value":{"code":{"text":"d"},"valueQuantity":{"value":2.50}}},
            {"op":"remove","path":"/component/0"},
            {"op":"copy","from":"/code/text","path":"/component/0/code/text"}]"""
        answer = await client.patch("/Observation/o", content=operations, headers=PATCH)
        assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"2"')
        assert b'"value":1.00' in answer.content
        assert b'"value":2.50' in answer.content
        body = answer.json()
        assert (body["status"], len(body["component"])) == ("amended", 1)
        assert body["component"][0]["code"] == {"text": "x"}
        assert (await client.get("/Observation/o")).content == answer.content

    @pytest.mark.parametrize(
        ("operations", "status", "code"),
        [
            ([{"op": "test", "path": "/gender", "value": "male"}], 422, "processing"),
            ([{"op": "test", "path": "/active", "value": 1}], 422, "processing"),
            ([{"op": "remove", "path": "/birthDate"}], 422, "processing"),
            ([{"op": "replace", "path": "/birthDate", "value": "2000"}], 422, "processing"),
            ([{"op": "add", "path": "/identifier/5", "value": {}}], 422, "processing"),
            ([{"op": "add", "path": "/identifier/01", "value": {}}], 422, "processing"),
            ([{"op": "add", "path": "/identifier/x", "value": {}}], 422, "processing"),
            ([{"op": "replace", "path": "/gender", "value": "blue"}], 400, "code-invalid"),
            ([{"op": "add", "path": "/nope", "value": 1}], 400, "structure"),
            ([{"op": "remove", "path": "/identifier/0"}], 400, "structure"),
            ([{"op": "replace", "path": "/id", "value": "other"}], 400, "invalid"),
            ([{"op": "replace", "path": "/resourceType", "value": "Person"}], 400, "invalid"),
            ([{"op": "replace", "path": "", "value": []}], 400, "invalid"),
            ([{"op": "remove", "path": ""}], 422, "processing"),
            ([{"op": "dance", "path": "/id"}], 400, "invalid"),
            ([{"op": "add", "path": "/active"}], 400, "invalid"),
            ([{"op": "add", "path": "active", "value": True}], 400, "invalid"),
            ([{"op": "move", "from": "/identifier", "path": "/identifier/0"}], 400, "invalid"),
            ([{"op": "test", "path": "/active", "value": True}] * 1001, 400, "invalid"),
            ({"op": "remove", "path": "/active"}, 400, "invalid"),
        ],
    )
    async def test_refused_whole(
        self, client: httpx.AsyncClient, operations: Any, status: int, code: str
    ) -> None:
        body = patient("1", id="p", active=True, gender="female")
        await client.put("/Patient/p", json=body)
        answer = await client.patch("/Patient/p", json=operations, headers=PATCH)
        assert (answer.status_code, outcome(answer)) == (status, code), answer.text
        assert (await client.get("/Patient/p")).headers["etag"] == 'W/"1"'

    @pytest.mark.parametrize("content", [b"", b"{", b'[{"op":"add","path":"/active","value":NaN}]', b"[1]"])
    async def test_no_patch_document_is_400(self, client: httpx.AsyncClient, content: bytes) -> None:
        await client.put("/Patient/p", json=patient("1", id="p"))
        assert (await client.patch("/Patient/p", content=content, headers=PATCH)).status_code == 400

    async def test_other_formats_are_415(self, client: httpx.AsyncClient) -> None:
        await client.put("/Patient/p", json=patient("1", id="p"))
        for media_type in ("application/xml-patch+xml", "application/fhir+xml", ""):
            answer = await client.patch("/Patient/p", content=b"[]", headers={"content-type": media_type})
            assert answer.status_code == 415

    async def test_conditional(self, client: httpx.AsyncClient, create: Callable[..., Any]) -> None:
        url, operations = f"/Patient?identifier={SYSTEM}|1", [{"op": "add", "path": "/active", "value": True}]
        assert (await client.patch(url, json=operations, headers=PATCH)).status_code == 404
        one = await create(patient("1"))
        answer = await client.patch(url, json=operations, headers=PATCH)
        assert (answer.status_code, answer.json()["id"], answer.json()["active"]) == (200, one, True)
        await create(patient("1"))
        assert (await client.patch(url, json=operations, headers=PATCH)).status_code == 412

    async def test_gone_and_never_there(self, client: httpx.AsyncClient, create: Callable[..., Any]) -> None:
        one = await create(patient("1"))
        await client.delete(f"/Patient/{one}")
        for path, status in ((f"/Patient/{one}", 410), ("/Patient/none", 404)):
            assert (await client.patch(path, json=[], headers=PATCH)).status_code == status

    async def test_if_match_guards_it(self, client: httpx.AsyncClient, create: Callable[..., Any]) -> None:
        one = await create(patient("1"))
        stale = await client.patch(f"/Patient/{one}", json=[], headers=PATCH | {"if-match": 'W/"9"'})
        assert stale.status_code == 412
