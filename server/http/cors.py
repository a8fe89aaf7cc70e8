"""Pages of other origins, as far as the setting `cors_origins` names them (Fetch standard §3.2, CORS).

Credentials mode is never allowed: a page brings its token in the Authorization header, and what a browser
would add by itself opens nothing here. A preflight is answered before authentication, for it has no token; it
tells nothing of what is stored.
"""

from collections.abc import Collection
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.route_template import METHODS

ANY = "*"
PREFLIGHT_AGE_S = 600  # that a browser may keep the answer to a preflight
REQUEST_HEADERS = (
    "Accept",
    "Authorization",
    "Cache-Control",
    "Content-Type",
    "If-Match",
    "If-Modified-Since",
    "If-None-Exist",
    "If-None-Match",
    "If-Range",
    "Prefer",
    "Range",
    "X-Request-Id",
)
EXPOSED_HEADERS = (
    "Accept-Ranges",
    "Allow",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Location",
    "Content-Range",
    "ETag",
    "Location",
    "Retry-After",
    "Warning",
    "WWW-Authenticate",
    "X-Request-Id",
    "X-Total-Count",
)


class CrossOrigin:
    """Pure ASGI middleware; `*` among the origins allows every one."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        origin = _header(scope, b"origin") if scope["type"] == "http" else None
        allowed = self._allowed(origin) if origin is not None else None
        if allowed is not None and _is_preflight(scope):
            await _answer_preflight(allowed, send)
        elif scope["type"] == "http":
            await self._app(scope, receive, _told(send, allowed))
        else:
            await self._app(scope, receive, send)

    def _allowed(self, origin: bytes) -> bytes | None:
        """The value of Access-Control-Allow-Origin; None: this origin is not allowed."""
        if ANY in self._origins:
            return ANY.encode()
        return origin if origin.decode("latin-1") in self._origins else None


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and _header(scope, b"access-control-request-method") is not None


async def _answer_preflight(allowed: bytes, send: Send) -> None:
    headers = [
        (b"access-control-allow-origin", allowed),
        (b"access-control-allow-methods", ", ".join(sorted(METHODS)).encode()),
        (b"access-control-allow-headers", ", ".join(REQUEST_HEADERS).encode()),
        (b"access-control-max-age", str(PREFLIGHT_AGE_S).encode()),
        (b"vary", b"Origin"),
    ]
    await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _told(send: Send, allowed: bytes | None) -> Send:
    """`send` that tells the browser whether the page may read the answer."""
    headers = [(b"vary", b"Origin")]  # a cache must not give one origin's answer to another
    if allowed is not None:
        headers.append((b"access-control-allow-origin", allowed))
        headers.append((b"access-control-expose-headers", ", ".join(EXPOSED_HEADERS).encode()))

    async def send_told(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
        await send(message)

    return send_told


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for each, value in scope["headers"] if each == name), None)
