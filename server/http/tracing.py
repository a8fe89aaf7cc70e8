"""A span for every request, in the trace of whoever asked (W3C Trace Context §3); health is not traced.

Named by route template; never the path, the query or a header value but `traceparent` and `tracestate`.
"""

from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.route_group import RouteGroup, route_group
from server.http.route_template import method_label, route_template
from server.kernel.request import current_request_id
from server.kernel.tracing import Kind, Span, joined, span

# FastAPI's own telemetry can be switched on by the environment; it tells paths, queries, texts of exceptions.
NO_TELEMETRY: Any = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


class Tracing:
    """Pure ASGI middleware; stands only where traces are on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request within a span."""
        if scope["type"] != "http" or (group := route_group(scope)) is RouteGroup.HEALTH:
            await self._app(scope, receive, send)
            return
        method = method_label(scope)
        with (
            joined(_header(scope, b"traceparent"), _header(scope, b"tracestate")),
            span(method, {"isthmus.group": group.value, "http.request.method": method}, Kind.SERVER) as one,
        ):
            await self._serve(one, scope, receive, send)

    async def _serve(self, one: Span, scope: Scope, receive: Receive, send: Send) -> None:
        async def watching(message: Message) -> None:
            if message["type"] == "http.response.start":
                one.set({"http.response.status_code": message["status"]})
                if message["status"] >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    one.failed(str(message["status"]))
            await send(message)

        try:
            await self._app(scope, receive, watching)
        finally:
            route = route_template(scope)
            one.rename(f"{method_label(scope)} {route}")
            one.set({"http.route": route, "isthmus.request_id": current_request_id() or ""})


def _header(scope: Scope, name: bytes) -> str | None:
    value = next((value for key, value in scope["headers"] if key == name), None)
    return value.decode("latin-1") if value is not None and len(value) <= 512 else None
