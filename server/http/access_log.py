"""One log line and one observation for every request, without a word about patients.

Named by route template; never the path, the query or a header value.
"""

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.metrics import IN_FLIGHT, observe
from server.http.route_group import RouteGroup, route_group
from server.http.route_template import method_label, route_template

QUIET = frozenset({"/livez", "/readyz", "/metrics"})  # asked every few seconds: logged only when they fail


class AccessLog:
    """Pure ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = structlog.get_logger("isthmus.access").bind()  # once: binding costs a third of the line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and write what became of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = _Seen()

        async def counting(message: Message) -> None:
            seen.take(message)
            await send(message)

        group = route_group(scope)
        started = time.perf_counter()
        IN_FLIGHT[group].inc()
        try:
            await self._app(scope, receive, counting)
        finally:
            IN_FLIGHT[group].dec()
            self._report(group, scope, seen, time.perf_counter() - started)

    def _report(self, group: RouteGroup, scope: Scope, seen: "_Seen", seconds: float) -> None:
        route, method = route_template(scope), method_label(scope)
        observe((group.value, method, route), seen.status, seconds)
        if route in QUIET and seen.status < 400:
            return
        self._log.info(
            "request",
            method=method,
            route=route,
            status=seen.status,
            duration_ms=round(seconds * 1000, 1),
            response_bytes=seen.sent_bytes,
        )


class _Seen:
    """What has been sent so far; status 499 (nginx's word) while nothing has: the client went away."""

    __slots__ = ("sent_bytes", "status")

    def __init__(self) -> None:
        self.status = 499
        self.sent_bytes = 0

    def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.sent_bytes += len(message.get("body", b""))
