"""FHIR R4 search.html#content: `_text` and `_content`, the same on both databases."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fhir.search.full_text import MAX_WORDS, text_row
from tests.asked_in_turn import asked_in_turn

DIV = (
    '<div xmlns="http://www.w3.org/1999/xhtml"><p>Grüße: <b>metastases</b> of the liver&nbsp;seen.</p></div>'
)


@pytest.fixture
async def reports(create: Callable[..., Any]) -> dict[str, str]:
    told = {"status": "generated", "div": DIV}
    code = {"text": "CT", "coding": [{"system": "urn:s", "code": "24627-2", "display": "CT Chest"}]}
    report = {"resourceType": "DiagnosticReport", "status": "final", "code": code}
    return {
        "told": await create({**report, "text": told}),
        "said": await create({**report, "conclusion": "No bone metastases. Liver: 1.5 cm lesion, Straße."}),
        "bare": await create({**report, "conclusion": "Normal."}),
    }


@asked_in_turn(
    ("query", "found"),
    [
        ("_text=metastases", ["told"]),
        ("_text=LIVER seen", ["told"]),
        ("_text=grusse", ["told"]),
        ("_text=bone", []),
        ("_text=strong", []),
        ("_content=metastases", ["told", "said"]),
        ("_content=liver bone", ["said"]),
        ("_content=liver -bone", ["told"]),
        ("_content=-bone liver", ["told"]),
        ('_content="bone metastases"', ["said"]),
        ('_content="metastases bone"', []),
        ("_content=normal OR bone", ["said", "bare"]),
        ("_content=normal OR liver seen", ["told", "bare"]),
        ("_content=normal,bone", []),
        ("_content=strasse", ["said"]),
        ("_content=24627-2", ["told", "said", "bare"]),
        ("_content=CT Chest&_text=liver", ["told"]),
        ("_content=liver&status=final", ["told", "said"]),
        ("_content=urn", []),
        ("_content=NOT", []),
        ("_content=liver AND seen", []),
    ],
)
async def test_words(reports: dict[str, str], ids: Callable[..., Any], query: str, found: list[str]) -> None:
    names = {resource_id: name for name, resource_id in reports.items()}
    assert [names[each] for each in await ids(f"/DiagnosticReport?{query}")] == found


@pytest.mark.parametrize("asked", ["-liver", "liver OR -bone", '"', "!&|", " ".join(["a"] * (MAX_WORDS + 1))])
@pytest.mark.parametrize("code", ["_text", "_content"])
async def test_without_a_word_that_must_occur(client: httpx.AsyncClient, code: str, asked: str) -> None:
    answer = await client.get("/DiagnosticReport", params={code: asked})
    assert answer.status_code == 400


@asked_in_turn("asked", ["x') OR 1=1 --", "content : x", "x*", "NEAR(a b)", "a:*b", "'", "a\\", "^a", "{a}"])
async def test_the_databases_own_words_mean_nothing(
    client: httpx.AsyncClient, reports: dict[str, str], asked: str
) -> None:
    assert reports
    answer = await client.get("/DiagnosticReport", params={"_content": asked})
    assert answer.status_code in (200, 400)
    assert answer.json().get("total", 0) == 0


async def test_a_modifier_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/DiagnosticReport?_text:exact=x")).status_code == 400


async def test_words_follow_the_resource(client: httpx.AsyncClient, ids: Callable[..., Any]) -> None:
    body = {"resourceType": "Basic", "id": "b", "code": {"text": "before"}}
    await client.put("/Basic/b", json=body)
    await client.put("/Basic/b", json={**body, "code": {"text": "after"}})
    assert (await ids("/Basic?_content=before"), await ids("/Basic?_content=after")) == ([], ["b"])
    await client.delete("/Basic/b")
    assert await ids("/Basic?_content=after") == []


async def test_chained(
    client: httpx.AsyncClient, create: Callable[..., Any], ids: Callable[..., Any]
) -> None:
    patient = await create({"resourceType": "Patient", "name": [{"family": "Rare"}]})
    subject = {"reference": f"Patient/{patient}"}
    code = {"text": "x"}
    one = await create({"resourceType": "Observation", "status": "final", "code": code, "subject": subject})
    assert await ids("/Observation?subject:Patient._content=rare") == [one]
    assert await ids("/Observation?subject:Patient._content=common") == []


async def test_a_confined_token_finds_its_own(
    create: Callable[..., Any], ids: Callable[..., Any], confine: Callable[..., Any]
) -> None:
    ada, ben = [await create({"resourceType": "Patient", "name": [{"text": "shared"}]}) for _ in "ab"]
    assert await ids("/Patient?_content=shared") == [ada, ben]
    assert await ids("/Patient?_content=shared", **confine(ada)) == [ada]


def test_what_is_no_words_of_the_resource() -> None:
    resource = {"resourceType": "Patient", "id": "secret", "text": {"div": "<div><p id='x'>Said</p></div>"}}
    resource["photo"] = [{"data": "QUJD", "url": "http://elsewhere", "title": "Face"}]
    assert text_row(resource) == {"narrative": "said", "content": "said face"}
    assert text_row({"resourceType": "Patient", "active": True}) is None
