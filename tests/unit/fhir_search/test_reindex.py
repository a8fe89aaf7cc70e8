"""Resources that an earlier release indexed are indexed again, and only those."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, select, text, update

from fhir.interactions import reindex
from fhir.interactions.reindex import refresh_search
from fhir.interactions.write import COMPARTMENT, RESOURCE
from fhir.search.definitions import DEFINITIONS
from fhir.search.index import INDEX_VERSION
from fhir.search.kinds import TABLES
from server.kernel.database import UnitOfWork
from server.kernel.services import Services
from tests.unit.fhir_door.conftest import (  # noqa: F401  fixtures
    client,
    confine,
    create,
    ids,
    offer,
    rights,
    services,
)

# Of the parameters that INDEX_VERSION stands for. Other parameters: a higher version, and their digest here.
INDEXED_PARAMETERS = (5, "7d5eab87b12f91e6")


def test_other_parameters_have_another_version() -> None:
    published = json.loads((DEFINITIONS / "search_parameters.json").read_bytes())["parameters"]
    digest = hashlib.sha256(json.dumps(published, sort_keys=True).encode()).hexdigest()[:16]
    assert (INDEX_VERSION, digest) == INDEXED_PARAMETERS


@pytest.fixture
async def forgotten(services: Services, create: Callable[..., Any]) -> str:  # noqa: F811
    """An observation as an earlier release might have left it: without any index row."""
    patient = await create({"resourceType": "Patient"})
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "Word"}}
    one = await create({**observation, "subject": {"reference": f"Patient/{patient}"}})

    async def forget(unit: UnitOfWork) -> None:
        rid = (await unit.execute(select(RESOURCE.c.rid).where(RESOURCE.c.id == one))).scalar_one()
        for table in (*TABLES, COMPARTMENT):
            await unit.execute(delete(table).where(table.c.rid == rid))
        await unit.execute(update(RESOURCE).where(RESOURCE.c.rid == rid).values(index_version=0))

    await services.database.transact(forget)
    return str(one)


async def test_what_is_outdated_is_found_again(
    services: Services,  # noqa: F811
    client: httpx.AsyncClient,  # noqa: F811
    ids: Callable[..., Any],  # noqa: F811
    forgotten: str,
) -> None:
    before = (await client.get(f"/Observation/{forgotten}")).content
    for search in ("status=final", "_content=word", "subject:missing=false"):
        assert await ids(f"/Observation?{search}") == []
    assert await refresh_search(services) == 1
    for search in ("status=final", "_content=word", "subject:missing=false"):
        assert await ids(f"/Observation?{search}") == [forgotten]
    assert await refresh_search(services) == 0
    assert (await client.get(f"/Observation/{forgotten}")).content == before


async def test_what_was_deleted_stays_so(
    services: Services,  # noqa: F811
    client: httpx.AsyncClient,  # noqa: F811
    ids: Callable[..., Any],  # noqa: F811
    forgotten: str,
) -> None:
    await client.delete(f"/Observation/{forgotten}")

    async def age(unit: UnitOfWork) -> None:
        await unit.execute(update(RESOURCE).values(index_version=0))

    await services.database.transact(age)
    assert await refresh_search(services) == 2
    assert await ids("/Observation?status=final") == []
    async with services.database.read() as connection:
        versions = (await connection.execute(select(RESOURCE.c.index_version))).scalars().all()
    assert set(versions) == {INDEX_VERSION}


async def test_a_write_meanwhile_is_indexed_once(
    services: Services,  # noqa: F811
    client: httpx.AsyncClient,  # noqa: F811
    ids: Callable[..., Any],  # noqa: F811
    forgotten: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = {"resourceType": "Observation", "id": forgotten, "status": "amended", "code": {"text": "Other"}}
    writes: list[asyncio.Task[httpx.Response]] = []
    insert_rows = reindex.insert_rows

    async def insert_then_write(*arguments: Any) -> None:
        await insert_rows(*arguments)
        writes.append(asyncio.create_task(client.put(f"/Observation/{forgotten}", json=body)))
        await waits_for_a_lock(services)

    monkeypatch.setattr(reindex, "insert_rows", insert_then_write)
    assert await refresh_search(services) == 1
    assert (await writes[0]).status_code == 200
    found = {status: await ids(f"/Observation?status={status}") for status in ("final", "amended")}
    assert found == {"final": [], "amended": [forgotten]}


async def waits_for_a_lock(services: Services) -> None:  # noqa: F811
    """Return when another transaction does; on SQLite all do, for the one writer."""
    if services.database.is_sqlite:
        return
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while True:
        async with services.database.read() as connection:
            if (await connection.execute(waiting)).scalar_one():
                return


async def test_whose_a_binary_is_stays_so(
    services: Services,  # noqa: F811
    client: httpx.AsyncClient,  # noqa: F811
    create: Callable[..., Any],  # noqa: F811
    confine: Callable[..., Any],  # noqa: F811
) -> None:
    """That of its context when it was written, which it does not say."""
    ada = await create({"resourceType": "Patient"})
    seen = await create(
        {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
        | {"subject": {"reference": f"Patient/{ada}"}}
    )
    context = {"reference": f"Observation/{seen}"}
    one = await create({"resourceType": "Binary", "contentType": "text/plain", "securityContext": context})

    async def age(unit: UnitOfWork) -> None:
        await unit.execute(update(RESOURCE).values(index_version=0))

    await services.database.transact(age)
    assert await refresh_search(services) == 3
    assert (await client.get(f"/Binary/{one}", headers=confine(ada))).status_code == 200
