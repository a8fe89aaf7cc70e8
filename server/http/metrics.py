"""Prometheus metrics, in the application's own registry: two of them in one process do not meet."""

from collections.abc import Awaitable, Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST
BUCKETS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120)  # a cached read … a long upload

Refresh = Callable[[], Awaitable[None]]


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route")
        self._requests = Counter(
            "isthmus_http_requests", "Requests answered.", (*labels, "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "isthmus_http_request_duration_seconds",
            "Time from the request's head to the answer's end.",
            labels,
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "isthmus_http_requests_in_flight", "Requests being served.", registry=self.registry
        )
        self._refreshers: list[Refresh] = []

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def gauge(self, name: str, description: str, labels: Sequence[str] = ()) -> Gauge:
        """A new gauge; whoever asked for it sets it."""
        return Gauge(name, description, labels, registry=self.registry)

    def counter(self, name: str, description: str, labels: Sequence[str] = ()) -> Counter:
        """A new counter."""
        return Counter(name, description, labels, registry=self.registry)

    def before_scrape(self, refresh: Refresh) -> None:
        """Have gauges brought up to date just before they are read; `refresh` must be quick."""
        self._refreshers.append(refresh)

    async def render(self) -> bytes:
        """The text exposition.

        Raises:
            Busy: a gauge could not be brought up to date; a scrape that fails says more than a stale number.
        """
        for refresh in self._refreshers:
            await refresh()
        return generate_latest(self.registry)
