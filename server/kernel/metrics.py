"""The floor of metrics: how a feature counts and times what it does.

Declare at module level, use where it happens:

    from server.kernel.metrics import counter

    STORED = counter("isthmus_stored_instances", "Instances stored.", ("outcome",))
    ...
    STORED.labels("new").inc()

and give the metric a row in docs/operations.md (a test compares). The rules:

- Label values come from closed sets: an enum, a route group, a registered model. Never from data: no UID, no
  name, no path, nothing of a patient, nothing a client makes up.
- A metric is of this process; `serve` adds up those of all its processes (`metrics_folder`). What is one
  truth for all of them (a queue's length, free disk) is a `Fact`, read anew for each scrape, bounded, by an
  index.
- Names: `isthmus_<what>_<unit>`; a counter's name is given without `_total`.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

# They would double the text, and several processes have no one time of creation.
disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()  # ours alone: what libraries count is not ours to publish

QUICK_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30)  # a query, a file
REQUEST_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 30, 120)  # a cached read … an upload
LONG_S = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)  # work in the background

Together = Literal["livesum", "livemax", "livemin"]  # what a gauge of several processes comes to


def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
    """A new counter: it only grows."""
    return Counter(name, text, labels, registry=REGISTRY)


def histogram(
    name: str, text: str, labels: Sequence[str] = (), buckets: Sequence[float] = QUICK_S
) -> Histogram:
    """A new histogram; give it buckets at the limits that alerts and objectives name."""
    return Histogram(name, text, labels, buckets=buckets, registry=REGISTRY)


def gauge(name: str, text: str, labels: Sequence[str] = (), together: Together = "livesum") -> Gauge:
    """A new gauge of this process; a process that has ended counts no more.

    Without labels it is 0 in every process that imports it, from the import on: with "livemin" give it one.
    """
    return Gauge(name, text, labels, multiprocess_mode=together, registry=REGISTRY)


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is one truth, whichever process is asked: the values are read for each scrape."""

    name: str
    text: str
    labels: tuple[str, ...] = ()
    values: Sequence[tuple[tuple[str, ...], float]] = ()  # label values, value


def fact(name: str, text: str, value: float) -> Fact:
    """A fact without labels."""
    return Fact(name, text, (), [((), value)])


ReadFacts = Callable[[], Awaitable[Iterable[Fact]]]
