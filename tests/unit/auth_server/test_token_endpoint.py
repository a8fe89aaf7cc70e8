"""RFC 6749, RFC 7523 and SMART 2.2 backend services at `/auth/token`, with their refusals."""

import asyncio
import base64
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from server.auth.clients import InvalidClientMetadata, Wanted, add_client, disable_client, read_jwks
from server.auth.routes import build_router
from server.auth.scopes import InvalidScope
from server.auth.signing import SigningKeys
from server.auth.token_endpoint import Issuer
from server.auth.tokens import AccessTokens
from server.kernel.database import Database
from server.kernel.envelope import Keyring
from server.kernel.local_store import LocalObjectStore
from server.kernel.read_audit import ReadAudit
from server.kernel.services import Services
from tests.asked_in_turn import asked_in_turn
from tests.services.routers import add_router

BASE = "http://localhost"
TOKEN_URL = f"{BASE}/auth/token"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

RSA = RSAKey.generate_key(2048, {"kid": "r1"})
EC = ECKey.generate_key("P-384", {"kid": "e1"})
JWKS = json.dumps(KeySet([RSA, EC]).as_dict(private=False))
ALLOWED = "system/Patient.rs system/ImagingStudy.cruds"


@dataclass
class Server:
    http: httpx.AsyncClient
    database: Database
    tokens: AccessTokens

    async def post(self, path: str = "/auth/token", **options: Any) -> httpx.Response:
        return await self.http.post(path, **options)


@pytest.fixture
async def server(database: Database, tmp_path: Path) -> AsyncIterator[Server]:
    objects = LocalObjectStore(tmp_path / "objects")
    services = Services(database, objects, ReadAudit(database), BASE)
    tokens = AccessTokens(database)
    app = FastAPI()
    issuer = Issuer(database, BASE, SigningKeys(database, Keyring(b"k" * 32)))
    add_router(app, build_router(services, tokens, issuer))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as client:
        yield Server(client, database, tokens)
    await objects.close()


@pytest.fixture
async def key_client(database: Database) -> str:
    return (await add_client(database, Wanted(name="Backend", scope=ALLOWED, jwks=JWKS))).client_id


def form(**fields: str) -> dict[str, str]:
    return {"grant_type": "client_credentials", "scope": "system/Patient.rs", **fields}


def assertion(client_id: str, key: Any = RSA, alg: str = "RS384", **changes: Any) -> str:
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": TOKEN_URL,
        "exp": int(time.time()) + 240,
        "jti": str(uuid.uuid4()),
        **changes.pop("claims", {}),
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    header = {"alg": alg, "kid": getattr(key, "kid", None) or "r1", **changes.pop("header", {})}
    return jwt.encode(header, claims, key, algorithms=[alg])


def signed_form(text: str, **fields: str) -> dict[str, str]:
    return form(client_assertion_type=ASSERTION_TYPE, client_assertion=text, **fields)


def refused(response: httpx.Response, error: str = "invalid_client") -> bool:
    assert response.headers["cache-control"] == "no-store"
    return response.status_code in (400, 401) and response.json()["error"] == error


@pytest.mark.parametrize(("key", "alg"), [(RSA, "RS384"), (EC, "ES384")])
async def test_private_key_jwt_gets_a_token(server: Server, key_client: str, key: Any, alg: str) -> None:
    response = await server.post(data=signed_form(assertion(key_client, key, alg)))
    assert response.status_code == 200, response.text
    body = response.json()
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("bearer", 300, "system/Patient.rs")
    assert response.headers["cache-control"] == "no-store"
    access = await server.tokens.access_of(body["access_token"])
    assert access is not None
    assert access.principal.id == f"client:{key_client}"


async def test_secret_gets_a_token_by_basic_and_by_post(server: Server) -> None:
    new = await add_client(server.database, Wanted(name="Symmetric", scope=ALLOWED))
    assert new.client_secret is not None
    basic = await server.post(data=form(), auth=(new.client_id, new.client_secret))
    post = await server.post(data=form(client_id=new.client_id, client_secret=new.client_secret))
    assert (basic.status_code, post.status_code) == (200, 200)


@pytest.mark.parametrize(
    ("requested", "granted"),
    [
        ("system/Patient.rs", "system/Patient.rs"),
        ("system/*.rs", "system/Patient.rs system/ImagingStudy.rs"),
        ("system/Patient.cruds", "system/Patient.rs"),
        ("system/Patient.read system/Task.u", "system/Patient.read"),
    ],
)
async def test_scope_is_cut_to_the_client(
    server: Server, key_client: str, requested: str, granted: str
) -> None:
    response = await server.post(data=signed_form(assertion(key_client), scope=requested))
    assert response.json()["scope"] == granted


@asked_in_turn(
    "scope",
    ["system/Observation.rs", "user/Patient.rs", "patient/Patient.rs", "openid", "", "sys\x00tem", "x y"],
)
async def test_foreign_scope_is_refused(server: Server, key_client: str, scope: str) -> None:
    assert refused(await server.post(data=signed_form(assertion(key_client), scope=scope)), "invalid_scope")


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def unsigned(client_id: str, **header: Any) -> str:
    claims = {"iss": client_id, "sub": client_id, "aud": TOKEN_URL, "exp": time.time() + 100, "jti": "n"}
    head = {"alg": "none", "kid": "r1", **header}
    return f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(claims).encode())}."


def signed_by_hand(client_id: str, **header: Any) -> str:
    """With our key, and a header that no library writes."""
    said = unsigned(client_id, alg="RS384", **header)[:-1]
    key = load_pem_private_key(RSA.as_pem(private=True), None)
    assert isinstance(key, RSAPrivateKey)
    return f"{said}.{encoded(key.sign(said.encode(), PKCS1v15(), SHA384()))}"


@asked_in_turn(
    "claims",
    [
        pytest.param({"aud": "https://elsewhere/token"}, id="other audience"),
        pytest.param({"aud": None}, id="no audience"),
        pytest.param({"aud": [["http://localhost/auth/token"]]}, id="nested audience"),
        pytest.param({"exp": int(time.time()) - 120}, id="expired"),
        pytest.param({"exp": int(time.time()) + 3600}, id="an hour ahead"),
        pytest.param({"exp": float("nan")}, id="exp is not a number"),
        pytest.param({"exp": float("inf")}, id="exp is infinite"),
        pytest.param({"exp": "soon"}, id="exp is text"),
        pytest.param({"exp": 10**400}, id="exp is enormous"),
        pytest.param({"exp": None}, id="no exp"),
        pytest.param({"iss": "someone"}, id="other issuer"),
        pytest.param({"iss": None}, id="no issuer"),
        pytest.param({"jti": None}, id="no jti"),
        pytest.param({"jti": ""}, id="empty jti"),
        pytest.param({"jti": 7}, id="jti is a number"),
        pytest.param({"jti": "x" * 300}, id="long jti"),
        pytest.param({"jti": "a\x00b"}, id="NUL in jti"),
        pytest.param({"nbf": int(time.time()) + 86_400}, id="not yet valid"),
        pytest.param({"iat": int(time.time()) + 86_400}, id="issued in the future"),
        pytest.param({"sub": None}, id="no subject"),
        pytest.param({"sub": ["a"]}, id="subject is a list"),
        pytest.param({"sub": "unknown", "iss": "unknown"}, id="unknown client"),
        pytest.param({"sub": "a\x00", "iss": "a\x00"}, id="NUL in the client id"),
    ],
)
async def test_claims_that_are_refused(server: Server, key_client: str, claims: dict[str, Any]) -> None:
    assert refused(await server.post(data=signed_form(assertion(key_client, claims=claims))))


async def test_wrong_algorithms_and_keys_are_refused(server: Server, key_client: str) -> None:
    stranger = RSAKey.generate_key(2048, {"kid": "r1"})
    public_pem = RSA.as_pem(private=False)
    hmac_key = OctKey.import_key(base64.urlsafe_b64encode(public_pem).decode())
    texts = {
        "none": unsigned(key_client),
        "RS256": assertion(key_client, RSA, "RS256"),
        "PS384": assertion(key_client, RSA, "PS384"),
        "HS256 with the public key": assertion(key_client, hmac_key, "HS256"),
        "HS384 with the public key": assertion(key_client, hmac_key, "HS384"),
        "stranger": assertion(key_client, stranger),
        "unknown kid": assertion(key_client, header={"kid": "other"}),
        "jwk in the header": assertion(key_client, stranger, header={"jwk": stranger.as_dict(private=False)}),
        "jku in the header": assertion(key_client, stranger, header={"jku": "https://evil.example/jwks"}),
        "x5u in the header": assertion(key_client, stranger, header={"x5u": "https://evil.example/x5u"}),
        "crit that nobody understands": signed_by_hand(key_client, crit=["x"], x=1),
        "key of the other kind": assertion(key_client, EC, "ES384", header={"kid": "r1"}),
        "not a JWT": "abc",
        "three dots": "a.b.c",
        "not ASCII": "é.é.é",
        "payload is a list": f"{assertion(key_client).split('.')[0]}.W10.AAAA",
    }
    for name, text in texts.items():
        assert refused(await server.post(data=signed_form(text))), name
    assert (await server.post(data=signed_form(signed_by_hand(key_client)))).status_code == 200


async def test_every_failed_authentication_sounds_the_same(server: Server, key_client: str) -> None:
    stranger = RSAKey.generate_key(2048, {"kid": "r1"})
    unknown = await server.post(data=signed_form(assertion("unknown")))
    forged = await server.post(data=signed_form(assertion(key_client, stranger)))
    assert unknown.json() == forged.json()
    new = await add_client(server.database, Wanted(name="S", scope=ALLOWED))
    wrong = await server.post(data=form(), auth=(new.client_id, "wrong"))
    nobody = await server.post(data=form(), auth=("nobody", "wrong"))
    assert (wrong.status_code, wrong.json()) == (nobody.status_code, nobody.json())
    assert wrong.status_code == 401
    assert wrong.headers["www-authenticate"].startswith("Basic")


async def test_replayed_assertion_is_refused_also_in_parallel(server: Server, key_client: str) -> None:
    text = assertion(key_client)
    responses = await asyncio.gather(*(server.post(data=signed_form(text)) for _ in range(8)))
    assert sorted(response.status_code for response in responses) == [200] + [400] * 7
    assert refused(await server.post(data=signed_form(text)))


async def test_assertion_is_used_up_by_a_call_that_fails(server: Server, key_client: str) -> None:
    text = assertion(key_client)
    assert refused(await server.post(data=signed_form(text, scope="system/Task.r")), "invalid_scope")
    assert refused(await server.post(data=signed_form(text)))


async def test_disabled_client_is_refused(server: Server, key_client: str) -> None:
    assert await disable_client(server.database, key_client)
    assert refused(await server.post(data=signed_form(assertion(key_client))))


async def test_secret_does_not_stand_for_a_key(server: Server, key_client: str) -> None:
    assert refused(await server.post(data=form(client_id=key_client, client_secret="")))
    assert refused(await server.post(data=form(client_id=key_client, client_secret="x")))
    assert refused(await server.post(data=form(client_id=key_client)))


@asked_in_turn(
    ("content", "content_type"),
    [
        pytest.param(b"{}", "application/json", id="JSON"),
        pytest.param(b"grant_type=client_credentials&scope=a&scope=b", None, id="parameter twice"),
        pytest.param(b"a=1&" * 80, None, id="too many parameters"),
        pytest.param("scope=é".encode(), None, id="not ASCII"),
        pytest.param(
            b"grant_type=client_credentials&client_secret=a&client_assertion=b", None, id="two credentials"
        ),
    ],
)
async def test_malformed_form_is_refused(server: Server, content: bytes, content_type: str | None) -> None:
    headers = {"Content-Type": content_type or "application/x-www-form-urlencoded"}
    assert refused(await server.post(content=content, headers=headers), "invalid_request")


@asked_in_turn("value", ["Basic", "Basic !!!", "Basic /w==", "Basic YQ==", "Bearer abc", "Negotiate"])
async def test_malformed_basic_header_is_401(server: Server, value: str) -> None:
    assert refused(await server.post(data=form(), headers={"Authorization": value}))


async def test_form_over_the_limit_is_413(server: Server) -> None:
    from server.kernel.faults import TooLarge

    with pytest.raises(TooLarge):  # the roof turns it into 413
        await server.post(content=b"a" * 70_000)


async def test_an_assertion_of_objects_in_objects_is_refused(server: Server) -> None:
    deep = ('{"a":' * 3000 + "1" + "}" * 3000).encode()
    parts = (b'{"alg":"ES384","kid":"e1"}', deep, b"signature")
    text = ".".join(base64.urlsafe_b64encode(each).decode().rstrip("=") for each in parts)
    assert refused(await server.post(data=signed_form(text)))


@pytest.mark.parametrize("endpoint", ["/auth/token", "/auth/introspect", "/auth/revoke"])
async def test_another_client_id_beside_the_credentials(
    server: Server, key_client: str, endpoint: str
) -> None:
    """RFC 7521 §4.2."""
    other = await add_client(server.database, Wanted(name="Other", scope=ALLOWED))
    body = signed_form(assertion(key_client), client_id=other.client_id, token="t")
    assert refused(await server.post(endpoint, data=body), "invalid_request")


@asked_in_turn(
    ("grant", "error"),
    [
        ("password", "unsupported_grant_type"),
        ("", "unsupported_grant_type"),
        ("authorization_code", "unauthorized_client"),
        ("refresh_token", "unauthorized_client"),
    ],
)
async def test_other_grants_are_refused(server: Server, key_client: str, grant: str, error: str) -> None:
    body = signed_form(assertion(key_client), grant_type=grant)
    assert refused(await server.post(data=body), error)


async def test_introspection_and_revocation(server: Server, key_client: str) -> None:
    token = (await server.post(data=signed_form(assertion(key_client)))).json()["access_token"]
    other = await add_client(server.database, Wanted(name="Other", scope=ALLOWED))
    auth = (other.client_id, other.client_secret or "")

    async def introspect(**options: Any) -> dict[str, Any]:
        response = await server.post("/auth/introspect", **options)
        assert response.status_code == 200
        return dict(response.json())

    mine = signed_form(assertion(key_client), token=token, token_type_hint="unheard-of")
    described = await introspect(data=mine)
    assert described["active"] is True
    assert (described["client_id"], described["scope"]) == (key_client, "system/Patient.rs")
    assert await introspect(data={"token": token}, auth=auth) == {"active": False}
    assert await introspect(data={"token": "unknown"}, auth=auth) == {"active": False}

    foreign = await server.post("/auth/revoke", data={"token": token}, auth=auth)
    assert foreign.json()["error"] == "invalid_grant"
    assert await server.tokens.access_of(token) is not None
    own = await server.post("/auth/revoke", data=signed_form(assertion(key_client), token=token))
    assert own.status_code == 200
    assert await server.tokens.access_of(token) is None  # at once, cache or not
    again = await server.post("/auth/revoke", data=signed_form(assertion(key_client), token=token))
    assert again.status_code == 200


@pytest.mark.parametrize("path", ["/auth/introspect", "/auth/revoke"])
async def test_introspection_and_revocation_need_a_client(server: Server, path: str) -> None:
    assert refused(await server.post(path, data={"token": "x"}))


async def test_no_token_is_logged(server: Server, key_client: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    body = (await server.post(data=signed_form(assertion(key_client)))).json()
    assert body["access_token"] not in caplog.text


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param([RSA.as_dict(private=True)], id="private"),
        pytest.param([OctKey.generate_key(256, {"kid": "o"}).as_dict(private=True)], id="symmetric"),
        pytest.param([ECKey.generate_key("P-256", {"kid": "p"}).as_dict(private=False)], id="P-256"),
        pytest.param([{**RSA.as_dict(private=False), "kid": None}], id="no kid"),
        pytest.param([{"kty": "RSA", "kid": "x", "n": "AQAB", "e": "AQAB"}], id="weak"),
        pytest.param([{"kty": "XYZ", "kid": "x"}], id="unknown kind"),
        pytest.param([], id="none"),
        pytest.param([RSA.as_dict(private=False)] * 33, id="too many"),
        pytest.param("text", id="not a list"),
    ],
)
def test_jwks_that_are_refused(keys: Any) -> None:
    with pytest.raises(InvalidClientMetadata):
        read_jwks(json.dumps({"keys": keys}))


async def test_add_client_refuses(database: Database) -> None:
    with pytest.raises(InvalidScope):
        await add_client(database, Wanted(name="x", scope="patient/*.rs"))
    with pytest.raises(InvalidClientMetadata):
        await add_client(database, Wanted(name=" ", scope="system/*.rs"))


async def test_discovery_says_what_there_is(server: Server) -> None:
    smart = (await server.http.get("/fhir/.well-known/smart-configuration")).json()
    assert smart["token_endpoint"] == TOKEN_URL
    assert smart["token_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384"]
    assert {"launch-ehr", "launch-standalone", "sso-openid-connect"} <= set(smart["capabilities"])
    metadata = (await server.http.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["issuer"] == BASE
    door = (await server.http.get("/.well-known/oauth-protected-resource/dicom-web")).json()
    assert door["resource"] == f"{BASE}/dicom-web"


async def test_discovery_ignores_the_host_header(server: Server) -> None:
    for header in ("Host", "X-Forwarded-Host", "X-Forwarded-Server", "X-Original-Host"):
        response = await server.http.get(
            "/fhir/.well-known/smart-configuration", headers={header: "evil.example"}
        )
        assert "evil" not in response.text
    forwarded = {"Forwarded": "host=evil.example;proto=http", "X-Forwarded-Proto": "gopher"}
    response = await server.http.get("/fhir/.well-known/smart-configuration", headers=forwarded)
    assert "evil" not in response.text
    assert "gopher" not in response.text
