"""OpenID Connect Core 1.0 §3.1.3.7: what an id_token must be, each rule broken once (RFC 8725)."""

import base64
import hashlib
import hmac
import json
import warnings
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from server.auth.assertions import LEEWAY_S
from server.auth.federation.id_tokens import (
    MAX_AGE_S,
    Expected,
    RefusedToken,
    key_id,
    verify_id_token,
)

ISSUER, CLIENT, NOW = "https://login.test/realms/one", "isthmus", 1_800_000_000
EC = ECKey.generate_key("P-256", {"kid": "ec"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
OTHER = ECKey.generate_key("P-256", {"kid": "ec"})
P384 = ECKey.generate_key("P-384", {"kid": "p384"})
EXPECTED = Expected(ISSUER, CLIENT, "n-1", NOW, access_token="a-1")
RIGHT: dict[str, Any] = {
    "iss": ISSUER,
    "sub": "s-1",
    "aud": CLIENT,
    "iat": NOW,
    "exp": NOW + 60,
    "nonce": "n-1",
    "auth_time": NOW - 3600,
}


def published(*keys: Any, **changes: Any) -> str:
    """A JWK Set, with an encryption key beside as Keycloak has one."""
    kept = [{**key.as_dict(private=False), **changes} for key in keys]
    return json.dumps({"keys": [{"kty": "RSA", "kid": "enc", "use": "enc", "alg": "RSA-OAEP"}, *kept]})


JWKS = published(EC, RSA)


def signed(key: Any = EC, alg: str = "ES256", header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token; None takes a claim away."""
    said = {name: value for name, value in {**RIGHT, **claims}.items() if value is not None}
    return jwt.encode({"alg": alg, "kid": key.kid, **(header or {})}, said, key, algorithms=[alg])


def half_hash(text: str) -> str:
    return written(hashlib.sha256(text.encode()).digest()[:16])


def written(what: bytes) -> str:
    return base64.urlsafe_b64encode(what).rstrip(b"=").decode()


@pytest.mark.parametrize(("key", "alg"), [(EC, "ES256"), (RSA, "RS256"), (RSA, "PS256")])
def test_a_token_that_is_right(key: Any, alg: str) -> None:
    assert verify_id_token(signed(key, alg), JWKS, EXPECTED)["sub"] == "s-1"


def test_what_may_be_there_too() -> None:
    for claims in (
        {"aud": [CLIENT]},
        {"azp": CLIENT},
        {"at_hash": half_hash("a-1")},
        {"nbf": NOW},
        {"exp": NOW - LEEWAY_S + 1},
        {"iat": NOW + LEEWAY_S},
        {"auth_time": None},
        {"email": "somebody@else.test", "groups": ["x"] * 100},
    ):
        assert verify_id_token(signed(**claims), JWKS, EXPECTED), claims


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"iss": f"{ISSUER}/"}, "iss"),  # item 2: exactly
    ({"iss": "https://LOGIN.test/realms/one"}, "iss"),
    ({"iss": None}, "iss"),
    ({"iss": [ISSUER]}, "iss"),
    ({"aud": "another"}, "aud"),  # item 3
    ({"aud": None}, "aud"),
    ({"aud": []}, "aud"),
    ({"aud": [CLIENT, "another"]}, "aud"),  # no other audience is trusted
    ({"aud": [CLIENT, CLIENT]}, "aud"),
    ({"azp": "another"}, "azp"),  # item 5
    ({"azp": None, "aud": ["another", CLIENT]}, "aud"),
    ({"exp": NOW - LEEWAY_S}, "exp"),  # item 9
    ({"exp": None}, "exp"),
    ({"exp": "never"}, "exp"),
    ({"exp": 1e400}, "exp"),  # what Python writes and reads as Infinity
    ({"iat": None}, "iat"),  # item 10
    ({"iat": NOW + LEEWAY_S + 1}, "iat"),
    ({"iat": NOW - MAX_AGE_S - LEEWAY_S - 1}, "iat"),
    ({"nbf": NOW + LEEWAY_S + 1}, "nbf"),
    ({"nonce": "n-2"}, "nonce"),  # item 11
    ({"nonce": None}, "nonce"),
    ({"nonce": ["n-1"]}, "nonce"),
    ({"nonce": "n-ü"}, "nonce"),
    ({"sub": None}, "sub"),
    ({"sub": ""}, "sub"),
    ({"sub": 1}, "sub"),
    ({"sub": "x" * 256}, "sub"),
    ({"sub": "a\x00"}, "sub"),
    ({"sub": "\u0430da"}, "sub"),
    ({"at_hash": half_hash("a-2")}, "at_hash"),  # §3.1.3.8
    ({"at_hash": True}, "at_hash"),
]


def test_each_claim_that_is_wrong() -> None:
    for claims, rule in BROKEN:
        with pytest.raises(RefusedToken, match=f"^{rule}$"):
            raise AssertionError(claims, verify_id_token(signed(**claims), JWKS, EXPECTED))


def test_a_login_that_is_too_old() -> None:
    """Items 12 and 13: `max_age` was asked for, so `auth_time` must be there."""
    since = Expected(ISSUER, CLIENT, "n-1", NOW, login_since_s=NOW - 100)
    assert verify_id_token(signed(auth_time=NOW - 100), JWKS, since)
    for told in (NOW - 101, None, "now"):
        with pytest.raises(RefusedToken, match="auth_time"):
            verify_id_token(signed(auth_time=told), JWKS, since)


def by_hand(header: dict[str, Any]) -> str:
    """What is signed, and no signature."""
    return ".".join(written(json.dumps(each).encode()) for each in (header, RIGHT))


def unsigned() -> str:
    return by_hand({"alg": "none", "kid": "ec"}) + "."


def by_public_key() -> str:
    """HS256 with what everybody knows as the secret (RFC 8725 §2.1); by hand, the library will not."""
    said = by_hand({"alg": "HS256", "kid": "rsa"})
    return f"{said}.{written(hmac.digest(RSA.as_pem(private=False), said.encode(), 'sha256'))}"


def with_its_own_key() -> str:
    header = {
        "alg": "ES256",
        "kid": "ec",
        "jwk": OTHER.as_dict(private=False),
        "jku": "https://evil.test/jwks",
    }
    return jwt.encode(header, RIGHT, OTHER, algorithms=["ES256"])


def critical() -> str:
    """RFC 7515 §4.1.11."""
    return by_hand({"alg": "ES256", "kid": "ec", "crit": ["b64"], "b64": False}) + ".c2ln"


def not_claims() -> str:
    return jws.serialize_compact({"alg": "ES256", "kid": "ec"}, b"[1]", EC, algorithms=["ES256"])


def test_signatures_that_are_none() -> None:
    whole = signed()
    deep = written(b"[" * 40_000)
    for text, rule in (
        (unsigned(), "alg"),
        (by_public_key(), "alg"),
        (signed(P384, "ES384"), "alg"),
        (critical(), "crit|form"),
        (by_hand({"alg": "ES256"}) + ".c2ln", "kid"),
        (by_hand({"alg": ["ES256"], "kid": "ec"}) + ".c2ln", "alg|form"),
        (signed(header={"kid": "unknown"}), "key"),
        (signed(OTHER), "signature"),
        (with_its_own_key(), "signature"),
        (whole[:-8] + "AAAAAAAA", "signature"),
        (f"{whole.split('.')[0]}.{signed(sub='s-2').split('.')[1]}.{whole.split('.')[2]}", "signature"),
        (not_claims(), "signature"),
        ("", "form"),
        ("a.b", "form"),
        ("a.b.c.d.e", "form"),  # encrypted: not asked for
        (f"{deep}.e30.", "form"),
        ("\u00fc.e30.", "form"),
    ):
        with pytest.raises(RefusedToken, match=f"^(?:{rule})$"):
            raise AssertionError(text, verify_id_token(text, JWKS, EXPECTED))


def test_keys_that_do_not_count() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        weak = RSAKey.generate_key(1024, {"kid": "weak"})
        by_weak = signed(weak, "RS256")
    for text, jwks in (
        (signed(), published(EC, use="enc")),
        (signed(), published(EC, alg="ES384")),
        (signed(), published(EC, OTHER)),  # two by one name
        (signed(), published(RSA, kid="ec")),
        (signed(), json.dumps({"keys": [{"kid": "ec", "kty": "EC", "crv": "P-256"}]})),
        (signed(), json.dumps({"keys": {"ec": EC.as_dict()}})),
        (signed(), "[]"),
        (signed(), "no JSON"),
        (by_weak, published(weak)),
    ):
        with pytest.raises(RefusedToken):
            verify_id_token(text, jwks, EXPECTED)


def test_a_key_is_named_before_anything_is_fetched() -> None:
    assert key_id(signed()) == "ec"
    with pytest.raises(RefusedToken):
        key_id(unsigned())
