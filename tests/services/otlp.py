"""A receiver of traces: OTLP over HTTP, protobuf, on a free loopback port."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span as it came over the wire; identifiers in hexadecimal."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str  # "": none
    attributes: dict[str, Any]
    is_error: bool
    events: int


@dataclass
class Receiver:
    """What was received, and where it listens."""

    endpoint: str
    spans: list[ReceivedSpan] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def named(self, name: str) -> list[ReceivedSpan]:
        """Spans of this name."""
        return [span for span in self.spans if span.name == name]

    def by_id(self) -> dict[str, ReceivedSpan]:
        """Every span by its identifier."""
        return {span.span_id: span for span in self.spans}

    def ancestry(self, span: ReceivedSpan) -> list[str]:
        """Names from the span's parent up to the root, or to a parent that is not ours."""
        known, names = self.by_id(), []
        at = known.get(span.parent_id)
        while at is not None:
            names.append(at.name)
            at = known.get(at.parent_id)
        return names

    def take(self, body: bytes) -> None:
        """Decode one export."""
        self.bodies.append(body)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = {each.key: each.value.string_value for each in group.resource.attributes}[
                "service.name"
            ]
            for scope in group.scope_spans:
                self.spans.extend(_decoded(service, span) for span in scope.spans)


def _decoded(service: str, span: Any) -> ReceivedSpan:
    return ReceivedSpan(
        service=service,
        name=span.name,
        kind=span.kind,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes={
            each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes
        },
        is_error=span.status.code == 2,
        events=len(span.events),
    )


@contextmanager
def otlp_receiver() -> Iterator[Receiver]:
    """A running receiver."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces", self.path
            receiver.take(body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
