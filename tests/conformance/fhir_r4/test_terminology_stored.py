"""Definitions that are stored: by canonical URL, in all versions (FHIR R4 references.html#canonical)."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from fhir.interactions import stored_definitions
from fhir.interactions.stored_definitions import LOOK_US, StoredDefinitions
from server.auth.terminology import VISITOR
from server.kernel.access import Access
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.tables import AuditRow
from terminology.library import Kind

from .bundles import entry, transaction
from .terms import STONES, gem_map, stones, told

Json = Any
VALUE_SET = "http://example.org/ValueSet/stones"


@pytest.fixture
def now() -> list[int]:
    """The time, in a list of one."""
    return [1_000_000_000]


@pytest.fixture
def elsewhere(services: Services, now: list[int]) -> StoredDefinitions:
    """What another process would see: it does not hear of writes."""
    stored = StoredDefinitions(services.database, lambda: now[0])
    services.database._on_events.clear()
    return stored


async def urls(stored: StoredDefinitions, kind: Kind) -> list[tuple[str, str | None]]:
    return sorted((each.url, each.version) for each in await stored.listing(kind))


async def test_listing_and_editions(
    client: httpx.AsyncClient, services: Services, create: Callable[..., Any]
) -> None:
    stored = StoredDefinitions(services.database)
    assert not await stored.editions(Kind.CODE_SYSTEM, STONES)
    await create(stones("1"))
    await create(stones("2"))
    await create(gem_map())
    await create({"resourceType": "ValueSet", "url": VALUE_SET, "status": "active"})
    await create({"resourceType": "ValueSet", "status": "active"})
    assert await urls(stored, Kind.CODE_SYSTEM) == [(STONES, "1"), (STONES, "2")]
    assert await urls(stored, Kind.VALUE_SET) == [(VALUE_SET, None)]
    first, second = sorted(
        await stored.editions(Kind.CODE_SYSTEM, STONES), key=lambda each: str(each.version)
    )
    assert (await first.open()).header.version == "1"
    assert await second.open() is await second.open()
    assert {first.content, second.content} == {"complete"}


async def test_supplements_are_found_by_what_they_supplement(
    client: httpx.AsyncClient, services: Services, create: Callable[..., Any]
) -> None:
    more = stones(url="http://example.org/more", content="supplement", supplements=f"{STONES}|2")
    await create(more)
    (found,) = await StoredDefinitions(services.database).supplements(STONES)
    assert (found.url, found.content, str(found.supplements)) == (more["url"], "supplement", f"{STONES}|2")


async def test_writes_of_other_processes_are_seen_after_a_while(
    client: httpx.AsyncClient, elsewhere: StoredDefinitions, now: list[int], create: Callable[..., Any]
) -> None:
    assert await urls(elsewhere, Kind.CODE_SYSTEM) == []
    one = await create(stones("1"))
    assert await urls(elsewhere, Kind.CODE_SYSTEM) == []
    now[0] += LOOK_US
    assert await urls(elsewhere, Kind.CODE_SYSTEM) == [(STONES, "1")]
    await client.put(f"/CodeSystem/{one}", json={**stones("2"), "id": one})
    await create(stones("3"))
    now[0] += LOOK_US
    assert await urls(elsewhere, Kind.CODE_SYSTEM) == [(STONES, "2"), (STONES, "3")]
    await client.delete(f"/CodeSystem/{one}")
    now[0] += LOOK_US
    assert await urls(elsewhere, Kind.CODE_SYSTEM) == [(STONES, "3")]


async def test_what_names_a_patient_is_no_definition(
    client: httpx.AsyncClient, create: Callable[..., Any], confine: Callable[..., dict[str, str]]
) -> None:
    patient = await create({"resourceType": "Patient"})
    named = {"url": "http://example.org/of", "valueReference": {"reference": f"Patient/{patient}"}}
    one = await create(stones(extension=[named]))
    url = f"/CodeSystem/$lookup?system={STONES}&code=granite"
    assert (await client.get(url)).status_code == 404
    by_id = f"/CodeSystem/{one}/$subsumes?codeA=granite&codeB=granite"
    assert (await client.get(by_id, headers=confine("other"))).status_code == 404
    assert told((await client.get(by_id, headers=confine(patient))).json()) == {"outcome": "equivalent"}


async def test_who_may(client: httpx.AsyncClient, create: Any, confine: Callable[..., Any]) -> None:
    await create(stones())
    url = f"/CodeSystem/$lookup?system={STONES}&code=granite"
    as_patient = confine("somebody", permissions="r", resource_type="CodeSystem")
    assert (await client.get(url, headers=as_patient)).status_code == 200
    assert (await client.get(url, headers={"x-rights": "reader"})).status_code == 200
    assert (await client.get(url, headers={"x-rights": "nothing"})).status_code == 403
    other = confine("somebody", permissions="r", resource_type="ValueSet")
    assert (await client.get(url, headers=other)).status_code == 403
    searcher = confine("somebody", permissions="s", resource_type="CodeSystem")
    assert (await client.get(url, headers=searcher)).status_code == 403


async def test_a_visitor_sees_nothing_that_names_a_patient(
    client: httpx.AsyncClient, create: Callable[..., Any], rights: dict[str, Access]
) -> None:
    rights["visitor"], as_visitor = VISITOR, {"x-rights": "visitor"}
    patient = await create({"resourceType": "Patient"})
    named = {"url": "http://example.org/of", "valueReference": {"reference": f"Patient/{patient}"}}
    hidden, shown = await create(stones("1", extension=[named])), await create(stones("2"))
    status = [
        (await client.get(f"/CodeSystem/{one}", headers=as_visitor)).status_code for one in (hidden, shown)
    ]
    assert status == [404, 200]
    found = (await client.get("/CodeSystem", headers=as_visitor)).json()
    assert [entry["resource"]["id"] for entry in found["entry"]] == [shown]
    history = (await client.get("/CodeSystem/_history", headers=as_visitor)).json()
    assert [entry["resource"]["id"] for entry in history["entry"]] == [shown]
    url = f"/CodeSystem/$lookup?system={STONES}&code=granite"
    assert told((await client.get(url, headers=as_visitor)).json())["version"] == "2"
    for path in (f"/Patient/{patient}", "/Patient", "/CodeSystem?_has:Observation:subject:code=x"):
        assert (await client.get(path, headers=as_visitor)).status_code in (400, 403), path


async def test_a_transaction_asks_what_it_has_written(client: httpx.AsyncClient) -> None:
    put = entry("PUT", "CodeSystem/one", {**stones(), "id": "one"})
    ask = entry("GET", f"CodeSystem/$lookup?system={STONES}&code=granite")
    broken = entry("PUT", "Observation/one", {"resourceType": "Observation", "id": "one"})
    assert (await client.post("", json=transaction(put, ask, broken))).status_code == 400
    lookup = f"/CodeSystem/$lookup?system={STONES}&code=granite"
    assert (await client.get(lookup)).status_code == 404
    answer = await client.post("", json=transaction(put, ask))
    assert answer.status_code == 200, answer.text
    (found,) = (one["resource"] for one in answer.json()["entry"] if "resource" in one)
    assert told(found)["display"] == "Granite"
    assert (await client.get(lookup)).status_code == 200


@pytest.mark.parametrize("how", ["put", "delete"])
async def test_what_was_written_over_elsewhere_is_opened_as_it_was(
    client: httpx.AsyncClient, elsewhere: StoredDefinitions, create: Callable[..., Any], how: str
) -> None:
    one = await create(stones("1"))
    (found,) = await elsewhere.editions(Kind.CODE_SYSTEM, STONES)
    other = {"json": {**stones("2", url="http://example.org/other"), "id": one}} if how == "put" else {}
    assert (await client.request(how, f"/CodeSystem/{one}", **other)).is_success
    assert await elsewhere.editions(Kind.CODE_SYSTEM, STONES) == [found]  # it has not heard of that
    header = (await found.open()).header
    assert (header.url, header.version) == (STONES, "1")


async def test_what_many_ask_for_at_once_is_opened_once(
    client: httpx.AsyncClient, services: Services, create: Callable[..., Any]
) -> None:
    """A large code system would lie in memory as often as it is asked for otherwise."""
    await create(stones("1"))
    (found,) = await StoredDefinitions(services.database).editions(Kind.CODE_SYSTEM, STONES)
    first, *others = await asyncio.gather(*(found.open() for _ in range(10)))
    assert all(each is first for each in others)


async def test_who_gives_up_waiting_lets_others_have_it(
    client: httpx.AsyncClient, services: Services, create: Callable[..., Any]
) -> None:
    await create(stones("1"))
    (found,) = await StoredDefinitions(services.database).editions(Kind.CODE_SYSTEM, STONES)
    hasty, patient = asyncio.ensure_future(found.open()), asyncio.ensure_future(found.open())
    await asyncio.sleep(0)
    hasty.cancel()
    assert (await patient).header.version == "1"


async def test_an_instance_is_audited_by_its_operation_and_read_where_it_names_a_patient(
    client: httpx.AsyncClient, services: Services, create: Callable[..., Any]
) -> None:
    patient = await create({"resourceType": "Patient"})
    named = {"url": "http://example.org/of", "valueReference": {"reference": f"Patient/{patient}"}}
    shared, own = await create(stones("1")), await create(stones("2", extension=[named]))
    for one in (shared, own):
        answer = await client.get(f"/CodeSystem/{one}/$subsumes?codeA=granite&codeB=granite")
        assert told(answer.json()) == {"outcome": "equivalent"}
    c = table_of(AuditRow).c
    acts = select(c.interaction, c.resource_id, c.patient_id).where(c.interaction != "create")
    async with services.database.read() as connection:
        found = {tuple(row) for row in (await connection.execute(acts)).all()}
    asked = {("$subsumes", one, None) for one in (shared, own)}
    assert found == {*asked, ("read", own, patient)}


async def test_an_instance_is_kept_open_until_it_is_written_over(
    client: httpx.AsyncClient, create: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Json] = []
    original = stored_definitions.decode_json
    monkeypatch.setattr(stored_definitions, "decode_json", lambda text: opened.append(text) or original(text))
    one = await create(stones("1"))
    path = f"/CodeSystem/{one}/$validate-code?code=amber"
    for times, is_there in ((1, False), (2, True)):
        for _ in range(3):
            assert told((await client.get(path)).json())["result"] is is_there
        assert len(opened) == times
        changed = {**stones("1"), "id": one, "concept": [{"code": "amber"}]}
        assert (await client.put(f"/CodeSystem/{one}", json=changed)).status_code == 200
