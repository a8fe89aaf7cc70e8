"""A Prometheus of the tests' own: on a free port, its data in a temporary folder."""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.services import loopback
from tests.services.postgresql import free_port

START_S = 60.0
SCRAPE_S = 1


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server."""

    base: str

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of the API."""
        answer = loopback.get(f"{self.base}/api/v1/{path}", params=parameters, timeout=30)
        body = answer.json()
        assert body["status"] == "success", f"{parameters}: {body.get('error')}"
        return body["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector of an expression."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def scraped(self, job: str) -> float:
        """How often a job was scraped with success."""
        (found, *_) = self.query(f'sum(count_over_time(up{{job="{job}"}}[1h]) * up{{job="{job}"}})') or [None]
        return float(found["value"][1]) if found else 0.0


@contextmanager
def prometheus_server(
    folder: Path, targets: Mapping[str, str], rules: Path | None = None
) -> Iterator[Prometheus]:
    """A server that scrapes `targets` (job → host:port) every second."""
    config = {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"},
        "rule_files": [str(rules)] if rules else [],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [address]}]} for job, address in targets.items()
        ],
    }
    (folder / "prometheus.json").write_text(json.dumps(config))  # JSON is YAML
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.json'}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}", process, folder / "prometheus.log")
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_ready(base: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            if loopback.get(f"{base}/-/ready").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(log.read_text()[-4000:])
