"""What this server asks of the provider: document, keys, tokens for a code (OpenID Connect Core §3.1.3).

By the rules of `server/kernel/outbound`, to hosts of the settings only, and never inside a transaction.
The document is asked for when a page first needs it: a provider that is down holds up no start.
"""

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson
import structlog

from server.auth.federation.id_tokens import key_id, key_ids
from server.auth.federation.metadata import (
    MAX_METADATA_BYTES,
    Metadata,
    discovery_url,
    read_metadata,
)
from server.auth.federation.provider import Provider
from server.auth.published_keys import PublishedKeys
from server.kernel.clock import SECOND_US, Clock, now_us
from server.kernel.faults import Fault, FaultKind

FRESH_US = 3600 * SECOND_US  # of the document
AGAIN_US = 30 * SECOND_US  # between two tries to have it
PATIENCE_S = 5.0  # of a page that waits for it
MAX_TOKEN_BYTES = 64 << 10  # of a token response

_OK = 200

log = structlog.get_logger(__name__)


class ProviderFailed(Fault):
    """The provider did not answer as it must; the message says in a few words what, for the log."""

    kind = FaultKind.BUSY


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the provider gave for a code; only the id_token is of use here."""

    id_token: str
    access_token: str | None


class ProviderLink:
    """The provider, as this process knows it."""

    def __init__(self, provider: Provider, clock: Clock = now_us) -> None:
        self._provider = provider
        self._clock = clock
        self._keys = PublishedKeys(provider.outbound, key_ids, clock)
        self._known: Metadata | None = None
        self._fetched_us = self._tried_us = 0
        self._turn = asyncio.Lock()

    async def metadata(self) -> Metadata:
        """The provider's document; one that was had serves on when it cannot be had again.

        Raises:
            ProviderFailed: it was never had.
        """
        async with self._turn:
            now = self._clock()
            is_due = self._known is None or self._fetched_us + FRESH_US <= now
            if is_due and self._tried_us + AGAIN_US <= now:
                self._tried_us = now
                await self._fetch()
            if self._known is None:
                raise ProviderFailed("its document cannot be had")
            return self._known

    async def _fetch(self) -> None:
        from server.kernel.outbound import Outbound, Unreachable

        provider = self._provider
        try:
            async with asyncio.timeout(PATIENCE_S), Outbound(provider.outbound) as out:
                url = discovery_url(provider.issuer)
                document = await out.read(url, "application/json", MAX_METADATA_BYTES)
            self._known = read_metadata(document, provider.issuer, provider.outbound)
        except (Fault, Unreachable, TimeoutError) as problem:
            log.warning("the OpenID provider is not known", problem=str(problem) or "no answer in time")
            return
        self._fetched_us = self._clock()

    async def keys_for(self, token: str) -> str:
        """The JWK Set that should have the key of a token.

        Raises:
            RefusedToken: the token names none.
            ProviderFailed: the set cannot be had.
        """
        kid = key_id(token)
        jwks = await self._keys.read((await self.metadata()).jwks_uri, kid)
        if jwks is None:
            raise ProviderFailed("its keys cannot be had")
        return jwks

    async def redeem(self, form: Mapping[str, str]) -> Tokens:
        """Tokens for a code (RFC 6749 §4.1.3); `form` has what proves that the code is ours.

        Raises:
            ProviderFailed: it gives none.
        """
        from server.kernel.outbound import Outbound, Unreachable

        metadata = await self.metadata()
        headers, own = self._credentials(metadata)
        try:
            async with Outbound(self._provider.outbound) as out:
                status, body = await out.post_form(
                    metadata.token_endpoint, headers, {**form, **own}, MAX_TOKEN_BYTES
                )
        except (Fault, Unreachable) as problem:
            raise ProviderFailed(f"no tokens: {problem}") from problem
        if status != _OK:
            raise ProviderFailed(f"no tokens: the answer was {status}")
        return _read_tokens(body)

    def _credentials(self, metadata: Metadata) -> tuple[list[tuple[str, str]], dict[str, str]]:
        """Who we are: in a header or in the form (RFC 6749 §2.3.1)."""
        provider = self._provider
        if metadata.secret_in_form:
            return [], {"client_id": provider.client_id, "client_secret": provider.client_secret}
        both = f"{quote(provider.client_id, safe='')}:{quote(provider.client_secret, safe='')}"
        return [("Authorization", f"Basic {base64.b64encode(both.encode()).decode()}")], {}


def _read_tokens(body: bytes) -> Tokens:
    """The token response (OpenID Connect Core §3.1.3.3)."""
    try:
        said: Any = orjson.loads(body)
        id_token, access_token = said["id_token"], said.get("access_token")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProviderFailed("the token response has no id_token") from error
    if not isinstance(id_token, str) or not isinstance(access_token, str | None):
        raise ProviderFailed("the token response has no id_token")
    return Tokens(id_token, access_token)
