"""A cap on request bodies, before any parser: as declared and as received (RFC 9110 §15.5.14).

By prefix, because a study is larger than a search form.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.problem import Answer
from server.kernel.faults import Fault, TooLarge


class WrongLength(Fault):
    """The Content-Length header is no number."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """The most bytes a body may have, by path prefix (the longest that fits) and elsewhere."""

    by_prefix: Mapping[str, int]
    elsewhere: int = 64 << 10

    def of(self, path: str) -> int:
        """The limit for a path."""
        fitting = [prefix for prefix in self.by_prefix if path == prefix or path.startswith(prefix + "/")]
        return self.by_prefix[max(fitting, key=len)] if fitting else self.elsewhere


class BodyLimit:
    """Pure ASGI middleware."""

    def __init__(self, app: ASGIApp, limits: BodyLimits, answer: Answer) -> None:
        self._app = app
        self._limits = limits
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as far as its body is not too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limits.of(scope["path"])
        refused = _declared_fault(scope, limit)
        if refused is not None:
            await self._answer(scope, refused)(scope, receive, send)
            return
        counted = _Counted(limit, receive, send)
        try:
            await self._app(scope, counted.receive, counted.send)
        except TooLarge:
            if not counted.exceeded:
                raise
        if counted.exceeded and not counted.answered:
            await self._answer(scope, _too_large(limit))(scope, receive, send)


class _Counted:
    """Counts what comes; once it is too much, the application's answer no longer matters."""

    def __init__(self, limit: int, receive: Receive, send: Send) -> None:
        self._limit = limit
        self._receive = receive
        self._send = send
        self._count = 0
        self.exceeded = False
        self.answered = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._count += len(message.get("body", b""))
            if self._count > self._limit:
                self.exceeded = True
                raise _too_large(self._limit)
        return message

    async def send(self, message: Message) -> None:
        if self.exceeded and not self.answered:
            return
        self.answered = True
        await self._send(message)


def _declared_fault(scope: Scope, limit: int) -> Fault | None:
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), None)
    if declared is None:
        return None
    if not declared.isdigit() or len(declared) > 18:  # every 64-bit length is shorter
        return WrongLength("Content-Length must be a number.")
    return _too_large(limit) if int(declared) > limit else None


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes.")
