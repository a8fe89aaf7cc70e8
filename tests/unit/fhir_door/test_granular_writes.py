"""Writes by granular scopes: what is stored and what is to be stored both match the criteria.

SMART App Launch 2.2, Finer-grained resource constraints using search parameters.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from server.kernel.access import Access, Context, Denials, Grant, Permission
from server.kernel.clock import now_us
from tests.services.consents import consent, label, provision
from tests.unit.fhir_door.conftest import access
from tests.unit.fhir_door.test_granular_scopes import LAB, SYSTEM, VITAL
from tests.unit.fhir_door.test_mixed_tokens import Ids, named, of_patient

PATCH = {"content-type": "application/json-patch+json"}
KEPT = (("_tag", "kept"),)
PUMP = (("type", "pump"),)
ACTIVE = (("status", "active"),)


def opens(permissions: str, criteria: Any, resource_type: str = "Observation", **more: Any) -> Grant:
    context = more.get("context", Context.PATIENT)
    return Grant(context, resource_type, frozenset(map(Permission, permissions)), criteria)


def of_category(patient: str, *codes: str, **more: Any) -> dict[str, Any]:
    coded = [{"coding": [{"system": SYSTEM, "code": code}]} for code in codes]
    return of_patient("Observation", patient) | ({"category": coded} if codes else {}) | more


@pytest.fixture
async def stored(create: Callable[..., Any], rights: dict[str, Access]) -> Ids:
    ids = {name: await create({"resourceType": "Patient", "name": [{"family": name}]}) for name in "ab"}
    for name in "ab":
        for code in ("laboratory", "vital-signs"):
            ids[f"{code[:3]}-{name}"] = await create(of_category(ids[name], code))
    kept = {"meta": {"tag": [{"code": "kept"}]}}
    ids["kept"] = await create(of_category(ids["a"], "survey", **kept))
    for kind in ("pump", "lamp"):
        ids[kind] = await create({"resourceType": "Device", "type": {"coding": [{"code": kind}]}})
    user = {"context": Context.USER}
    for who, grants, is_confined in (
        ("writer", [opens("cruds", LAB)], True),
        ("blind", [opens("u", LAB), opens("rs", VITAL)], True),
        ("tagger", [opens("rus", KEPT)], True),
        ("doctor", [opens("cruds", LAB, **user), opens("cruds", VITAL)], False),
        ("patcher", [opens("u", (), **user), opens("rs", ())], False),
        ("keeper", [opens("crud", PUMP, "Device", **user), opens("crud", (), "Device")], False),
        ("owner", [opens("crud", PUMP, "Device"), opens("crud", ACTIVE, "Subscription")], True),
    ):
        made = access(who, *grants, patients=frozenset({ids["a"]}))
        rights[who] = Access(made.principal, made.grants, made.patient_ids, is_confined=is_confined)
    return ids


CREATED = [
    ("writer", "a", ["laboratory"], 201),
    ("writer", "a", ["vital-signs", "laboratory"], 201),
    ("writer", "a", ["vital-signs"], 403),
    ("writer", "a", [], 403),
    ("writer", "b", ["laboratory"], 403),
    ("blind", "a", ["laboratory"], 403),
    ("doctor", "b", ["laboratory"], 201),
    ("doctor", "b", ["vital-signs"], 403),
    ("doctor", "a", ["vital-signs"], 201),
]


async def test_create_of_what_matches(client: httpx.AsyncClient, stored: Ids) -> None:
    """Alone, in a batch, and in a transaction, which nothing is left of when one entry is refused."""
    for who, whose, codes, status in CREATED:
        headers, body = {"x-rights": who}, of_category(stored[whose], *codes)
        case = (who, whose, codes)
        before = (await client.get("/Observation?_summary=count")).json()["total"]
        assert (await client.post("/Observation", json=body, headers=headers)).status_code == status, case
        entry = {"resource": body, "request": {"method": "POST", "url": "Observation"}}
        own = {**entry, "resource": of_category(stored["a"], "laboratory")}
        bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
        batch = (await client.post("", json=bundle, headers=headers)).json()
        assert batch["entry"][0]["response"]["status"][:3] == str(status), case
        whole = bundle | {"type": "transaction", "entry": [own, entry]}
        answer = await client.post("", json=whole, headers=headers)
        assert answer.status_code == (200 if status == 201 else status), case
        after = (await client.get("/Observation?_summary=count")).json()["total"]
        assert after - before == (4 if status == 201 else 0), case
    await nobodys_are_written_by_criteria_beyond_a_record_only(client, stored)


# Who, what is stored, what it is to become ("": a patch that changes nothing), the answer.
CHANGED = [
    ("writer", "lab-a", ["laboratory", "vital-signs"], 200),
    ("writer", "lab-a", ["laboratory"], 200),
    ("writer", "lab-a", ["vital-signs"], 403),
    ("writer", "lab-a", [], 403),
    ("writer", "vit-a", ["laboratory"], 404),
    ("writer", "vit-a", ["vital-signs"], 404),
    ("writer", "lab-b", ["laboratory"], 404),
    ("blind", "lab-a", ["laboratory"], 200),
    ("blind", "lab-a", ["vital-signs"], 403),
    ("blind", "vit-a", ["laboratory"], 404),
    ("doctor", "lab-b", ["laboratory"], 200),
    ("doctor", "lab-b", ["vital-signs"], 403),
    ("doctor", "vit-b", ["laboratory"], 404),
    ("doctor", "vit-a", ["vital-signs"], 200),
]


async def test_update_of_what_matches_to_what_matches(
    client: httpx.AsyncClient, stored: Ids, rights: dict[str, Access]
) -> None:
    for who, name, codes, status in CHANGED:
        headers, path = {"x-rights": who}, f"/Observation/{stored[name]}"
        body = of_category(stored[name[-1]], *codes) | {"id": stored[name]}
        change = [{"op": "add", "path": "/category", "value": body.get("category", [])}]
        change = change if codes else [{"op": "remove", "path": "/category"}]
        before = (await client.get(path)).headers["etag"]
        case = (who, name, codes)
        assert (await client.put(path, json=body, headers=headers)).status_code == status, case
        assert (await client.patch(path, json=change, headers=headers | PATCH)).status_code == status, case
        assert (before == (await client.get(path)).headers["etag"]) == (status != 200), case
    await tells_own_words_only(client, stored)
    await what_is_denied_from_now_on_matches(client, stored, rights)


async def what_is_denied_from_now_on_matches(
    client: httpx.AsyncClient, stored: Ids, rights: dict[str, Access]
) -> None:
    """As by a scope without criteria: what a write makes of a resource may close it."""
    denials = Denials(frozenset(), frozenset({"access"}), now_us())
    rights["denied"] = replace(rights["writer"], denials=denials)
    denial = consent(stored["a"], provision("deny", label="R")) | {"id": "denial"}
    assert (await client.put("/Consent/denial", json=denial)).status_code == 201
    path, headers = f"/Observation/{stored['lab-a']}", {"x-rights": "denied"}
    labelled = of_category(stored["a"], "laboratory", id=stored["lab-a"], meta={"security": [label("R")]})
    for status in (200, 404):
        assert (await client.put(path, json=labelled, headers=headers)).status_code == status
    assert (await client.delete("/Consent/denial")).status_code == 204


async def tells_own_words_only(client: httpx.AsyncClient, stored: Ids) -> None:
    blind = {"x-rights": "blind"}
    path = f"/Observation/{stored['lab-a']}"
    body = of_category(stored["a"], "laboratory") | {"id": stored["lab-a"]}
    assert (await client.put(path, json=body, headers=blind)).json()["category"] == body["category"]
    assert (await client.patch(path, json=[], headers=blind | PATCH)).text == ""
    both = of_category(stored["a"], "laboratory", "vital-signs") | {"id": stored["lab-a"]}
    assert (await client.put(path, json=both)).status_code == 200
    assert stored["lab-a"] in (await client.patch(path, json=[], headers=blind | PATCH)).text
    for name, shown in (("lab-a", True), ("lab-b", False)):  # updates everyone's, reads one record
        path = f"/Observation/{stored[name]}"
        answer = await client.patch(path, json=[], headers={"x-rights": "patcher"} | PATCH)
        assert (answer.status_code, stored[name] in answer.text) == (200, shown), name


async def deletes_what_matches(client: httpx.AsyncClient, stored: Ids) -> None:
    writer, doctor = {"x-rights": "writer"}, {"x-rights": "doctor"}
    for headers, name, status in (
        (writer, "vit-a", 200),
        (writer, "lab-b", 200),
        (doctor, "vit-b", 200),
        (writer, "lab-a", 410),
        (doctor, "lab-b", 410),
    ):
        path = f"/Observation/{stored[name]}"
        assert (await client.delete(path, headers=headers)).status_code == 204, name
        assert (await client.get(path)).status_code == status, name
    again = of_category(stored["a"], "laboratory") | {"id": stored["lab-a"]}  # what is gone matches nothing
    answer = await client.put(f"/Observation/{stored['lab-a']}", json=again, headers=writer)
    assert answer.status_code == 404


async def test_conditions_find_what_matches(client: httpx.AsyncClient, stored: Ids) -> None:
    writer = {"x-rights": "writer"}
    lab, vital = (of_category(stored["a"], code) for code in ("laboratory", "vital-signs"))
    found = await client.post(
        "/Observation", json=lab, headers=writer | {"if-none-exist": f"patient={stored['a']}"}
    )
    assert (found.status_code, found.json()["id"]) == (200, stored["lab-a"])
    hidden = f"category=vital-signs&patient={stored['a']}"
    for method, body, status in (("put", lab, 201), ("put", vital, 403), ("patch", [], 404)):
        headers = writer | (PATCH if method == "patch" else {})
        answer = await client.request(method, f"/Observation?{hidden}", json=body, headers=headers)
        assert answer.status_code == status, (method, answer.text)
    made = await client.post("/Observation", json=lab, headers=writer | {"if-none-exist": hidden})
    assert made.status_code == 201
    assert (await client.delete(f"/Observation?{hidden}", headers=writer)).status_code == 204
    left = await client.get(f"/Observation?{hidden}")
    assert named(left.json(), stored) == {"vit-a"}
    await meta_cannot_leave_the_criteria(client, stored)
    await deletes_what_matches(client, stored)


async def meta_cannot_leave_the_criteria(client: httpx.AsyncClient, stored: Ids) -> None:
    tagger = {"x-rights": "tagger"}
    for name, operation, tag, status in (
        ("kept", "add", "more", 200),
        ("kept", "delete", "kept", 403),
        ("lab-a", "add", "kept", 404),
        ("kept", "delete", "more", 200),
    ):
        asked = {"name": "meta", "valueMeta": {"tag": [{"code": tag}]}}
        body = {"resourceType": "Parameters", "parameter": [asked]}
        answer = await client.post(
            f"/Observation/{stored[name]}/$meta-{operation}", json=body, headers=tagger
        )
        assert answer.status_code == status, (name, operation, tag)


async def nobodys_are_written_by_criteria_beyond_a_record_only(
    client: httpx.AsyncClient, stored: Ids
) -> None:
    for who, kind, status in (
        ("keeper", "pump", (201, 200)),
        ("keeper", "lamp", (403, 403)),
        ("owner", "pump", (403, 403)),
        ("owner", "lamp", (403, 404)),
    ):
        device = {"resourceType": "Device", "type": {"coding": [{"code": kind}]}}
        headers = {"x-rights": who}
        made = await client.post("/Device", json=device, headers=headers)
        path = f"/Device/{stored[kind]}"
        changed = await client.put(path, json=device | {"id": stored[kind]}, headers=headers)
        assert (made.status_code, changed.status_code) == status, (who, kind)
    subscription = {
        "resourceType": "Subscription",
        "status": "active",
        "reason": "x",
        "criteria": "Observation",
        "channel": {"type": "rest-hook", "endpoint": "https://x.test"},
    }
    refused = await client.post("/Subscription", json=subscription, headers={"x-rights": "owner"})
    assert refused.status_code == 403
