"""Limits on how fast one principal asks, and on how often one address fails to authenticate (RFC 6585 §4).

Middleware of two places: `FailureLimit` stands before authentication, which tells it of each failure by
`FAILED_KEY`; `RequestLimit` stands behind, where it is known who asks. A client's address is the one that
connected, or the one that a trusted proxy names (setting `trusted_proxies`). How often passwords are tried is
limited where they are: `server/auth/authorize/pressure.py`.
"""

from dataclasses import dataclass
from math import ceil

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.problem import Answer
from server.kernel.access import ACCESS_KEY, FAILED_KEY, Access
from server.kernel.faults import Fault, FaultKind
from server.kernel.metrics import counter
from server.kernel.rate_limit import Rate, RateLimiter
from server.kernel.request import origin_of

BURST_S = 10  # a principal may ask for so many seconds' share at once

_LIMITED = counter("isthmus_http_limited", "Requests answered 429.", ("limit",))


class TooManyRequests(Fault):
    """The limit is reached; it will pass."""

    kind = FaultKind.TOO_MANY_REQUESTS


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate, who counts, and how a refusal is said."""

    rate: Rate
    limiter: RateLimiter
    answer: Answer

    def refusal(self, scope: Scope, wait_s: float) -> ASGIApp:
        """The answer 429, with the time to wait."""
        _LIMITED.labels(self.rate.name).inc()
        response = self.answer(scope, TooManyRequests("Too many requests; retry later."))
        response.headers["retry-after"] = str(ceil(wait_s))
        return response


@dataclass(frozen=True, slots=True)
class LimitMiddleware:
    """The middleware of the limits that the settings want."""

    limiter: RateLimiter
    answer: Answer

    def of_failures(self, per_minute: float) -> list[Middleware]:
        """Stands before authentication; 0: no limit."""
        if not per_minute:
            return []
        rate = Rate("failures", per_minute / 60, ceil(per_minute))
        return [Middleware(FailureLimit, Limit(rate, self.limiter, self.answer))]

    def of_requests(self, per_s: float | None) -> list[Middleware]:
        """Stands behind authentication; None: no limit."""
        if per_s is None:
            return []
        rate = Rate("requests", per_s, ceil(per_s * BURST_S))
        return [Middleware(RequestLimit, Limit(rate, self.limiter, self.answer))]


class RequestLimit:
    """Pure ASGI middleware: so many requests of one principal."""

    def __init__(self, app: ASGIApp, limit: Limit) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, unless its principal has had its share."""
        access = scope.get(ACCESS_KEY) if scope["type"] == "http" else None
        if isinstance(access, Access):
            wait_s = await self._limit.limiter.take(self._limit.rate, access.principal.id)
            if wait_s > 0:
                await self._limit.refusal(scope, wait_s)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class FailureLimit:
    """Pure ASGI middleware: so many failed authentications from one address.

    A failure over the limit is answered 429. Whoever authenticates rightly is never held up: a whole hospital
    may share an address, with a broken client in it, or a web page that makes browsers fail. Tokens and
    secrets have 256 random bits, so nothing is lost by looking at one more.
    """

    def __init__(self, app: ASGIApp, limit: Limit) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; its failure counts."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        replaced = False

        async def counting(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and scope.get(FAILED_KEY):
                wait_s = await self._limit.limiter.take(self._limit.rate, origin_of(scope))
                replaced = wait_s > 0
                if replaced:
                    await self._limit.refusal(scope, wait_s)(scope, receive, send)
            if not replaced:
                await send(message)

        await self._app(scope, receive, counting)
