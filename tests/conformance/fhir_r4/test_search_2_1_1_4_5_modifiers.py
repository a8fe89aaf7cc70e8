"""Modifiers (FHIR R4 search.html#modifiers, #token)."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.conformance.fhir_r4.searching import check, observation

V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"


@pytest.fixture
async def names(create: Callable[..., Any]) -> dict[str, str]:
    """Patients with typed identifiers, observations with texts."""
    record_number = {"coding": [{"system": V2_0203, "code": "MR"}], "text": "Record number"}
    social = {"coding": [{"system": V2_0203, "code": "SS"}, {"code": "own"}]}
    ann = [{"type": record_number, "value": "1|2"}, {"type": social, "system": "urn:s", "value": "9"}]
    made = {
        "ann": await create({"resourceType": "Patient", "identifier": ann}),
        "bob": await create({"resourceType": "Patient", "identifier": [{"type": social, "value": "1|2"}]}),
        "none": await create({"resourceType": "Patient"}),
    }
    headache = {"text": "Severe headache", "coding": [{"code": "h", "display": "Cephalalgia (finding)"}]}
    made["headache"] = await create(observation(made["ann"], code=headache))
    made["pulse"] = await create(observation(made["bob"], status="amended"))
    return made


async def test_modifiers_of_tokens(client: httpx.AsyncClient, names: dict[str, str]) -> None:
    await check(
        client,
        names,
        [
            ("/Observation?code:text=severe", "headache"),
            ("/Observation?code:text=cephal", "headache"),
            ("/Observation?code:text=headache", ""),
            ("/Observation?code:text=h", ""),
            ("/Observation?code:text=cephal,nothing", "headache"),
            ("/Observation?combo-code:text=CEPHAL", "headache"),
            ("/Observation?code=Severe headache", ""),
            ("/Patient?identifier:text=record", "ann"),
            (rf"/Patient?identifier:of-type={V2_0203}|MR|1\|2", "ann"),
            (rf"/Patient?identifier:of-type={V2_0203}|SS|1\|2", "bob"),
            (f"/Patient?identifier:of-type={V2_0203}|SS|9", "ann"),
            ("/Patient?identifier:of-type=|own|9", "ann"),
            ("/Patient?identifier:of-type=|SS|9", ""),
            (f"/Patient?identifier:of-type={V2_0203}|MR", "400 value"),
            ("/Patient?identifier:of-type=a||b", "400 value"),
            ("/Patient?gender:of-type=a|b|c", "400 not-supported"),
            ("/Patient?identifier:not=urn:s|9", "bob none"),
            ("/Patient?identifier:missing=true", "none"),
            ("/Patient?identifier:missing=false", "ann bob"),
            ("/Patient?_id:missing=true", ""),
            ("/Patient?_lastUpdated:missing=false", "ann bob none"),
            ("/Observation?code-value-quantity:missing=true", "headache pulse"),
            ("/Observation?status:not=final", "pulse"),
            ("/Observation?value-quantity:missing=true", "headache pulse"),
            ("/Observation?patient.identifier:text=record", "headache"),
        ],
    )


@pytest.fixture
async def terms(create: Callable[..., Any]) -> dict[str, str]:
    """A small hierarchy, value sets over it, observations of its codes."""
    system = {"resourceType": "CodeSystem", "url": "urn:s", "status": "active", "content": "complete"}
    dog = {"code": "dog", "concept": [{"code": "poodle"}]}
    await create({**system, "concept": [{"code": "animal", "concept": [dog, {"code": "cat"}]}]})
    is_dog = {"system": "urn:s", "filter": [{"property": "concept", "op": "is-a", "value": "dog"}]}
    sets = {
        "dogs": {"include": [is_dog]},
        "no-dogs": {"include": [{"system": "urn:s"}], "exclude": [is_dog]},
        "unknown": {"include": [{"system": "urn:nowhere"}]},
    }
    made = {}
    for name, compose in sets.items():
        value_set = {"resourceType": "ValueSet", "url": f"http://vs.test/{name}", "version": "1"}
        made[name] = await create({**value_set, "status": "active", "compose": compose})
    for code in ("animal", "dog", "poodle", "cat"):
        made[code] = await create(observation("", code={"coding": [{"system": "urn:s", "code": code}]}))
    made["stray"] = await create(observation("", code={"coding": [{"system": "urn:t", "code": "dog"}]}))
    return made


async def test_terminology(client: httpx.AsyncClient, terms: dict[str, str]) -> None:
    published = "http://hl7.org/fhir/ValueSet/observation-status"
    await check(
        client,
        terms,
        [
            ("/Observation?code:in=http://vs.test/dogs", "dog poodle"),
            ("/Observation?code:in=http://vs.test/dogs|1", "dog poodle"),
            ("/Observation?code:in=http://vs.test/dogs|2", "400 value"),
            ("/Observation?code:in=ValueSet/{dogs}", "dog poodle"),
            ("/Observation?code:in=http://vs.test/dogs,http://vs.test/no-dogs", "animal cat dog poodle"),
            ("/Observation?code:not-in=http://vs.test/dogs", "animal cat stray"),
            ("/Observation?code:in=http://vs.test/no-dogs", "animal cat"),
            ("/Observation?code:below=urn:s|dog", "dog poodle"),
            ("/Observation?code:above=urn:s|dog", "animal dog"),
            ("/Observation?code:below=dog", "400 value"),
            ("/Observation?code:below=urn:nowhere|dog", "400 value"),
            ("/Observation?code:in=http://vs.test/unknown", "400 value"),
            ("/Observation?code:in=http://vs.test/nothing", "400 value"),
            (f"/Observation?status:in={published}", "animal cat dog poodle stray"),
            (f"/Observation?status:not-in={published}", ""),
            ("/Observation?_filter=code in http://vs.test/dogs and not (code sb urn:s|poodle)", "dog"),
        ],
    )
    refused = {"if-none-exist": "code:in=http://vs.test/dogs"}
    assert (await client.post("/Observation", json=observation(""), headers=refused)).status_code == 400


async def test_a_large_hierarchy(client: httpx.AsyncClient, create: Callable[..., Any], ids: Any) -> None:
    many = [{"code": f"c{n}"} for n in range(3_000)]
    system = {"resourceType": "CodeSystem", "url": "urn:many", "status": "active", "content": "complete"}
    await create({**system, "concept": [{"code": "all", "concept": many}, {"code": "other"}]})
    made = {
        code: await create(observation("", code={"coding": [{"system": "urn:many", "code": code}]}))
        for code in ("all", "c7", "c2999", "other")
    }
    below = await ids("/Observation?code:below=urn:many|all")
    assert set(below) == {made["all"], made["c7"], made["c2999"]}
    assert await ids("/Observation?code:below=urn:many|all&code:above=urn:many|c7") == [
        made["all"],
        made["c7"],
    ]
    compose = {"include": [{"system": "urn:many"}, {"system": "urn:s", "concept": [{"code": "dog"}]}]}
    await create({"resourceType": "ValueSet", "url": "urn:vs", "status": "active", "compose": compose})
    assert set(await ids("/Observation?code:in=urn:vs&status=final")) == set(made.values())
    assert await ids("/Observation?code:not-in=urn:vs") == []


@pytest.mark.parametrize("code", ["a|b", "a\\b", 'a"b', "a,b", "ü", "x" * 600])
async def test_codes_of_any_form(
    client: httpx.AsyncClient, create: Callable[..., Any], ids: Any, code: str
) -> None:
    system = {"resourceType": "CodeSystem", "url": "urn:odd", "status": "active", "content": "complete"}
    await create({**system, "concept": [{"code": code}, {"code": "other"}]})
    one = {"system": "urn:odd", "concept": [{"code": code}]}
    compose = {"include": [one]}
    await create({"resourceType": "ValueSet", "url": "urn:vs", "status": "active", "compose": compose})
    made = await create(observation("", code={"coding": [{"system": "urn:odd", "code": code}]}))
    await create(observation("", code={"coding": [{"system": "urn:odd", "code": "other"}]}))
    assert await ids("/Observation?code:in=urn:vs") == [made]


@pytest.mark.parametrize("system", ["urn:not-here", "http://loinc.org"])
async def test_codes_that_are_named_need_no_code_system(
    client: httpx.AsyncClient, create: Callable[..., Any], ids: Any, system: str
) -> None:
    compose = {"include": [{"system": system, "concept": [{"code": "99999-9"}]}]}
    await create({"resourceType": "ValueSet", "url": "urn:vs", "status": "active", "compose": compose})
    code = {"coding": [{"system": system, "code": "99999-9"}]}
    made = await create(observation("", code=code))
    assert await ids("/Observation?code:in=urn:vs") == [made]
    whole = {"include": [{"system": system, "filter": [{"property": "x", "op": "=", "value": "y"}]}]}
    await create({"resourceType": "ValueSet", "url": "urn:all", "status": "active", "compose": whole})
    assert (await client.get("/Observation?code:in=urn:all")).status_code == 400


async def test_a_value_set_that_names_a_patient_is_none(
    client: httpx.AsyncClient, create: Callable[..., Any]
) -> None:
    patient = await create({"resourceType": "Patient"})
    named = {"url": "http://example.org/of", "valueReference": {"reference": f"Patient/{patient}"}}
    compose = {"include": [{"system": "urn:s", "concept": [{"code": "dog"}]}]}
    value_set = {"resourceType": "ValueSet", "url": "urn:vs", "status": "active", "compose": compose}
    one = await create({**value_set, "extension": [named]})
    for name in ("urn:vs", f"ValueSet/{one}"):
        assert (await client.get(f"/Observation?code:in={name}")).status_code == 400


async def test_the_internal_modifier_is_no_modifier(client: httpx.AsyncClient) -> None:
    assert (await client.get('/Observation?code:listed=["urn:s",["dog"]]')).status_code == 400
