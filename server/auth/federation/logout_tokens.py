"""Logout tokens of the provider, verified (OpenID Connect Back-Channel Logout 1.0 §2.4 and §2.6). Pure."""

from dataclasses import dataclass

from server.auth.assertions import LEEWAY_S, MAX_JTI, numeric_date
from server.auth.federation.id_tokens import (
    RefusedToken,
    provider_session,
    require_addressed,
    require_times,
    verify_signature,
)
from server.auth.federation.provider import Provider
from server.auth.users.identities import is_subject
from server.kernel.clock import SECOND_US

MAX_LIFE_S = 24 * 3600  # until it expires: so long its `jti` is remembered
EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(frozen=True, slots=True)
class EndedElsewhere:
    """Whose session has ended at the provider, and which."""

    subject: str | None  # None: it names a session only
    provider_session: str | None  # None: all of them
    jti: str  # to be used once
    expires_us: int  # until when it has to be remembered


def verify_logout_token(text: str, jwks: str, provider: Provider, now_s: float) -> EndedElsewhere:
    """What a logout token says that is for us.

    Raises:
        RefusedToken: a rule of §2.6 is broken.
    """
    claims = verify_signature(text, jwks)
    require_addressed(claims, provider.issuer, provider.client_id)
    require_times(claims, now_s)
    expires_s = numeric_date(claims["exp"])
    if expires_s > now_s + MAX_LIFE_S:
        raise RefusedToken("exp")
    events, jti, subject = claims.get("events"), claims.get("jti"), claims.get("sub")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise RefusedToken("events")
    if "nonce" in claims:  # so an id_token is none
        raise RefusedToken("nonce")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI or "\x00" in jti:
        raise RefusedToken("jti")
    session = provider_session(claims)
    if (subject is not None and not is_subject(subject)) or ("sid" in claims and session is None):
        raise RefusedToken("sub or sid")
    if subject is None and session is None:
        raise RefusedToken("sub or sid")
    return EndedElsewhere(subject, session, jti, int((expires_s + LEEWAY_S) * SECOND_US))
