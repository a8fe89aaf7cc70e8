"""The audit trail as AuditEvents: what they say, how they are found, and that nobody writes them."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fhir.audit_events.query import CRITERIA
from fhir.audit_events.render import AUDIT_EVENT, Entry, audit_event
from fhir.capability import ServerFacts
from fhir.interactions.door import DEFAULT_POLICY
from fhir.model.validation.walker import require_valid
from fhir.offer import render_capabilities
from fhir.operations import OPERATIONS
from server.auth.tokens import bounded_by_role
from server.auth.users.roles import Role
from server.kernel.access import Access, Context, Grant, Permission, Principal
from server.kernel.audit import Action, AuditEntry, Outcome
from server.kernel.clock import now_us
from server.kernel.request import ServedRequest, set_request
from server.kernel.services import Services
from tests.asked_in_turn import asked_in_turn

STUDY = "1.2.826.0.1.3680043.8.498.1"

BOB = Principal("user:bob", "Bob", "client:app", "0123456789ab", "BTG")
CAT = Principal("user:cat", "Cat", "client:app", None, "BTG")
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
DCM = "http://dicom.nema.org/resources/ontology/DCM"


def acts(ada: str) -> list[AuditEntry]:
    """Acts of every kind that the trail has."""
    ehr, viewer = Principal("client:ehr", "EHR"), Principal("client:viewer", "viewer")
    return [
        AuditEntry(ehr, Action.READ, "read", "Patient", ada, ada),
        AuditEntry(ehr, Action.EXECUTE, "search-type", "Observation"),
        AuditEntry(viewer, Action.EXECUTE, "qido", "ImagingStudy", STUDY, ada),
        AuditEntry(viewer, Action.READ, "wado", "ImagingStudy", STUDY, ada, occurrences=7),
        AuditEntry(viewer, Action.EXECUTE, "denied", "door", "/fhir", outcome=Outcome.MINOR_FAILURE),
        AuditEntry(ehr, Action.EXECUTE, "token", "token", "0123456789ab"),
        AuditEntry(ehr, Action.READ, "list-jobs", "Administration"),
        AuditEntry(BOB, Action.READ, "read", "Patient", "ben", "ben"),
        AuditEntry(CAT, Action.EXECUTE, "break-glass", "emergency-access", "7", "ben"),
    ]


@pytest.fixture
async def trail(services: Services) -> list[AuditEntry]:
    """A trail of known acts."""
    recorded = acts("ada")
    for entry in recorded:
        await services.database.record([entry])
    return recorded


async def found(client: httpx.AsyncClient, query: str) -> list[dict[str, Any]]:
    answer = await client.get(f"/AuditEvent?{query}")
    assert answer.status_code == 200, answer.text
    return [each["resource"] for each in answer.json().get("entry", ())]


async def interactions(client: httpx.AsyncClient, query: str) -> list[str]:
    return [each["subtype"][0]["code"] for each in await found(client, query)]


@pytest.mark.parametrize("entry", acts("ada"), ids=lambda entry: entry.interaction)
def test_every_act_is_a_valid_audit_event(entry: AuditEntry, as_r4b: Callable[..., Any]) -> None:
    row = {**entry.as_row(1_700_000_000_123_456), "sequence": 5}
    resource = audit_event(Entry(**row))
    require_valid(resource)
    as_r4b(resource)
    assert resource["id"] == "1700000000123456-5"
    assert resource["agent"][0]["who"]["identifier"]["value"] == entry.principal.id
    assert resource["outcome"] == entry.outcome.value


def test_agents_of_a_users_act() -> None:
    """The user with token and purpose, the client, the server (BALP 1.1 Read, OAUTHaccessTokenUse)."""
    user, client, server = audit_event(Entry(**acts("ada")[7].as_row(1), sequence=1))["agent"]
    assert [(each["system"], each["code"]) for each in user["type"]["coding"]] == [
        (PARTICIPATION, "IRCP"),
        ("https://profiles.ihe.net/ITI/BALP/CodeSystem/UserAgentTypes", "UserOauthAgent"),
    ]
    assert (user["who"]["identifier"]["value"], user["altId"], user["name"]) == (
        "user:bob",
        "user:bob",
        "bob",
    )
    assert user["requestor"] is True
    assert user["policy"] == ["urn:isthmus:token:0123456789ab"]
    assert user["purposeOfUse"][0]["coding"][0]["code"] == "BTG"
    assert client["who"]["identifier"]["value"] == client["altId"] == "client:app"
    assert not client["requestor"]
    assert not server["requestor"]


def test_the_network_of_an_act() -> None:
    """BALP 1.1: agent:client.network, an IP address (valueset-network-type 2)."""
    for number, at in ((7, 1), (0, 0)):
        agents = audit_event(
            Entry(**{**acts("ada")[number].as_row(1), "address": "2001:db8::1"}, sequence=1)
        )["agent"]
        networks = [each.get("network") for each in agents]
        assert networks.pop(at) == {"address": "2001:db8::1", "type": "2"}
        assert set(networks) == {None}


async def test_search_by_address(client: httpx.AsyncClient, services: Services) -> None:
    """auditevent.html#search, address: a string, so it begins so; the trail has no case."""
    for number, address in enumerate(("192.0.2.7", "192.0.2.70", "2001:db8::1", None)):
        set_request(None if address is None else ServedRequest("r", address))
        await services.database.record([AuditEntry(BOB, Action.READ, "read", "Patient", f"p{number}")])
    set_request(None)
    for query, names in (
        ("address=192.0.2.7", ["p1", "p0"]),
        ("address:exact=192.0.2.7", ["p0"]),
        ("address=2001:DB8", ["p2"]),
        ("address=192.0.2.70,2001", ["p2", "p1"]),
        ("address=%25", []),
        ("address=_92", []),
    ):
        told = await found(client, f"{query}&entity=Patient/p0,Patient/p1,Patient/p2,Patient/p3")
        assert [each["entity"][0]["what"]["reference"][8:] for each in told] == names, query
    assert (await client.get("/AuditEvent?address:contains=192")).status_code == 400


@pytest.mark.parametrize(
    ("action", "codes"),
    [
        pytest.param(Action.CREATE, ["110153", "110152"], id="Create"),
        pytest.param(Action.READ, ["110152", "110153"], id="Read"),
        pytest.param(Action.UPDATE, ["110153", "110152"], id="Update"),
        pytest.param(Action.DELETE, ["110150", "custodian"], id="Delete"),
        pytest.param(Action.EXECUTE, ["110153", "110152"], id="Query"),
    ],
)
def test_client_and_server_of_an_act(action: Action, codes: list[str]) -> None:
    """BALP 1.1: agent:client.type and agent:server.type of the profile of each act."""
    act = AuditEntry(Principal("client:ehr", "EHR"), action, "x", "Patient")
    agents = audit_event(Entry(**act.as_row(1), sequence=1))["agent"]
    assert [each["type"]["coding"][0]["code"] for each in agents] == codes
    assert [each["requestor"] for each in agents] == [True, False]


async def test_a_broken_glass_is_an_alert(client: httpx.AsyncClient, trail: list[AuditEntry]) -> None:
    """PS3.16 CID 400 and 401; DICOM PS3.15 A.5.3.11, Security Alert."""
    for query in ("subtype=break-glass", f"subtype={DCM}|110127", "subtype=110127", f"type={DCM}|110113"):
        (alert,) = await found(client, query)
        assert alert["type"] == {"system": DCM, "code": "110113", "display": "Security Alert"}
        assert alert["subtype"] == [
            {"system": DCM, "code": "110127", "display": "Emergency Override Started"},
            {"code": "break-glass"},
        ]
        assert alert["agent"][0]["purposeOfUse"][0]["coding"][0]["code"] == "BTG"
    assert "break-glass" not in await interactions(client, "type=rest")
    both = await found(client, f"type=rest,{DCM}|110113&altid=user:bob,user:cat")
    assert (len(both), len(trail)) == (2, 9)


def test_text_of_a_query_is_not_told() -> None:
    (entity,) = audit_event(Entry(**acts("ada")[1].as_row(1), sequence=1))["entity"]
    assert entity["role"]["code"] == "24"
    assert "query" not in entity


def test_study_is_named_by_its_uid_and_repetitions_are_counted() -> None:
    row = {**acts("ada")[3].as_row(1), "sequence": 1}
    patient, study = audit_event(Entry(**row))["entity"]
    assert patient["what"] == {"reference": "Patient/ada"}
    assert study["what"]["identifier"] == {"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY}"}
    assert study["detail"] == [{"type": "occurrences", "valueString": "7"}]


async def test_one_is_read_by_the_id_that_a_search_tells(
    client: httpx.AsyncClient, trail: list[AuditEntry]
) -> None:
    (one,) = await found(client, "subtype=wado")
    answer = await client.get(f"/AuditEvent/{one['id']}")
    assert answer.json() == one
    assert answer.headers["etag"] == 'W/"1"'
    assert (await client.get(f"/AuditEvent/{one['id']}/_history/1")).json() == one
    assert [each["id"] for each in await found(client, f"_id={one['id']}")] == [one["id"]]
    for other in (f"{one['id']}0", "1-1", "none", f"{one['id']}/_history/2"):
        assert (await client.get(f"/AuditEvent/{other}")).status_code == 404
    assert len(trail) == 9


@asked_in_turn(
    ("query", "matches"),
    [
        ("patient=ada", ["wado", "qido", "read"]),
        ("patient=Patient/ada", ["wado", "qido", "read"]),
        ("patient=ben", []),
        ("entity=Patient/ada", ["wado", "qido", "read"]),
        (f"entity=ImagingStudy/{STUDY}", ["wado", "qido"]),
        ("agent:identifier=client:ehr", ["list-jobs", "token", "search-type", "read"]),
        ("altid=client:viewer&action=E", ["denied", "qido"]),
        ("action=R", ["list-jobs", "wado", "read"]),
        ("action=http://hl7.org/fhir/audit-event-action|R&subtype=wado,qido", ["wado"]),
        ("action=http://other.test|R", []),
        ("outcome=4", ["denied"]),
        ("outcome=4,8", ["denied"]),
        ("type=rest", ["list-jobs", "wado", "qido", "search-type", "read"]),
        ("type=http://dicom.nema.org/resources/ontology/DCM|110114", ["token", "denied"]),
        ("type=rest,110114&patient=ada", ["wado", "qido", "read"]),
        ("type=other", []),
        ("subtype=http://hl7.org/fhir/restful-interaction|read", ["read"]),
        ("subtype=http://hl7.org/fhir/restful-interaction|wado", []),
        ("subtype=|wado", ["wado"]),
        ("patient=ada&_sort=date", ["read", "qido", "wado"]),
        ("date=gt2020&date=lt2999&patient=ada", ["wado", "qido", "read"]),
        ("date=lt2020", []),
        ("date=ne2020&patient=ada", ["wado", "qido", "read"]),
        ("date=sa2020&_lastUpdated=le2999&outcome=4", ["denied"]),
    ],
)
async def test_it_is_searched(
    client: httpx.AsyncClient, trail: list[AuditEntry], query: str, matches: list[str]
) -> None:
    assert await interactions(client, f"{query}&altid=client:ehr,client:viewer") == matches
    assert len(trail) == 9


async def test_acts_are_found_by_user_and_by_client(
    client: httpx.AsyncClient, trail: list[AuditEntry]
) -> None:
    of_token = "policy=urn:isthmus:token:0123456789ab,urn:other"
    for query in (
        "altid=user:bob",
        "agent:identifier=client:app&action=R",
        "altid=client:app&altid=user:bob",
    ):
        assert await interactions(client, query) == ["read"], query
    assert await interactions(client, of_token) == ["read"]
    for nobodys in (
        "policy=urn:isthmus:token:ba9876543210",
        "policy=0123456789ab",
        "policy=urn:isthmus:token:",
    ):
        assert await interactions(client, nobodys) == [], nobodys
    assert await interactions(client, "altid=client:app&altid=client:ehr") == []
    assert len(trail) == 9


async def test_roles_that_do_not_audit_see_none_of_it(
    client: httpx.AsyncClient, trail: list[AuditEntry], rights: dict[str, Access]
) -> None:
    everything = (Grant(Context.USER, "*", frozenset(Permission)),)
    for role in Role:
        allowed = Access(Principal("user:x", "X"), everything, None)
        rights[role.value] = bounded_by_role(allowed, role)
        answer = await client.get("/AuditEvent?altid=user:bob", headers={"x-rights": role.value})
        assert answer.status_code == (200 if role in (Role.ADMIN, Role.AUDITOR) else 403), role
    assert len(trail) == 9


async def test_compartment_of_a_patient(client: httpx.AsyncClient, trail: list[AuditEntry]) -> None:
    answer = await client.get("/Patient/ada/AuditEvent?_total=accurate")
    assert answer.json()["total"] == 3
    assert len(trail) == 9


async def test_pages_hold_every_entry_once(client: httpx.AsyncClient, services: Services) -> None:
    entry = acts("ada")[0]
    await services.database.record([entry] * 25)
    for order in ("-date", "date"):
        seen: list[str] = []
        url: str | None = f"/AuditEvent?patient=ada&_count=4&_sort={order}"
        while url is not None:
            page = (await client.get(url)).json()
            seen += [each["resource"]["id"] for each in page["entry"]]
            links = {link["relation"]: link["url"] for link in page["link"]}
            url = links.get("next")
        assert len(seen) == len(set(seen)) == 25


async def test_page_token_is_of_its_search(client: httpx.AsyncClient, services: Services) -> None:
    await services.database.record([acts("ada")[0]] * 3)
    page = (await client.get("/AuditEvent?patient=ada&_count=1")).json()
    token = next(each["url"] for each in page["link"] if each["relation"] == "next").rpartition("=")[2]
    assert (await client.get(f"/AuditEvent?patient=ben&_count=1&_page={token}")).status_code == 400


@asked_in_turn(
    "query",
    [
        "date=never",
        "entity=nothing",
        "_count=-1",
        "_sort=outcome",
        "agent=Device/1",
        "date:not=2020",
        "source=x",
        "altid=%00",
        "patient=%00",
        "subtype=a%00",
    ],
)
async def test_what_cannot_be_answered_is_refused(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"/AuditEvent?{query}")).status_code == 400


async def test_unknown_parameter_is_left_out_unless_strict(client: httpx.AsyncClient) -> None:
    lenient = await client.get("/AuditEvent?colour=red")
    assert "colour" not in lenient.json()["link"][0]["url"]
    strict = await client.get("/AuditEvent?colour=red", headers={"prefer": "handling=strict"})
    assert strict.status_code == 400


async def test_confined_callers_see_none_of_it(
    client: httpx.AsyncClient, trail: list[AuditEntry], confine: Callable[..., dict[str, str]]
) -> None:
    (one,) = await found(client, "subtype=wado")
    headers = confine("ada")
    for url in (
        "/AuditEvent",
        "/AuditEvent?patient=ada",
        f"/AuditEvent/{one['id']}",
        "/Patient/ada/AuditEvent",
    ):
        assert (await client.get(url, headers=headers)).status_code == 403
    for rights in ("nothing", "reader"):
        assert (await client.get("/AuditEvent", headers={"x-rights": rights})).status_code == 403
    assert len(trail) == 9


async def test_nobody_writes_one(client: httpx.AsyncClient, trail: list[AuditEntry]) -> None:
    (one,) = await found(client, "subtype=wado")
    place = f"/AuditEvent/{one['id']}"
    patch = {"content": b"[]", "headers": {"content-type": "application/json-patch+json"}}
    for method, url, sent in (
        ("POST", "/AuditEvent", {"json": one}),
        ("PUT", place, {"json": one}),
        ("PATCH", place, patch),
        ("DELETE", place, {}),
        ("DELETE", "/AuditEvent?action=R", {}),
    ):
        answer = await client.request(method, url, **sent)  # type: ignore[arg-type]
        assert answer.status_code == 405, (method, answer.text)
    assert (await client.get(place)).status_code == 200
    assert len(trail) == 9


def test_capabilities_say_that_it_is_only_read() -> None:
    facts = ServerFacts("http://x.test/fhir", "1", "2026-01-01")
    statement = json.loads(render_capabilities(facts, DEFAULT_POLICY, OPERATIONS))
    by_type = {each["type"]: each for each in statement["rest"][0]["resource"]}
    trail = by_type["AuditEvent"]
    assert [each["code"] for each in trail["interaction"]] == ["read", "search-type"]
    assert {each["name"] for each in trail["searchParam"]} == CRITERIA.keys()
    assert "operation" not in trail
    assert not trail.get("conditionalCreate")
    assert not trail.get("updateCreate")
    assert not any(each.startswith("AuditEvent:") for each in by_type["Patient"]["searchRevInclude"])
    binary = by_type["Binary"]
    assert "patch" not in [each["code"] for each in binary["interaction"]]
    assert not {"meta-add", "meta-delete"} & {each["name"] for each in binary.get("operation", ())}


async def test_who_reads_the_trail_stands_in_it(client: httpx.AsyncClient) -> None:
    since = now_us()
    await client.get("/AuditEvent")
    mine = [each for each in await found(client, "_sort=-date") if int(each["id"].split("-")[0]) >= since]
    assert mine[0]["entity"][0]["name"] == AUDIT_EVENT


async def test_the_trail_of_a_patient_has_compartment_and_history(
    client: httpx.AsyncClient, create: Callable[..., Any]
) -> None:
    ada = await create({"resourceType": "Patient"})
    subject = {"reference": f"Patient/{ada}"}
    seen = await create(
        {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": subject}
    )
    for url in (f"/Patient/{ada}/Observation", f"/Patient/{ada}/*", f"/Observation/{seen}/_history"):
        assert (await client.get(url)).status_code == 200
    said = await interactions(client, f"patient={ada}&_sort=date")
    assert said == ["create", "create", "search-compartment", "search-compartment", "history-instance"]
