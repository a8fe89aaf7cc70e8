"""Traces by OpenTelemetry; imported by `server.kernel.tracing` when they are wanted, and by nobody else."""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from http import HTTPStatus
from importlib.metadata import version
from types import TracebackType

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from server.kernel.faults import Fault
from server.kernel.tracing import Attributes, Kind, Span, TracingSettings

EXPORT_S = 5.0  # for one batch, its repetitions included; also what a stop may wait for a collector

_W3C = TraceContextTextMapPropagator()
_KINDS = {kind: trace.SpanKind[kind.value] for kind in Kind}
_NO_ERRORS = (asyncio.CancelledError, GeneratorExit)


class Tracing:
    """The tracer of one process."""

    def __init__(self, settings: TracingSettings, role: str) -> None:
        resource = Resource.create(
            {
                "service.name": f"isthmus-{role}",
                "service.namespace": "isthmus",
                "service.version": version("isthmus"),
                "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
            }
        )
        sampler = ParentBased(TraceIdRatioBased(settings.ratio))
        self._provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{settings.endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("isthmus", version("isthmus"))

    def span(self, name: str, attributes: Attributes | None, kind: Kind, since_ns: int | None) -> "OtelSpan":
        """A span that begins when it is entered, or began at `since_ns`."""

        def start() -> trace.Span:
            return self._tracer.start_span(
                name, kind=_KINDS[kind], attributes=attributes, start_time=since_ns
            )

        return OtelSpan(start)

    def joined(self, traceparent: str, tracestate: str | None) -> "_Joined":
        """The context that a traceparent names."""
        carrier = {"traceparent": traceparent}
        if tracestate is not None:
            carrier["tracestate"] = tracestate
        return _Joined(_W3C.extract(carrier))

    def traceparent(self) -> str | None:
        """The current span as W3C text."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier.get("traceparent")

    def ids(self) -> dict[str, str]:
        """The current span's identifiers."""
        current = trace.get_current_span().get_span_context()
        if not current.is_valid:
            return {}
        return {
            "trace_id": trace.format_trace_id(current.trace_id),
            "span_id": trace.format_span_id(current.span_id),
        }

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


class OtelSpan(Span):
    """A span that is sent when it ends. An error is told by its type: its text may hold data."""

    __slots__ = ("_span", "_start", "_token")

    def __init__(self, start: Callable[[], trace.Span]) -> None:
        self._start = start

    def __enter__(self) -> "OtelSpan":
        self._span = self._start()
        self._token = context.attach(trace.set_span_in_context(self._span))
        return self

    def set(self, attributes: Attributes) -> None:
        """Say more about it."""
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        """Name it by what became known later."""
        self._span.update_name(name)

    def failed(self, what: str) -> None:
        """It did not do what it should."""
        self._span.set_attribute("error.type", what)
        self._span.set_status(trace.StatusCode.ERROR)

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None, /
    ) -> None:
        """End it; what the client got wrong is no failure of ours."""
        is_theirs = isinstance(error, Fault) and error.status < HTTPStatus.INTERNAL_SERVER_ERROR
        if error is not None and not is_theirs and not isinstance(error, _NO_ERRORS):
            self.failed(type(error).__qualname__)
        context.detach(self._token)
        self._span.end()


class _Joined(AbstractContextManager[object]):
    def __init__(self, remote: context.Context) -> None:
        self._remote = remote

    def __enter__(self) -> object:
        self._token = context.attach(self._remote)
        return self

    def __exit__(self, *_: object) -> None:
        context.detach(self._token)
