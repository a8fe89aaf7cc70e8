"""Keys that clients publish at a `jwks_uri` (RFC 7591 §2, SMART 2.2 asymmetric client authentication)."""

from collections.abc import Mapping

import orjson
from joserfc import jws
from joserfc.errors import JoseError

from server.auth.clients import InvalidClientMetadata, read_jwks, select_client
from server.auth.published_keys import PublishedKeys, require_fetchable
from server.kernel.clock import Clock, now_us
from server.kernel.database import Database
from server.kernel.outbound_policy import DestinationRefused, OutboundPolicy


class ClientKeys(PublishedKeys):
    """The key sets of clients, as this process knows them."""

    def __init__(self, policy: OutboundPolicy, clock: Clock = now_us) -> None:
        super().__init__(policy, _key_ids, clock)

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


def require_jwks_uri(uri: str, policy: OutboundPolicy) -> None:
    """Let pass where keys may be fetched: https, or http to this machine.

    Raises:
        InvalidClientMetadata: it is another kind of URI, or the settings do not list its host.
    """
    try:
        require_fetchable(uri, policy)
    except DestinationRefused as refused:
        raise InvalidClientMetadata(f"jwks_uri: {refused}") from refused


def _key_ids(jwks: str) -> frozenset[str]:
    return frozenset(str(key.kid) for key in read_jwks(jwks).keys)


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
