"""From a change to the subscriber: what is told, to whom, in which order, and what becomes of failures."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.dialects import sqlite

from fhir.interactions.authored import put_resource
from fhir.interactions.door import AUTHORED
from fhir.interactions.rewrite import hold_resource, rewrite
from fhir.interactions.write import CHANGED
from fhir.subscriptions.deliver import deliver, retry_delay_s, tend
from fhir.subscriptions.match import READER, select_changed
from fhir.subscriptions.request import KEPT, query_of
from fhir.subscriptions.state import NOTIFICATION, STATE
from server.auth.clients import Wanted, add_client, disable_client
from server.kernel.access import (
    EVERYONE,
    Access,
    Context,
    Grant,
    Origin,
    Permission,
    Principal,
    system_access,
)
from server.kernel.database import Database, UnitOfWork
from server.kernel.job_queues import job_queue
from server.kernel.jobs import DEFAULT_BEATS, NOTIFY
from server.kernel.outbox import START, read_events
from server.kernel.read_audit import ReadAudit
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.subscription_policy import LONGEST_RETRY_S
from server.kernel.tables import AuditRow, OutboxCursor
from server.workflows.subscriptions.overview import list_subscriptions, subscription_facts
from tests.services.jobs import hurry
from tests.services.receiver import Receiver, receiver

Write = Callable[..., Awaitable[str]]
SECRET = "Bearer s3cret-of-the-ehr"


def report(patient: str | None = None, status: str = "final", **more: Any) -> dict[str, Any]:
    subject = {} if patient is None else {"subject": {"reference": f"Patient/{patient}"}}
    return {"resourceType": "DiagnosticReport", "status": status, "code": {"text": "CT"}, **subject, **more}


def update_of(resource: dict[str, Any], resource_id: str, **changed: Any) -> dict[str, Any]:
    return {**resource, "id": resource_id, **changed}


async def waiting(services: Services) -> int:
    async with services.database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(NOTIFICATION))).scalar_one())


async def test_matching_change_is_told_without_a_payload(
    subscribe: Any, write: Write, background: Any, ehr: Receiver
) -> None:
    answer = await subscribe(
        "DiagnosticReport?status=final", channel={"header": [f"Authorization: {SECRET}"]}
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["status"] == "active"
    await write(report(status="preliminary"))
    await write({"resourceType": "Patient"})
    await write(report())
    await background.once()
    (told,) = ehr.told
    assert (told.method, told.path, told.body) == ("POST", "/hook", b"")
    assert told.headers["authorization"] == SECRET


async def test_with_a_payload_the_resource_is_put_as_it_was_sent(
    client: httpx.AsyncClient, subscribe: Any, background: Any, ehr: Receiver
) -> None:
    await subscribe("Observation", channel={"payload": "application/fhir+json"})
    text = (
        b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.00}}'
    )
    sent = await client.post("/Observation", content=text, headers={"content-type": "application/fhir+json"})
    await background.once()
    (told,) = ehr.told
    assert (told.method, told.path) == ("PUT", f"/hook/Observation/{sent.json()['id']}")
    assert told.headers["content-type"] == "application/fhir+json; charset=utf-8"
    assert told.body == sent.content
    assert b"1.00" in told.body


async def test_changes_are_told_in_order_also_after_failures(
    client: httpx.AsyncClient, subscribe: Any, write: Write, background: Any, ehr: Receiver
) -> None:
    await subscribe(channel={"payload": "application/fhir+json"})
    ehr.status = 503
    ids = [await write(report()) for _ in range(3)]
    await background.once()
    assert [each.path for each in ehr.told] == [f"/hook/DiagnosticReport/{ids[0]}"]
    ids.append(await write(report()))
    ehr.status = 200
    await background.once()
    assert [each.path.rsplit("/")[-1] for each in ehr.told[1:]] == ids
    await background.once()
    assert len(ehr.told) == 5


async def test_who_does_not_answer_delays_nobody_else(
    subscribe: Any, write: Write, background: Any, ehr: Receiver
) -> None:
    async with receiver() as gone:
        url = gone.url
    await subscribe(channel={"endpoint": url})
    await subscribe()
    await write(report())
    await background.once()
    assert len(ehr.told) == 1


async def test_after_the_last_try_it_says_error_until_it_is_requested_again(
    client: httpx.AsyncClient,
    services: Services,
    subscribe: Any,
    write: Write,
    background: Any,
    ehr: Receiver,
) -> None:
    made = (await subscribe(channel={"header": [f"Authorization: {SECRET}"]})).json()
    ehr.status = 503
    await write(report())
    await background.match()
    for _ in range(5):
        await background.deliver()
    assert len(ehr.told) == 3  # the policy of these tests
    now = (await client.get(f"/Subscription/{made['id']}")).json()
    assert now["status"] == "error"
    assert now["error"] == "Given up after 3 tries: the endpoint answered 503."
    assert await waiting(services) == 0
    await write(report())
    await background.match()
    assert await waiting(services) == 0
    ehr.status = 200
    again = await client.put(f"/Subscription/{made['id']}", json={**now, "status": "requested"})
    assert again.status_code == 200, again.text
    assert again.json()["status"] == "active"
    assert "error" not in again.json()
    await write(report())
    await background.once()
    assert ehr.told[-1].headers["authorization"] == SECRET  # the value was left out, and kept


async def test_confined_subscriber_hears_of_its_patient_only(
    client: httpx.AsyncClient,
    rights: dict[str, Access],
    services: Services,
    subscribe: Any,
    write: Write,
    background: Any,
    ehr: Receiver,
) -> None:
    ada, ben = [await write({"resourceType": "Patient"}) for _ in range(2)]
    granted = Grant(Context.PATIENT, "*", frozenset(Permission))
    of_ada = Access(Principal("client:app", "app"), (granted,), frozenset({ada}))
    rights["ada"], rights["ben"] = of_ada, replace(of_ada, patient_ids=frozenset({ben}))

    async def access_by(_connection: Any, _origin: Origin | None, _principal: Principal) -> Access:
        return of_ada

    background.authority = access_by
    answer = await subscribe(rights="ada", channel={"payload": "application/fhir+json"})
    assert answer.status_code == 201, answer.text
    place = f"/Subscription/{answer.json()['id']}"
    for reader, status in (("ada", 200), ("ben", 404), ("system", 200)):
        assert (await client.get(place, headers={"x-rights": reader})).status_code == status
    await write(report(ben))
    mine = await write(report(ada))
    await write(report())
    both = {"url": "http://x.test", "valueReference": {"reference": f"Patient/{ben}"}}
    await write(report(ada, extension=[both]))
    await background.match()
    assert await waiting(services) == 1
    # what was hers is another's by the time it is delivered
    await client.put(f"/DiagnosticReport/{mine}", json=update_of(report(ben), mine))
    async with services.database.read() as connection:
        (rid,) = (await connection.execute(select(STATE.c.rid))).scalars().all()
    await deliver(services, access_by, rid)
    assert ehr.told == []
    assert await waiting(services) == 0
    hers = await write(report(ada))
    await background.match()
    await deliver(services, access_by, rid)
    assert [each.path for each in ehr.told] == [f"/hook/DiagnosticReport/{hers}"]


@pytest.mark.parametrize(
    ("writes", "searches", "status", "readers"),
    [
        (Context.USER, Context.USER, 201, ()),
        (Context.USER, Context.PATIENT, 201, ("ada",)),
        (Context.PATIENT, Context.USER, 403, ()),
        (Context.PATIENT, Context.PATIENT, 201, ("ada",)),
    ],
)
async def test_subscription_is_of_the_record_that_it_tells_of(
    client: httpx.AsyncClient,
    rights: dict[str, Access],
    subscribe: Any,
    write: Write,
    writes: Context,
    searches: Context,
    status: int,
    readers: tuple[str, ...],
) -> None:
    """Of a clinician's token with a patient in context each type has its own reach (SMART 2.2, Scopes)."""
    ada = frozenset({await write({"resourceType": "Patient"})})
    everything = frozenset(Permission)
    grants = (Grant(writes, "Subscription", everything), Grant(searches, "DiagnosticReport", everything))
    rights["doctor"] = Access(Principal("user:doctor", "doctor"), grants, ada, is_confined=False)
    rights["ada"] = Access(Principal("user:ada", "ada"), (Grant(Context.PATIENT, "*", everything),), ada)
    answer = await subscribe("DiagnosticReport?status=final", rights="doctor")
    assert answer.status_code == status, answer.text
    if status == 201:
        seen = await client.get(f"/Subscription/{answer.json()['id']}", headers={"x-rights": "ada"})
        assert seen.status_code == (200 if "ada" in readers else 404)


async def test_what_no_longer_fulfils_the_criteria_is_not_sent(
    client: httpx.AsyncClient, subscribe: Any, write: Write, background: Any, ehr: Receiver
) -> None:
    ada, ben = [await write({"resourceType": "Patient"}) for _ in range(2)]
    criteria, channel = f"DiagnosticReport?patient={ada}", {"payload": "application/fhir+json"}
    assert (await subscribe(criteria, channel=channel)).status_code == 201
    moved, stays = await write(report(ada)), await write(report(ada))
    await background.match()
    await client.put(f"/DiagnosticReport/{moved}", json=update_of(report(ben), moved))
    await background.deliver()
    assert [each.path for each in ehr.told] == [f"/hook/DiagnosticReport/{stays}"]


async def test_subscriber_whose_authority_ended_hears_nothing_more(
    client: httpx.AsyncClient, subscribe: Any, write: Write, background: Any, ehr: Receiver
) -> None:
    made = (await subscribe()).json()

    async def access_by(_connection: Any, _origin: Origin | None, _principal: Principal) -> Access | None:
        return None

    background.authority = access_by
    await write(report())
    await background.once()
    assert ehr.told == []
    now = (await client.get(f"/Subscription/{made['id']}")).json()
    assert (now["status"], now["error"]) == (
        "error",
        "The authority of who asked for this Subscription has ended.",
    )


async def test_client_that_is_disabled_hears_nothing_more(
    client: httpx.AsyncClient,
    rights: dict[str, Access],
    services: Services,
    subscribe: Any,
    write: Write,
    background: Any,
    ehr: Receiver,
) -> None:
    scope = "system/DiagnosticReport.rs system/Subscription.cruds"
    ehrs = await add_client(services.database, Wanted(name="EHR", scope=scope))
    origin = Origin("the hash of a token that has expired", ehrs.client_id, None, scope)
    every = frozenset(Permission)
    grants = tuple(Grant(Context.SYSTEM, name, every) for name in ("DiagnosticReport", "Subscription"))
    rights["ehr"] = Access(Principal(f"client:{ehrs.client_id}", "EHR"), grants, origin=origin)
    made = (await subscribe(rights="ehr")).json()
    await write(report())
    await background.once()
    assert len(ehr.told) == 1
    await write(report())
    await background.match()
    await disable_client(services.database, ehrs.client_id)
    await background.once()
    assert len(ehr.told) == 1
    assert (await client.get(f"/Subscription/{made['id']}")).json()["status"] == "error"


async def test_what_the_server_writes_itself_is_told(
    services: Services, subscribe: Any, background: Any, ehr: Receiver
) -> None:
    await subscribe("DiagnosticReport?status=preliminary", channel={"payload": "application/fhir+json"})
    authored = {**report(status="preliminary"), "id": "from-the-engine"}
    principal = Principal("system:worker", "worker")
    await services.database.transact(lambda unit: put_resource(unit, authored, principal))
    await background.once()
    assert [each.path for each in ehr.told] == ["/hook/DiagnosticReport/from-the-engine"]


async def test_transaction_subscribes_and_is_told_of(
    client: httpx.AsyncClient, background: Any, ehr: Receiver
) -> None:
    asked = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "to know",
        "criteria": "DiagnosticReport",
        "channel": {"type": "rest-hook", "endpoint": ehr.url, "header": [f"Authorization: {SECRET}"]},
    }
    entry = [
        {"resource": each, "request": {"method": "POST", "url": each["resourceType"]}}
        for each in (asked, report(), report())
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entry}
    done = await client.post("", json=bundle)
    assert done.status_code == 200, done.text
    assert "s3cret" not in done.text
    await background.once()
    assert [each.headers["authorization"] for each in ehr.told] == [SECRET, SECRET]
    asked["channel"] = {"type": "rest-hook", "endpoint": "https://evil.test/"}
    refused = await client.post("", json=bundle)
    assert refused.status_code == 422
    assert refused.json()["issue"][0]["expression"][0].endswith("channel.endpoint")


async def test_who_may_not_search_and_read_may_not_subscribe(
    rights: dict[str, Access], subscribe: Any
) -> None:
    every, some = frozenset(Permission), frozenset({Permission.SEARCH})
    grants = (Grant(Context.SYSTEM, "Subscription", every), Grant(Context.SYSTEM, "DiagnosticReport", some))
    rights["blind"] = Access(Principal("client:blind", "blind"), grants)
    assert (await subscribe(rights="blind")).status_code == 403


async def test_secrets_are_in_no_answer_and_no_row_of_the_record(
    client: httpx.AsyncClient, services: Services, subscribe: Any
) -> None:
    answer = await subscribe(channel={"header": [f"Authorization: {SECRET}", "X-Plain: p1ain"]})
    place = f"/Subscription/{answer.json()['id']}"
    assert answer.json()["channel"]["header"] == [f"Authorization: {KEPT}", f"X-Plain: {KEPT}"]
    for url in (place, f"{place}/_history/1", "/Subscription"):
        assert "s3cret" not in (await client.get(url)).text
    async with services.database.read() as connection:
        row = (await connection.execute(select(STATE))).one()
    assert b"s3cret" not in row.headers
    assert "s3cret" not in str(await list_subscriptions(services.database, 0))


async def test_kept_value_does_not_follow_to_another_endpoint(
    client: httpx.AsyncClient, subscribe: Any, ehr: Receiver
) -> None:
    made = (await subscribe(channel={"header": [f"Authorization: {SECRET}"]})).json()
    moved = {**made, "channel": {**made["channel"], "endpoint": f"{ehr.url}/elsewhere"}}
    answer = await client.put(f"/Subscription/{made['id']}", json=moved)
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["expression"] == ["Subscription.channel.header"]
    fresh = (await subscribe(channel={"header": [f"Authorization: {KEPT}"]})).status_code
    assert fresh == 422


async def test_switched_off_ended_and_deleted_resources_are_not_told(
    client: httpx.AsyncClient,
    services: Services,
    subscribe: Any,
    write: Write,
    background: Any,
    ehr: Receiver,
) -> None:
    made = (await subscribe()).json()
    await write(report())
    await background.match()
    off = await client.put(f"/Subscription/{made['id']}", json={**made, "status": "off"})
    assert off.json()["status"] == "off"
    ended = (await subscribe(end="2001-01-01T00:00:00Z")).json()
    await write(report())
    await background.once()
    await background.once()
    assert ehr.told == []
    assert await tend(services) == 0
    assert (await client.get(f"/Subscription/{ended['id']}")).json()["status"] == "off"


async def test_lost_delivery_jobs_are_made_again(
    services: Services, subscribe: Any, write: Write, background: Any, ehr: Receiver
) -> None:
    await subscribe()
    await write(report())
    await background.match()

    async def lose(unit: UnitOfWork) -> None:
        await unit.execute(
            text("DELETE FROM job" if services.database.is_sqlite else "DELETE FROM procrastinate_jobs")
        )

    await services.database.transact(lose)
    await background.deliver()
    assert ehr.told == []
    await tend(services)
    await background.deliver()
    assert len(ehr.told) == 1


async def test_patched_and_tagged_it_goes_on(
    client: httpx.AsyncClient, subscribe: Any, write: Write, background: Any, ehr: Receiver
) -> None:
    place = f"/Subscription/{(await subscribe(channel={'header': [f'X-Key: {SECRET}']})).json()['id']}"
    patch = [{"op": "replace", "path": "/reason", "value": "other"}]
    patched = await client.patch(place, json=patch, headers={"content-type": "application/json-patch+json"})
    assert patched.status_code == 200, patched.text
    tag = {"name": "meta", "valueMeta": {"tag": [{"system": "http://x.test", "code": "a"}]}}
    tagged = await client.post(f"{place}/$meta-add", json={"resourceType": "Parameters", "parameter": [tag]})
    assert tagged.status_code == 200, tagged.text
    await write(report())
    await background.once()
    assert [each.headers["x-key"] for each in ehr.told] == [SECRET]
    wrong = [{"op": "replace", "path": "/channel/endpoint", "value": "https://evil.test/"}]
    refused = await client.patch(place, json=wrong, headers={"content-type": "application/json-patch+json"})
    assert refused.status_code == 422
    assert (await client.delete(place)).status_code in {200, 204}
    await write(report())
    await background.once()
    assert len(ehr.told) == 1


async def test_two_servers_tell_of_each_change_once(
    services: Services, database_url: str, subscribe: Any, write: Write, background: Any, ehr: Receiver
) -> None:
    database = Database(database_url)
    other = type(background)(replace(services, database=database, read_audit=ReadAudit(database)))
    await subscribe(channel={"payload": "application/fhir+json"})
    ids = [await write(report()) for _ in range(12)]
    for _ in range(2):
        await asyncio.gather(background.match(), other.match())
        await asyncio.gather(background.deliver(), other.deliver())
    await database.close()
    assert [each.path.rsplit("/")[-1] for each in ehr.told] == ids


async def test_no_second_delivery_begins_while_one_is_under_way(
    services: Services, subscribe: Any, write: Write, background: Any, ehr: Receiver
) -> None:
    await subscribe()
    await write(report())
    await background.match()
    ehr.silent = asyncio.Event()
    delivering = asyncio.create_task(background.deliver())
    await ehr.until_told(1)
    await write(report())
    await background.match()
    other = job_queue(services.database, (NOTIFY,), DEFAULT_BEATS)
    await other.open()
    await hurry(services.database, queues=(NOTIFY,))
    assert await other.take(NOTIFY) is None
    ehr.silent.set()
    await delivering
    await other.close()
    await background.deliver()
    assert len(ehr.told) == 2


async def test_version_that_nobody_asked_for_is_not_in_force(
    services: Services, subscribe: Any, write: Write, background: Any, ehr: Receiver
) -> None:
    """What stands beside a Subscription was made for one version: where they differ, nobody is told."""
    made = (await subscribe()).json()

    async def change(unit: UnitOfWork) -> None:
        held = await hold_resource(unit, "Subscription", made["id"])
        assert held is not None
        await rewrite(unit, held, {"reason": b'"other"'}, Principal("system:test", "test"), AUTHORED)

    await services.database.transact(change)
    await write(report())
    await background.once()
    assert ehr.told == []


async def test_without_subscriptions_the_reader_passes_by(
    services: Services, write: Write, background: Any
) -> None:
    await write(report())
    assert await background.match() == 0
    async with services.database.read() as connection:
        assert len(await read_events(connection, START, [CHANGED])) == 1
        cursor = select(table_of(OutboxCursor).c.sequence).where(table_of(OutboxCursor).c.reader == READER)
        assert (await connection.execute(cursor)).first() is None  # too young to be worth a write


async def test_delivery_is_audited_for_the_subscriber(
    services: Services, subscribe: Any, write: Write, background: Any
) -> None:
    ada = await write({"resourceType": "Patient"})
    await subscribe()
    one = await write(report(ada))
    await background.once()
    a = table_of(AuditRow).c
    async with services.database.read() as connection:
        rows = (
            await connection.execute(
                select(a.principal, a.resource_id, a.patient_id).where(a.interaction == "notify")
            )
        ).all()
    assert [tuple(row) for row in rows] == [("client:system", one, ada)]


async def test_administrators_see_how_it_stands(
    services: Services, subscribe: Any, write: Write, background: Any, ehr: Receiver
) -> None:
    ehr.status = 503
    made = (await subscribe("DiagnosticReport?status=final")).json()
    await write(report())
    await background.once()
    (told,) = (await list_subscriptions(services.database, 0))["subscriptions"]
    assert (told["id"], told["status"], told["backlog"], told["failures"]) == (made["id"], "active", 1, 1)
    assert told["lastError"] == "the endpoint answered 503"
    facts = {fact.name: dict(fact.values) for fact in await subscription_facts(services.database)}
    assert facts["isthmus_subscriptions"][("active",)] == 1
    assert facts["isthmus_notifications_waiting"][()] == 1


@pytest.mark.parametrize(
    "criteria",
    ["status=final", "code=http://loinc.org|1-8&status=final", "subject:Patient.family=x", "date=ge2020"],
)
async def test_a_look_costs_the_same_in_a_large_record(new_sqlite: Any, criteria: str) -> None:
    """SQLite has no statistics: what a statement begins with is what it is told to (FHIR R4 search.html)."""
    query = query_of("Observation", criteria, system_access("test"), ["a", "b"])
    compiled = select_changed(query, EVERYONE, AUTHORED).compile(dialect=sqlite.dialect())
    values = tuple(compiled.params[name] for name in compiled.positiontup or ())
    database = Database(new_sqlite(True))
    async with database.read() as connection:
        rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values)
        plan = [row[3] for row in rows]
    await database.close()
    assert "(type=? AND id=?)" in plan[0]
    assert not [step for step in plan if "(param=? AND" in step and "rid=?" not in step]


@pytest.mark.parametrize(
    ("failures", "most_s"),
    [(0, 1), (1, 2), (5, 32), (9, 512), (10, LONGEST_RETRY_S), (5000, LONGEST_RETRY_S)],
)
def test_tries_come_ever_later_and_not_together(failures: int, most_s: float) -> None:
    assert retry_delay_s(failures, 1.0, 0.0) == most_s
    assert retry_delay_s(failures, 1.0, 0.999) == pytest.approx(most_s / 2, rel=0.01)
