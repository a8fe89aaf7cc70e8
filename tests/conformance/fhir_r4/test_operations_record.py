"""FHIR R4 patient-operation-everything.html and observation-operation-lastn.html."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.asked_in_turn import asked_in_turn

LOINC = "http://loinc.org"


def observation(patient: str, code: str, date: str | None = None, **more: Any) -> dict[str, Any]:
    category = {"coding": [{"code": "vital-signs"}]}
    body = {"resourceType": "Observation", "status": "final", "category": [category], **more}
    body["code"] = {"coding": [{"system": LOINC, "code": code}]}
    body["subject"] = {"reference": f"Patient/{patient}"}
    return body | ({"effectiveDateTime": date} if date else {})


def found(answer: httpx.Response, mode: str = "match") -> list[str]:
    assert answer.status_code == 200, answer.text
    entries = answer.json().get("entry", [])
    return [e["resource"]["id"] for e in entries if e["search"]["mode"] == mode]


class TestEverything:
    @pytest.fixture(autouse=True)
    async def record(self, client: httpx.AsyncClient) -> None:
        """Ada's record of four, Ben's of two, a practitioner whom both refer to, another one."""
        for name in ("ada", "ben"):
            await client.put(f"/Patient/{name}", json={"resourceType": "Patient", "id": name})
        for name in ("doc", "idle"):
            await client.put(f"/Practitioner/{name}", json={"resourceType": "Practitioner", "id": name})
        doc = [{"reference": "Practitioner/doc"}]
        for name, body in {
            "old": observation("ada", "1-1", "2001-02-03", performer=doc),
            "new": observation("ada", "1-1", "2011-02-03"),
            "undated": observation("ada", "1-1"),
            "bens": observation("ben", "1-1", performer=doc),
        }.items():
            await client.put(f"/Observation/{name}", json={**body, "id": name})

    async def test_the_record_and_what_it_refers_to(self, client: httpx.AsyncClient) -> None:
        for answer in (
            await client.get("/Patient/ada/$everything"),
            await client.post("/Patient/ada/$everything"),
        ):
            assert sorted(found(answer)) == ["ada", "new", "old", "undated"]
            assert found(answer, "include") == ["doc"]
            assert answer.json()["total"] == 4
        everyone = await client.get("/Patient/$everything")
        assert sorted(found(everyone)) == ["ada", "ben", "bens", "new", "old", "undated"]

    async def test_pages(self, client: httpx.AsyncClient) -> None:
        seen, url = [], "/Patient/ada/$everything?_count=1"
        while url:
            answer = await client.get(url)
            assert len(found(answer)) == 1
            seen += found(answer)
            links = {link["relation"]: link["url"] for link in answer.json()["link"]}
            url = f"/Patient/ada/$everything?{urlsplit(links['next']).query}" if "next" in links else ""
        assert sorted(seen) == ["ada", "new", "old", "undated"]

    @asked_in_turn(
        ("query", "ids"),
        [
            ("_type=Observation", ["new", "old", "undated"]),
            ("_type=Patient,Device", ["ada"]),
            ("start=2010", ["ada", "new", "undated"]),
            ("end=2010", ["ada", "old", "undated"]),
            ("start=2001-02-03&end=2001-02-03", ["ada", "old", "undated"]),
            ("_since=2999-01-01", []),
            ("unknown=1", ["ada", "new", "old", "undated"]),
        ],
    )
    async def test_parameters(self, client: httpx.AsyncClient, query: str, ids: list[str]) -> None:
        assert sorted(found(await client.get(f"/Patient/ada/$everything?{query}"))) == ids

    async def test_parameters_in_a_body(self, client: httpx.AsyncClient) -> None:
        body = {"resourceType": "Parameters", "parameter": [{"name": "_type", "valueCode": "Observation"}]}
        body["parameter"].append({"name": "start", "valueDate": "2010-01-01"})
        assert sorted(found(await client.post("/Patient/ada/$everything", json=body))) == ["new", "undated"]

    @asked_in_turn(
        ("path", "status"),
        [
            ("/Patient/none/$everything", 404),
            ("/Observation/old/$everything", 404),
            ("/Patient/ada/$everything?_type=Nope", 400),
            ("/Patient/ada/$everything?start=soon", 400),
            ("/Patient/ada/$everything?start=2001&start=2002", 400),
            ("/Patient/ada/$everything?_count=-1", 400),
            ("/Patient/ada/$everything?_count=0", 400),
            ("/Patient/ada/$everything?_page=forged", 400),
        ],
    )
    async def test_refusals(self, client: httpx.AsyncClient, path: str, status: int) -> None:
        assert (await client.get(path)).status_code == status

    async def test_a_confined_token_gets_its_own(
        self, client: httpx.AsyncClient, confine: Callable[..., Any]
    ) -> None:
        as_ada = confine("ada")
        for path in ("/Patient/ada/$everything", "/Patient/$everything"):
            assert sorted(found(await client.get(path, headers=as_ada))) == ["ada", "new", "old", "undated"]
        assert (await client.get("/Patient/ben/$everything", headers=as_ada)).status_code == 404
        only = confine("ada", resource_type="Observation")
        assert (await client.get("/Patient/ada/$everything", headers=only)).status_code == 403

    async def test_deleted_resources_are_left_out(self, client: httpx.AsyncClient) -> None:
        await client.delete("/Observation/old")
        assert sorted(found(await client.get("/Patient/ada/$everything"))) == ["ada", "new", "undated"]


class TestEverythingOfAnEncounter:
    @pytest.fixture(autouse=True)
    async def stays(self, client: httpx.AsyncClient) -> None:
        """Ada's stay with a doctor and one observation; another stay; an observation without any."""
        for name in ("ada", "ben"):
            await client.put(f"/Patient/{name}", json={"resourceType": "Patient", "id": name})
        await client.put("/Practitioner/doc", json={"resourceType": "Practitioner", "id": "doc"})
        for name in ("stay", "other"):
            body = {"resourceType": "Encounter", "id": name, "status": "finished", "class": {"code": "IMP"}}
            body["subject"] = {"reference": "Patient/ada"}
            body["participant"] = [{"individual": {"reference": "Practitioner/doc"}}]
            await client.put(f"/Encounter/{name}", json=body)
        stay = {"reference": "Encounter/stay"}
        await client.put("/Observation/in", json={**observation("ada", "a", encounter=stay), "id": "in"})
        await client.put("/Observation/out", json={**observation("ada", "a"), "id": "out"})

    async def test_what_happened_in_it(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/Encounter/stay/$everything")
        assert sorted(found(answer)) == ["in", "stay"]
        assert sorted(found(answer, "include")) == ["ada", "doc"]
        only = await client.get("/Encounter/stay/$everything?_type=Observation")
        assert (found(only), found(only, "include")) == (["in"], [])

    async def test_of_all_encounters_it_is_not_offered(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/Encounter/$everything")).status_code == 404
        assert (await client.get("/Encounter/none/$everything")).status_code == 404

    async def test_a_confined_token(self, client: httpx.AsyncClient, confine: Callable[..., Any]) -> None:
        path = "/Encounter/stay/$everything"
        assert sorted(found(await client.get(path, headers=confine("ada")))) == ["in", "stay"]
        assert (await client.get(path, headers=confine("ben"))).status_code == 404


class TestLastN:
    @pytest.fixture(autouse=True)
    async def measured(self, client: httpx.AsyncClient) -> None:
        for name in ("ada", "ben"):
            await client.put(f"/Patient/{name}", json={"resourceType": "Patient", "id": name})
        for name, body in {
            "a1": observation("ada", "a", "2001"),
            "a2": observation("ada", "a", "2002"),
            "a3": observation("ada", "a", "2003-05-01"),
            "b1": observation("ada", "b", "2001"),
            "b2": observation("ada", "b", "2001"),
            "c0": observation("ada", "c"),
            "bens": observation("ben", "a", "2009"),
        }.items():
            await client.put(f"/Observation/{name}", json={**body, "id": name})

    @pytest.mark.parametrize(
        ("query", "ids"),
        [
            ("patient=ada&category=vital-signs", ["a3", "b2", "b1", "c0"]),
            ("subject=Patient/ada&code=a", ["a3"]),
            ("patient=ada&code=a&max=2", ["a3", "a2"]),
            ("patient=ada&code=a,b&max=9", ["a3", "a2", "a1", "b2", "b1"]),
            ("patient=ada&code=a&date=lt2003", ["a2"]),
            ("patient=ada&code=zz", []),
        ],
    )
    async def test_the_latest_of_each_code(
        self, client: httpx.AsyncClient, query: str, ids: list[str]
    ) -> None:
        assert found(await client.get(f"/Observation/$lastn?{query}")) == ids

    async def test_by_parameters(self, client: httpx.AsyncClient) -> None:
        body = {"resourceType": "Parameters", "parameter": [{"name": "patient", "valueString": "ada"}]}
        body["parameter"] += [{"name": "code", "valueString": "a"}, {"name": "max", "valueInteger": 2}]
        assert found(await client.post("/Observation/$lastn", json=body)) == ["a3", "a2"]

    @pytest.mark.parametrize(
        "query",
        [
            "",
            "patient=ada",
            "code=a",
            "patient=ada&code=a&max=0",
            "patient=ada&code=a&max=-1",
            "patient=ada&code=a&max=1&max=2",
            "patient=ada&code=a&_sort=date",
            "patient=ada&code=a&_include=Observation:subject",
            "patient=ada&code=a&date=soon",
        ],
    )
    async def test_refusals(self, client: httpx.AsyncClient, query: str) -> None:
        assert (await client.get(f"/Observation/$lastn?{query}")).status_code == 400

    async def test_a_confined_token_gets_its_own(
        self, client: httpx.AsyncClient, confine: Callable[..., Any]
    ) -> None:
        answer = await client.get("/Observation/$lastn?patient=ben&code=a", headers=confine("ada"))
        assert found(answer) == []
