"""Chained parameters and reverse chaining (FHIR R4 search.html#chaining, #has)."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fhir.search.criteria import MAX_CHAIN_DEPTH
from tests.asked_in_turn import asked_in_turn
from tests.conformance.fhir_r4.searching import check, observation

MRN = "urn:mrn"


@pytest.fixture
async def names(create: Callable[..., Any]) -> dict[str, str]:
    """Two patients with what belongs to them, by name."""
    made: dict[str, str] = {}
    made["clinic"] = await create({"resourceType": "Organization", "name": "Clinic"})
    made["doctor"] = await create({"resourceType": "Practitioner", "name": [{"family": "Doe"}]})
    of_ann = {
        "managingOrganization": {"reference": f"Organization/{made['clinic']}"},
        "meta": {"tag": [{"system": "urn:t", "code": "vip"}]},
    }
    of_bob = {"generalPractitioner": [{"reference": f"Practitioner/{made['doctor']}"}]}
    for name, born, more in (("ann", "1970", of_ann), ("bob", "1980", of_bob)):
        made[name] = await create(
            {
                "resourceType": "Patient",
                "identifier": [{"system": MRN, "value": name}],
                "name": [{"family": name.title()}],
                "birthDate": born,
                **more,
            }
        )
        made[f"pulse-{name}"] = await create(observation(made[name], effectiveDateTime=f"20{born[2:]}-01-01"))
        made[f"report-{name}"] = await create(
            {
                "resourceType": "DiagnosticReport",
                "status": "final",
                "code": {"text": "r"},
                "subject": {"reference": f"Patient/{made[name]}"},
                "result": [{"reference": f"Observation/{made[f'pulse-{name}']}"}],
            }
        )
    group = {"resourceType": "Group", "type": "person", "actual": True}
    made["group"] = await create({**group, "identifier": [{"system": MRN, "value": "all"}]})
    made["of-group"] = await create(observation("", subject={"reference": f"Group/{made['group']}"}))
    return made


async def test_chaining(client: httpx.AsyncClient, names: dict[str, str]) -> None:
    await check(
        client,
        names,
        [
            ("/Observation?subject:Patient.name=ann", "pulse-ann"),
            ("/Observation?patient.name=bob", "pulse-bob"),
            ("/Observation?patient.identifier=urn:mrn|ann", "pulse-ann"),
            ("/Observation?patient.identifier=ann,bob", "pulse-ann pulse-bob"),
            ("/Observation?subject.identifier=all", "of-group"),
            ("/Observation?subject.identifier=all,ann", "of-group pulse-ann"),
            ("/Observation?subject:Group.identifier=ann", ""),
            ("/Observation?patient.birthdate=lt1975", "pulse-ann"),
            ("/Observation?patient.name:exact=ann", ""),
            ("/Observation?patient.name:contains=nn", "pulse-ann"),
            ("/Observation?patient.general-practitioner:missing=true", "pulse-ann"),
            ("/Observation?patient._id={ann}", "pulse-ann"),
            ("/Observation?patient._tag=vip", "pulse-ann"),
            ("/Observation?patient._lastUpdated=gt2020&patient.name=bob", "pulse-bob"),
            ("/Observation?patient.name=ann&patient.birthdate=1980", ""),
            ("/Observation?patient.organization.name=clinic", "pulse-ann"),
            ("/Observation?patient.general-practitioner:Practitioner.name=doe", "pulse-bob"),
            ("/Observation?patient.general-practitioner.name=doe", "pulse-bob"),
            ("/DiagnosticReport?result.patient.organization.name=clinic", "report-ann"),
            ("/DiagnosticReport?result.code=8867-4", "report-ann report-bob"),
            ("/DiagnosticReport?result.date=ge2075&result.code=8867-4", "report-bob"),
            ("/Observation?patient.name=", "of-group pulse-ann pulse-bob"),
            ("/Observation?patient.name=ann&_sort=-date&_total=accurate", "pulse-ann"),
        ],
    )


async def test_reverse_chaining(client: httpx.AsyncClient, names: dict[str, str]) -> None:
    await check(
        client,
        names,
        [
            ("/Patient?_has:Observation:patient:code=8867-4", "ann bob"),
            ("/Patient?_has:Observation:patient:date=ge2075", "bob"),
            ("/Patient?_has:Observation:subject:_id={pulse-ann}", "ann"),
            ("/Patient?_has:Observation:patient:code=none", ""),
            ("/Patient?_has:Observation:patient:code:missing=true", ""),
            ("/Patient?_has:Observation:patient:_has:DiagnosticReport:result:_id={report-bob}", "bob"),
            ("/Organization?_has:Patient:organization:_has:Observation:patient:code=8867-4", "clinic"),
            ("/Organization?_has:Patient:organization:name=bob", ""),
            ("/DiagnosticReport?subject:Patient._has:Observation:patient:date=ge2075", "report-bob"),
            ("/Observation?_has:DiagnosticReport:result:subject:Patient.name=ann", "pulse-ann"),
        ],
    )


@asked_in_turn(
    "search",
    [
        pytest.param("code.name=x", id="no reference"),
        pytest.param("subject:Nope.name=x", id="no type"),
        pytest.param("subject:Organization.name=x", id="a type the reference never has"),
        pytest.param("subject:Patient.nope=x", id="an unknown parameter at the end"),
        pytest.param("patient.nope=x", id="no target has the parameter"),
        pytest.param("patient.birthdate=x", id="a bad value at the end"),
        pytest.param("_has:Nope:patient:code=x", id="no source type"),
        pytest.param("_has:Observation:patient=x", id="a part is missing"),
        pytest.param("_has:Observation:code:code=x", id="no reference of the source"),
        pytest.param("_has:Patient:link:name=x", id="a reference that leads elsewhere"),
        pytest.param(f"{'has-member.' * (MAX_CHAIN_DEPTH + 1)}code=x", id="too many links"),
        pytest.param(f"{'_has:Observation:has-member:' * (MAX_CHAIN_DEPTH + 1)}code=x", id="too many back"),
        pytest.param("focus.focus._id=x", id="too many types"),
        pytest.param(f"{'patient.' * 40}name=x", id="without end"),
    ],
)
async def test_what_cannot_be_chained_is_400(client: httpx.AsyncClient, search: str) -> None:
    answer = await client.get(f"/Observation?{search}")
    assert answer.status_code == 400, answer.text
    assert answer.json()["issue"][0]["code"] == "value"


async def test_a_chain_leads_no_further_than_its_caller(
    client: httpx.AsyncClient, names: dict[str, str], confine: Callable[..., Any]
) -> None:
    stray = observation(names["ann"], performer=[{"reference": f"Patient/{names['bob']}"}])
    assert (await client.post("/Observation", json=stray)).status_code == 201
    as_ann, both = confine(names["ann"]), confine(names["ann"], names["bob"])
    await check(
        client,
        names,
        [
            ("/Observation?patient.name=ann", "pulse-ann"),
            ("/Observation?patient.name=bob", ""),
            ("/Observation?performer:Patient.name=bob", ""),
            ("/Observation?patient.name:missing=true", ""),
            ("/Patient?_has:Observation:patient:date=ge2075", ""),
            ("/Patient?_has:DiagnosticReport:subject:_id={report-bob}", ""),
            ("/Organization?_has:Patient:organization:name=ann", "clinic"),
            ("/Practitioner?_has:Patient:general-practitioner:name=bob", ""),
        ],
        **as_ann,
    )
    await check(
        client, names, [("/Practitioner?_has:Patient:general-practitioner:name=bob", "doctor")], **both
    )


async def test_a_chain_needs_a_grant_for_each_type(
    client: httpx.AsyncClient, names: dict[str, str], confine: Callable[..., Any]
) -> None:
    only = confine(names["ann"], resource_type="Observation")
    await check(
        client,
        names,
        [
            ("/Observation?patient.name=ann", "403 forbidden"),
            ("/Observation?subject:Patient.name=ann", "403 forbidden"),
            ("/Observation?subject.identifier=ann", "403 forbidden"),
            ("/Observation?_has:DiagnosticReport:result:code=x", "403 forbidden"),
            ("/Observation?has-member.code=x", ""),
        ],
        **only,
    )
