"""Parts of resources, and the links of a page (FHIR R4 search.html#summary, #elements, http.html#paging)."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from fhir.model.json_codec import decode_json
from fhir.model.validation import validate
from fhir.search.result_parameters import MAX_COUNT
from fhir.search.subset import Subset, Summary, subset_text

OBSERVATION = (
    b'{"resourceType":"Observation","id":"o","meta":{"versionId":"1","tag":[{"code":"mine"}]},'
    b'"text":{"status":"generated","div":"<div xmlns=\\"http://www.w3.org/1999/xhtml\\">x</div>"},'
    b'"status":"final","_status":{"id":"s"},"code":{"text":"c"},"subject":{"reference":"Patient/p"},'
    b'"valueQuantity":{"value":1.00,"unit":"mm"},"note":[{"text":"n"}],"method":{"text":"m"},'
    b'"component":[{"code":{"text":"a"},"valueString":"v","interpretation":[{"text":"i"}]}]}'
)


def part(**asked: Any) -> dict[str, Any]:
    text = subset_text(OBSERVATION, "Observation", Subset(**asked))
    assert validate(decode_json(text)) == []
    found: dict[str, Any] = json.loads(text)
    assert [tag["code"] for tag in found["meta"]["tag"]] == ["mine", "SUBSETTED"]
    return found


def test_summary_true_keeps_summary_elements() -> None:
    found = part(summary=Summary.TRUE)
    assert set(found) == {
        "resourceType", "id", "meta", "status", "_status", "code", "subject", "valueQuantity", "component"
    }  # fmt: skip
    assert set(found["component"][0]) == {"code", "valueString"}
    assert b'"value":1.00' in subset_text(OBSERVATION, "Observation", Subset(Summary.TRUE))


def test_summary_text_keeps_the_narrative_and_what_is_mandatory() -> None:
    assert set(part(summary=Summary.TEXT)) == {
        "resourceType", "id", "meta", "text", "status", "_status", "code"
    }  # fmt: skip


def test_summary_data_leaves_out_the_narrative() -> None:
    assert set(json.loads(OBSERVATION)) - set(part(summary=Summary.DATA)) == {"text"}


@pytest.mark.parametrize(
    ("elements", "kept"),
    [
        ("note", {"note"}),
        ("value", {"valueQuantity"}),
        ("valueQuantity", {"valueQuantity"}),
        ("nothing", set()),
        ("id,text", {"text"}),
    ],
)
def test_elements_keep_what_is_asked_mandatory_and_modifying(elements: str, kept: set[str]) -> None:
    found = part(elements=frozenset(elements.split(",")))
    assert set(found) == {"resourceType", "id", "meta", "status", "_status", "code", *kept}


async def test_parts_are_answered(client: httpx.AsyncClient, create: Callable[..., Any]) -> None:
    contact = {"name": {"family": "x"}, "gender": "male"}
    patient = {"resourceType": "Patient", "gender": "male", "name": [{"family": "f"}], "contact": [contact]}
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "c"},
        "note": [{"text": "n"}],
        "subject": {"reference": f"Patient/{await create(patient)}"},
    }
    await create(observation)
    cases = {
        "_summary=true": ({"status", "code", "subject"}, {"gender", "name"}),
        "_summary=text": ({"status", "code"}, set()),
        "_summary=data": ({"status", "code", "subject", "note"}, {"gender", "name", "contact"}),
        "_summary=false": ({"status", "code", "subject", "note"}, {"gender", "name", "contact"}),
        "_elements=note,contact.gender": ({"status", "code", "note"}, {"contact"}),
        "_summary=true&_elements=note": ({"status", "code", "note"}, set()),
    }
    for asked, expected in cases.items():
        bundle = (await client.get(f"/Observation?{asked}&_include=Observation:subject")).json()
        shown = [set(e["resource"]) - {"resourceType", "id", "meta"} for e in bundle["entry"]]
        assert tuple(shown) == expected, asked
        assert asked in bundle["link"][0]["url"]


async def test_links_and_counts(client: httpx.AsyncClient, create: Callable[..., Any]) -> None:
    for _ in range(3):
        await create({"resourceType": "Patient", "gender": "male"})
    first = (await client.get("/Patient?gender=male&_count=2")).json()
    assert [link["relation"] for link in first["link"]] == ["self", "first", "next"]
    second = (await client.get(first["link"][2]["url"])).json()
    assert [link["relation"] for link in second["link"]] == ["self", "first"]
    assert second["link"][1] == first["link"][1]
    assert urlsplit(first["link"][1]["url"]).query == "gender=male&_count=2"
    for count, effective in (("1000000", MAX_COUNT), ("0003", 3)):
        bundle = (await client.get(f"/Patient?_count={count}")).json()
        assert [link["url"] for link in bundle["link"]] == [
            f"http://fhir.test/fhir/Patient?_count={effective}"
        ]
    for asked in (
        "_count=-1",
        "_count=",
        "_count=1e3",
        "_count=%2B1",
        "_elements=a-b",
        "_containedType=x",
        "_sort=_score",
    ):
        assert (await client.get(f"/Patient?{asked}")).status_code == 400, asked
