"""The floor of traces: spans of what we do, joined across processes; nothing at all unless configured.

    with span("encode", {"isthmus.model": name}):
        ...

Off, `span` costs a look at one variable, and OpenTelemetry is not imported. On, spans go to an OTLP/HTTP
collector in batches, from a thread of its own; a collector that is away costs nothing but the spans. What
queues carry is a W3C traceparent: text in a column or argument, written by `current_traceparent`, taken up by
`joined`. Names and attributes follow the rules of metrics: route templates, kinds, models; never data, paths,
queries, or the text of an exception.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any

from server.kernel.faults import Fault, FaultKind

Attributes = Mapping[str, str | int | float | bool]


class Kind(Enum):
    """What a span is of; OpenTelemetry's SpanKind by name."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"  # a request we answer
    CLIENT = "CLIENT"  # a request we make: database, object store
    PRODUCER = "PRODUCER"  # work we leave for another process
    CONSUMER = "CONSUMER"  # work another process left


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Where spans go."""

    endpoint: str  # base URL of an OTLP/HTTP receiver; /v1/traces is added
    ratio: float = 1.0  # share of traces kept, of those that begin here


class TracingNotInstalled(Fault):
    """Traces are wanted, and what sends them is not installed."""

    kind = FaultKind.NOT_IMPLEMENTED


class Span(AbstractContextManager["Span"]):
    """A span under way; this one is of no trace."""

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """End it."""

    def set(self, attributes: Attributes) -> None:
        """Say more about it."""

    def rename(self, name: str) -> None:
        """Name it by what became known later."""

    def failed(self, what: str) -> None:
        """It did not do what it should; `what` is a type or a status, no text."""


_NOTHING = Span()
_tracing: Any = None  # server.kernel.otel.Tracing; None: off


def configure_tracing(settings: TracingSettings | None, role: str) -> None:
    """Begin to trace in this process; None leaves it off.

    Raises:
        TracingNotInstalled: the extra [otel] is not installed.
    """
    global _tracing  # noqa: PLW0603  one process, one tracer
    if settings is None or _tracing is not None:
        return
    try:
        from server.kernel.otel import Tracing
    except ImportError as error:
        raise TracingNotInstalled("Traces need OpenTelemetry: pip install 'isthmus[otel]'.") from error
    _tracing = Tracing(settings, role)


def close_tracing() -> None:
    """Send what is left, and be off; blocks until it is sent or the collector has not answered."""
    global _tracing
    tracing, _tracing = _tracing, None
    if tracing is not None:
        tracing.close()


def is_tracing() -> bool:
    """Whether spans are made."""
    return _tracing is not None


def span(
    name: str,
    attributes: Attributes | None = None,
    kind: Kind = Kind.INTERNAL,
    *,
    since_ns: int | None = None,
) -> Span:
    """A span within the current one, or the first of a trace; `since_ns` of the epoch: it began earlier."""
    if _tracing is None:
        return _NOTHING
    began: Span = _tracing.span(name, attributes, kind, since_ns)
    return began


def child_span(name: str, attributes: Attributes | None = None, kind: Kind = Kind.INTERNAL) -> Span:
    """A span within the current one, if there is one: what is asked all the time is not worth a trace."""
    if _tracing is None or not _tracing.ids():
        return _NOTHING
    return span(name, attributes, kind)


def joined(traceparent: str | None, tracestate: str | None = None) -> AbstractContextManager[object]:
    """Within, spans belong to the trace that another process began; None: to the current one."""
    if _tracing is None or traceparent is None:
        return _NOTHING
    context: AbstractContextManager[object] = _tracing.joined(traceparent, tracestate)
    return context


def current_traceparent() -> str | None:
    """The current span as W3C traceparent (Trace Context §3.2); None: there is none."""
    if _tracing is None:
        return None
    traceparent: str | None = _tracing.traceparent()
    return traceparent


def current_ids() -> Mapping[str, str]:
    """`trace_id` and `span_id` of the current span, for logs; empty: there is none."""
    if _tracing is None:
        return {}
    ids: Mapping[str, str] = _tracing.ids()
    return ids
