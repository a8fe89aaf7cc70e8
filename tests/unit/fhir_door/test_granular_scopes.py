"""Granular scopes: what does not match their criteria is not there, by whatever route.

SMART App Launch 2.2, Finer-grained resource constraints using search parameters.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from server.kernel.access import Access, Context, Grant, Permission
from tests.unit.fhir_door.conftest import access, grant
from tests.unit.fhir_door.test_mixed_tokens import Ids, named, of_patient

SYSTEM = "http://terminology.hl7.org/CodeSystem/observation-category"
LAB = (("category", f"{SYSTEM}|laboratory"),)
VITAL = (("category", f"{SYSTEM}|vital-signs"),)
HELD = {"x-rights": "held"}


def granular(resource_type: str, criteria: Any, context: Context = Context.PATIENT) -> Grant:
    return Grant(context, resource_type, frozenset({Permission.READ, Permission.SEARCH}), criteria)


@pytest.fixture
async def stored(create: Callable[..., Any], rights: dict[str, Access]) -> Ids:
    ids = {name: await create({"resourceType": "Patient", "name": [{"family": name}]}) for name in "ab"}
    for name in "ab":
        for category in ("laboratory", "vital-signs", "social-history"):
            coded = [{"coding": [{"system": SYSTEM, "code": category}]}]
            one = of_patient("Observation", ids[name]) | {"category": coded}
            ids[f"{category[:3]}-{name}"] = await create(one)
    results = [{"reference": f"Observation/{ids[name]}"} for name in ("lab-a", "soc-a", "lab-b")]
    ids["report"] = await create(of_patient("DiagnosticReport", ids["a"]) | {"result": results})
    ada = frozenset({ids["a"]})
    whole = (grant("Patient", "rs", Context.PATIENT), grant("DiagnosticReport", "rs", Context.PATIENT))
    held = access("held", granular("Observation", LAB), *whole, patients=ada)
    rights["held"] = held
    rights["two"] = replace(held, grants=(*held.grants, granular("Observation", VITAL)))
    doctor = (*held.grants, granular("Observation", VITAL, Context.USER))
    rights["doctor"] = replace(held, grants=doctor, is_confined=False)
    both = (granular("Observation", ()), granular("Observation", LAB, Context.USER))
    rights["whole"] = replace(held, grants=both, is_confined=False)  # a record, and of others what matches
    return ids


FOUND: list[tuple[str, set[str]]] = [
    ("Observation", {"lab-a"}),
    ("Observation?_total=accurate&_sort=-_lastUpdated", {"lab-a"}),
    ("Observation?category=social-history", set()),
    ("Observation?category:not=laboratory", set()),
    ("Observation?_id={soc-a},{lab-b}", set()),
    ("Patient/{a}/Observation", {"lab-a"}),
    ("?_type=Observation,Patient", {"lab-a", "a"}),
    ("?_lastUpdated=gt2000", {"lab-a", "a", "report"}),
    ("Patient?_has:Observation:subject:category=laboratory", {"a"}),
    ("Patient?_has:Observation:subject:category=social-history", set()),
    ("DiagnosticReport?result.category=laboratory", {"report"}),
    ("DiagnosticReport?result.category=social-history", set()),
    ("DiagnosticReport?_include=DiagnosticReport:result", {"report", "lab-a"}),
    ("DiagnosticReport?_include=*", {"report", "lab-a", "a"}),
    ("Patient?_revinclude=Observation:subject", {"a", "lab-a"}),
    ("Patient/{a}/$everything", {"a", "report", "lab-a"}),
    ("Observation/$lastn?patient={a}&category=laboratory,social-history&max=9", {"lab-a"}),
    ("_history", {"a", "report"}),  # it is not held to criteria: left out
]


async def test_search_is_held_to_the_criteria(client: httpx.AsyncClient, stored: Ids) -> None:
    for path, found in FOUND:
        answer = await client.get(f"/{path.format(**stored)}", headers=HELD)
        assert answer.status_code == 200, (path, answer.text)
        assert named(answer.json(), stored) == found, path
    for path, count in (("Observation?_summary=count", 1), ("?_type=Observation,Patient&_summary=count", 2)):
        assert (await client.get(f"/{path}", headers=HELD)).json()["total"] == count


async def test_several_scopes_are_united(client: httpx.AsyncClient, stored: Ids) -> None:
    opened = {"two": {"lab-a", "vit-a"}, "doctor": {"lab-a", "vit-a", "vit-b"}}
    for who, found in opened.items():
        answer = await client.get("/Observation", headers={"x-rights": who})
        assert named(answer.json(), stored) == found, who
        for name in ("lab-a", "lab-b", "vit-a", "vit-b", "soc-a"):
            read = await client.get(f"/Observation/{stored[name]}", headers={"x-rights": who})
            assert read.status_code == (200 if name in found else 404), (who, name)


async def test_reads_are_held_to_the_criteria(client: httpx.AsyncClient, stored: Ids) -> None:
    mine = f"/Observation/{stored['lab-a']}"
    for path, status in (("", 200), ("/_history/1", 200), ("/_history", 403)):
        assert (await client.get(mine + path, headers=HELD)).status_code == status, path
    for name in ("soc-a", "vit-a", "lab-b"):
        for path in ("", "/_history/1"):
            read = await client.get(f"/Observation/{stored[name]}{path}", headers=HELD)
            assert read.status_code == 404, name
    entry = [{"request": {"method": "GET", "url": f"Observation/{stored[n]}"}} for n in ("lab-a", "soc-a")]
    batch = {"resourceType": "Bundle", "type": "batch", "entry": entry}
    answer = (await client.post("", json=batch, headers=HELD)).json()
    assert [each["response"]["status"][:3] for each in answer["entry"]] == ["200", "404"]


async def test_what_came_to_match_has_no_versions_from_before(client: httpx.AsyncClient, stored: Ids) -> None:
    path = f"/Observation/{stored['soc-a']}"
    changed = (await client.get(path)).json()
    changed["category"][0]["coding"][0]["code"] = "laboratory"
    assert (await client.put(path, json=changed)).status_code == 200
    for who, before in (("held", 404), ("two", 404), ("whole", 200)):
        for version, status in (("", 200), ("/_history/2", 200), ("/_history/1", before)):
            answer = await client.get(path + version, headers={"x-rights": who})
            assert answer.status_code == status, (who, version)
    of_ben = f"/Observation/{stored['lab-b']}"
    assert (await client.put(of_ben, json=(await client.get(of_ben)).json())).status_code == 200
    for version, status in (("", 200), ("/_history/1", 404)):
        assert (await client.get(of_ben + version, headers={"x-rights": "whole"})).status_code == status


async def test_meta_in_use_is_of_what_matches(client: httpx.AsyncClient, stored: Ids) -> None:
    for name, tag in (("lab-a", "mine"), ("soc-a", "other"), ("lab-b", "other")):
        tagged = {"name": "meta", "valueMeta": {"tag": [{"code": tag}]}}
        asked = {"resourceType": "Parameters", "parameter": [tagged]}
        assert (await client.post(f"/Observation/{stored[name]}/$meta-add", json=asked)).status_code == 200
    for path in ("/Observation/$meta", "/$meta"):
        answer = await client.get(path, headers=HELD)
        assert ("mine" in answer.text, "other" in answer.text) == (True, False), path


async def test_what_is_not_held_to_criteria_is_denied(client: httpx.AsyncClient, stored: Ids) -> None:
    body = of_patient("Observation", stored["a"])
    condition = {"if-none-exist": "category=laboratory"}
    asked = [
        client.get("/Observation/_history", headers=HELD),
        client.post("/Observation", json=body, headers=HELD | condition),
        client.put(f"/Observation/{stored['lab-a']}", json=body | {"id": stored["lab-a"]}, headers=HELD),
        client.delete("/Observation?category=laboratory", headers=HELD),
    ]
    assert [(await each).status_code for each in asked] == [403] * len(asked)


async def test_page_token_is_bound_to_the_criteria(
    client: httpx.AsyncClient, stored: Ids, rights: dict[str, Access]
) -> None:
    first = await client.get("/Observation?_count=1", headers={"x-rights": "two"})
    link = next(each["url"] for each in first.json()["link"] if each["relation"] == "next")
    path = f"/Observation?{urlsplit(link).query}"
    answer = await client.get(path, headers={"x-rights": "two"})
    assert named(answer.json(), stored) == {"vit-a"}
    assert (await client.get(path, headers=HELD)).status_code == 400
