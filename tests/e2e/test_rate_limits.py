"""Limits of the whole server: who asks too fast, and who fails too often."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from server.app import build_app, build_services, close_services
from server.auth.clients import Wanted, add_client
from server.auth.tokens import issue_token
from server.kernel.redis import RedisLink
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow
from server.serve import server_config
from server.settings import Settings
from tests.services.redis import RedisServer

NewServer = Callable[..., Any]
WRONG = {"Authorization": "Bearer none-such"}


@pytest.fixture
def new_server(tmp_path: Path, new_sqlite: Callable[[bool], str]) -> NewServer:
    """Servers of one database, as uvicorn would call them."""
    url = new_sqlite(True)

    @asynccontextmanager
    async def serve(address: str = "192.0.2.1", **given: Any) -> AsyncIterator[httpx.AsyncClient]:
        settings = Settings(data=tmp_path / "data", database_url=url, worker=False, **given)
        services = build_services(settings)
        config = server_config(settings, build_app(settings, services))
        config.load()
        token = await issue_token(services.database, scope="system/*.rs")
        transport = httpx.ASGITransport(config.loaded_app, client=(address, 1))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers={"Authorization": f"Bearer {token}"}
        ) as http:
            http.services = services  # type: ignore[attr-defined]
            yield http
        await close_services(services)

    return serve


async def statuses(http: httpx.AsyncClient, path: str, count: int, **given: Any) -> list[int]:
    return [(await http.get(path, **given)).status_code for _ in range(count)]


async def test_principal_that_asks_too_fast_waits_and_others_do_not(new_server: NewServer) -> None:
    async with new_server(max_requests_per_s=0.2) as http:  # bursts of two
        assert await statuses(http, "/dicom-web/studies", 2) == [200, 200]
        refused = await http.get("/dicom-web/studies")
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 5
        assert refused.json() == {"error": "Too many requests; retry later."}
        outcome = (await http.get("/fhir/Patient")).json()
        assert (outcome["resourceType"], outcome["issue"][0]["code"]) == ("OperationOutcome", "throttled")
        assert (await http.get("/readyz")).status_code == 200
        token = await issue_token(http.services.database, scope="system/*.rs")
        other = {"Authorization": f"Bearer {token}"}
        assert await statuses(http, "/dicom-web/studies", 1, headers=other) == [200]


async def test_no_limit_by_default(new_server: NewServer) -> None:
    async with new_server() as http:
        assert set(await statuses(http, "/dicom-web/studies", 100)) == {200}


async def test_wrong_tokens_are_limited_by_address_and_good_ones_are_not(new_server: NewServer) -> None:
    async with new_server(failed_logins_per_minute=3) as http:
        assert await statuses(http, "/fhir/Patient", 4, headers=WRONG) == [401, 401, 401, 429]
        refused = await http.get("/fhir/Patient", headers=WRONG)
        assert 1 <= int(refused.headers["retry-after"]) <= 20
        assert await statuses(http, "/fhir/Patient", 3) == [200, 200, 200]


async def test_wrong_secrets_are_limited_by_address_and_right_ones_are_not(new_server: NewServer) -> None:
    """A broken client, or a web page that sends browsers here, closes nothing for others at its address."""
    async with new_server(failed_logins_per_minute=2) as http:
        client = await add_client(http.services.database, Wanted(name="c", scope="system/*.rs"))
        form = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": "wrong"}
        del http.headers["Authorization"]
        answers = [(await http.post("/auth/token", data=form)).status_code for _ in range(3)]
        assert answers == [400, 400, 429]
        form |= {"client_secret": client.client_secret, "scope": "system/Patient.rs"}
        assert await statuses(http, "/fhir/Patient?access_token=x", 4) == [400] * 4  # no secret was tried
        assert (await http.post("/auth/token", data=form)).status_code == 200
        assert (await http.get("/auth/jwks")).status_code == 200


async def test_head_counts_too(new_server: NewServer) -> None:
    async with new_server(failed_logins_per_minute=1) as http:
        answers = [(await http.head("/fhir/Patient", headers=WRONG)).status_code for _ in range(2)]
        assert answers == [401, 429]


@pytest.mark.parametrize(
    ("trusted", "last"),
    [
        pytest.param((), 429, id="a header that anyone can send"),
        pytest.param(("192.0.2.0/24",), 401, id="a proxy"),
        pytest.param(("198.51.100.0/24",), 429, id="somebody who is not the proxy"),
    ],
)
async def test_address_behind_a_proxy_counts_when_the_proxy_is_trusted(
    new_server: NewServer, trusted: tuple[str, ...], last: int
) -> None:
    async with new_server(failed_logins_per_minute=1, trusted_proxies=trusted) as http:
        answers = [
            (
                await http.get("/fhir/Patient", headers={**WRONG, "X-Forwarded-For": f"203.0.113.{n}"})
            ).status_code
            for n in (1, 2)
        ]
        assert answers == [401, last]
        t = table_of(AuditRow).c
        async with http.services.database.read() as connection:
            told = (
                (await connection.execute(select(t.address).where(t.interaction == "denied"))).scalars().all()
            )
        known = {"203.0.113.1", "203.0.113.2"} if last == 401 else {"192.0.2.1"}
        assert set(told) == known  # what audit says is what is counted


async def test_servers_count_together_in_redis_and_alone_without(
    new_server: NewServer, redis: RedisServer
) -> None:
    given = {"redis_url": redis.url, "failed_logins_per_minute": 2}
    async with new_server(**given) as one, new_server(**given) as other:
        answers = [(await http.get("/fhir/Patient", headers=WRONG)).status_code for http in (one, other, one)]
        assert answers == [401, 401, 429]
        redis.kill()
        assert await statuses(one, "/fhir/Patient", 3, headers=WRONG) == [401, 401, 429]


async def ask_on(http: httpx.AsyncClient, stop: asyncio.Event) -> set[int]:
    """Ask until `stop`; returns every status there was."""
    found: set[int] = set()
    while not stop.is_set():
        found.add((await http.get("/dicom-web/studies")).status_code)
    return found


@pytest.mark.parametrize("way", ["killed", "hanging"])
async def test_losing_redis_fails_nothing_and_costs_one_wait(
    new_server: NewServer, redis: RedisServer, way: str
) -> None:
    async with new_server(redis_url=redis.url, max_requests_per_s=1e6) as http:
        link: RedisLink = http.services.redis
        stop = asyncio.Event()
        watch = asyncio.create_task(link.watch(stop))
        assert set(await statuses(http, "/dicom-web/studies", 10)) == {200}
        load = asyncio.create_task(ask_on(http, stop))
        redis.kill() if way == "killed" else redis.hang()
        together = await asyncio.gather(*(http.get("/dicom-web/studies") for _ in range(20)))
        assert {answer.status_code for answer in together} == {200}
        assert link.is_gone  # from here on nobody waits for it: `call` refuses at once
        assert set(await statuses(http, "/dicom-web/studies", 10)) == {200}
        redis.start() if way == "killed" else redis.go_on()
        while link.is_gone:
            await asyncio.sleep(0.01)
        assert set(await statuses(http, "/dicom-web/studies", 10)) == {200}
        stop.set()
        await watch
        assert await load == {200}
