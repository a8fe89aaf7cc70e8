"""A clinician's token with a patient in context: each type by its own scope (SMART App Launch 2.2, Scopes).

`patient/` scopes reach the launch patient, `user/` scopes beside them as far as the clinician; neither lends
its reach to the other, by whatever route.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import select

from server.kernel.access import Access, Context
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.tables import AuditRow
from tests.unit.fhir_door.conftest import access, grant

MIXED = {"x-rights": "mixed"}
GRANTS = (
    grant("Observation", "cruds", Context.PATIENT),
    grant("Patient", "rs", Context.USER),
    grant("DiagnosticReport", "rs", Context.USER),
    grant("Condition", "cruds", Context.USER),
)

Ids = dict[str, str]  # what is stored, by the names of these tests


@pytest.fixture
async def stored(create: Callable[..., Any], rights: dict[str, Access]) -> Ids:
    ids = {name: await create({"resourceType": "Patient", "name": [{"family": name}]}) for name in "ab"}
    for name in "ab":
        ids[f"observation-{name}"] = await create(of_patient("Observation", ids[name]))
        ids[f"condition-{name}"] = await create(of_patient("Condition", ids[name]))
    results = [{"reference": f"Observation/{ids[f'observation-{name}']}"} for name in "ab"]
    for name, result in (("a", results), ("b", results[1:])):
        ids[f"report-{name}"] = await create(of_patient("DiagnosticReport", ids[name]) | {"result": result})
    mixed = access("mixed", *GRANTS, patients=frozenset({ids["a"]}))
    rights["mixed"] = replace(mixed, is_confined=False)
    rights["confined"] = replace(rights["mixed"], is_confined=True)
    return ids


def of_patient(resource_type: str, patient: str) -> dict[str, Any]:
    status = {} if resource_type == "Condition" else {"status": "final"}
    subject = {"reference": f"Patient/{patient}"}
    return {"resourceType": resource_type, "code": {"text": "x"}, "subject": subject, **status}


def named(bundle: dict[str, Any], stored: Ids) -> set[str]:
    """What a Bundle holds, by the names of these tests."""
    names = {value: name for name, value in stored.items()}
    return {names[entry["resource"]["id"]] for entry in bundle.get("entry", ())}


BOTH = {"a", "b"}
REPORTS = {"report-a", "report-b"}
EACH_OTHER = {"condition-a", "condition-b", *BOTH, *REPORTS}


FOUND: list[tuple[str, set[str]]] = [
    ("Observation", {"observation-a"}),
    ("Observation?_sort=-_lastUpdated&_total=accurate", {"observation-a"}),
    ("Observation?subject=Patient/{b}", set()),
    ("Observation?subject:Patient.name=b", set()),
    ("Observation?_filter=subject.name eq b", set()),
    ("Patient/{b}/Observation", set()),
    ("Patient", BOTH),
    ("Patient?name=b", {"b"}),
    ("Patient/{b}/DiagnosticReport", {"report-b"}),
    ("Patient?_has:Observation:subject:status=final", {"a"}),
    ("Patient?_has:DiagnosticReport:subject:status=final", BOTH),
    ("Condition?subject:Patient._has:Observation:subject:status=final", {"condition-a"}),
    ("DiagnosticReport?result.status=final", {"report-a"}),
    ("DiagnosticReport?result:Observation.subject:Patient.name=b", set()),
    ("DiagnosticReport?_include=DiagnosticReport:result", {*REPORTS, "observation-a"}),
    ("DiagnosticReport?_include=*&_include:iterate=*", {*REPORTS, *BOTH, "observation-a"}),
    ("Patient?_revinclude=Observation:subject", {*BOTH, "observation-a"}),
    ("Patient?_revinclude=Condition:subject", {*BOTH, "condition-a", "condition-b"}),
    ("?_type=Observation,Patient", {*BOTH, "observation-a"}),
    ("?_lastUpdated=gt2000", {*EACH_OTHER, "observation-a"}),
    ("Patient/{a}/*?_lastUpdated=gt2000", {"a", "observation-a", "condition-a", "report-a"}),
    ("Patient/{b}/$everything", {"b", "condition-b", "report-b"}),
    ("Patient/{a}/$everything", {"a", "observation-a", "condition-a", "report-a"}),
    ("Patient/$everything", {*EACH_OTHER, "observation-a"}),
    ("Observation/$lastn?patient=Patient/{b}&code:text=x", set()),
    ("_history", {*EACH_OTHER, "observation-a"}),
    ("Observation/_history", {"observation-a"}),
    ("Condition/_history", {"condition-a", "condition-b"}),
    ("Condition/{condition-b}/_history", {"condition-b"}),
]


async def test_each_type_by_its_own_scope(client: httpx.AsyncClient, stored: Ids) -> None:
    for path, found in FOUND:
        answer = await client.get(f"/{path.format(**stored)}", headers=MIXED)
        assert answer.status_code == 200, (path, answer.text)
        assert named(answer.json(), stored) == found, path
        if "_total" in path:
            assert answer.json()["total"] == len(found)


async def test_counts_are_of_what_each_scope_opens(client: httpx.AsyncClient, stored: Ids) -> None:
    counts = {"Observation": 1, "Patient": 2, "DiagnosticReport": 2}
    for name, count in counts.items():
        answer = await client.get(f"/{name}?_summary=count", headers=MIXED)
        assert answer.json()["total"] == count, name
    some = await client.get("/?_type=Observation,Patient&_summary=count", headers=MIXED)
    assert some.json()["total"] == 3


READ = [
    ("Observation/{observation-a}", 200),
    ("Observation/{observation-b}", 404),
    ("Observation/{observation-b}/_history/1", 404),
    ("Observation/{observation-b}/_history", 404),
    ("Patient/{b}", 200),
    ("Condition/{condition-b}/_history/1", 200),
    ("Encounter", 403),
]


async def test_reads_alone_and_in_a_batch(client: httpx.AsyncClient, stored: Ids) -> None:
    asked = [(path.format(**stored), status) for path, status in READ]
    for path, status in asked:
        assert (await client.get(f"/{path}", headers=MIXED)).status_code == status, path
    entries = [{"request": {"method": "GET", "url": path}} for path, _ in asked]
    batch = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    answer = (await client.post("", json=batch, headers=MIXED)).json()
    assert [each["response"]["status"][:3] for each in answer["entry"]] == [str(each) for _, each in asked]


WRITTEN = [
    ("Observation", "a", 201),
    ("Observation", "b", 403),
    ("Condition", "b", 201),
    ("Patient", "a", 403),
]


async def test_writes_alone_and_in_bundles(client: httpx.AsyncClient, stored: Ids) -> None:
    for resource_type, whose, status in WRITTEN:
        resource = of_patient(resource_type, stored[whose])
        if resource_type == "Patient":
            resource = {"resourceType": "Patient"}
        answer = await client.post(f"/{resource_type}", json=resource, headers=MIXED)
        assert answer.status_code == status, resource_type
        entry = {"resource": resource, "request": {"method": "POST", "url": resource_type}}
        bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
        batch = (await client.post("", json=bundle, headers=MIXED)).json()
        assert batch["entry"][0]["response"]["status"].startswith(str(status))
        whole = await client.post("", json=bundle | {"type": "transaction"}, headers=MIXED)
        assert whole.status_code == (200 if status == 201 else status)


async def test_changes_stay_within_the_scope_that_changes(client: httpx.AsyncClient, stored: Ids) -> None:
    patch = MIXED | {"content-type": "application/json-patch+json"}
    of_ben = f"/Observation/{stored['observation-b']}"
    body = of_patient("Observation", stored["a"]) | {"id": stored["observation-b"]}
    assert (await client.put(of_ben, json=body, headers=MIXED)).status_code == 404
    assert (await client.patch(of_ben, json=[], headers=patch)).status_code == 404
    assert (await client.delete(of_ben, headers=MIXED)).status_code == 204
    assert (await client.get(of_ben)).headers["etag"] == 'W/"1"'
    away = of_patient("Observation", stored["b"]) | {"id": stored["observation-a"]}
    mine = f"/Observation/{stored['observation-a']}"
    assert (await client.put(mine, json=away, headers=MIXED)).status_code == 403
    condition = f"/Condition/{stored['condition-b']}"
    assert (await client.patch(condition, json=[], headers=patch)).status_code == 200
    assert (await client.delete(condition, headers=MIXED)).status_code == 204
    assert (await client.get(condition)).status_code == 410


async def test_page_token_is_bound_to_the_reach(client: httpx.AsyncClient, stored: Ids) -> None:
    first = await client.get("/Patient?_count=1", headers=MIXED)
    link = next(each["url"] for each in first.json()["link"] if each["relation"] == "next")
    path = f"/Patient?{urlsplit(link).query}"
    assert named((await client.get(path, headers=MIXED)).json(), stored) <= BOTH
    confined = await client.get(path, headers={"x-rights": "confined"})
    assert confined.status_code == 400


async def test_audit_names_the_patient_where_the_scope_is_confined(
    client: httpx.AsyncClient, stored: Ids, services: Services
) -> None:
    paths = ("Observation", "Patient", "Observation/_history", "Condition/_history")
    for path in paths:
        assert (await client.get(f"/{path}", headers=MIXED)).status_code == 200
    record = table_of(AuditRow)
    query = select(record.c.patient_id).where(record.c.principal == "client:mixed")
    async with services.database.read() as connection:
        told = (await connection.execute(query.order_by(record.c.sequence))).scalars().all()
    assert told == [stored["a"], None, stored["a"], None]
