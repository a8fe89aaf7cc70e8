"""Every interaction and operation, by every kind of caller who has one patient in context (DESIGN §8).

What a caller may reach is in other tests of this folder; here, that nothing of the other patient is told. A
new operation fails until it has a line.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from fhir.operations import OPERATIONS
from server.kernel.access import Access, Context, Denials, Grant, Permission
from server.kernel.clock import now_us
from server.workflows.verify.operation import VERIFY_OPERATIONS
from tests.services.consents import consent
from tests.unit.fhir_door.conftest import access, grant
from tests.unit.fhir_door.test_mixed_tokens import Ids, of_patient

SECRET = "Hidden"
JSON_PATCH = {"content-type": "application/json-patch+json"}

# Operation -> how it is asked of the other patient; None: it has a test of its own, or tells of nobody.
OPERATION: dict[str, str | None] = {
    "everything": "Patient/{ben}/$everything",
    "lastn": "Observation/$lastn?patient={ben}&code:text=Hidden",
    "meta": "Patient/{ben}/$meta",
    "meta-add": "Patient/{ben}/$meta-add",
    "meta-delete": "Patient/{ben}/$meta-delete",
    "validate": "Patient/{ben}/$validate",
    **dict.fromkeys(("lookup", "subsumes", "validate-code", "batch-validate-code", "expand", "translate")),
    "verify": None,  # tests/conformance/fhir_r4/test_operation_verify.py
    "versions": None,
}
NOTHING = [  # what answers with no resource, whatever else it says
    "Patient/{ben}",
    "Patient/{ben}/_history/1",
    "Patient/{ben}/_history",
    "Observation/{observation}",
    "Observation/{observation}/_history/1",
    "Observation/{unassigned}",
    "Encounter/{encounter}/$everything",
    "Patient?_id={ben}",
    "Patient?name=Hid",
    "Patient?_filter=name co hidd",
    "Patient/{ben}/*?_lastUpdated=gt2000",
    "Patient/{ben}/Observation",
    "Observation?subject=Patient/{ben}",
    "Observation?subject:Patient.name=Hidden",
    "Observation?encounter={encounter}&_total=accurate",
    "Observation?patient={ben}&_summary=count",
    "Patient?_has:Observation:subject:code:text=Hidden",
    "Patient?_has:Observation:subject:encounter={encounter}",
    "DiagnosticReport?result.encounter={encounter}",
    "Observation?_has:DiagnosticReport:result:subject=Patient/{ben}",
    "?_type=Observation,Patient&_id={ben},{observation}",
]
OF_MANY = [  # what may answer with the caller's own
    "_history",
    "Patient/_history",
    "Observation/_history",
    "Observation?_sort=-_lastUpdated&_total=accurate",
    "Patient?_revinclude=Observation:subject&_revinclude:iterate=DiagnosticReport:result",
    "DiagnosticReport?result={observation}&_include=DiagnosticReport:result",
    "DiagnosticReport?_include=*&_include:iterate=*",
    "Patient/$everything",
    "$meta",
]


@pytest.fixture
async def stored(create: Callable[..., Any], rights: dict[str, Access]) -> Ids:
    ids: Ids = {}
    for name, family in (("ada", "Ada"), ("ben", SECRET)):
        ids[name] = await create({"resourceType": "Patient", "name": [{"family": family}]})
    visit = {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}}
    ids["encounter"] = await create(visit | {"subject": {"reference": f"Patient/{ids['ben']}"}})
    seen = {"code": {"text": SECRET}, "encounter": {"reference": f"Encounter/{ids['encounter']}"}}
    tagged = {"meta": {"tag": [{"code": SECRET}]}}
    ids["observation"] = await create(of_patient("Observation", ids["ben"]) | seen | tagged)
    ids["own"] = await create(of_patient("Observation", ids["ada"]))
    result = [{"reference": f"Observation/{ids[name]}"} for name in ("own", "observation")]
    for name, whose in (("report", "ada"), ("their report", "ben")):
        ids[name] = await create(of_patient("DiagnosticReport", ids[whose]) | {"result": result})
    ids["unassigned"] = await create(
        {"resourceType": "Observation", "status": "final", "code": {"text": SECRET}}
    )
    rights.update(callers(ids))
    return ids


def callers(ids: Ids) -> dict[str, Access]:
    """With one patient in context: by criteria also with what names the other."""
    ada = frozenset({ids["ada"]})
    every = [grant("*", "cruds", context) for context in Context]
    about_ben = [
        ("Patient", "_id", ids["ben"]),
        ("Observation", "subject", f"Patient/{ids['ben']}"),
        ("Encounter", "subject", f"Patient/{ids['ben']}"),
        ("DiagnosticReport", "subject", f"Patient/{ids['ben']}"),
    ]
    by_criteria = [
        Grant(context, name, frozenset(Permission), ((parameter, value),))
        for name, parameter, value in about_ben
        for context in Context
    ]
    clinician = access("clinician", grant("*", "cruds", Context.PATIENT), patients=ada)
    return {
        "token": access("token", *every, patients=ada),
        "patient": access("patient", *every[:2], patients=ada),
        "clinician": replace(clinician, is_confined=False),
        "granular": access("granular", *by_criteria, patients=ada),
    }


async def test_nothing_of_who_denies_it(
    client: httpx.AsyncClient, stored: Ids, rights: dict[str, Access], create: Callable[..., Any]
) -> None:
    """Whoever may see everybody, but for what Ben's Consent takes away; writes too."""
    await client.delete(f"/Observation/{stored['unassigned']}")  # is nobody's, and open
    at_us = now_us()
    denials = Denials(frozenset(), frozenset({"access"}), at_us)
    rights["denied"] = replace(access("denied", grant()), denials=denials)
    first = await client.get("/Patient?_count=1&_sort=-_id", headers={"x-rights": "denied"})
    further = next(each["url"] for each in first.json()["link"] if each["relation"] == "next")
    await create(consent(stored["ben"], base="OPTOUT"))
    headers = {"x-rights": "denied"}
    paged = (await client.get(further.replace("http://fhir.test/fhir", ""), headers=headers)).json()
    assert SECRET not in str(paged.get("entry"))
    paths = [
        each for each in (*NOTHING, *OF_MANY, *filter(None, OPERATION.values())) if "history" not in each
    ]
    asked = [path.format(**stored) for path in paths if "unassigned" not in path]
    entries = [{"request": {"method": "GET", "url": path}} for path in asked]
    batch = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    told = (await client.post("", json=batch, headers=headers)).json()["entry"]
    for path, entry in zip(asked, told, strict=True):
        status, body = int(entry["response"]["status"][:3]), entry.get("resource", {})
        empty = path in {each.format(**stored) for each in NOTHING}
        tells_nothing(status, body, stored, ("denied", path), empty=empty)
    for path in ("_history", "Patient/_history", "Observation/_history"):
        body = (await client.get(f"/{path}", headers=headers)).json()
        found = {each["fullUrl"].rpartition("/")[2] for each in body["entry"]}
        assert not found & {stored[name] for name in ("ben", "observation", "encounter")}
    theirs = f"Observation/{stored['observation']}"
    changed = of_patient("Observation", stored["ben"]) | {"id": stored["observation"]}
    for method, path, sent, status in (
        ("PUT", theirs, changed, 404),
        ("PUT", "Observation/not-there", changed | {"id": "not-there"}, 201),
        ("DELETE", theirs, None, 204),
        ("DELETE", f"Observation?subject=Patient/{stored['ben']}", None, 204),
    ):
        answer = await client.request(method, f"/{path}", json=sent, headers=headers)
        assert answer.status_code == status, (method, path)
    answer = await client.patch(f"/{theirs}", json=[], headers=headers | JSON_PATCH)
    assert answer.status_code == 404
    assert (await client.get(f"/{theirs}")).headers["etag"] == 'W/"1"'


def test_every_operation_has_a_line() -> None:
    assert set(OPERATION) == {each.name for each in (*OPERATIONS, *VERIFY_OPERATIONS)}


async def test_nothing_of_the_other_patient(client: httpx.AsyncClient, stored: Ids) -> None:
    """One caller asks for each alone, the others in a batch."""
    asked = [path.format(**stored) for path in (*NOTHING, *OF_MANY, *filter(None, OPERATION.values()))]
    nothing = len(NOTHING)
    for who in callers(stored):
        headers = {"x-rights": who}
        if who == "token":
            for at, path in enumerate(asked):
                if not path.endswith(("-add", "-delete")):
                    answer = await client.get(f"/{path}", headers=headers)
                    tells_nothing(answer.status_code, answer.json(), stored, (who, path), empty=at < nothing)
            continue
        entries = [{"request": {"method": "GET", "url": path}} for path in asked]
        batch = {"resourceType": "Bundle", "type": "batch", "entry": entries}
        for at, entry in enumerate((await client.post("", json=batch, headers=headers)).json()["entry"]):
            told = entry.get("resource", {})
            tells_nothing(
                int(entry["response"]["status"][:3]), told, stored, (who, asked[at]), empty=at < nothing
            )


def tells_nothing(status: int, told: dict[str, Any], stored: Ids, case: Any, *, empty: bool) -> None:
    assert status in (200, 403, 404, 405, 501) if told else status >= 400, (case, status)
    entries = told.get("entry", []) if told.get("resourceType") == "Bundle" else []
    if status == 200:
        assert told["resourceType"] in ("Bundle", "Parameters"), case
    assert not empty or (not entries and not told.get("total")), case
    found = {entry["fullUrl"].rpartition("/")[2] for entry in entries}
    assert not found & {
        stored[name] for name in ("ben", "observation", "unassigned", "encounter", "their report")
    }, case
    assert SECRET not in str(entries), case
    assert told.get("resourceType") == "Bundle" or SECRET not in str(told), case


async def test_nothing_of_the_other_patient_is_written(client: httpx.AsyncClient, stored: Ids) -> None:
    """Alone, in a batch, and in a transaction."""
    theirs = f"Observation/{stored['observation']}"
    about_ben = of_patient("Observation", stored["ben"])
    body = of_patient("Observation", stored["ada"])
    tag = {"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}
    add: dict[str, Any] = {"resourceType": "Parameters", "parameter": [tag]}
    written = [
        ("POST", "Observation", about_ben),
        ("PUT", theirs, body | {"id": stored["observation"]}),
        ("PUT", theirs, about_ben | {"id": stored["observation"]}),
        ("DELETE", theirs, None),
        ("DELETE", f"Observation?subject=Patient/{stored['ben']}", None),
        ("DELETE", f"Observation?_id={stored['observation']}", None),
    ]
    entries = [
        {"request": {"method": method, "url": path}, **({} if resource is None else {"resource": resource})}
        for method, path, resource in written
    ]
    for who in callers(stored):
        headers = {"x-rights": who}
        bundles = [("batch", entries), *(("transaction", [entry]) for entry in entries if who == "granular")]
        for kind, some in bundles:
            bundle = {"resourceType": "Bundle", "type": kind, "entry": some}
            await client.post("", json=bundle, headers=headers)
        for method, path, resource in written:
            answer = await client.request(method, f"/{path}", json=resource, headers=headers)
            assert answer.status_code in (204, 403, 404), (who, method, path)
        for path, more in ((f"/{theirs}", {}), (f"/Observation?subject=Patient/{stored['ben']}", {})):
            answer = await client.patch(path, json=[], headers=headers | JSON_PATCH | more)
            assert answer.status_code in (403, 404), (who, path)
        for operation in ("add", "delete"):
            answer = await client.post(f"/{theirs}/$meta-{operation}", json=add, headers=headers)
            assert answer.status_code in (403, 404), (who, operation)
    assert (await client.get(f"/{theirs}")).headers["etag"] == 'W/"1"'
    assert (await client.get("/Observation?_summary=count")).json()["total"] == 3
