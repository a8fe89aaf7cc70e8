"""The way out of service: not ready at once, still serving for a while, then no new connections, then ended.

A load balancer learns from `/readyz` that a process leaves and needs a moment to act on it; until then the
process answers as before, and asks each client to come back on another connection (RFC 9112 §9.6).
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CLOSE = (b"connection", b"close")


class Drain:
    """Whether this process is on its way out; there is no way back."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()

    @property
    def has_begun(self) -> bool:
        """Whether it is."""
        return self._begun.is_set()

    def begin(self) -> None:
        """Be on the way out."""
        self._begun.set()

    async def wait(self) -> None:
        """Return once it has begun: for what would otherwise last, such as an open channel."""
        await self._begun.wait()


class LastAnswer:
    """Pure ASGI middleware: while the process leaves, each answer is the last of its connection."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._drain.has_begun:
                message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
            await send(message)

        await self._app(scope, receive, closing)
