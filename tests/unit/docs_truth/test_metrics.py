"""docs/operations.md names every metric with its kind and labels, and none that is not there."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import ai_engine
import dicomweb
import fhir
import server
from server.app import build_services, close_services
from server.http.health import Readiness
from server.http.metrics import Metrics
from server.kernel.metrics import REGISTRY
from server.migrations import upgrade
from server.settings import Settings
from server.workflows.facts import watch_database, watch_machine

ROW = re.compile(r"^\| `(isthmus_\w+)` \| (\w+) \| ([^|]*)\|", re.MULTILINE)
NOT_IMPORTED = re.compile(
    r"^ai_engine\.training\.|^fhir\.resources|\.migrations\.|__main__$"
)  # training needs torch


def declared() -> dict[str, tuple[str, str]]:
    """Metric → (type, labels) of everything that any module of ours declares."""
    for package in (server, dicomweb, fhir, ai_engine):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not NOT_IMPORTED.search(module.name):
                importlib.import_module(module.name)
    found = {}
    for metric in set(REGISTRY._collector_to_names):
        name = metric._name + ("_total" if metric._type == "counter" else "")  # type: ignore[attr-defined]
        found[name] = (metric._type, ", ".join(metric._labelnames))  # type: ignore[attr-defined]
    return {name: told for name, told in found.items() if name.startswith("isthmus_")}


async def facts(settings: Settings) -> dict[str, tuple[str, str]]:
    """Metric → (type, labels) of the facts of a server that has just started."""
    services, metrics = build_services(settings), Metrics()
    watch_machine(metrics, Readiness([]), settings.data)
    watch_database(metrics, services)
    read = [fact for reader in metrics._readers.values() for fact in await reader()]
    await close_services(services)
    return {fact.name: ("gauge", ", ".join(fact.labels)) for fact in read}


@pytest.fixture
async def metrics(tmp_path: Path) -> dict[str, tuple[str, str]]:
    settings = Settings(data=tmp_path, worker=False)
    await upgrade(settings.database)
    return {**declared(), **await facts(settings), "isthmus_facts_read": ("gauge", "of")}


async def test_metrics_of_the_page_are_those_of_the_code(
    metrics: dict[str, tuple[str, str]], reference: dict[str, str]
) -> None:
    told = {name: (kind, labels.strip()) for name, kind, labels in ROW.findall(reference["operations.md"])}
    assert told == metrics
    assert len(told) > 20
