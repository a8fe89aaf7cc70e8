"""CodeSystem/$lookup at the door (FHIR R4 codesystem-operation-lookup.html)."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.asked_in_turn import asked_in_turn

from .terms import STONES, parameters, stones, told

Json = Any
Create = Callable[..., Any]


@pytest.fixture
async def stored(create: Create) -> str:
    """The code system lies in the record."""
    return str(await create(stones()))


async def test_by_url_parameters(client: httpx.AsyncClient, stored: str) -> None:
    answer = await client.get(f"/CodeSystem/$lookup?system={STONES}&code=granite")
    assert answer.status_code == 200, answer.text
    found = told(answer.json())
    assert (found["name"], found["version"], found["display"]) == ("Stones", "2", "Granite")
    assert found["definition"].startswith("Coarse")
    assert found["abstract"] is False
    properties = [(each["code"], each["value"], each.get("description")) for each in found["property"]]
    assert properties == [
        ("hardness", 6, None),
        ("inactive", False, None),
        ("parent", "igneous", "Igneous rock"),
        ("child", "pegmatite", "Pegmatite"),
    ]


async def test_by_coding(client: httpx.AsyncClient, stored: str) -> None:
    body = parameters(coding_Coding={"system": STONES, "code": "slate"}, property_Code="status")
    found = told((await client.post("/CodeSystem/$lookup", json=body)).json())
    assert found["display"] == "Slate"
    assert found["property"] == {"code": "status", "value": "retired"}
    assert "designation" not in found


@asked_in_turn(
    ("asked", "header", "display"),
    [
        ("&displayLanguage=de", None, "Granit"),
        ("", "de", "Granit"),
        ("", "fr, de;q=0.5", "Granite rose"),
        ("&displayLanguage=de", "fr", "Granit"),
        ("", "es", "Granite"),
        ("", None, "Granite"),
    ],
)
async def test_display_language(
    client: httpx.AsyncClient, stored: str, asked: str, header: str | None, display: str
) -> None:
    headers = {} if header is None else {"accept-language": header}
    url = f"/CodeSystem/$lookup?system={STONES}&code=granite{asked}"
    assert told((await client.get(url, headers=headers)).json())["display"] == display


async def test_designations_of_a_language(client: httpx.AsyncClient, stored: str) -> None:
    url = f"/CodeSystem/$lookup?system={STONES}&code=granite&property=lang.de"
    found = told((await client.get(url)).json())
    assert found["designation"] == {"language": "de", "value": "Granit"}
    assert "property" not in found


async def test_versions_side_by_side(client: httpx.AsyncClient, stored: str, create: Create) -> None:
    await create(stones("10", concept=[{"code": "granite", "display": "Granite X"}]))
    url = f"/CodeSystem/$lookup?system={STONES}&code=granite"
    assert told((await client.get(url)).json())["display"] == "Granite X"
    assert told((await client.get(f"{url}&version=2")).json())["display"] == "Granite"
    unknown = await client.get(f"{url}&version=3")
    assert unknown.status_code == 404
    assert "2 or 10" in unknown.json()["issue"][0]["details"]["text"]


async def test_definition_that_the_request_brings(client: httpx.AsyncClient) -> None:
    body = parameters(tx0resource=stones(), system_Uri=STONES, code_Code="basalt")
    found = told((await client.post("/CodeSystem/$lookup", json=body)).json())
    assert found["display"] == "Basalt"
    assert (await client.get(f"/CodeSystem/$lookup?system={STONES}&code=basalt")).status_code == 404


async def test_supplement(client: httpx.AsyncClient, stored: str, create: Create) -> None:
    names = [{"code": "basalt", "designation": [{"language": "it", "value": "Basalto"}]}]
    url = "http://example.org/CodeSystem/stones-it"
    more = {"resourceType": "CodeSystem", "url": url, "status": "active", "content": "supplement"}
    await create({**more, "version": "1", "supplements": STONES, "concept": names})
    body = parameters(system_Uri=STONES, code_Code="basalt", displayLanguage_Code="it")
    assert told((await client.post("/CodeSystem/$lookup", json=body)).json())["display"] == "Basalt"
    body["parameter"].append({"name": "useSupplement", "valueCanonical": url})
    found = told((await client.post("/CodeSystem/$lookup", json=body)).json())
    assert (found["display"], found["used-supplement"]) == ("Basalto", f"{url}|1")
    body["parameter"][-1]["valueCanonical"] += "-none"
    assert (await client.post("/CodeSystem/$lookup", json=body)).status_code == 404
    assert (await client.get(f"/CodeSystem/$lookup?system={url}&code=basalt")).status_code == 404


async def test_what_is_written_counts_at_once(client: httpx.AsyncClient, stored: str) -> None:
    url = f"/CodeSystem/$lookup?system={STONES}&code=granite"
    assert told((await client.get(url)).json())["display"] == "Granite"
    changed = {**stones(concept=[{"code": "granite", "display": "Grey granite"}]), "id": stored}
    assert (await client.put(f"/CodeSystem/{stored}", json=changed)).status_code == 200
    assert told((await client.get(url)).json())["display"] == "Grey granite"
    await client.delete(f"/CodeSystem/{stored}")
    assert (await client.get(url)).status_code == 404


@asked_in_turn(
    ("asked", "status", "code"),
    [
        (f"system={STONES}&code=marble", 404, "not-found"),
        ("system=http://example.org/none&code=marble", 404, "not-found"),
        ("code=granite", 400, "invalid"),
        (f"system={STONES}", 400, "invalid"),
        (f"system={STONES}&code=granite&code=slate", 400, "invalid"),
        (f"system={STONES}&code=granite&coding=granite", 400, "invalid"),
        (f"system={STONES}&code=granite&displayLanguage=!", 400, "processing"),
    ],
)
async def test_refused(client: httpx.AsyncClient, stored: str, asked: str, status: int, code: str) -> None:
    answer = await client.get(f"/CodeSystem/$lookup?{asked}")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (status, code)


async def test_what_is_not_known_is_coded(client: httpx.AsyncClient, stored: str) -> None:
    issue = (await client.get(f"/CodeSystem/$lookup?system={STONES}&code=marble")).json()["issue"][0]
    assert issue["details"]["coding"][0]["code"] == "not-found"
    assert issue["expression"] == ["code"]


async def test_only_on_the_type(client: httpx.AsyncClient, stored: str) -> None:
    for path in (f"/CodeSystem/{stored}/$lookup", "/$lookup", "/ValueSet/$lookup"):
        assert (await client.get(f"{path}?system={STONES}&code=slate")).status_code == 404
