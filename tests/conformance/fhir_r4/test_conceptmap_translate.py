"""ConceptMap/$translate at the door (FHIR R4 conceptmap-operation-translate.html)."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from .terms import GEMS, STONES, gem_map, parameters, told

Json = Any
MAP = "http://example.org/ConceptMap/stones-to-gems"


@pytest.fixture
async def stored(create: Callable[..., Any]) -> str:
    """The map lies in the record."""
    return str(await create(gem_map()))


async def translate(client: httpx.AsyncClient, path: str = "/ConceptMap/$translate", **named: Json) -> Json:
    answer = await client.post(path, json=parameters(**named))
    assert answer.status_code == 200, answer.text
    return told(answer.json())


async def test_by_url_parameters(client: httpx.AsyncClient, stored: str) -> None:
    asked = f"code=granite&system={STONES}"
    for path in (
        f"/ConceptMap/$translate?url={MAP}&{asked}",
        f"/ConceptMap/$translate?url={MAP}|1&{asked}",
        f"/ConceptMap/$translate?{asked}&targetsystem={GEMS}",
        f"/ConceptMap/$translate?{asked}&source=http://example.org/ValueSet/stones",
        f"/ConceptMap/{stored}/$translate?{asked}",
    ):
        found = told((await client.get(path)).json())
        assert found == {
            "result": True,
            "match": {
                "equivalence": "narrower",
                "concept": {"system": GEMS, "code": "agate", "display": "Agate"},
                "source": f"{MAP}|1",
            },
        }, path


async def test_maps_of_other_scopes_do_not_count(client: httpx.AsyncClient, stored: str) -> None:
    for scope in ("source=http://example.org/none", "target=http://example.org/none", "targetsystem=urn:x"):
        url = f"/ConceptMap/$translate?code=granite&system={STONES}&{scope}"
        assert told((await client.get(url)).json()) == {"result": False, "message": "No mapping was found."}


async def test_codeable_concept(client: httpx.AsyncClient, stored: str) -> None:
    codings = [{"system": STONES, "code": "granite"}, {"system": STONES, "code": "basalt"}]
    found = await translate(client, url_Uri=MAP, codeableConcept_CodeableConcept={"coding": codings})
    assert [each["concept"]["code"] for each in found["match"]] == ["agate", "onyx"]


async def test_unmatched_is_no_translation(client: httpx.AsyncClient, stored: str) -> None:
    found = await translate(client, url_Uri=MAP, coding_Coding={"system": STONES, "code": "slate"})
    assert found["result"] is False
    assert found["match"] == {"equivalence": "unmatched", "source": f"{MAP}|1"}


async def test_what_a_mapping_depends_on(client: httpx.AsyncClient, stored: str) -> None:
    coding = {"system": STONES, "code": "basalt"}
    assert (await translate(client, url_Uri=MAP, coding_Coding=coding))["match"]["concept"]["code"] == "onyx"
    body = parameters(url_Uri=MAP, coding_Coding=coding)
    colour = {"coding": [{"code": "black"}]}
    parts = [
        {"name": "element", "valueUri": "http://example.org/colour"},
        {"name": "concept", "valueCodeableConcept": colour},
    ]
    body["parameter"].append({"name": "dependency", "part": parts})
    found = told((await client.post("/ConceptMap/$translate", json=body)).json())
    assert found["match"][1]["product"] == {
        "element": "http://example.org/lustre",
        "concept": {"system": GEMS, "code": "dull"},
    }


@pytest.mark.parametrize(
    "part",
    [
        1,
        [],
        [1],
        [{"name": []}],
        [{"name": "element", "valueUri": "urn:x"}, {"name": "concept", "valueCoding": {}}],
    ],
)
async def test_dependencies_of_any_form(client: httpx.AsyncClient, stored: str, part: Json) -> None:
    body = parameters(url_Uri=MAP, coding_Coding={"system": STONES, "code": "basalt"})
    body["parameter"].append({"name": "dependency", "part": part})
    assert (await client.post("/ConceptMap/$translate", json=body)).status_code in (200, 400)


async def test_reverse(client: httpx.AsyncClient, stored: str) -> None:
    agate = {"system": GEMS, "code": "agate"}
    found = await translate(client, url_Uri=MAP, coding_Coding=agate, reverse_Boolean=True)
    assert found["match"]["concept"] == {"system": STONES, "code": "granite"}
    assert found["match"]["equivalence"] == "wider"


async def test_as_r5_asks(client: httpx.AsyncClient, stored: str) -> None:
    found = await translate(client, sourceCode_Code="granite", sourceSystem_Uri=STONES)
    assert found["match"]["relationship"] == "source-is-broader-than-target"
    assert found["match"]["originMap"] == f"{MAP}|1"
    found = await translate(client, targetCode_Code="agate", targetSystem_Uri=GEMS)
    assert found["match"]["source"] == {"system": STONES, "code": "granite"}
    assert found["match"]["concept"]["code"] == "agate"


UNMAPPED: dict[str, Json] = {
    "provided": {"system": GEMS, "code": "marble"},
    "fixed": {"system": GEMS, "code": "stone", "display": "Some stone"},
}


@pytest.mark.parametrize("mode", UNMAPPED)
async def test_unmapped(client: httpx.AsyncClient, mode: str) -> None:
    fixed = {"code": "stone", "display": "Some stone"} if mode == "fixed" else {}
    concept_map = gem_map()
    concept_map["group"][0]["unmapped"] = {"mode": mode, **fixed}
    found = await translate(
        client, conceptMap=concept_map, coding_Coding={"system": STONES, "code": "marble"}
    )
    assert (found["result"], found["match"]["concept"]) == (True, UNMAPPED[mode])


async def test_other_map(client: httpx.AsyncClient, stored: str) -> None:
    first = gem_map(url="http://example.org/ConceptMap/first")
    first["group"][0]["element"] = []
    first["group"][0]["unmapped"] = {"mode": "other-map", "url": MAP}
    coding = {"system": STONES, "code": "granite"}
    found = await translate(client, conceptMap=first, coding_Coding=coding)
    assert (found["match"]["concept"]["code"], found["match"]["source"]) == ("agate", f"{MAP}|1")
    first["group"][0]["unmapped"]["url"] = first["url"]
    body = parameters(tx0resource=first, url_Uri=first["url"], coding_Coding=coding)
    answer = await client.post("/ConceptMap/$translate", json=body)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (422, "invalid")


async def test_maps_that_many_groups_lead_to_say_what_they_say_once(
    client: httpx.AsyncClient, stored: str
) -> None:
    def leading(at: int, to: str) -> Json:
        unmapped = {"mode": "other-map", "url": to}
        group = {"source": STONES, "target": "http://example.org/gems", "unmapped": unmapped}
        return {"resourceType": "ConceptMap", "url": f"{MAP}-{at}", "group": [group] * 30}

    maps = [leading(at, f"{MAP}-{at + 1}" if at < 8 else MAP) for at in range(9)]
    coding = {"system": STONES, "code": "granite"}
    brought = [{"name": "tx-resource", "resource": each} for each in maps]
    asked = parameters(url_Uri=f"{MAP}-0", coding_Coding=coding)
    asked["parameter"] += brought
    answer = await client.post("/ConceptMap/$translate", json=asked)
    found = [each for each in answer.json()["parameter"] if each["name"] == "match"]
    alone = await client.post("/ConceptMap/$translate", json=parameters(url_Uri=MAP, coding_Coding=coding))
    assert found == [each for each in alone.json()["parameter"] if each["name"] == "match"]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (f"url={MAP}-none&code=granite&system={STONES}", 404),
        (f"url={MAP}|2&code=granite&system={STONES}", 404),
        (f"url={MAP}&code=granite", 400),
        (f"url={MAP}", 400),
        (f"url={MAP}&sourceCode=granite&sourceSystem={STONES}&targetCode=agate&targetSystem={GEMS}", 400),
    ],
)
async def test_refused(client: httpx.AsyncClient, stored: str, asked: str, status: int) -> None:
    assert (await client.get(f"/ConceptMap/$translate?{asked}")).status_code == status
