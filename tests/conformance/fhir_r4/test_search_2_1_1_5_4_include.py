"""Including other resources (FHIR R4 search.html#include, #revinclude)."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fhir.capability import ServerFacts
from fhir.interactions.door import Policy
from fhir.interactions.included import MAX_ROUNDS
from fhir.offer import render_capabilities
from tests.asked_in_turn import asked_in_turn
from tests.conformance.fhir_r4.searching import check, observation


@pytest.fixture
async def names(create: Callable[..., Any]) -> dict[str, str]:
    """A tree of organizations, a patient in its leaf, observations that have members."""
    made: dict[str, str] = {}
    above: dict[str, Any] = {}
    for name in ("root", "branch", "leaf"):
        made[name] = await create({"resourceType": "Organization", "name": name, **above})
        above = {"partOf": {"reference": f"Organization/{made[name]}"}}
    made["ann"] = await create(
        {"resourceType": "Patient", "managingOrganization": {"reference": f"Organization/{made['leaf']}"}}
    )
    made["member"] = await create(observation(made["ann"]))
    made["panel"] = await create(
        observation(made["ann"], hasMember=[{"reference": f"Observation/{made['member']}"}])
    )
    made["report"] = await create(
        {
            "resourceType": "DiagnosticReport",
            "status": "final",
            "code": {"text": "r"},
            "subject": {"reference": f"Patient/{made['ann']}"},
            "result": [{"reference": f"Observation/{made['panel']}"}],
        }
    )
    return made


async def test_include(client: httpx.AsyncClient, names: dict[str, str]) -> None:
    await check(
        client,
        names,
        [
            ("/DiagnosticReport?_include=DiagnosticReport:result", "panel"),
            ("/DiagnosticReport?_include=DiagnosticReport:subject:Patient", "ann"),
            ("/DiagnosticReport?_include=DiagnosticReport:subject:Group", ""),
            ("/DiagnosticReport?_include=DiagnosticReport:*", "ann panel"),
            ("/DiagnosticReport?_include=*", "ann panel"),
            ("/Patient?_revinclude=Observation:patient", "member panel"),
            ("/Patient?_revinclude=Observation:*", "member panel"),
            ("/Patient?_revinclude=*", "member panel report"),
            ("/Observation?_id={member}&_revinclude=*", "panel"),
            # not repeated without :iterate
            (
                "/DiagnosticReport?_include=DiagnosticReport:result&_include=DiagnosticReport:subject",
                "ann panel",
            ),
            ("/Organization?_id={leaf}&_include=Organization:partof", "branch"),
        ],
        mode="include",
    )


async def test_iterate(client: httpx.AsyncClient, names: dict[str, str]) -> None:
    up = "_include:iterate=Organization:partof"
    members = "_include:iterate=Observation:has-member&_include:iterate=Observation:patient"
    back = "_revinclude=Patient:organization&_revinclude:iterate=Observation:patient"
    await check(
        client,
        names,
        [
            ("/Organization?_id={leaf}&_include:iterate=Organization:partof", "branch root"),
            ("/Organization?_id={leaf}&_include:recurse=Organization:partof", "branch root"),
            (f"/Patient?_include=Patient:organization&{up}", "branch leaf root"),
            (f"/DiagnosticReport?_include=DiagnosticReport:result&{members}", "ann member panel"),
            ("/Organization?_id={root}&_revinclude:iterate=Organization:partof", "branch leaf"),
            (f"/Organization?_id={{leaf}}&{back}", "ann member panel"),
            ("/DiagnosticReport?_include:iterate=*", "ann branch leaf member panel root"),
            ("/DiagnosticReport?_revinclude:iterate=*", "400 not-supported"),
        ],
        mode="include",
    )


async def test_iterating_over_a_circle_ends(client: httpx.AsyncClient, create: Callable[..., Any]) -> None:
    one = await create({"resourceType": "Organization", "name": "one"})
    part = {"resourceType": "Organization", "name": "two", "partOf": {"reference": f"Organization/{one}"}}
    two = await create(part)
    back = part | {"id": one, "partOf": {"reference": f"Organization/{two}"}}
    assert (await client.put(f"/Organization/{one}", json=back)).status_code == 200
    bundle = (await client.get(f"/Organization?_id={one}&_include:iterate=Organization:partof")).json()
    assert [e["resource"]["id"] for e in bundle["entry"]] == [one, two]


async def test_iterating_ends_far_from_the_matches(
    client: httpx.AsyncClient, create: Callable[..., Any]
) -> None:
    above: dict[str, Any] = {}
    last = ""
    for _ in range(MAX_ROUNDS + 2):
        last = await create({"resourceType": "Organization", "name": "o", **above})
        above = {"partOf": {"reference": f"Organization/{last}"}}
    entries = (await client.get(f"/Organization?_id={last}&_include:iterate=Organization:partof")).json()[
        "entry"
    ]
    assert len(entries) == 1 + MAX_ROUNDS + 1
    assert entries[-1]["search"]["mode"] == "outcome"


@asked_in_turn(
    "search",
    ["_include=Patient", "_include=Patient:gender", "_include=Nope:link", "_include=Observation:subject",
     "_revinclude=Patient:gender", "_include=Patient:link:Nope", "_include:iterate=Nope:*"],
)  # fmt: skip
async def test_an_include_of_nothing_is_400(client: httpx.AsyncClient, search: str) -> None:
    assert (await client.get(f"/Patient?{search}")).status_code == 400


def test_capabilities_list_what_leads_to_a_type() -> None:
    server = ServerFacts("http://h.test/fhir", "1", "2026-01-01")
    resources = json.loads(render_capabilities(server, Policy(), ()))["rest"][0]["resource"]
    patient = next(each for each in resources if each["type"] == "Patient")
    assert {"Observation:patient", "DiagnosticReport:subject"} <= set(patient["searchRevInclude"])
    assert "Patient:general-practitioner" in patient["searchInclude"]
    assert "Provenance:target" not in patient["searchRevInclude"]  # may lead to any type
    location = next(each for each in resources if each["type"] == "Location")
    assert {"name": "near", "type": "special"}.items() <= location["searchParam"][-1].items()
