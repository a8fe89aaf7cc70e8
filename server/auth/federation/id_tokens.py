"""id_tokens of the provider, verified (OpenID Connect Core 1.0 §3.1.3.7; RFC 7519, RFC 8725). Pure.

Nothing in a token is believed before its signature, and no token chooses how that is checked: algorithms are
ours, keys the provider's JWK Set. A reason tells which rule was broken, never what was said.
"""

import base64
import hashlib
import hmac
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from joserfc import jws, jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from server.auth.assertions import LEEWAY_S, numeric_date
from server.auth.clients import RSA_BITS
from server.auth.users.identities import is_subject
from server.kernel.faults import Fault, FaultKind

ALGORITHMS = ("RS256", "ES256", "PS256")
_KEY_TYPES: Mapping[str, str] = {"RS256": "RSA", "ES256": "EC", "PS256": "RSA"}
_PUBLIC: tuple[str, ...] = ("kty", "kid", "n", "e", "crv", "x", "y")  # of a key, all that is looked at
MAX_AGE_S = 600  # since a token was issued, which is now; Entra dates it five minutes back
MAX_SESSION = 255  # characters of `sid`
MAX_PROVIDER_KEYS = 100

Claims = Mapping[str, Any]


class RefusedToken(Fault):
    """A token of the provider that is not believed; the message names the rule."""

    kind = FaultKind.FORBIDDEN


@dataclass(frozen=True, slots=True)
class Expected:
    """What an id_token must say."""

    issuer: str
    client_id: str
    nonce: str
    now_s: float
    access_token: str | None = None  # that came with it, for `at_hash`
    login_since_s: float | None = None  # the login must not be older; None: it may be of any age


def key_id(text: str) -> str:
    """The id of the key that a token names.

    Raises:
        RefusedToken: it is no signed token, or names none, or what it asks for is not taken.
    """
    try:
        header = jws.extract_compact(text.encode()).headers()
    except (JoseError, ValueError, RecursionError) as error:
        raise RefusedToken("form") from error
    if header.get("alg") not in ALGORITHMS:
        raise RefusedToken("alg")
    if "crit" in header:  # RFC 7515 §4.1.11: none is understood here
        raise RefusedToken("crit")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise RefusedToken("kid")
    return kid


def key_ids(jwks: str) -> frozenset[str]:
    """The ids in a JWK Set as it came.

    Raises:
        RefusedToken: it is none.
    """
    return frozenset(str(each["kid"]) for each in _keys(jwks) if isinstance(each.get("kid"), str))


def verify_signature(text: str, jwks: str) -> Claims:
    """The claims of a token that one of these keys signed.

    Raises:
        RefusedToken: none did.
    """
    kid = key_id(text)
    try:
        algorithm = jws.extract_compact(text.encode()).headers()["alg"]
        key = _key(jwks, kid, algorithm)
        claims: Claims = jwt.decode(text, key, algorithms=[algorithm]).claims
    except (JoseError, ValueError, RecursionError) as error:
        raise RefusedToken("signature") from error
    return claims


def verify_id_token(text: str, jwks: str, expected: Expected) -> Claims:
    """The claims of an id_token that is for us, and for this login.

    Raises:
        RefusedToken: a rule of §3.1.3.7 is broken.
    """
    claims = verify_signature(text, jwks)
    require_addressed(claims, expected.issuer, expected.client_id)
    require_times(claims, expected.now_s)
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise RefusedToken("nonce")
    if not is_subject(claims.get("sub")):
        raise RefusedToken("sub")
    if "at_hash" in claims and claims["at_hash"] != _half_hash(expected.access_token):
        raise RefusedToken("at_hash")
    since, logged_in = expected.login_since_s, numeric_date(claims.get("auth_time"))
    if since is not None and not logged_in >= since:
        raise RefusedToken("auth_time")
    return claims


def require_addressed(claims: Claims, issuer: str, client_id: str) -> None:
    """Let pass what this issuer made for this client and for nobody beside it (items 2 to 5).

    Raises:
        RefusedToken: it is another's.
    """
    if claims.get("iss") != issuer:
        raise RefusedToken("iss")
    if claims.get("aud") not in (client_id, [client_id]):
        raise RefusedToken("aud")
    if claims.get("azp", client_id) != client_id:
        raise RefusedToken("azp")


def provider_session(claims: Claims) -> str | None:
    """The session at the provider (Front-Channel Logout 1.0 §3, `sid`); None: it tells none to keep."""
    sid = claims.get("sid")
    return sid if isinstance(sid, str) and 0 < len(sid) <= MAX_SESSION and sid.isprintable() else None


def require_times(claims: Claims, now_s: float) -> None:
    """Let pass what was issued just now and is still good (items 9 and 10).

    Raises:
        RefusedToken: it is not.
    """
    issued = numeric_date(claims.get("iat"))
    if not numeric_date(claims.get("exp")) > now_s - LEEWAY_S:
        raise RefusedToken("exp")
    if not now_s - MAX_AGE_S - LEEWAY_S <= issued <= now_s + LEEWAY_S:
        raise RefusedToken("iat")
    if "nbf" in claims and not numeric_date(claims["nbf"]) <= now_s + LEEWAY_S:
        raise RefusedToken("nbf")


def _half_hash(access_token: str | None) -> str | None:
    """`at_hash` as it must be (§3.1.3.6); each of our algorithms hashes by SHA-256."""
    if access_token is None:
        return None
    digest = hashlib.sha256(access_token.encode()).digest()[:16]
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _key(jwks: str, kid: str, algorithm: str) -> RSAKey | ECKey:
    """The one key of this id that may sign so."""
    fitting = [
        each
        for each in _keys(jwks)
        if (each.get("kid"), each.get("kty")) == (kid, _KEY_TYPES[algorithm])
        and each.get("use", "sig") == "sig"
        and each.get("alg", algorithm) == algorithm
    ]
    if len(fitting) != 1:
        raise RefusedToken("key")
    kind = RSAKey if fitting[0]["kty"] == "RSA" else ECKey
    public = {name: fitting[0][name] for name in _PUBLIC if name in fitting[0]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # weak keys are refused just below
        key: RSAKey | ECKey = kind.import_key(public)
    if isinstance(key, RSAKey) and key.public_key.key_size not in RSA_BITS:
        raise RefusedToken("key")
    return key


def _keys(jwks: str) -> list[dict[str, Any]]:
    try:
        keys = orjson.loads(jwks)["keys"][:MAX_PROVIDER_KEYS]
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedToken("JWK Set") from error
    if not isinstance(keys, list):
        raise RefusedToken("JWK Set")
    return [each for each in keys if isinstance(each, dict)]
