"""OpenID Connect Back-Channel Logout 1.0 §2.6: what a logout token must be, each rule broken once."""

from typing import Any

import pytest
from joserfc import jwt

from server.auth.federation.id_tokens import RefusedToken
from server.auth.federation.logout_tokens import EVENT, MAX_LIFE_S, verify_logout_token
from server.auth.federation.provider import Provider
from server.kernel.outbound_policy import OutboundPolicy
from tests.conformance.openid_core.test_3_1_3_7_id_token import CLIENT, EC, ISSUER, JWKS, NOW, OTHER

PROVIDER = Provider(ISSUER, CLIENT, "secret", "name", "openid", OutboundPolicy())
RIGHT: dict[str, Any] = {
    "iss": ISSUER,
    "aud": CLIENT,
    "iat": NOW,
    "exp": NOW + 120,
    "jti": "j-1",
    "sub": "s-1",
    "sid": "p-1",
    "events": {EVENT: {}},
}


def signed(key: Any = EC, **claims: Any) -> str:
    said = {name: value for name, value in {**RIGHT, **claims}.items() if value is not None}
    header = {"alg": "ES256", "kid": "ec", "typ": "logout+jwt"}
    return jwt.encode(header, said, key, algorithms=["ES256"])


def test_tokens_that_are_right() -> None:
    for claims, told in (
        ({}, ("s-1", "p-1")),
        ({"sid": None}, ("s-1", None)),
        ({"sub": None}, (None, "p-1")),
    ):
        ended = verify_logout_token(signed(**claims), JWKS, PROVIDER, NOW)
        assert (ended.subject, ended.provider_session) == told
        assert (ended.jti, ended.expires_us) == ("j-1", (NOW + 180) * 1_000_000)


def test_tokens_that_are_not() -> None:
    for claims, rule in (
        ({"iss": "https://another.test"}, "iss"),
        ({"aud": "another"}, "aud"),
        ({"exp": None}, "exp"),
        ({"exp": NOW - 120}, "exp"),
        ({"exp": NOW + MAX_LIFE_S + 1}, "exp"),
        ({"exp": 2**52}, "exp"),
        ({"iat": None}, "iat"),
        ({"events": None}, "events"),
        ({"events": [EVENT]}, "events"),
        ({"events": {EVENT: True}}, "events"),
        ({"events": {"another": {}}}, "events"),
        ({"nonce": "n-1"}, "nonce"),
        ({"jti": None}, "jti"),
        ({"jti": "x" * 256}, "jti"),
        ({"jti": "\x00"}, "jti"),
        ({"sub": None, "sid": None}, "sub or sid"),
        ({"sub": ""}, "sub or sid"),
        ({"sid": 1}, "sub or sid"),
        ({"sub": None, "sid": "x" * 256}, "sub or sid"),
    ):
        with pytest.raises(RefusedToken, match=f"^{rule}$"):
            raise AssertionError(claims, verify_logout_token(signed(**claims), JWKS, PROVIDER, NOW))
    with pytest.raises(RefusedToken, match=r"^signature$"):
        verify_logout_token(signed(OTHER), JWKS, PROVIDER, NOW)
