"""Keys that clients publish at a `jwks_uri` (RFC 7591 §2, SMART 2.2 asymmetric client authentication).

Fetched by the rules of `server/kernel/outbound`, only from hosts that the settings list, and never inside a
transaction. Kept for `FRESH_US`; a key that is not among them has them fetched once more, and no URI is asked
more often than once in `AGAIN_US`, whoever wants it and whatever it answers.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import orjson
import structlog
from joserfc import jws
from joserfc.errors import JoseError

from server.auth.clients import InvalidClientMetadata, read_jwks, select_client
from server.kernel.clock import SECOND_US, Clock, now_us
from server.kernel.database import Database
from server.kernel.outbound_policy import DestinationRefused, OutboundPolicy, is_this_machine

FRESH_US = 600 * SECOND_US  # a key that was withdrawn verifies so long
AGAIN_US = 60 * SECOND_US
MAX_JWKS_BYTES = 64 << 10  # of a JWK Set that is fetched
MAX_SETS = 1_000  # kept at once; the longest unused leaves first

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Kept:
    """What is known of one URI."""

    jwks: str | None = None  # None: it could not be had
    kids: frozenset[str] = frozenset()
    fetched_us: int = 0
    tried_us: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class ClientKeys:
    """The key sets of this process."""

    def __init__(self, policy: OutboundPolicy, clock: Clock = now_us) -> None:
        self.policy = policy
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def of_request(self, database: Database, form: Mapping[str, str]) -> Mapping[str, str]:
        """By URI, the key sets that a form's client assertion needs; nothing in it is believed yet."""
        named = _named(form.get("client_assertion", ""))
        if named is None:
            return {}
        client_id, kid = named
        async with database.read() as connection:
            row = (await connection.execute(select_client(client_id))).one_or_none()
        if row is None or row.jwks_uri is None:
            return {}
        jwks = await self.read(row.jwks_uri, kid)
        return {} if jwks is None else {row.jwks_uri: jwks}

    async def read(self, uri: str, kid: str) -> str | None:
        """The key set at a URI, as fresh as it needs to be to have this key; None: it cannot be had."""
        kept = self._kept.setdefault(uri, _Kept())
        self._kept.move_to_end(uri)
        if len(self._kept) > MAX_SETS:
            self._kept.popitem(last=False)
        async with kept.turn:
            now = self._clock()
            is_fresh = kept.fetched_us + FRESH_US > now
            if not (is_fresh and kid in kept.kids) and kept.tried_us + AGAIN_US <= now:
                kept.tried_us = now
                await self._fetch(uri, kept)
            return kept.jwks if kept.fetched_us + FRESH_US > now else None

    async def _fetch(self, uri: str, kept: _Kept) -> None:
        from server.kernel.outbound import Outbound, Unreachable

        try:
            require_jwks_uri(uri, self.policy)
            async with Outbound(self.policy) as out:
                text = (await out.read(uri, "application/json", MAX_JWKS_BYTES)).decode()
            kept.kids = frozenset(str(key.kid) for key in read_jwks(text).keys)
        except (DestinationRefused, Unreachable, InvalidClientMetadata, UnicodeDecodeError) as problem:
            log.warning("keys of a client not fetched", host=urlsplit(uri).hostname, problem=str(problem))
            return
        kept.jwks, kept.fetched_us = text, self._clock()


def require_jwks_uri(uri: str, policy: OutboundPolicy) -> None:
    """Let pass where keys may be fetched: https, or http to this machine.

    Raises:
        InvalidClientMetadata: it is another kind of URI, or the settings do not list its host.
    """
    try:
        parts = policy.require_allowed(uri)
    except DestinationRefused as refused:
        raise InvalidClientMetadata(f"jwks_uri: {refused}") from refused
    if parts.scheme != "https" and not is_this_machine(parts.hostname or ""):
        raise InvalidClientMetadata("jwks_uri must be https.")


def _named(assertion: str) -> tuple[str, str] | None:
    """The client and the key that an assertion names; None: it names none."""
    try:
        token = jws.extract_compact(assertion.encode())
        kid, claims = token.headers().get("kid"), orjson.loads(token.payload)
    except (JoseError, ValueError, RecursionError):
        return None
    client_id = claims.get("sub") if isinstance(claims, dict) else None
    if not isinstance(client_id, str) or not isinstance(kid, str) or "\x00" in client_id:
        return None
    return client_id, kid
