"""The middleware of the server in its one right order, outermost first."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from starlette.middleware import Middleware

from server.http.access_log import AccessLog
from server.http.body_limit import BodyLimit, BodyLimits
from server.http.cors import CrossOrigin
from server.http.error_shield import ErrorShield
from server.http.hosts import HostAllowList
from server.http.path_prefix import PathPrefix
from server.http.path_text import PathText
from server.http.problem import Answer
from server.http.request_id import RequestId
from server.http.security_headers import SecurityHeaders
from server.http.tracing import Tracing


@dataclass(frozen=True, slots=True)
class HttpFloor:
    """What the middleware needs."""

    answer: Answer
    hosts: Collection[str]  # names accepted in the Host header
    limits: BodyLimits
    https: bool  # whether the public base is
    tracing: bool = False  # whether requests are traced
    prefix: str = ""  # path of the public base, which a proxy in front may leave on
    origins: Collection[str] = ()  # of pages that may read answers, beside our own


def build_middleware(floor: HttpFloor, inner: Sequence[Middleware] = ()) -> list[Middleware]:
    """The list for `FastAPI(middleware=…)`; `inner` (authentication) stands next to the application.

    The prefix goes first, for everything else looks at paths; then the name, so that every line of the log
    has it. The log sees what the shield made of an error; a wrong Host, a path with NUL and too large a body
    are refused before a token is looked up. What pages of other origins
    may read is said of every answer, a refusal too; preflights have no token.
    """
    return [
        Middleware(PathPrefix, floor.prefix),
        Middleware(RequestId),
        *([Middleware(Tracing)] if floor.tracing else []),
        Middleware(AccessLog),
        Middleware(SecurityHeaders, https=floor.https),
        *([Middleware(CrossOrigin, floor.origins)] if floor.origins else []),
        Middleware(ErrorShield, floor.answer),
        Middleware(HostAllowList, floor.hosts, floor.answer),
        Middleware(PathText, floor.answer),
        Middleware(BodyLimit, floor.limits, floor.answer),
        *inner,
    ]
