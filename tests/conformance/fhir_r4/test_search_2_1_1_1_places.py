"""Searches of everything, compartments and lists (FHIR R4 http.html#search, #vsearch, search.html#list)."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fhir.search.definitions import compartment_members, compartment_types
from tests.conformance.fhir_r4.searching import check, found, named, observation

TAG = {"meta": {"tag": [{"system": "urn:t", "code": "x"}]}}


@pytest.fixture
async def names(create: Callable[..., Any]) -> dict[str, str]:
    """Two patients, what is theirs, and a list of some of it."""
    made: dict[str, str] = {}
    made["doctor"] = await create({"resourceType": "Practitioner", **TAG})
    made["pump"] = await create({"resourceType": "Device", "status": "active"})
    for name in ("ann", "bob"):
        made[name] = await create({"resourceType": "Patient", "birthDate": "1970", **TAG})
        made[f"visit-{name}"] = await create(
            {
                "resourceType": "Encounter",
                "status": "finished",
                "class": {"code": "AMB"},
                "subject": {"reference": f"Patient/{made[name]}"},
            }
        )
        pulse = observation(
            made[name],
            encounter={"reference": f"Encounter/{made[f'visit-{name}']}"},
            performer=[{"reference": f"Practitioner/{made['doctor']}"}],
            device={"reference": f"Device/{made['pump']}"},
        )
        made[f"pulse-{name}"] = await create(pulse)
    made["list"] = await create(
        {
            "resourceType": "List",
            "status": "current",
            "mode": "working",
            "entry": [
                {"item": {"reference": f"{kind}/{made[name]}"}}
                for kind, name in (("Patient", "ann"), ("Observation", "pulse-bob"), ("Patient", "gone"))
                if name in made
            ],
        }
    )
    return made


async def test_everything_is_searched(client: httpx.AsyncClient, names: dict[str, str]) -> None:
    await check(
        client,
        names,
        [
            ("?_type=Patient", "ann bob"),
            ("?_type=Patient,Observation&_id={ann},{pulse-bob},{visit-ann}", "ann pulse-bob"),
            ("?_tag=urn:t|x", "ann bob doctor"),
            ("?_tag=urn:t|x&_type=Practitioner", "doctor"),
            ("?_id={ann}", "ann"),
            ("?_lastUpdated=lt2000", ""),
            ("?_type=Patient&_list={list}", "ann"),
            ("?_list={list}", "ann pulse-bob"),
            ("?_type=Patient&birthdate=1970", "ann bob"),  # of one type only, so unknown here
            ("?_type=Patient&_sort=-_lastUpdated&_count=1", "bob"),
            ("?_type=Nope", "400 value"),
            ("?_type=", "400 value"),
            ("/Patient?_type=Patient", "400 not-supported"),
            ("?_sort=birthdate", "400 value"),
            ("?_has:Observation:patient:code=x", "400 value"),
        ],
    )
    included = await found(client, "?_type=Observation&_include=Observation:subject", names, "include")
    assert included == "ann bob"


async def test_everything_is_searched_by_form_and_page(
    client: httpx.AsyncClient, names: dict[str, str]
) -> None:
    answer = (await client.post("/_search", data={"_type": "Patient", "_count": "1"})).json()
    self_link, first_link, next_link = answer["link"]
    assert first_link["url"] == self_link["url"]
    assert self_link["url"] == "http://fhir.test/fhir?_type=Patient&_count=1"
    second = (await client.get(next_link["url"])).json()
    assert [e["resource"]["id"] for e in second["entry"]] == [names["bob"]]


async def test_lists(client: httpx.AsyncClient, names: dict[str, str]) -> None:
    await check(
        client,
        names,
        [
            ("/Patient?_list={list}", "ann"),
            ("/Observation?_list={list}&code=8867-4", "pulse-bob"),
            ("/Observation?_list={pulse-bob}", ""),
            ("/Patient?_list=nope", ""),
            ("/Patient?_list=$current-problems", "400 not-supported"),
        ],
    )


async def test_compartments(client: httpx.AsyncClient, names: dict[str, str]) -> None:
    await check(
        client,
        names,
        [
            ("/Patient/{ann}/Observation", "pulse-ann"),
            ("/Patient/{ann}/Observation?code=8867-4", "pulse-ann"),
            ("/Patient/{ann}/Observation?code=none", ""),
            ("/Patient/{ann}/Encounter", "visit-ann"),
            ("/Patient/{ann}/Patient", "ann"),
            ("/Patient/{ann}/*", "ann pulse-ann visit-ann"),
            ("/Patient/{ann}/*?_type=Observation,Device", "pulse-ann"),
            ("/Patient/{ann}/*?_type=Device", ""),
            ("/Patient/nobody/*", ""),
            ("/Encounter/{visit-bob}/Observation", "pulse-bob"),
            ("/Encounter/{visit-bob}/*", "pulse-bob visit-bob"),
            ("/Practitioner/{doctor}/Observation", "pulse-ann pulse-bob"),
            ("/Practitioner/{doctor}/Observation?patient={bob}", "pulse-bob"),
            ("/Device/{pump}/Observation", "pulse-ann pulse-bob"),
            ("/RelatedPerson/x/Observation", ""),
            ("/Patient/{ann}/Organization", "400 not-supported"),
            ("/Organization/x/Patient", "404 not-supported"),
            ("/Patient/{ann}/Nope", "404 not-supported"),
        ],
    )
    answer = (await client.get(named("/Patient/{ann}/Observation", names))).json()
    assert answer["link"][0]["url"] == f"http://fhir.test/fhir/Patient/{names['ann']}/Observation"
    form = await client.post(named("/Patient/{ann}/Observation/_search", names), data={"code": "8867-4"})
    assert [e["resource"]["id"] for e in form.json()["entry"]] == [names["pulse-ann"]]


def test_the_five_compartments_of_r4() -> None:
    assert compartment_types() == {"Patient", "Encounter", "Practitioner", "RelatedPerson", "Device"}
    assert compartment_members("Encounter")["Observation"] == ["encounter"]
    assert compartment_members("Patient")["Observation"] == ["subject", "performer"]


async def test_what_is_searched_is_within_reach(
    client: httpx.AsyncClient, names: dict[str, str], confine: Callable[..., Any]
) -> None:
    as_ann = confine(names["ann"])
    await check(
        client,
        names,
        [
            ("?_type=Patient,Observation,Practitioner", "ann doctor pulse-ann"),
            ("?_type=Patient", "ann"),
            ("?_id={bob},{pulse-bob},{ann}", "ann"),
            ("?_list={list}", ""),  # the list names both patients
            ("/Patient?_list={list}", ""),
            ("/Patient/{ann}/*", "ann pulse-ann visit-ann"),
            ("/Patient/{bob}/*", ""),
            ("/Practitioner/{doctor}/*", "doctor pulse-ann"),
            ("/Practitioner/{doctor}/Observation", "pulse-ann"),
            ("/Encounter/{visit-bob}/*", ""),
        ],
        **as_ann,
    )
    everything = json.loads((await client.get("?_count=1000", headers=as_ann)).text)
    seen = {entry["resource"]["id"] for entry in everything["entry"]}
    assert seen == {names[name] for name in ("ann", "doctor", "pulse-ann", "visit-ann", "pump")}
    counted = (await client.get("?_summary=count", headers=as_ann)).json()
    assert counted["total"] == len(seen)


async def test_what_is_searched_needs_a_grant(
    client: httpx.AsyncClient, names: dict[str, str], confine: Callable[..., Any]
) -> None:
    only = confine(names["ann"], resource_type="Observation")
    await check(
        client,
        names,
        [
            ("", "pulse-ann"),
            ("?_type=Observation", "pulse-ann"),
            ("?_type=Observation,Patient", "403 forbidden"),
            ("/Patient/{ann}/*", "pulse-ann"),
            ("/Patient/{ann}/Encounter", "403 forbidden"),
            ("/Patient/{ann}/*?_type=Encounter", "403 forbidden"),
            ("/Observation?_list={list}", "403 forbidden"),
        ],
        **only,
    )
    assert (await client.get("", headers={"x-rights": "nothing"})).status_code == 403
