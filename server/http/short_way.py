"""Routes that are asked most, found before the framework's router looks for any.

FastAPI compares a request with the routes of every included router, twice, and opens exit stacks that these
handlers do not use: together a third of a short answer's time. What a router has as Starlette's plain routes
goes the short way: such a path means nothing else, and its handler takes the request as it is.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from server.http.problem import Answer
from server.kernel.faults import Fault


@dataclass(frozen=True, slots=True)
class PlainRoute:
    """A route and its handler."""

    path: str  # the template, as logs and metrics name it
    method: str
    pattern: re.Pattern[str]
    handle: Callable[[Request], Awaitable[Response]]


def take_plain_routes(router: APIRouter, prefix: str) -> Sequence[PlainRoute]:
    """Take Starlette's plain routes out of a router; returns them as they are below `prefix`."""
    plain = [route for route in router.routes if type(route) is Route]
    router.routes[:] = [route for route in router.routes if type(route) is not Route]
    return [
        PlainRoute(whole.path_format, method, whole.path_regex, route.endpoint)
        for route in plain
        for method in (route.methods or set()) - {"HEAD"}
        if (whole := Route(prefix + route.path, route.endpoint))
    ]


class ShortWay:
    """Pure ASGI middleware, the innermost; HEAD has become GET before it."""

    def __init__(self, app: ASGIApp, routes: Sequence[PlainRoute], answer: Answer) -> None:
        self._app = app
        self._answer = answer
        self._routes = _by_method(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request by its route, or let the router look for one."""
        if scope["type"] == "http":
            path = scope["path"]
            for route in self._routes.get(scope["method"], ()):
                if (found := route.pattern.match(path)) is not None:
                    scope["route"], scope["path_params"] = route, found.groupdict()
                    await self._serve(route, scope, receive, send)
                    return
        await self._app(scope, receive, send)

    async def _serve(self, route: PlainRoute, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response: ASGIApp = await route.handle(Request(scope, receive, send))
        except Fault as fault:
            response = self._answer(scope, fault)
        await response(scope, receive, send)


def _by_method(routes: Sequence[PlainRoute]) -> Mapping[str, Sequence[PlainRoute]]:
    found: dict[str, list[PlainRoute]] = {}
    for route in routes:
        found.setdefault(route.method, []).append(route)
    return found
