"""FHIR R4 http.html#history and #cread, on a real door over both databases."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.asked_in_turn import asked_in_turn


def patient(resource_id: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": resource_id, **more}


def versions(answer: httpx.Response) -> list[str]:
    """The entries, newest first, as "METHOD Type/id@version"."""
    assert answer.status_code == 200, answer.text
    found = []
    for entry in answer.json().get("entry", []):
        place = "/".join(entry["fullUrl"].split("/")[-2:])
        version = entry["response"]["etag"].removeprefix('W/"').removesuffix('"')
        found.append(f"{entry['request']['method']} {place}@{version}")
    return found


@pytest.fixture
async def lives(client: httpx.AsyncClient) -> None:
    """Patient a: made, changed, deleted; Patient b: made; Group g: made."""
    await client.put("/Patient/a", json=patient("a", gender="female"))
    await client.put("/Patient/b", json=patient("b"))
    await client.put("/Patient/a", json=patient("a", gender="male"))
    group = {"resourceType": "Group", "id": "g", "type": "person", "actual": True}
    await client.put("/Group/g", json=group)
    await client.delete("/Patient/a")


@pytest.mark.usefixtures("lives")
class TestHistory:
    async def test_of_a_resource(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/Patient/a/_history")
        assert versions(answer) == ["DELETE Patient/a@3", "PUT Patient/a@2", "POST Patient/a@1"]
        bundle = answer.json()
        assert (bundle["type"], bundle["total"]) == ("history", 3)
        gone, changed, made = bundle["entry"]
        assert "resource" not in gone
        assert gone["request"] == {"method": "DELETE", "url": "Patient/a"}
        assert gone["response"]["status"] == "204 No Content"
        assert (changed["resource"]["gender"], changed["response"]["status"]) == ("male", "200 OK")
        assert made["request"] == {"method": "POST", "url": "Patient"}
        assert (made["resource"]["gender"], made["response"]["status"]) == ("female", "201 Created")
        assert made["response"]["lastModified"] == made["resource"]["meta"]["lastUpdated"]

    async def test_of_a_type_and_of_everything(self, client: httpx.AsyncClient) -> None:
        of_type = ["DELETE Patient/a@3", "PUT Patient/a@2", "POST Patient/b@1", "POST Patient/a@1"]
        assert versions(await client.get("/Patient/_history")) == of_type
        everything = [of_type[0], "POST Group/g@1", *of_type[1:]]
        assert versions(await client.get("/_history")) == everything

    @pytest.mark.parametrize("path", ["/Patient/a/_history", "/Patient/_history", "/_history"])
    async def test_pages(self, client: httpx.AsyncClient, path: str) -> None:
        whole = versions(await client.get(path))
        found: list[str] = []
        next_url: str | None = f"{path}?_count=1"
        while next_url is not None:
            answer = await client.get(next_url)
            assert len(versions(answer)) == 1
            found += versions(answer)
            links = {link["relation"]: link["url"] for link in answer.json()["link"]}
            next_url = f"{path}?{urlsplit(links['next']).query}" if "next" in links else None
        assert found == whole

    async def test_since_and_at(self, client: httpx.AsyncClient) -> None:
        gone, changed, made = (await client.get("/Patient/a/_history")).json()["entry"]
        since = changed["response"]["lastModified"]
        assert versions(await client.get("/Patient/a/_history", params={"_since": since})) == [
            "DELETE Patient/a@3",
            "PUT Patient/a@2",
        ]
        at = {"_at": made["response"]["lastModified"]}
        assert versions(await client.get("/Patient/a/_history", params=at)) == ["POST Patient/a@1"]
        assert versions(await client.get("/_history?_at=1999")) == []
        year = gone["response"]["lastModified"][:4]
        assert len(versions(await client.get(f"/Patient/a/_history?_at={year}"))) == 3

    @asked_in_turn(
        "query", ["_count=-1", "_count=x", "_since=never", "_at=", "_page=forged", "_since=2020-13"]
    )
    async def test_bad_parameters_are_400(self, client: httpx.AsyncClient, query: str) -> None:
        assert (await client.get(f"/Patient/_history?{query}")).status_code == 400

    async def test_unknown_parameters(self, client: httpx.AsyncClient) -> None:
        lenient = await client.get("/Patient/_history?nope=1&_count=2")
        assert lenient.json()["link"][0]["url"].endswith("/Patient/_history?_count=2")
        strict = await client.get("/Patient/_history?nope=1", headers={"prefer": "handling=strict"})
        assert strict.status_code == 400

    async def test_of_what_was_never_there(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/Patient/never/_history")).status_code == 404
        assert (await client.get("/Nothing/_history")).status_code == 404

    async def test_next_page_is_the_callers_own(
        self, client: httpx.AsyncClient, confine: Callable[..., Any]
    ) -> None:
        links = (await client.get("/_history?_count=1")).json()["link"]
        path = f"/_history?{urlsplit(links[1]['url']).query}"
        assert (await client.get(path)).status_code == 200
        assert (await client.get(path, headers=confine("b"))).status_code == 400


class TestPartsOnRead:
    """http.html#parameters: `_summary` and `_elements` of a read"""

    @pytest.mark.parametrize("path", ["/Patient/a", "/Patient/a/_history/1"])
    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("_elements=gender", {"gender"}),
            ("_summary=true", {"gender"}),
            ("_summary=text", set()),
            ("_summary=data", {"gender", "maritalStatus"}),
            ("_summary=false", {"gender", "maritalStatus"}),
        ],
    )
    async def test_parts(self, client: httpx.AsyncClient, path: str, query: str, names: set[str]) -> None:
        await client.put("/Patient/a", json=patient("a", gender="male", maritalStatus={"text": "m"}))
        answer = await client.get(f"{path}?{query}")
        found = answer.json()
        assert found.keys() - {"resourceType", "id", "meta"} == names
        tags = [tag["code"] for tag in found["meta"].get("tag", [])]
        assert tags == ([] if query == "_summary=false" else ["SUBSETTED"])

    async def test_nonsense_is_400(self, client: httpx.AsyncClient) -> None:
        await client.put("/Patient/a", json=patient("a"))
        for query in ("_summary=some", "_elements=a b"):
            assert (await client.get(f"/Patient/a?{query}")).status_code == 400


class TestConditionalRead:
    """http.html#cread"""

    async def test_if_modified_since(self, client: httpx.AsyncClient) -> None:
        await client.put("/Patient/a", json=patient("a"))
        stamp = (await client.get("/Patient/a")).headers["last-modified"]
        same = await client.get("/Patient/a", headers={"if-modified-since": stamp})
        assert (same.status_code, same.content) == (304, b"")
        past = {"if-modified-since": "Sat, 01 Jan 2000 00:00:00 GMT"}
        assert (await client.get("/Patient/a", headers=past)).status_code == 200
        assert (await client.get("/Patient/a", headers={"if-modified-since": "soon"})).status_code == 200
        both = {"if-modified-since": stamp, "if-none-match": 'W/"9"'}
        assert (await client.get("/Patient/a", headers=both)).status_code == 200
