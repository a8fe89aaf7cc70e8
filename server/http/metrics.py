"""Prometheus: what requests cost, and the text of all metrics, whichever of `serve`'s processes is asked."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from server.http.route_group import RouteGroup
from server.kernel.metrics import (
    REGISTRY,
    REQUEST_S,
    Fact,
    ReadFacts,
    counter,
    gauge,
    histogram,
)
from server.kernel.metrics_folder import folded, shared_folder

CONTENT_TYPE = CONTENT_TYPE_LATEST
FACTS_TIMEOUT_S = 3.0  # for one reader of facts; then the scrape goes on without them

_REQUESTS = counter(
    "isthmus_http_requests",
    "Requests answered; status 499: the client went away.",
    ("group", "method", "route", "status"),
)
_SECONDS = histogram(
    "isthmus_http_request_duration_seconds",
    "Time from the request's head to the answer's end.",
    ("group", "method", "route"),
    REQUEST_S,
)
_IN_FLIGHT = gauge("isthmus_http_requests_in_flight", "Requests being served.", ("group",))
IN_FLIGHT = {group: _IN_FLIGHT.labels(group.value) for group in RouteGroup}

log = structlog.get_logger(__name__)


def observe(request: tuple[str, str, str], status: int, seconds: float) -> None:
    """Count one answered request: its group, method and route template."""
    _answered(*request, str(status)).inc()
    _timed(*request).observe(seconds)


_answered = cache(_REQUESTS.labels)  # looking the labels up costs more than counting; they are a closed set
_timed = cache(_SECONDS.labels)


@dataclass(slots=True)
class Metrics:
    """The scrape of one application: what its processes counted, and facts read now."""

    _readers: dict[str, ReadFacts] = field(default_factory=dict)

    def watch(self, name: str, read: ReadFacts) -> None:
        """Read these facts for every scrape; `read` must be quick. `name` is what they are facts of."""
        self._readers[name] = read

    async def render(self) -> bytes:
        """The text exposition. Facts that cannot be read are left out, and `isthmus_facts_read` says so."""
        read = await asyncio.gather(*(_read(name, reader) for name, reader in self._readers.items()))
        facts = [each for found in read for each in found or ()]
        ok = [((name,), float(found is not None)) for name, found in zip(self._readers, read, strict=True)]
        facts.append(Fact("isthmus_facts_read", "1: these facts could be read for this scrape.", ("of",), ok))
        return await asyncio.to_thread(_text, facts)


async def _read(name: str, read: ReadFacts) -> list[Fact] | None:
    """The facts; None: they cannot be read now, which must not hide everything else that is known."""
    try:
        async with asyncio.timeout(FACTS_TIMEOUT_S):
            return list(await read())
    except Exception as error:  # one reader's trouble must not blind the operator to the rest
        log.warning("facts not read", of=name, exc_info=error)
        return None


def _text(facts: list[Fact]) -> bytes:
    of_facts = CollectorRegistry()
    of_facts.register(_Facts(facts))
    return _counted() + generate_latest(of_facts)


def _counted() -> bytes:
    folder = shared_folder()
    if folder is None:
        return generate_latest(REGISTRY)
    together = CollectorRegistry()
    MultiProcessCollector(together, path=str(folder))  # type: ignore[no-untyped-call]
    with folded(folder):
        return generate_latest(together)


class _Facts(Collector):
    def __init__(self, facts: list[Fact]) -> None:
        self._facts = facts

    def collect(self) -> Iterable[Metric]:
        for each in self._facts:
            family = GaugeMetricFamily(each.name, each.text, labels=each.labels)
            for labels, value in each.values:
                family.add_metric(labels, value)
            yield family
