"""What patients deny, asked at the FHIR door (FHIR R4 consent.html; decision 0034)."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, text, update

from fhir.consents import keep
from fhir.interactions.mentions import MENTION
from fhir.interactions.reindex import refresh_search
from fhir.interactions.write import RESOURCE
from server.kernel.access import Access, Denials
from server.kernel.clock import now_us
from server.kernel.database import UnitOfWork
from server.kernel.services import Services
from tests.services.consents import consent, label, provision

ADA, BEN = "Practitioner/ada", "Practitioner/ben"
WARD = "Organization/ward"
HIV = "http://terminology.hl7.org/CodeSystem/v3-ActCode|HIV"


@pytest.fixture
def become(rights: dict[str, Access]) -> Callable[..., dict[str, str]]:
    """Make a caller who reaches everybody and is named by these actors; returns its headers."""

    def make(*actors: str, discloses: bool = False, **more: frozenset[str]) -> dict[str, str]:
        acts = frozenset({"access", "disclose"} if discloses else {"access"})
        name = f"as-{actors}-{discloses}-{more}"
        denials = Denials(frozenset(actors), acts, now_us(), **more)
        rights[name] = replace(rights["system"], denials=denials)
        return {"x-rights": name}

    return make


Case = tuple[str, dict[str, Any], str, str]
# Of a patient's record: an Observation "o" without labels, "r" of R, "h" of HIV, "v" of a patient "p".
CASES: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    # who -> what is seen: p the Patient, o, r, h; c the Consent
    ("a permit opens nothing and closes nothing", consent("p"), {"": "porhc", ADA: "porhc"}),
    ("everything is denied", consent("p", base="OPTOUT"), {"": "", ADA: "", "out": ""}),
    ("not in force", consent("p", base="OPTOUT", status="inactive"), {"": "porhc"}),
    (
        "an actor",
        consent("p", provision("deny", actor=ADA)),
        {"": "porhc", ADA: "", f"{BEN} {WARD}": "porhc"},
    ),
    ("an organization", consent("p", provision("deny", actor=WARD)), {ADA: "porhc", f"{BEN} {WARD}": ""}),
    ("a class", consent("p", provision("deny", types="Observation Patient")), {"": "c"}),
    ("a label and what is more restricted", consent("p", provision("deny", label="R")), {"": "pohc"}),
    ("no label counts as N", consent("p", provision("deny", label="N")), {"": ""}),
    ("another label", consent("p", provision("deny", label=HIV)), {"": "porc"}),
    ("labels: any", consent("p", provision("deny", label=f"{HIV} V R")), {"": "poc"}),
    ("disclosure", consent("p", provision("deny", action="disclose")), {"": "porhc", "out": ""}),
    ("a period that is over", consent("p", provision("deny", period={"end": "2020"})), {"": "porhc"}),
    ("one to come", consent("p", provision("deny", period={"start": "2100-01-01"})), {"": "porhc"}),
    ("one that is now", consent("p", provision("deny", period={"start": "2020", "end": "2100"})), {"": ""}),
    ("all but one", consent("p", provision("permit", actor=ADA), base="OPTOUT"), {"": "", ADA: "porhc"}),
    (
        "an untyped root",
        consent("p", provision(None, provision("permit", actor=ADA)), base="OPTOUT"),
        {BEN: "", ADA: "porhc"},
    ),
    (
        "a root asks of those below",
        consent("p", provision(None, provision("permit", actor=ADA), types="Observation"), base="OPTOUT"),
        {BEN: "", ADA: "orh"},
    ),
    (
        "an exception with two conditions",
        consent("p", provision("deny", provision("permit", types="Observation"), actor=f"{ADA} {BEN}")),
        {"": "porhc", ADA: "orh"},
    ),
    (
        "a permit of a label and what is less",
        consent("p", provision("permit", label="N"), base="OPTOUT"),
        {"": ""},
    ),
    ("of R", consent("p", provision("permit", label="R"), base="OPTOUT"), {"": "r"}),
    ("of another", consent("p", provision("permit", label=HIV), base="OPTOUT"), {"": "h"}),
    (
        "a denial within an exception",
        consent("p", provision("permit", provision("deny", label=HIV), actor=ADA), base="OPTOUT"),
        {ADA: "porc", BEN: ""},
    ),
    (
        "access but not disclosure",
        consent("p", provision("permit", action="access"), base="OPTOUT"),
        {"": "porhc", "out": ""},
    ),
    (
        "disclosure alone opens nothing",
        consent("p", provision("permit", action="disclose"), base="OPTOUT"),
        {"": "", "out": ""},
    ),
    (
        "siblings: the denial wins",
        consent(
            "p",
            provision(None, provision("permit", actor=ADA), provision("deny", types="Observation")),
            base="OPTOUT",
        ),
        {ADA: "pc"},
    ),
    ("another's", consent("q", base="OPTOUT"), {"": "porh"}),
    ("not enforced", consent("p", provision("deny", purpose=[{"code": "TREAT"}])), {"": "porhc"}),
]


ASKED = {
    "resourceType": "Bundle",
    "type": "batch",
    "entry": [
        {"request": {"method": "GET", "url": url}}
        for url in (
            *("Patient/p", "Observation/o", "Observation/r", "Observation/h", "Consent/c"),
            "?_id=p,o,r,h,c",
        )
    ],
}


async def test_provisions(client: httpx.AsyncClient, become: Callable[..., dict[str, str]]) -> None:
    about = {"status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/p"}}
    system, _, code = HIV.partition("|")
    confidentiality = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
    labels = {"r": (confidentiality, "R"), "h": (system, code)}
    entries = [{"resourceType": "Patient", "id": name} for name in "pq"]
    for name in "orh":
        given = labels.get(name)
        meta = {"meta": {"security": [{"system": given[0], "code": given[1]}]}} if given else {}
        entries.append({"resourceType": "Observation", "id": name, **about, **meta})
    for each in entries:
        assert (await client.put(f"/{each['resourceType']}/{each['id']}", json=each)).status_code == 201
    for what, said, seen in CASES:
        answer = await client.put("/Consent/c", json=said | {"id": "c"})
        assert answer.status_code in (200, 201), answer.text
        for who, expected in seen.items():
            headers = become(discloses=True) if who == "out" else become(*who.split())
            answer = await client.post("/", json=ASKED, headers=headers)
            *read, search = answer.json()["entry"]
            statuses = [each["response"]["status"][:3] for each in read]
            shown = [name for name, status in zip("porhc", statuses, strict=True) if status == "200"]
            assert shown == list(expected), (what, who)
            assert set(statuses) <= {"200", "404"}
            found = {each["resource"]["id"] for each in search["resource"].get("entry", ())}
            assert found == set(expected), (what, who)
    await _assert_what_was_denied_stays_so(client, become())
    await _assert_told_what_is_not_enforced(client)
    assert (await client.delete("/Consent/c")).status_code == 204


async def _assert_what_was_denied_stays_so(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """Superseded and deleted versions, and what a Binary is part of: labels and kinds that no index knows."""

    def observation(name: str, patient: str, *codes: str) -> dict[str, Any]:
        meta = {"meta": {"security": [label(code) for code in codes]}} if codes else {}
        about = {"status": "final", "code": {"text": "x"}, "subject": {"reference": f"Patient/{patient}"}}
        return {"resourceType": "Observation", "id": name, **about, **meta}

    async def seen(path: str) -> int:
        return (await client.get(path, headers=headers)).status_code

    for version in (observation("moved", "p"), observation("moved", "q")):
        await client.put("/Observation/moved", json=version)
    for version in (observation("relabelled", "p", "R"), observation("relabelled", "p")):
        await client.put("/Observation/relabelled", json=version)
    await client.put("/Observation/gone", json=observation("gone", "p"))
    assert (await client.delete("/Observation/gone")).status_code == 204
    image = {"resourceType": "Binary", "id": "b", "contentType": "text/plain", "data": "eA=="}
    context = {"securityContext": {"reference": "Observation/o"}}
    assert (await client.put("/Binary/b", json=image | context)).status_code == 201
    await client.put("/Consent/c", json=consent("p", provision("deny", label="R")) | {"id": "c"})
    assert [await seen(f"/Observation/relabelled{each}") for each in ("", "/_history/2", "/_history/1")] == [
        200,
        200,
        404,
    ]
    told = (await client.get("/Observation/relabelled/_history", headers=headers)).json()
    assert [each["resource"]["meta"]["versionId"] for each in told["entry"]] == ["2"]
    assert [await seen(path) for path in ("/Observation/gone", "/Binary/b")] == [404, 404]
    await client.put("/Consent/c", json=consent("p", provision("deny", types="Observation")) | {"id": "c"})
    assert [await seen(f"/Observation/moved{each}") for each in ("", "/_history/2", "/_history/1")] == [
        200,
        200,
        404,
    ]
    told = (await client.get("/Observation/_history", headers=headers)).json()
    assert {each["fullUrl"].rpartition("/")[2] for each in told["entry"]} == {"moved"}
    assert len(told["entry"]) == 1


async def _assert_told_what_is_not_enforced(client: httpx.AsyncClient) -> None:
    said = consent("p", provision("deny", purpose=[{"code": "TREAT"}], types="Task"))
    told = []
    outcome = {"prefer": "return=OperationOutcome"}
    told.append(await client.put("/Consent/c", json=said | {"id": "c"}, headers=outcome))
    told.append(await client.post("/Consent/$validate", json=said))
    told.append(await client.get("/Consent/c/$validate"))
    for answer in told:
        issues = [each for each in answer.json()["issue"] if each["code"] == "not-supported"]
        assert [(each["severity"], each["expression"]) for each in issues] == [
            ("warning", ["Consent.provision.purpose"])
        ]
    told = [await client.put("/Consent/c", json=consent("p") | {"id": "c"}, headers=outcome)]
    assert "not enforced" not in told[0].text


DENYING = consent("p", base="OPTOUT") | {"id": "c"}
OF_P, OF_Q = {"reference": "Patient/p"}, {"reference": "Patient/q"}
REPORT = {"resourceType": "DiagnosticReport", "id": "d", "status": "final", "code": {"text": "x"}}
TASK = {"resourceType": "Task", "id": "t", "status": "draft", "intent": "order"}
AGENT = {"who": {"reference": "Practitioner/ada"}}
NOBODYS = [
    {"resourceType": "Communication", "id": "a", "status": "completed", "about": [OF_P]},
    {"resourceType": "DocumentReference", "id": "b", "status": "current",
     "content": [{"attachment": {"title": "x"}}], "context": {"sourcePatientInfo": OF_P}},
    TASK | {"focus": {"reference": "DiagnosticReport/d"}},
    {"resourceType": "Group", "id": "g", "type": "person", "actual": True,
     "member": [{"entity": {"reference": f"Patient/{n}"}} for n in ("p", *range(100))]},
    {"resourceType": "Provenance", "id": "v", "target": [{"reference": "Task/t"}], "agent": [AGENT],
     "recorded": "2020-01-01T00:00:00Z"},
]  # fmt: skip


async def test_what_tells_of_a_patient_out_of_their_record(
    client: httpx.AsyncClient,
    services: Services,
    become: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In nobody's compartment, or in those of too many: scopes do not open it, denials close it."""
    headers = become()

    async def seen() -> set[str]:
        found = (await client.get("/?_elements=id&_sort=_lastUpdated&_count=99", headers=headers)).json()
        for url in (
            "/Group?member=Patient/p",
            "/Provenance?target=Task/t",
            f"/Provenance?target={of_report}",
        ):
            answer = await client.get(url, headers=headers)
            found["entry"] += answer.json().get("entry", ())
        return {f"{each['resource']['resourceType']}/{each['resource']['id']}" for each in found["entry"]}

    bundle = [  # the Provenance before what it is about
        {"resource": each, "request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"}}
        for each in (*reversed(NOBODYS), *({"resourceType": "Patient", "id": n} for n in "pq"))
    ]
    said = {"x-provenance": json.dumps({k: v for k, v in NOBODYS[-1].items() if k not in ("id", "target")})}
    answer = await client.put("/DiagnosticReport/d", json=REPORT | {"subject": OF_P}, headers=said)
    assert answer.status_code == 201, answer.text
    answer = await client.post("/", json={"resourceType": "Bundle", "type": "transaction", "entry": bundle})
    assert answer.status_code == 200, answer.text
    of_report = "DiagnosticReport/d"
    named = {f"{each['resourceType']}/{each['id']}" for each in NOBODYS}
    assert named < await seen()
    assert (await client.put("/Consent/c", json=DENYING)).status_code == 201
    assert await seen() == {"Patient/q"}
    for each in NOBODYS:
        url = f"/{each['resourceType']}/{each['id']}"
        assert (await client.get(url, headers=headers)).status_code == 404, url
        assert (await client.get(f"{url}/_history/1", headers=headers)).status_code == 404, url
    await _index_again(services)
    assert await seen() == {"Patient/q"}
    await _versions_of_several(client, headers)
    monkeypatch.setattr(keep, "MAX_ROWS_OF_PATIENT", 2)
    await _denials_are_bounded(client, services, become)


async def _denials_are_bounded(
    client: httpx.AsyncClient, services: Services, become: Callable[..., dict[str, str]]
) -> None:
    """Beyond, a Consent is not enforced; those of others do not count."""
    assert (await client.put("/Consent/c", json=DENYING | {"status": "inactive"})).status_code == 200
    denies = provision("deny", actor="Practitioner/x Practitioner/y")
    for name, said in (("a", consent("q", denies)), ("b", consent("p", denies)), ("c", DENYING)):
        answer = await client.put(f"/Consent/{name}", json=said | {"id": name})
        assert answer.status_code in (200, 201)
    verdict = "SELECT id, state, reasons FROM consent_verdict ORDER BY id"
    async with services.database.read() as connection:
        told = (await connection.execute(text(verdict))).all()
    assert [each.state for each in told] == ["enforced", "enforced", "not enforced"]
    assert "Consent.patient" in told[2].reasons
    assert (await client.get("/Patient/p", headers=become())).status_code == 200
    assert (await client.get("/Patient/p", headers=become("Practitioner/y"))).status_code == 404
    assert (await client.put("/Consent/b", json=DENYING | {"id": "b"})).status_code == 200
    assert (await client.get("/Patient/p", headers=become())).status_code == 404


async def _index_again(services: Services) -> None:
    async def forget(unit: UnitOfWork) -> None:
        await unit.execute(delete(MENTION))
        await unit.execute(update(RESOURCE).values(index_version=0))

    await services.database.transact(forget)
    assert await refresh_search(services) > 0


async def _versions_of_several(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """Superseded and deleted, each as it was: of several who deny nothing it is open."""
    url, group = "/Group/x", {"resourceType": "Group", "id": "x", "type": "person", "actual": True}
    for members, more in (("qr", {}), ("pq", {}), ("q", {"name": "x"}), ("", {"name": "y"})):
        entities = [{"entity": {"reference": f"Patient/{n}"}} for n in members]
        said = group | more | ({"member": entities} if entities else {})
        assert (await client.put(url, json=said)).status_code in (200, 201)
    assert (await client.delete(url)).status_code == 204
    about = {"resourceType": "Communication", "id": "y", "status": "completed", "about": [OF_P]}
    for status in ("completed", "stopped"):
        assert (await client.put("/Communication/y", json=about | {"status": status})).status_code in (
            200,
            201,
        )
    assert (await client.delete("/Communication/y")).status_code == 204
    read = [(await client.get(f"{url}/_history/{n}", headers=headers)).status_code for n in range(1, 6)]
    assert read == [200, 404, 200, 200, 410]
    found = (await client.get(f"{url}/_history", headers=headers)).json()
    assert found["total"] == 4
    read = [
        (await client.get(f"/Communication/y{v}", headers=headers)).status_code
        for v in ("", *(f"/_history/{n}" for n in range(1, 4)))
    ]
    assert read == [404] * 4
