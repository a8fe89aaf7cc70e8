"""Metrics of real processes: one scrape tells of all of them, a worker by itself tells its own."""

import re
import signal
import socket
import subprocess
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.services import loopback


def value(text: str, sample: str) -> float | None:
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


def scrape(base: str) -> str:
    try:
        answer = loopback.get(f"{base}/metrics", timeout=10)
    except httpx.TransportError:
        return ""
    assert answer.status_code == 200
    return answer.text


def test_one_scrape_tells_of_server_and_worker(module_server: Any) -> None:
    def workers() -> float | None:
        return value(scrape(module_server.base), 'isthmus_processes{role="worker"}')

    module_server.wait_until(lambda: workers() == 1, 60)
    text = scrape(module_server.base)
    assert value(text, 'isthmus_processes{role="server"}') == 1
    assert (value(text, 'isthmus_process_resident_memory_bytes{role="worker"}') or 0) > 10 << 20
    assert value(text, "isthmus_ready") == 1
    assert value(text, 'isthmus_workitems{state="SCHEDULED"}') == 0
    for facts in ("readiness", "machine", "worklist", "outbox"):
        assert value(text, f'isthmus_facts_read{{of="{facts}"}}') == 1
    reads = 'isthmus_database_seconds_count{use="read"}'
    assert (value(text, reads) or 0) > 0


@pytest.mark.slow
def test_killed_worker_is_missed_and_its_counts_stay(module_server: Any) -> None:
    sample = 'isthmus_process_cpu_seconds_total{role="worker"}'
    module_server.wait_until(lambda: (value(scrape(module_server.base), sample) or 0) > 0, 60)
    before = value(scrape(module_server.base), sample)
    worker = module_server.worker()
    worker.kill()
    worker.wait()
    text = scrape(module_server.base)
    assert (value(text, sample) or 0) >= (before or 0) > 0

    def is_back() -> bool:
        return value(scrape(module_server.base), 'isthmus_processes{role="worker"}') == 1

    module_server.wait_until(is_back, 60)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_worker_by_itself_tells_its_own(server_process: Any, free_port: int) -> None:
    wait_until: Callable[..., Any] = server_process.wait_until
    environment = {**server_process._environment(), "ISTHMUS_WORKER_METRICS_PORT": str(free_port)}
    base = f"http://127.0.0.1:{free_port}"
    with (server_process.data / "server.log").open("ab") as log:
        worker = subprocess.Popen(server_process.command("worker"), env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: value(scrape(base), 'isthmus_processes{role="worker"}') == 1, 60)
        assert loopback.get(f"{base}/readyz").json()["status"] == "ready"
        second = subprocess.run(
            server_process.command("worker"), env=environment, capture_output=True, timeout=60, check=False
        )
        assert second.returncode == 1
        assert f"cannot listen on 127.0.0.1:{free_port}" in second.stderr.decode()
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0


ASKED = 20
SCRAPES = 8


def test_counts_are_whole_whichever_process_answers(
    server_process: Any, new_postgresql: Callable[[bool], str]
) -> None:
    """Two server processes share a port; each new connection reaches one of them."""
    server_process.environment |= {
        "ISTHMUS_DATABASE_URL": new_postgresql(True),
        "ISTHMUS_SERVER_WORKERS": "2",
        "TMPDIR": str(server_process.data),
    }
    server_process.start("--no-worker")
    servers = 'isthmus_processes{role="server"}'
    server_process.wait_until(lambda: value(scrape(server_process.base), servers) == 2, 60)
    for _ in range(ASKED):
        assert loopback.get(f"{server_process.base}/fhir/metadata").status_code == 200
    sample = 'isthmus_http_requests_total{group="fhir-read",method="GET",route="/fhir/metadata",status="200"}'
    assert [value(scrape(server_process.base), sample) for _ in range(SCRAPES)] == [ASKED] * SCRAPES

    assert list(server_process.data.glob("isthmus-metrics-*"))
    server_process.stop()
    assert not list(server_process.data.glob("isthmus-metrics-*")), "the folder goes with its server"
