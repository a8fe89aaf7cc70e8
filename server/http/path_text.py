"""A path with NUL names nothing here: refused before it is routed (RFC 9110 §4.2.1, RFC 3986 §2.1).

Identifiers go from the path into queries, and PostgreSQL's text holds no NUL: each route would answer 500.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from server.http.problem import Answer
from server.kernel.faults import Fault


class PathWithNul(Fault):
    """The path holds NUL."""


class PathText:
    """Pure ASGI middleware."""

    def __init__(self, app: ASGIApp, answer: Answer) -> None:
        self._app = app
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request whose path is text."""
        if scope["type"] == "http" and "\x00" in scope["path"]:
            await self._answer(scope, PathWithNul("The path holds NUL."))(scope, receive, send)
        else:
            await self._app(scope, receive, send)
