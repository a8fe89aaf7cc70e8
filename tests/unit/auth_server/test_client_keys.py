"""Keys at a `jwks_uri`: from where, how often, how much of it (RFC 7591 §2; server-side request forgery)."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
from joserfc.jwk import ECKey, KeySet

from server.auth.client_keys import ClientKeys, require_jwks_uri
from server.auth.clients import InvalidClientMetadata, Wanted, add_client
from server.auth.published_keys import AGAIN_US, FRESH_US, MAX_JWKS_BYTES
from server.auth.signing import SigningKeys
from server.auth.token_endpoint import Form, Issuer, Reply, answer
from server.kernel.clock import SECOND_US
from server.kernel.database import Database
from server.kernel.envelope import Keyring
from server.kernel.outbound_policy import AllowedHost, OutboundPolicy
from tests.services.receiver import Receiver, receiver
from tests.unit.auth_server.test_token_endpoint import ALLOWED, BASE, EC, JWKS, assertion, signed_form

HERE = OutboundPolicy((AllowedHost.parse("127.0.0.1"),))
AGAIN_S, FRESH_S = AGAIN_US // SECOND_US, FRESH_US // SECOND_US
OTHER = ECKey.generate_key("P-384", {"kid": "e2"})


@asynccontextmanager
async def published(jwks: str = JWKS) -> AsyncIterator[Receiver]:
    """A web server that publishes keys."""
    async with receiver() as there:
        there.body = jwks.encode()
        yield there


async def test_keys_are_kept_and_asked_for_again_for_a_new_one(clock: Any) -> None:
    keys = ClientKeys(HERE, clock)
    async with published() as there:
        assert [await keys.read(there.url, kid) for kid in ("e1", "r1")] == [JWKS, JWKS]
        assert len(there.told) == 1
        there.body = json.dumps(KeySet([OTHER]).as_dict(private=False)).encode()
        assert await keys.read(there.url, "e2") == JWKS  # asked less than a minute ago
        assert len(there.told) == 1
        clock.offset_s += AGAIN_S
        assert await keys.read(there.url, "e2") == there.body.decode()
        for made_up in ("a", "b", "c"):
            assert await keys.read(there.url, made_up) == there.body.decode()
        assert len(there.told) == 2
        clock.offset_s += FRESH_S
        await keys.read(there.url, "e2")
        assert len(there.told) == 3


async def test_keys_that_were_withdrawn_end(clock: Any) -> None:
    keys = ClientKeys(HERE, clock)
    async with published() as there:
        assert await keys.read(there.url, "e1") == JWKS
        there.status = 500
        clock.offset_s += AGAIN_S
        assert await keys.read(there.url, "other") == JWKS  # a failure costs nobody who is known
        clock.offset_s += FRESH_S
        assert await keys.read(there.url, "e1") is None
        assert await keys.read(there.url, "e1") is None
        assert len(there.told) == 3


@pytest.mark.parametrize(
    "said",
    [
        {"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}},
        {"status": 404},
        {"body": b"x" * (MAX_JWKS_BYTES + 1)},
        {"body": b"\xff"},
        {"body": b"{}"},
        {"body": json.dumps(KeySet([EC]).as_dict(private=True)).encode()},
    ],
)
async def test_answers_that_are_no_keys(said: dict[str, Any]) -> None:
    async with published() as there:
        for name, value in said.items():
            setattr(there, name, value)
        assert await ClientKeys(HERE).read(there.url, "e1") is None


async def test_hosts_that_are_not_listed_are_not_asked() -> None:
    async with published() as there:
        assert await ClientKeys(OutboundPolicy()).read(there.url, "e1") is None
        assert there.told == []


@pytest.mark.parametrize(
    ("uri", "listed"),
    [
        ("https://keys.test/jwks", ()),
        ("https://keys.test/jwks", ("other.test",)),
        ("http://keys.test/jwks", ("http://keys.test",)),
        ("https://user@keys.test/jwks", ("keys.test",)),
        ("https://keys.test/jwks#k", ("keys.test",)),
        ("file:///etc/passwd", ("keys.test",)),
    ],
)
def test_uris_that_are_not_taken(uri: str, listed: tuple[str, ...]) -> None:
    with pytest.raises(InvalidClientMetadata):
        require_jwks_uri(uri, OutboundPolicy(tuple(map(AllowedHost.parse, listed))))


@pytest.mark.parametrize(
    ("uri", "policy"),
    [
        ("https://keys.test/jwks", OutboundPolicy((AllowedHost.parse("keys.test"),))),
        ("http://127.0.0.1:9/jwks", HERE),
    ],
)
def test_uris_that_are_taken(uri: str, policy: OutboundPolicy) -> None:
    assert is_taken(uri, policy)
    assert not is_taken(uri, OutboundPolicy())


def is_taken(uri: str, policy: OutboundPolicy) -> bool:
    try:
        require_jwks_uri(uri, policy)
    except InvalidClientMetadata:
        return False
    return True


async def posted(issuer: Issuer, text: str) -> Reply:
    body = urlencode(signed_form(text)).encode()
    return await answer(issuer, "token", Form("application/x-www-form-urlencoded", body, ()))


async def test_a_client_authenticates_by_the_keys_it_publishes(database: Database) -> None:
    async with published() as there:
        wanted = Wanted("Backend", ALLOWED, jwks_uri=there.url)
        client_id = (await add_client(database, wanted)).client_id
        signing = SigningKeys(database, Keyring(b"k" * 32))
        issuer = Issuer(database, BASE, signing, client_keys=ClientKeys(HERE))
        assert (await posted(issuer, assertion(client_id, EC, "ES384"))).status == 200
        forged = ECKey.generate_key("P-384", {"kid": "e1"})
        for text in (
            assertion(client_id, forged, "ES384"),
            assertion(client_id, OTHER, "ES384"),
            assertion("nobody", EC, "ES384"),
            assertion("\x00", EC, "ES384"),
            "no.assertion",
            f"{base64.urlsafe_b64encode(b'[' * 40_000).decode().rstrip('=')}.e30.",
        ):
            refused = await posted(issuer, text)
            assert (refused.status, refused.body["error"]) == (400, "invalid_client")
        assert len(there.told) == 1
        nothing_listed = Issuer(database, BASE, signing)
        assert (await posted(nothing_listed, assertion(client_id, EC, "ES384"))).status == 400


async def test_a_client_has_keys_in_one_place(database: Database) -> None:
    wanted = Wanted("Backend", ALLOWED, jwks=JWKS, jwks_uri="https://keys.test/jwks")
    with pytest.raises(InvalidClientMetadata):
        await add_client(database, wanted)
