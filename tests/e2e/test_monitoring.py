"""Dashboards and rules on a real Prometheus that scrapes a real server, its worker, and one by itself."""

import json
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.services.postgresql import free_port
from tests.services.prometheus import Prometheus, prometheus_server

pytestmark = pytest.mark.slow
MONITORING = Path(__file__).parents[2] / "k8s/base/monitoring"
TARGETS = ("isthmus", "isthmus-worker")
GRAFANAS = {"$__rate_interval": "5m"}


def panels() -> Iterator[Any]:
    for path in sorted((MONITORING / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            yield pytest.param(panel["targets"][0]["expr"], id=f"{path.stem}: {panel['title']}")


def work(server: Any, kit: Any, chest: Any) -> None:
    """Something of everything, up to a report."""
    http = server.client()
    uid = str(chest[0].StudyInstanceUID)
    kit.store(http, chest).raise_for_status()
    server.wait_until(lambda: kit.states(http, uid) == ["COMPLETED"], 240)
    for path in (
        "/dicom-web/studies",
        f"/dicom-web/studies/{uid}/metadata",
        f"/dicom-web/studies/{uid}/series/{chest[0].SeriesInstanceUID}",
        f"/dicom-web/studies/{uid}/thumbnail",
        "/fhir/DiagnosticReport",
        "/fhir/metadata",
        "/fhir/Patient/none",
        "/admin/api/models",
        "/auth/none",
    ):
        http.get(path)
    http.post("/fhir/Patient", json={"resourceType": "Patient"}).raise_for_status()


PIECES = 4  # of work, before both workers have certainly done one and one of them two


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, module_server: Any) -> Iterator[Prometheus]:
    """A Prometheus that has seen the work, from before it began."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    environment = {**module_server._environment(), "ISTHMUS_WORKER_METRICS_PORT": str(port)}
    with (folder / "worker.log").open("wb") as log:
        alone = subprocess.Popen(module_server.command("worker"), env=environment, stderr=log)
    addresses = (module_server.base.partition("//")[2], f"127.0.0.1:{port}")
    targets = dict(zip(TARGETS, addresses, strict=True))
    try:
        with prometheus_server(folder, targets, MONITORING / "alerts.yaml") as running:
            module_server.wait_until(lambda: all(running.scraped(job) for job in targets), 90)
            yield running
    finally:
        alone.send_signal(signal.SIGTERM)
        alone.wait(60)


@pytest.fixture(scope="module")
def worked(prometheus: Prometheus, module_server: Any, kit: Any, new_chest: Any) -> Prometheus:
    """The same, after work until there is a rate: a counter that appears with its first value has none.

    There are two workers, and either may do the next piece of work.
    """

    def is_scraped_twice(before: list[float]) -> bool:
        now = [prometheus.scraped(job) for job in TARGETS]
        return all(count >= seen + 2 for count, seen in zip(now, before, strict=True))

    for _ in range(PIECES):
        work(module_server, kit, new_chest())
        seen = [prometheus.scraped(job) for job in TARGETS]
        module_server.wait_until(partial(is_scraped_twice, seen), 60)
        rates = prometheus.query("rate(isthmus_predictions_total[5m])")
        if any(float(rate["value"][1]) > 0 for rate in rates):
            return prometheus
    raise AssertionError("no worker has a rate of predictions")


@pytest.mark.parametrize("query", list(panels()))
def test_panel_shows_something(worked: Prometheus, query: str) -> None:
    for grafanas, ours in GRAFANAS.items():
        query = query.replace(grafanas, ours)
    found = worked.query(query)
    assert found, query
    assert any(sample["value"][1] != "NaN" for sample in found), query


def test_both_are_scraped_and_the_worker_is_one_of_two(worked: Prometheus) -> None:
    workers = worked.query('sum(isthmus_processes{role="worker"})')
    assert workers[0]["value"][1] == "2"


def test_rules_load_and_evaluate(worked: Prometheus) -> None:
    groups = worked.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 20
    assert [rule for rule in rules if rule.get("lastError")] == []
    assert worked.query("isthmus:request_duration_seconds:p95")


def test_no_critical_alert_fires_of_a_server_that_is_well(worked: Prometheus) -> None:
    firing = worked.query('ALERTS{alertstate="firing",severity="critical"}')
    names = {sample["metric"]["alertname"] for sample in firing}
    assert names <= {"IsthmusBackupOld"}  # nobody made a backup
