"""ValueSet operations at the door: by URL, by instance, given whole (R4 valueset-operation-expand)."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fhir.interactions.door import Policy
from fhir.operations import OPERATIONS
from fhir.routes import Offer
from tests.asked_in_turn import asked_in_turn
from tests.conftest import sqlite_first

from .terms import STONES, parameters, stones

pytestmark = sqlite_first  # the definitions' own tests use both databases

Json = Any
URL = "http://example.org/ValueSet/igneous"


def igneous(**elements: Json) -> Json:
    is_a = {"property": "concept", "op": "is-a", "value": "igneous"}
    return {
        "resourceType": "ValueSet",
        "url": URL,
        "version": "1",
        "status": "active",
        "compose": {"include": [{"system": STONES, "filter": [is_a]}]},
        **elements,
    }


@pytest.fixture
async def stored(create: Callable[..., Any]) -> str:
    """Code system and value set lie in the record."""
    await create(stones())
    return str(await create(igneous()))


def codes(answer: httpx.Response) -> set[str]:
    assert answer.status_code == 200, answer.text
    waiting, found = list(answer.json()["expansion"]["contains"]), set()
    while waiting:
        entry = waiting.pop()
        found.add(entry["code"])
        waiting += entry.get("contains", ())
    return found


ALL = {"igneous", "granite", "basalt", "pegmatite"}


async def test_by_url_and_by_instance(client: httpx.AsyncClient, stored: str) -> None:
    for path in (
        f"/ValueSet/$expand?url={URL}",
        f"/ValueSet/$expand?url={URL}&valueSetVersion=1",
        f"/ValueSet/{stored}/$expand",
        f"/ValueSet/{stored}/$expand?url={URL}",
    ):
        assert codes(await client.get(path)) == ALL, path
    assert codes(await client.get(f"/ValueSet/{stored}/$expand?filter=gran")) == {"granite"}


async def test_an_instance_means_itself_whatever_else_has_its_url(
    client: httpx.AsyncClient, stored: str, create: Callable[..., Any]
) -> None:
    other = await create(igneous(compose={"include": [{"system": STONES, "concept": [{"code": "basalt"}]}]}))
    assert codes(await client.get(f"/ValueSet/{other}/$expand")) == {"basalt"}
    assert codes(await client.get(f"/ValueSet/{stored}/$expand")) == ALL
    system = {**stones(), "concept": [{"code": "amber"}]}
    path = f"/CodeSystem/{await create(system)}/$validate-code"
    for code, is_there in (("amber", True), ("granite", False)):
        answer = (await client.get(path, params={"code": code})).json()
        assert [each["valueBoolean"] for each in answer["parameter"] if each["name"] == "result"] == [
            is_there
        ]


async def test_given_whole_and_brought_along(client: httpx.AsyncClient, stored: str) -> None:
    only = igneous(url="http://example.org/x", compose={"include": [{"valueSet": [URL]}]})
    assert codes(await client.post("/ValueSet/$expand", json=parameters(valueSet=only))) == ALL
    other = igneous(version="0", compose={"include": [{"system": STONES, "concept": [{"code": "slate"}]}]})
    body = parameters(tx0resource=other, url_Uri=URL)
    assert codes(await client.post("/ValueSet/$expand", json=body)) == {"slate"}


async def test_a_value_set_without_url_is_expanded_by_instance(
    client: httpx.AsyncClient, stored: str, create: Callable[..., Any]
) -> None:
    nameless = igneous()
    del nameless["url"], nameless["version"]
    one = await create(nameless)
    assert codes(await client.get(f"/ValueSet/{one}/$expand")) == ALL


async def test_refused(client: httpx.AsyncClient, stored: str) -> None:
    for path, status in (
        ("/ValueSet/$expand", 400),
        (f"/ValueSet/$expand?url={URL}-none", 404),
        ("/ValueSet/none/$expand", 404),
        (f"/ValueSet/{stored}/$expand?url={URL}-none", 400),
        (f"/ValueSet/$expand?url={URL}&count=-1", 400),
    ):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome"), path


@asked_in_turn(
    "body",
    [
        b"[]",
        b"{}",
        b'{"resourceType":"Parameters","parameter":{}}',
        b'{"resourceType":"Parameters","parameter":[{"valueUri":"x"}]}',
        b'{"resourceType":"Parameters","parameter":[{"name":"tx-resource","valueString":"x"}]}',
        b'{"resourceType":"Parameters","parameter":[{"name":"tx-resource","resource":{"resourceType":"Patient"}}]}',
        b'{"resourceType":"Parameters","parameter":[{"name":"valueSet","resource":{"resourceType":"ValueSet","compose":{"include":{}}}}]}',
        b'{"resourceType":"Parameters","parameter":[{"name":"coding","valueCoding":{"system":7}}]}',
    ],
)
async def test_malformed_bodies(client: httpx.AsyncClient, body: bytes) -> None:
    for path in ("/ValueSet/$expand", "/CodeSystem/$lookup", "/ConceptMap/$translate"):
        answer = await client.post(path, content=body, headers={"content-type": "application/fhir+json"})
        assert (answer.status_code, answer.json()["resourceType"]) == (400, "OperationOutcome")


@pytest.mark.parametrize(
    "validation",
    [
        {"resource": {"resourceType": "Patient"}},
        {"resource": {"resourceType": "Parameters", "parameter": {}}},
        {"valueString": "x"},
        {"part": [{"name": "coding", "valueCoding": {"system": 7}}]},
        {"resource": parameters(valueSet={"resourceType": "ValueSet", "compose": []})},
    ],
)
async def test_malformed_validations(client: httpx.AsyncClient, validation: Json) -> None:
    body = {"resourceType": "Parameters", "parameter": [{"name": "validation", **validation}]}
    for path in ("/$batch-validate-code", "/ValueSet/$batch-validate-code"):
        answer = await client.post(path, json=body)
        assert (answer.status_code, answer.json()["resourceType"]) == (400, "OperationOutcome")


async def test_too_many_definitions(client: httpx.AsyncClient) -> None:
    body = parameters(tx0resource=[igneous(version=str(n)) for n in range(501)], url_Uri=URL)
    answer = await client.post("/ValueSet/$expand", json=body)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (422, "too-costly")


@pytest.mark.parametrize("offer", [Offer(Policy(max_expansion=3), operations=OPERATIONS)])
async def test_how_many_codes_are_told_at_once_is_for_the_server_to_say(
    client: httpx.AsyncClient, stored: str
) -> None:
    answer = await client.get(f"/ValueSet/{stored}/$expand")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (422, "too-costly")
    assert len(codes(await client.get(f"/ValueSet/{stored}/$expand?count=4"))) == 4


R4_TYPES = "http://hl7.org/fhir/StructureDefinition/"
PROFILE = "http://example.org/StructureDefinition/stone-observation"


@pytest.fixture
async def profiles(create: Callable[..., Any], stored: str) -> None:
    """A profile that binds a slice, and one that is based on it."""
    bound = {"strength": "required", "valueSet": f"{URL}|1"}
    elements = [
        {"id": "Observation.code", "path": "Observation.code"},
        {"id": "Observation.code.coding:stone", "path": "Observation.code.coding", "sliceName": "stone"}
        | {"binding": bound},
    ]
    definition = {
        "resourceType": "StructureDefinition",
        "status": "active",
        "kind": "resource",
        "abstract": False,
        "type": "Observation",
        "derivation": "constraint",
    }
    base = {"name": "Base", "url": PROFILE, "baseDefinition": f"{R4_TYPES}Observation"}
    await create({**definition, **base, "differential": {"element": elements}})
    further = {"name": "Further", "url": f"{PROFILE}-2", "baseDefinition": PROFILE}
    await create({**definition, **further, "differential": {"element": elements[:1]}})


@asked_in_turn(
    ("context", "code"),
    [
        pytest.param(f"{R4_TYPES}Observation#Observation.status", "final", id="of R4"),
        pytest.param(
            f"{R4_TYPES}Observation#Observation.component.interpretation", "HX", id="of a component"
        ),
        pytest.param(f"{PROFILE}#Observation.code.coding:stone", "granite", id="by id"),
        pytest.param(f"{PROFILE}#Observation.code.coding", "granite", id="by path"),
        pytest.param(f"{PROFILE}#stone", "granite", id="by the name of a slice"),
        pytest.param(f"{PROFILE}-2#stone", "granite", id="of what it is based on"),
        pytest.param(f"{PROFILE}-2#Observation.status", "final", id="of the type that it is based on"),
    ],
)
@pytest.mark.usefixtures("profiles")
async def test_an_element_names_its_value_set(client: httpx.AsyncClient, context: str, code: str) -> None:
    asked = {"context": context, "contextDirection": "incoming"}
    assert code in codes(await client.get("/ValueSet/$expand", params=asked))
    validated = {**asked, "code": code, "inferSystem": "true"}
    answer = await client.get("/ValueSet/$validate-code", params=validated)
    assert {"name": "result", "valueBoolean": True} in answer.json()["parameter"], answer.text


@asked_in_turn(
    ("asked", "status"),
    [
        pytest.param({"context": f"{PROFILE}#Observation.value"}, 404, id="an element without a binding"),
        pytest.param({"context": f"{PROFILE}-9#Observation.status"}, 404, id="nothing that is known"),
        pytest.param({"context": f"{R4_TYPES}Nothing#Nothing.status"}, 404, id="no type"),
        pytest.param({"context": f"{R4_TYPES}Observation#Observation"}, 404, id="no element"),
        pytest.param({"context": PROFILE}, 400, id="no path"),
        pytest.param({"context": f"{PROFILE}#stone", "url": URL}, 400, id="a value set too"),
        pytest.param({"context": f"{PROFILE}#stone", "contextDirection": "up"}, 400, id="another direction"),
    ],
)
@pytest.mark.usefixtures("profiles")
async def test_contexts_that_name_no_value_set(
    client: httpx.AsyncClient, asked: dict[str, str], status: int
) -> None:
    assert (await client.get("/ValueSet/$expand", params=asked)).status_code == status


@pytest.mark.usefixtures("profiles")
async def test_profiles_are_known_to_those_who_may_read_them(
    client: httpx.AsyncClient, confine: Callable[..., dict[str, str]]
) -> None:
    headers = confine("a", permissions="r", resource_type="ValueSet")
    of_type = {"context": f"{R4_TYPES}Observation#Observation.status"}
    assert codes(await client.get("/ValueSet/$expand", params=of_type, headers=headers))
    of_profile = {"context": f"{PROFILE}#stone"}
    answer = await client.get("/ValueSet/$expand", params=of_profile, headers=headers)
    assert answer.status_code == 404
