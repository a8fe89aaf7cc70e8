"""Liveness, readiness, metrics."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI

from server.http.drain import Drain
from server.http.health import Check, Readiness, build_router, check_database, check_heartbeat, check_redis
from server.http.metrics import Metrics
from server.kernel.database import Database
from server.kernel.faults import Busy
from server.kernel.metrics import Fact, fact
from server.kernel.redis import RedisLink
from tests.services.redis import RedisServer


class Switch:
    def __init__(self, name: str, *, vital: bool = True) -> None:
        self.reason: str | None = None
        self.runs = 0
        self.check = Check(name, self.run, vital)

    async def run(self) -> None:
        self.runs += 1
        if self.reason:
            raise Busy(self.reason)


class StoppedClock:
    now = 0

    def __call__(self) -> int:
        return self.now


async def test_ready_until_something_vital_fails() -> None:
    database, worker, clock = Switch("database"), Switch("worker", vital=False), StoppedClock()
    readiness = Readiness([database.check, worker.check], clock)
    app = FastAPI()
    app.include_router(build_router(readiness, Metrics()))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
        assert (await http.get("/readyz")).json() == {
            "status": "ready",
            "checks": {"database": "ok", "worker": "ok"},
        }
        worker.reason, clock.now = "gone", 2_000_000
        response = await http.get("/readyz")
        assert (response.status_code, response.json()["checks"]["worker"]) == (200, "gone")
        database.reason, clock.now = "no room", 4_000_000
        response = await http.get("/readyz")
        assert (response.status_code, response.json()["checks"]["database"]) == (503, "no room")
        assert (await http.get("/livez")).status_code == 200


async def test_results_are_reused_for_a_second() -> None:
    switch, clock = Switch("database"), StoppedClock()
    clock.now = 10_000_000
    readiness = Readiness([switch.check], clock)
    await asyncio.gather(*(readiness.report() for _ in range(20)))
    assert switch.runs == 1
    clock.now += 1_000_000
    await readiness.report()
    assert switch.runs == 2


async def test_check_that_hangs_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.http.health.TIMEOUT_S", 0.01)

    async def hang() -> None:
        await asyncio.Event().wait()

    assert (await Readiness([Check("objects", hang)]).report())["status"] == "not ready"


async def test_check_database(tmp_path: object) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/x.db")
    await check_database(database).run()
    await database.close()


async def test_check_redis_says_so_and_is_not_vital(redis: RedisServer) -> None:
    link, other = RedisLink(redis.url), RedisLink("redis://127.0.0.1:1/0")
    assert not check_redis(other).vital
    await check_redis(link).run()
    with pytest.raises(Busy):
        await check_redis(other).run()
    await link.close()
    await other.close()


@pytest.mark.parametrize(("age", "well"), [(1.0, True), (9.0, False), (None, False)])
async def test_check_heartbeat(age: float | None, well: bool) -> None:
    async def age_s() -> float | None:
        return age

    check = check_heartbeat("worker", age_s, 5)
    if well:
        await check.run()
    else:
        with pytest.raises(Busy):
            await check.run()


async def test_metrics_name_templates_and_known_methods_only(client: httpx.AsyncClient) -> None:
    await client.get("/dicom-web/studies/1.2.840.555.4711?PatientName=Doe")
    await client.get("/nowhere/Doe")
    await client.request("PATIENTDOE", "/nowhere")
    await client.get("/boom")
    text = (await client.get("/metrics")).text
    labels = 'group="wado",method="GET",route="/dicom-web/studies/{study}"'
    assert f'isthmus_http_requests_total{{{labels},status="200"}} ' in text
    assert f"isthmus_http_request_duration_seconds_count{{{labels}}} " in text
    assert 'le="2.0"' in text, "an alert asks for what took longer than 2 s"
    assert 'route="unmatched",status="404"} ' in text
    assert 'method="OTHER"' in text
    assert 'route="/boom",status="500"' in text
    assert "1.2.840" not in text
    assert "Doe" not in text.replace("PATIENTDOE", "Doe")


async def test_facts_are_read_for_each_scrape() -> None:
    metrics, lengths = Metrics(), iter((3.0, 4.0))

    async def read() -> list[Fact]:
        return [Fact("isthmus_queue", "Waiting.", ("queue",), [(("ai",), next(lengths))])]

    metrics.watch("queue", read)
    for length in (3, 4):
        text = (await metrics.render()).decode()
        assert f'isthmus_queue{{queue="ai"}} {length}.0' in text
        assert 'isthmus_facts_read{of="queue"} 1.0' in text


@pytest.mark.parametrize("error", [Busy("gone"), OSError("refused")])
async def test_facts_that_cannot_be_read_hide_nothing_else(error: Exception) -> None:
    metrics = Metrics()

    async def fail() -> list[Fact]:
        raise error

    async def read() -> list[Fact]:
        return [fact("isthmus_disk", "Room.", 5)]

    metrics.watch("queue", fail)
    metrics.watch("disk", read)
    text = (await metrics.render()).decode()
    assert 'isthmus_facts_read{of="queue"} 0.0' in text
    assert 'isthmus_facts_read{of="disk"} 1.0' in text
    assert "isthmus_disk 5.0" in text
    assert "# TYPE isthmus_http_requests_total counter" in text


async def test_facts_that_hang_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.http.metrics.FACTS_TIMEOUT_S", 0.01)
    metrics = Metrics()

    async def hang() -> list[Fact]:
        await asyncio.Event().wait()
        return []

    metrics.watch("queue", hang)
    assert b'isthmus_facts_read{of="queue"} 0.0' in await metrics.render()


async def test_readiness_is_told_as_metrics() -> None:
    database, worker = Switch("database"), Switch("worker", vital=False)
    worker.reason = "gone"
    metrics = Metrics()
    metrics.watch("readiness", Readiness([database.check, worker.check]).facts)
    text = (await metrics.render()).decode()
    assert "isthmus_ready 1.0" in text
    assert 'isthmus_check_ok{check="database"} 1.0' in text
    assert 'isthmus_check_ok{check="worker"} 0.0' in text


async def test_requests_under_way_are_counted_by_group(client: httpx.AsyncClient) -> None:
    text = (await client.get("/metrics")).text
    assert 'isthmus_http_requests_in_flight{group="health"} 1.0' in text
    assert 'isthmus_http_requests_in_flight{group="stow"} 0.0' in text


async def test_not_ready_at_once_when_leaving_whatever_was_known() -> None:
    database, drain = Switch("database"), Drain()
    readiness = Readiness([database.check], StoppedClock(), drain=drain)
    assert (await readiness.report())["status"] == "ready"
    drain.begin()
    report = await readiness.report()
    assert (report["status"], list(report["checks"])) == ("not ready", ["drain"])
