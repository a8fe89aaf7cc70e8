"""Two patients, every route: a confined token never learns of the other's data (DESIGN §8)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from fhir.search.compartment import MAX_PATIENTS
from tests.asked_in_turn import asked_in_turn

SECRET = "Hidden"


@dataclass(frozen=True)
class World:
    ada: str
    ben: str
    observations: dict[str, str]  # by patient id
    reports: dict[str, str]
    unassigned: str
    device: str
    device_of_ben: str


@pytest.fixture
async def world(create: Callable[..., Any]) -> World:
    ada = await create({"resourceType": "Patient", "name": [{"family": "Ada"}]})
    ben = await create({"resourceType": "Patient", "name": [{"family": SECRET}]})
    observations, reports = {}, {}
    for patient in (ben, ada):
        observation = {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x" if patient == ada else SECRET},
            "subject": {"reference": f"Patient/{patient}"},
        }
        observations[patient] = await create(observation)
        report = {
            "resourceType": "DiagnosticReport",
            "status": "final",
            "code": {"text": "r"},
            "subject": {"reference": f"Patient/{patient}"},
            # Ada's report points to Ben's observation too: an include must not follow it
            "result": [{"reference": f"Observation/{o}"} for o in observations.values()],
        }
        reports[patient] = await create(report)
    unassigned = await create({"resourceType": "Observation", "status": "final", "code": {"text": SECRET}})
    device = await create({"resourceType": "Device"})
    device_of_ben = await create({"resourceType": "Device", "patient": {"reference": f"Patient/{ben}"}})
    await create({"resourceType": "Group", "type": "person", "actual": True, "member": [
        {"entity": {"reference": f"Patient/{p}"}} for p in (ada, ben)]})  # fmt: skip
    await create({"resourceType": "Binary", "contentType": "text/plain", "data": "SGlkZGVu"})
    return World(ada, ben, observations, reports, unassigned, device, device_of_ben)


async def test_read_and_vread(client: httpx.AsyncClient, world: World, confine: Callable[..., Any]) -> None:
    as_ada = confine(world.ada)
    seen = [f"Patient/{world.ada}", f"Observation/{world.observations[world.ada]}", f"Device/{world.device}"]
    unseen = [
        f"Patient/{world.ben}",
        f"Observation/{world.observations[world.ben]}",
        f"Observation/{world.unassigned}",
        f"Device/{world.device_of_ben}",
    ]
    for path, status in [*((p, 200) for p in seen), *((p, 404) for p in unseen)]:
        for form in (f"/{path}", f"/{path}/_history/1"):
            answer = await client.get(form, headers=as_ada)
            assert (answer.status_code, SECRET in answer.text) == (status, False), form
            assert (await client.get(form)).status_code == 200


async def test_history(client: httpx.AsyncClient, world: World, confine: Callable[..., Any]) -> None:
    as_ada = confine(world.ada)
    for path in (f"/Patient/{world.ben}/_history", f"/Observation/{world.unassigned}/_history"):
        assert (await client.get(path, headers=as_ada)).status_code == 404
    own = f"/Observation/{world.observations[world.ada]}"
    assert len((await client.get(f"{own}/_history", headers=as_ada)).json()["entry"]) == 1
    for path in ("/_history", "/Patient/_history", "/Observation/_history"):
        answer = await client.get(path, headers=as_ada)
        assert answer.status_code == 200
        assert SECRET not in answer.text
        assert world.ben not in {e["fullUrl"].split("/")[-1] for e in answer.json()["entry"]}
    await client.delete(own, headers=as_ada)
    gone = await client.get(f"{own}/_history", headers=as_ada)
    assert [e["request"]["method"] for e in gone.json()["entry"]] == ["DELETE", "POST"]
    assert (await client.get(f"{own}/_history", headers=confine(world.ben))).status_code == 404
    assert (await client.get("/_history", headers=confine(world.ada, permissions="r"))).status_code == 403


async def test_history_of_what_was_another_patients(
    client: httpx.AsyncClient, world: World, confine: Callable[..., Any]
) -> None:
    one = world.observations[world.ben]
    moved = {"resourceType": "Observation", "id": one, "status": "final", "code": {"text": "x"}}
    moved["subject"] = {"reference": f"Patient/{world.ada}"}
    assert (await client.put(f"/Observation/{one}", json=moved)).status_code == 200
    for path in (f"/Observation/{one}/_history", "/Observation/_history", "/_history"):
        answer = await client.get(path, headers=confine(world.ada))
        assert SECRET not in answer.text
        assert f"Observation/{one}" in answer.text
        of_ben = (await client.get("/_history", headers=confine(world.ben))).json()["entry"]
    assert one not in {e["fullUrl"].split("/")[-1] for e in of_ben}


async def test_writes_by_name_and_by_condition(
    client: httpx.AsyncClient, world: World, confine: Callable[..., Any]
) -> None:
    as_ada, one = confine(world.ada), world.observations[world.ben]
    patch = {"content-type": "application/json-patch+json"}
    body = {"resourceType": "Observation", "status": "final", "code": {"text": SECRET}}
    body["subject"] = {"reference": f"Patient/{world.ada}"}
    assert (await client.patch(f"/Observation/{one}", json=[], headers=as_ada | patch)).status_code == 404
    by_id = f"/Observation?_id={one}"
    assert (await client.patch(by_id, json=[], headers=as_ada | patch)).status_code == 404
    named = await client.put(f"/Observation/{one}", json={**body, "id": one}, headers=as_ada)
    assert named.status_code == 404
    unknown = await client.put("/Observation/new", json={**body, "id": "new"}, headers=as_ada)
    assert unknown.status_code == 404
    for path in (f"/Observation/{one}", by_id, f"/Observation?subject=Patient/{world.ben}"):
        assert (await client.delete(path, headers=as_ada)).status_code == 204
    assert (await client.get(f"/Observation/{one}")).headers["etag"] == 'W/"1"'
    made = await client.put(by_id, json=body, headers=as_ada)  # as if Ben's were not there
    assert (made.status_code, made.json()["id"] == one) == (201, False)
    own = f"/Observation/{world.observations[world.ada]}"
    to_ben = [{"op": "replace", "path": "/subject/reference", "value": f"Patient/{world.ben}"}]
    assert (await client.patch(own, json=to_ben, headers=as_ada | patch)).status_code == 403
    assert (
        await client.patch(own, json=[], headers=confine(world.ada, permissions="rs") | patch)
    ).status_code == 403
    assert (await client.delete(own, headers=confine(world.ada, permissions="cru"))).status_code == 403


@asked_in_turn(
    ("search", "count"),
    [
        ("Patient", 1),
        ("Patient?_summary=count", 1),
        ("Patient?_total=accurate&_count=1", 1),
        ("Patient?_id={ben}", 0),
        ("Patient?name=Hid", 0),
        ("Observation", 1),
        ("Observation?_summary=count", 1),
        ("Observation?subject=Patient/{ben}", 0),
        ("Observation?patient={ben}&_total=accurate", 0),
        ("Observation?subject:missing=true", 0),
        ("Observation?status:not=preliminary", 1),
        ("Observation?_sort=-_lastUpdated", 1),
        ("DiagnosticReport?_include=DiagnosticReport:result", 1),
        ("DiagnosticReport?_include=*", 1),
        ("Patient?_revinclude=Observation:subject&_revinclude=Observation:*", 1),
        ("Observation?_include=Observation:subject&_revinclude=DiagnosticReport:result", 1),
        ("Device?_revinclude=Observation:device", 1),
        ("Device?patient={ben}", 0),
        ("Group", 0),
        ("Binary", 0),
    ],
)
async def test_search(
    client: httpx.AsyncClient, world: World, confine: Callable[..., Any], search: str, count: int
) -> None:
    path = search.replace("{ben}", world.ben)
    others = (world.observations[world.ben], world.reports[world.ben], world.unassigned, world.device_of_ben)
    answers = [await client.get(f"/{path}", headers=confine(world.ada))]
    base, _, parameters = path.partition("?")
    headers = confine(world.ada) | {"content-type": "application/x-www-form-urlencoded"}
    answers.append(await client.post(f"/{base}/_search", content=parameters, headers=headers))
    for answer in answers:
        assert answer.status_code == 200, answer.text
        bundle = answer.json()
        resources = [e["resource"]["id"] for e in bundle.get("entry", [])]
        assert not set(resources) & {world.ben, *others}
        assert SECRET not in str(bundle.get("entry"))
        assert bundle["total"] == count


async def test_other_patient_sees_the_mirror_image(
    client: httpx.AsyncClient, world: World, confine: Callable[..., Any]
) -> None:
    both = await client.get("/Observation", headers=confine(world.ada, world.ben))
    assert both.json()["total"] == 2
    ben = await client.get("/Device", headers=confine(world.ben))
    assert {e["resource"]["id"] for e in ben.json()["entry"]} == {world.device, world.device_of_ben}


async def test_page_token_is_bound_to_caller_and_search(
    client: httpx.AsyncClient, world: World, confine: Callable[..., Any]
) -> None:
    first = await client.get("/Observation?_count=1")
    link = next(entry["url"] for entry in first.json()["link"] if entry["relation"] == "next")
    path = f"/Observation?{urlsplit(link).query}"
    assert (await client.get(path)).status_code == 200
    assert (await client.get(path, headers=confine(world.ada))).status_code == 400
    assert (await client.get(path.replace("_count=1", "_count=2"))).status_code == 400
    assert (await client.get(path[:-2])).status_code == 400
    assert (await client.get("/Observation?_page=x")).status_code == 400


def observation(*patients: str) -> dict[str, Any]:
    subject, *performers = patients
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{subject}"},
        **({"performer": [{"reference": f"Patient/{p}"} for p in performers]} if performers else {}),
    }


async def test_create_only_inside_the_own_compartment(
    client: httpx.AsyncClient, world: World, confine: Callable[..., Any]
) -> None:
    as_ada = confine(world.ada)
    nobody = observation(world.ada) | {"subject": {"display": "Ada"}}
    allowed = await client.post("/Observation", json=observation(world.ada), headers=as_ada)
    assert allowed.status_code == 201
    for refused in (
        observation(world.ben),
        observation(world.ada, world.ben),
        nobody,
        {"resourceType": "Patient"},
        {"resourceType": "Device"},
        observation(world.ada) | {"focus": [{"reference": f"http://fhir.test/fhir/Patient/{world.ben}"}]},
    ):
        answer = await client.post(f"/{refused['resourceType']}", json=refused, headers=as_ada)
        assert answer.status_code == 403, refused


async def test_conditional_create_is_no_oracle(
    client: httpx.AsyncClient, world: World, confine: Callable[..., Any]
) -> None:
    condition = {"if-none-exist": f"subject=Patient/{world.ben}"}
    body = observation(world.ada)
    made = await client.post("/Observation", json=body, headers=confine(world.ada) | condition)
    assert made.status_code == 201
    only_create = confine(world.ada, permissions="c")
    assert (await client.post("/Observation", json=body, headers=only_create | condition)).status_code == 403


async def test_update_only_inside_the_own_compartment(
    client: httpx.AsyncClient, world: World, confine: Callable[..., Any]
) -> None:
    as_ada = confine(world.ada)
    mine, others = world.observations[world.ada], world.observations[world.ben]
    grab = observation(world.ada) | {"id": others}
    assert (await client.put(f"/Observation/{others}", json=grab, headers=as_ada)).status_code == 404
    assert (
        await client.put("/Observation/new", json=grab | {"id": "new"}, headers=as_ada)
    ).status_code == 404
    away = observation(world.ben) | {"id": mine}
    assert (await client.put(f"/Observation/{mine}", json=away, headers=as_ada)).status_code == 403
    stay = observation(world.ada) | {"id": mine}
    assert (await client.put(f"/Observation/{mine}", json=stay, headers=as_ada)).status_code == 200


@asked_in_turn(
    ("change", "status"),
    [
        pytest.param({"telecom": [{"system": "phone", "value": "+1"}]}, 200, id="what is not matched"),
        pytest.param({"identifier": [{"system": "urn:mrn", "value": "ada"}] * 2}, 200, id="the same twice"),
        pytest.param(
            {"identifier": [{"system": "urn:mrn", "value": v} for v in ("ada", "cy")]}, 403, id="one more"
        ),
        pytest.param({"identifier": []}, 403, id="none"),
        pytest.param({"birthDate": "1900-01-01"}, 403, id="birth date"),
        pytest.param({"birthDate": None}, 403, id="no birth date"),
        pytest.param({"gender": "male"}, 403, id="gender"),
        pytest.param({"name": [{"family": "Cy"}]}, 403, id="name"),
    ],
)
async def test_confined_caller_cannot_become_somebody_else(
    client: httpx.AsyncClient, confine: Callable[..., Any], change: dict[str, Any], status: int
) -> None:
    """Studies are linked by identifier: whoever writes another's into its own Patient gets its next study."""
    ada = {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:mrn", "value": "ada"}],
        "name": [{"family": "Ada"}],
        "birthDate": "1980-01-01",
    }
    ada["id"] = (await client.post("/Patient", json=ada)).json()["id"]
    changed = {name: value for name, value in (ada | change).items() if value}
    path = f"/Patient/{ada['id']}"
    answer = await client.put(path, json=changed, headers=confine(str(ada["id"])))
    assert answer.status_code == status, answer.text
    assert (await client.put(path, json=changed)).status_code == 200


async def test_versions_of_another_patient_stay_hidden(
    client: httpx.AsyncClient, world: World, confine: Callable[..., Any]
) -> None:
    moved = world.observations[world.ben]
    body = observation(world.ada) | {"id": moved}
    assert (await client.put(f"/Observation/{moved}", json=body)).status_code == 200
    as_ada, as_ben = confine(world.ada), confine(world.ben)
    assert (await client.get(f"/Observation/{moved}", headers=as_ada)).status_code == 200
    assert (await client.get(f"/Observation/{moved}/_history/1", headers=as_ada)).status_code == 404
    assert (await client.get(f"/Observation/{moved}/_history/2", headers=as_ada)).status_code == 200
    for version in ("", "/_history/1", "/_history/2"):
        assert (await client.get(f"/Observation/{moved}{version}", headers=as_ben)).status_code == 404


async def test_included_types_need_a_grant(
    client: httpx.AsyncClient, world: World, confine: Callable[..., Any]
) -> None:
    reports_only = confine(world.ada, resource_type="DiagnosticReport")
    answer = await client.get(
        "/DiagnosticReport?_include=DiagnosticReport:result&_include=*", headers=reports_only
    )
    assert [e["resource"]["resourceType"] for e in answer.json()["entry"]] == ["DiagnosticReport"]
    assert (await client.get("/Observation", headers=reports_only)).status_code == 403
    assert (await client.get(f"/Patient/{world.ada}", headers=reports_only)).status_code == 403


def device_of(patient: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"resourceType": "Device", "patient": patient, **more}


def bundle_of(*resources: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": f"urn:uuid:{n}", "resource": each} for n, each in enumerate(resources)],
    }


INLINE = {"resourceType": "Patient", "id": "p", "name": [{"family": SECRET}]}


def of_somebody(ada: str, ben: str) -> dict[str, dict[str, Any]]:
    """Resources of types outside R4's compartment definition that name more than Ada, or not by our id."""
    return {
        "another base": device_of({"reference": f"https://ehr.test/fhir/Patient/{ben}"}),
        "a fragment": device_of({"reference": f"Patient/{ben}#x"}),
        "a condition": device_of({"reference": "Patient?identifier=urn:mrn|ben"}),
        "a urn": device_of({"reference": "urn:uuid:7a1cb3ae-29b0-4a3b-8f8a-4b0d8e0a3c11"}),
        "an identifier": device_of({"type": "Patient", "identifier": {"value": SECRET}}),
        "a display": device_of({"display": SECRET}),
        "contained": device_of({"reference": "#p"}, contained=[INLINE]),
        "contained beside": {
            "resourceType": "Organization",
            "name": "x",
            "contained": [INLINE],
            "extension": [{"url": "http://example.org/beside", "valueReference": {"reference": "#p"}}],
        },
        "an extension": {
            "resourceType": "Practitioner",
            "extension": [{"url": "http://x.test", "valueReference": {"reference": f"http://x.test/Patient/{ben}"}}],
        },
        "two in a bundle": bundle_of(observation(ada), observation(ben)),
        "a bundle with a patient": bundle_of(observation(ada), {**INLINE, "id": ben}),
        "a bundle with a nameless patient": bundle_of(observation(ada), {"resourceType": "Patient"}),
    }  # fmt: skip


@asked_in_turn("case", of_somebody("a", "b"))
async def test_what_names_somebody_else_is_nobodys(
    client: httpx.AsyncClient,
    world: World,
    confine: Callable[..., Any],
    create: Callable[..., Any],
    case: str,
) -> None:
    resource = of_somebody(world.ada, world.ben)[case]
    path = f"/{resource['resourceType']}/{await create(resource)}"
    assert (await client.get(path)).status_code == 200
    for patient in (world.ada, world.ben):
        for form in (path, f"{path}/_history/1"):
            assert (await client.get(form, headers=confine(patient))).status_code == 404
        answer = await client.post(f"/{resource['resourceType']}", json=resource, headers=confine(patient))
        assert answer.status_code == 403
    assert (await client.put(path, json=resource | {"id": path.rpartition("/")[2]})).status_code == 200
    assert (await client.get(f"{path}/_history/1", headers=confine(world.ada))).status_code == 404


async def test_what_names_one_patient_is_that_patients(
    client: httpx.AsyncClient, world: World, confine: Callable[..., Any], create: Callable[..., Any]
) -> None:
    whole = bundle_of({"resourceType": "Patient", "id": world.ada}, observation(world.ada))
    for resource in (whole, device_of({"reference": f"Patient/{world.ada}"})):
        path = f"/{resource['resourceType']}/{await create(resource)}"
        assert (await client.get(path, headers=confine(world.ada))).status_code == 200
        assert (await client.get(path, headers=confine(world.ben))).status_code == 404


def of_two(one: str, other: str) -> dict[str, dict[str, Any]]:
    """Resources that R4 puts into the compartment of `one`, or of both, and that name `other` too."""
    mine, others = {"reference": f"Patient/{one}"}, {"reference": f"Patient/{other}"}
    final = {"status": "final", "code": {"text": SECRET}}
    agent = {"who": others}
    return {
        "performer": {"resourceType": "Observation", **final, "subject": others, "performer": [mine]},
        "focus": {"resourceType": "Observation", **final, "subject": mine, "focus": [others]},
        "extension": {
            "resourceType": "Condition",
            "subject": mine,
            "extension": [{"url": "http://x.test", "valueReference": others}],
        },
        "account": {"resourceType": "Account", "status": "active", "subject": [mine, others]},
        "appointment": {
            "resourceType": "Appointment",
            "status": "proposed",
            "participant": [{"actor": each, "status": "accepted"} for each in (mine, others)],
        },
        "provenance": {
            "resourceType": "Provenance",
            "target": [mine],
            "recorded": "2026-01-01T00:00:00Z",
            "agent": [agent],
        },
        "schedule": {"resourceType": "Schedule", "actor": [mine, others]},
        "task": {
            "resourceType": "Task",
            "status": "draft",
            "intent": "order",
            "owner": mine,
            "for": others,
        },
        "list": {
            "resourceType": "List",
            "status": "current",
            "mode": "working",
            "subject": mine,
            "entry": [{"item": others}],
        },
        "group": {
            "resourceType": "Group",
            "type": "person",
            "actual": True,
            "member": [{"entity": each} for each in (mine, others)],
        },
        "communication": {
            "resourceType": "Communication",
            "status": "completed",
            "recipient": [mine, {"reference": "#p"}],
            "contained": [INLINE],
        },
        "bundle": bundle_of(observation(one), observation(other)),
    }


@asked_in_turn("case", of_two("a", "b"))
async def test_what_names_two_patients_needs_both(
    client: httpx.AsyncClient,
    world: World,
    confine: Callable[..., Any],
    create: Callable[..., Any],
    case: str,
) -> None:
    resource = of_two(world.ada, world.ben)[case]
    resource_type, one = resource["resourceType"], await create(resource)
    path = f"/{resource_type}/{one}"
    both = 404 if case == "communication" else 200  # the contained Patient is nobody that we know
    for patients, status in (((world.ada,), 404), ((world.ben,), 404), ((world.ada, world.ben), both)):
        headers = confine(*patients)
        for form in (path, f"{path}/_history/1"):
            assert (await client.get(form, headers=headers)).status_code == status, patients
        for search in (f"_id={one}", f"_id={one}&_total=accurate", f"_id={one}&_summary=count"):
            found = (await client.get(f"/{resource_type}?{search}", headers=headers)).json()
            assert found["total"] == (status == 200), search
        pulled = await client.get(f"/Patient?_revinclude={resource_type}:*", headers=headers)
        assert (one in pulled.text) <= (status == 200)
    assert (await client.get(path)).status_code == 200
    assert (await client.put(path, json=resource | {"id": one})).status_code == 200
    for patients in ((world.ada,), (world.ben,)):
        assert (await client.get(f"{path}/_history/1", headers=confine(*patients))).status_code == 404


async def test_included_resources_of_two_patients_need_both(
    client: httpx.AsyncClient, world: World, confine: Callable[..., Any], create: Callable[..., Any]
) -> None:
    shared = await create(of_two(world.ada, world.ben)["performer"])
    report = {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": {"text": "r"},
        "subject": {"reference": f"Patient/{world.ada}"},
        "result": [{"reference": f"Observation/{shared}"}],
    }
    path = f"/DiagnosticReport?_id={await create(report)}&_include=DiagnosticReport:result"
    for patients, included in (((world.ada,), False), ((world.ada, world.ben), True)):
        entries = (await client.get(path, headers=confine(*patients))).json()["entry"]
        assert (shared in [e["resource"]["id"] for e in entries]) is included
    pulled = await client.get("/Patient?_revinclude=Observation:performer", headers=confine(world.ada))
    assert shared not in pulled.text


async def test_own_patient_stays_open_whomever_it_links_to(
    client: httpx.AsyncClient, world: World, confine: Callable[..., Any], create: Callable[..., Any]
) -> None:
    link = {"other": {"reference": f"Patient/{world.ben}"}, "type": "seealso"}
    one = await create({"resourceType": "Patient", "link": [link]})
    assert (await client.get(f"/Patient/{one}", headers=confine(one))).status_code == 200
    assert (await client.get(f"/Patient/{one}", headers=confine(world.ben))).status_code == 404


async def test_resource_of_very_many_patients_is_nobodys(
    client: httpx.AsyncClient, confine: Callable[..., Any], create: Callable[..., Any]
) -> None:
    many = [f"p{n}" for n in range(MAX_PATIENTS + 1)]
    for members, status in ((many, 404), (many[1:], 200)):
        entities = [{"entity": {"reference": f"Patient/{each}"}} for each in members]
        group = {"resourceType": "Group", "type": "person", "actual": True, "member": entities}
        path = f"/Group/{await create(group)}"
        assert (await client.get(path, headers=confine(*many))).status_code == status


async def test_confined_caller_writes_nothing_that_is_nobodys(
    client: httpx.AsyncClient, create: Callable[..., Any], confine: Callable[..., Any]
) -> None:
    """Not by naming its own patient in it either: that would take it from all others."""
    ada = await create({"resourceType": "Patient"})
    doctor = await create({"resourceType": "Practitioner", "name": [{"family": "Doctor"}]})
    as_ada, path = confine(ada), f"/Practitioner/{doctor}"
    mine = [{"url": "http://x", "valueReference": {"reference": f"Patient/{ada}"}}]
    grab = {"resourceType": "Practitioner", "id": doctor, "extension": mine}
    patch = {"content-type": "application/json-patch+json"}
    add = [{"op": "add", "path": "/extension", "value": mine}]
    tag = {"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}
    answers = [
        await client.put(path, json=grab, headers=as_ada),
        await client.put(f"/Practitioner?_id={doctor}", json=grab, headers=as_ada),
        await client.patch(path, json=add, headers=as_ada | patch),
        await client.delete(path, headers=as_ada),
        await client.delete(f"/Practitioner?_id={doctor}", headers=as_ada),
        await client.post(
            f"{path}/$meta-add", json={"resourceType": "Parameters", "parameter": [tag]}, headers=as_ada
        ),
    ]
    assert [answer.status_code for answer in answers] == [403] * len(answers)
    seen = await client.get(path, headers=as_ada)
    assert (seen.status_code, seen.headers["etag"]) == (200, 'W/"1"')


async def test_patch_shows_nothing_to_who_may_not_read(
    client: httpx.AsyncClient, create: Callable[..., Any], confine: Callable[..., Any]
) -> None:
    ada = await create({"resourceType": "Patient", "name": [{"family": SECRET}]})
    patch = {"content-type": "application/json-patch+json"}
    answer = await client.patch(f"/Patient/{ada}", json=[], headers=confine(ada, permissions="u") | patch)
    assert (answer.status_code, answer.text) == (200, "")
    answer = await client.patch(f"/Patient/{ada}", json=[], headers=confine(ada, permissions="ru") | patch)
    assert SECRET in answer.text


async def test_terminology_operations(
    client: httpx.AsyncClient, world: World, create: Callable[..., Any], confine: Callable[..., Any]
) -> None:
    of_ben = {"url": "http://example.org/of", "valueReference": {"reference": f"Patient/{world.ben}"}}
    url, as_ada = "http://example.org/secret", confine(world.ada)
    concept = [{"code": "x", "display": SECRET}]
    definition = {"url": url, "status": "active", "extension": [of_ben]}
    system = await create(
        {"resourceType": "CodeSystem", "content": "complete", "concept": concept, **definition}
    )
    include = [{"system": url}]
    value_set = await create({"resourceType": "ValueSet", "compose": {"include": include}, **definition})
    for path in (
        f"/CodeSystem/$lookup?system={url}&code=x",
        f"/CodeSystem/{system}/$subsumes?codeA=x&codeB=x",
        f"/CodeSystem/{system}/$validate-code?code=x",
        f"/ValueSet/$expand?url={url}",
        f"/ValueSet/{value_set}/$expand",
        f"/ValueSet/{value_set}/$validate-code?system={url}&code=x",
        f"/ConceptMap/$translate?url={url}&system={url}&code=x",
        f"/Observation?code:in={url}",
        f"/Observation?code:in=ValueSet/{value_set}",
    ):
        answer = await client.get(path, headers=as_ada)
        assert (answer.status_code in (400, 404), SECRET in answer.text) == (True, False), path
    listed = await client.get("/metadata?mode=terminology", headers=as_ada)
    assert url not in listed.text
