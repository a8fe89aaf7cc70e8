"""Client authentication by a signed JWT (RFC 7523 §2.2 and §3, SMART 2.2 asymmetric client authentication).

Authlib's class with its defaults overridden: it takes RS256 and ES256 and refuses the two that SMART
requires, takes any expiry, and leaves the replay check to us. A key named in the header of the JWT
(`jku`, `jwk`, `x5u`) is never looked at: only the registered ones verify.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

from authlib.oauth2.rfc6749 import InvalidClientError
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from sqlalchemy import Connection, delete
from sqlalchemy.dialects import postgresql, sqlite

from server.auth.clients import InvalidClientMetadata, RegisteredClient
from server.auth.tables import ClientAssertionJti
from server.kernel.clock import SECOND_US
from server.kernel.rows import table_of

_JTI = table_of(ClientAssertionJti)

ALGORITHMS = ("RS384", "ES384")
MAX_LIFETIME_S = 300  # SMART 2.2: exp no more than five minutes in the future
LEEWAY_S = 60  # between the clocks
MAX_JTI = 255  # characters
MAX_NUMERIC_DATE = 1 << 53  # beyond it a float is not exact

_INSERT: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class RefusedAssertion(InvalidClientError):
    """The signature was the client's, a claim was not acceptable; its reason may be told."""


@dataclass(frozen=True, slots=True)
class AssertionRules:
    """What an assertion must say here and now."""

    token_url: str
    now_s: float
    burn: Callable[[str, str, int], bool]  # (issuer, jti, expires_us): False when it was used before


class ClientAssertion(JWTBearerClientAssertion):
    """The authentication method `private_key_jwt`."""

    CLIENT_AUTH_METHOD = "private_key_jwt"  # type: ignore[misc]  # a class attribute meant to be replaced

    def __init__(self, rules: AssertionRules) -> None:
        super().__init__(validate_jti=True, leeway=LEEWAY_S)
        self._rules = rules

    def resolve_client_public_key(self, client: RegisteredClient) -> KeySet:
        """The registered keys of the client."""
        try:
            return client.keys()
        except InvalidClientMetadata as fault:
            raise InvalidClientError from fault

    def extract_assertion(self, assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the assertion says, not yet believed."""
        try:
            said: tuple[dict[str, Any], dict[str, Any]] = super().extract_assertion(assertion)
        except RecursionError as error:  # objects in objects in objects
            raise InvalidClientError from error
        return said

    def process_assertion_claims(self, assertion: str, resolve_key: KeySet) -> dict[str, Any]:
        """Verify signature and claims."""
        try:
            if not jws.extract_compact(assertion.encode()).headers().get("kid"):
                raise InvalidClientError
            claims = jwt.decode(assertion, resolve_key, algorithms=list(ALGORITHMS)).claims
        except (JoseError, ValueError) as error:
            raise InvalidClientError from error
        self.verify_claims(claims)
        return claims

    def verify_claims(self, claims: dict[str, Any]) -> None:
        """Check the claims (RFC 7523 §3), then use the assertion up."""
        issuer, jti, expires = claims.get("iss"), claims.get("jti"), numeric_date(claims.get("exp"))
        now = self._rules.now_s
        if not isinstance(issuer, str) or issuer != claims.get("sub"):
            raise RefusedAssertion(description="iss and sub must both be the client_id.")
        if self._rules.token_url not in _audiences(claims):
            raise RefusedAssertion(description=f"aud must be {self._rules.token_url}")
        if not now - LEEWAY_S < expires <= now + MAX_LIFETIME_S + LEEWAY_S:
            raise RefusedAssertion(description="exp must lie in the future, by five minutes at most.")
        for name in ("nbf", "iat"):
            if name in claims and not numeric_date(claims[name]) <= now + LEEWAY_S:
                raise RefusedAssertion(description=f"{name} must not lie in the future.")
        if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI or "\x00" in jti:
            raise RefusedAssertion(description=f"jti must be a string of at most {MAX_JTI} characters.")
        if not self._rules.burn(issuer, jti, int((expires + LEEWAY_S) * SECOND_US)):
            raise RefusedAssertion(description="jti was used before.")


def burn_jti(connection: Connection, issuer: str, jti: str, expires_us: int) -> bool:
    """Use an assertion up, in the caller's transaction; False: it was used before.

    The unique key decides, so two that race cannot both win.
    """
    row = {"issuer": issuer, "jti": jti, "expires_us": expires_us}
    insert = _INSERT[connection.dialect.name](_JTI).values(row).on_conflict_do_nothing()
    return connection.execute(insert.returning(_JTI.c.id)).first() is not None


def drop_expired_jtis(connection: Connection, now_us: int) -> None:
    """Forget assertions that could not be used any more anyway."""
    connection.execute(delete(_JTI).where(_JTI.c.expires_us < now_us))


def _audiences(claims: Mapping[str, Any]) -> tuple[Any, ...]:
    audience = claims.get("aud")
    return tuple(audience) if isinstance(audience, list) else (audience,)


def numeric_date(value: object) -> float:
    """A NumericDate (RFC 7519 §2); anything else is NaN, which no comparison accepts."""
    if (isinstance(value, float) and isfinite(value)) or (
        isinstance(value, int) and abs(value) < MAX_NUMERIC_DATE
    ):
        return float(value)
    return nan
