"""Keys that others publish at a URI (RFC 7517 §5): fetched, kept, and asked for again.

Fetched by the rules of `server/kernel/outbound`, only from hosts that the settings list, and never inside a
transaction. Kept for `FRESH_US`; a key that is not among them has them fetched once more, and no URI is asked
more often than once in `AGAIN_US`, whoever wants it and whatever it answers.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import structlog

from server.kernel.clock import SECOND_US, Clock, now_us
from server.kernel.faults import Fault
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


class PublishedKeys:
    """The key sets of this process; `key_ids` reads the ids in one, or raises a Fault."""

    def __init__(
        self, policy: OutboundPolicy, key_ids: Callable[[str], frozenset[str]], clock: Clock = now_us
    ) -> None:
        self.policy = policy
        self._key_ids = key_ids
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

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
            require_fetchable(uri, self.policy)
            async with Outbound(self.policy) as out:
                text = (await out.read(uri, "application/json", MAX_JWKS_BYTES)).decode()
            kept.kids = self._key_ids(text)
        except (Fault, Unreachable, UnicodeDecodeError) as problem:
            log.warning("published keys not fetched", host=urlsplit(uri).hostname, problem=str(problem))
            return
        kept.jwks, kept.fetched_us = text, self._clock()


def require_fetchable(uri: str, policy: OutboundPolicy) -> None:
    """Let pass what may be relied on when it was fetched: https, or http to this machine.

    Raises:
        DestinationRefused: it is another kind of URI, or the settings do not list its host.
    """
    parts = policy.require_allowed(uri)
    if parts.scheme != "https" and not is_this_machine(parts.hostname or ""):
        raise DestinationRefused("It must be https.")
