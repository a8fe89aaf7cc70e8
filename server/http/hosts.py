"""Host header allow-list (RFC 9110 §7.2): a name that is not ours is refused before anything reads it.

This is what stands between a web page's DNS rebinding and a server on the loopback address. Probes and
scrapers come by address, so what tells nothing about patients answers them under any name.
"""

from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from server.http.problem import Answer
from server.kernel.faults import Fault

PROBED = frozenset({"/livez", "/readyz", "/metrics"})
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class WrongHost(Fault):
    """The Host header is missing, comes twice, or names another server."""


class HostAllowList:
    """Pure ASGI middleware; `*` allows every name."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], answer: Answer) -> None:
        self._app = app
        self._answer = answer
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, if it is meant for this server."""
        if scope["type"] == "lifespan" or "*" in self._hosts or self._is_ours(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            fault = WrongHost("The Host header does not name this server (setting: allowed_hosts).")
            await self._answer(scope, fault)(scope, receive, send)

    def _is_ours(self, scope: Scope) -> bool:
        if scope["path"] in PROBED:
            return True
        values = [value for name, value in scope["headers"] if name == b"host"]
        return len(values) == 1 and host_name(values[0].decode("latin-1")) in self._hosts


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")
