"""A name for every request: the client's `X-Request-Id` when it is harmless, else a new one.

It stands in the answer, in every log line and in every audit entry of the request; the address that the
request came from in those entries.
"""

import re
import secrets
from ipaddress import ip_address

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.kernel.request import ServedRequest, set_request

HEADER = b"x-request-id"
_HARMLESS = re.compile(rb"[A-Za-z0-9._\-]{1,64}")


class RequestId:
    """Pure ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request under its name."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request_id = accepted_id(scope) or secrets.token_hex(16)
        set_request(ServedRequest(request_id, address_of(scope)))

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                message["headers"] = [*message["headers"], (HEADER, request_id.encode())]
            await send(message)

        await self._app(scope, receive, named)


def address_of(scope: Scope) -> str | None:
    """The IP address of who connected, or that a trusted proxy names (setting `trusted_proxies`); None: none.

    An IPv4 address within IPv6 is that IPv4 address; a zone says nothing to others.
    """
    client = scope.get("client")
    try:
        address = ip_address(client[0].partition("%")[0] if client else "")
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def accepted_id(scope: Scope) -> str | None:
    """The client's own name for the request; None: it has none, or one that could forge log lines."""
    value = next((value for name, value in scope["headers"] if name == HEADER), b"")
    return value.decode("ascii") if _HARMLESS.fullmatch(value) else None
