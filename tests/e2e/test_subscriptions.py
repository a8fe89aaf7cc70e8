"""An EHR learns of a report: real servers, a real subscriber, and what happens to either."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.conftest import ServerProcess
from tests.services.receiver import Receiver, receiver

HEARD_S = 30.0


class Subscriber:
    """A receiver on a loop of its own, whatever the test waits for."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._context: Any = None
        self.heard: Receiver | None = None

    def open(self) -> None:
        self._thread.start()
        self._context = receiver(port=self._port)
        self.heard = self._run(self._context.__aenter__())

    def until_told(self, times: int) -> list[str]:
        """The paths it was told, once it was told so often."""
        assert self.heard is not None
        return [each.path for each in self._run(self.heard.until_told(times))]

    def close(self) -> None:
        self._run(self._context.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(HEARD_S)


@contextmanager
def subscriber(port: int) -> Iterator[Subscriber]:
    made = Subscriber(port)
    made.open()
    try:
        yield made
    finally:
        made.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


REPORT = {"resourceType": "DiagnosticReport", "status": "final", "code": {"text": "CT"}}


@pytest.mark.parametrize(
    "server_database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
def test_report_reaches_the_ehr_whatever_stops_in_between(server_process: ServerProcess) -> None:
    port = free_port()
    server_process.environment["ISTHMUS_SUBSCRIPTION_HOSTS"] = json.dumps([f"127.0.0.1:{port}"])
    server_process.start("--no-worker")
    client = server_process.client()
    asked = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "reports",
        "criteria": "DiagnosticReport?status=final",
        "channel": {
            "type": "rest-hook",
            "endpoint": f"http://127.0.0.1:{port}/fhir",
            "payload": "application/fhir+json",
            "header": ["Authorization: Bearer s3cret"],
        },
    }
    answer = client.post("/fhir/Subscription", json=asked)
    assert answer.status_code == 201, answer.text

    def report() -> str:
        return f"/fhir/DiagnosticReport/{client.post('/fhir/DiagnosticReport', json=REPORT).json()['id']}"

    with subscriber(port) as ehr:
        told = [report()]
        assert ehr.until_told(1) == told

    def failures() -> int:
        (state,) = client.get("/admin/api/subscriptions").json()["subscriptions"]
        return int(state["failures"])

    missed = [report(), report()]
    server_process.wait_until(failures, HEARD_S)
    server_process.kill()
    with subscriber(port) as ehr:
        server_process.start("--no-worker")
        client = server_process.client(client.headers["Authorization"].removeprefix("Bearer "))
        missed.append(report())
        assert ehr.until_told(3) == missed
        assert ehr.heard is not None
        assert ehr.heard.told[0].headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in server_process.log()
