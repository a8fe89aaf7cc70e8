"""Apps register and manage themselves (RFC 7591, RFC 7592)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import reduce
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from joserfc.jwk import ECKey
from pydantic import ValidationError
from sqlalchemy import select, update

from server.app import build_app, build_services
from server.auth.clients import InvalidClientMetadata, client_row
from server.auth.redirects import InvalidRedirect
from server.auth.registration.metadata import Metadata, read_metadata, wanted_of
from server.auth.registration.register import find_registration, register, replace_registration, take_back
from server.auth.registration.tokens import InvalidLifetime, issue_registration_token
from server.auth.tables import RegistrationToken
from server.auth.tokens import hash_secret
from server.kernel.access import Principal
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow
from server.settings import Settings

ADMIN = Principal("system:administrator", "administrator")
BASE = "http://127.0.0.1:8080"
BACK = "https://app.test/back"
PUBLIC = {
    "redirect_uris": [BACK],
    "scope": "launch/patient patient/*.rs",
    "token_endpoint_auth_method": "none",
}
KEYS = {"keys": [ECKey.generate_key("P-384", {"kid": "k"}).as_dict(private=False)]}


@pytest.fixture
async def http(new_sqlite: Callable[[bool], str], tmp_path: Path) -> AsyncIterator[Any]:
    """A client of a server, which has its database."""
    settings = Settings(data=tmp_path, worker=False, database_url=new_sqlite(True))
    services = build_services(settings)
    transport = httpx.ASGITransport(build_app(settings, services))
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        client.database = services.database  # type: ignore[attr-defined]
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def registered(http: Any, **said: Any) -> dict[str, Any]:
    """An app that has registered itself."""
    token = await issue_registration_token(http.database, 60, ADMIN)
    answer = await http.post("/auth/register", json={**PUBLIC, **said}, headers=bearer(token))
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    told: dict[str, Any] = answer.json()
    return told


async def test_rfc7591_3_2_1_answer_tells_what_was_registered(http: Any) -> None:
    told = await registered(
        http,
        client_name="Growth",
        scope="openid patient/*.rs system/*.rs nonsense",
        logo_uri="https://app.test/logo.png",
        grant_types=["authorization_code", "client_credentials"],
        application_type="web",
    )
    token, own = told.pop("registration_access_token"), f"{BASE}/auth/register/{told['client_id']}"
    assert told.pop("client_id_issued_at") > 0
    client_id = told.pop("client_id")
    assert told == {
        "client_name": "Growth",
        "scope": "openid patient/*.rs",
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "redirect_uris": [BACK],
        "registration_client_uri": own,
    }
    again = await http.get(own, headers=bearer(token))
    assert (again.status_code, again.json()["client_id"]) == (200, client_id)
    assert again.json().items() >= told.items()
    asked = {"client_id": client_id, "redirect_uri": BACK, "scope": "patient/*.rs", "response_type": "code"}
    asked |= {"aud": f"{BASE}/fhir", "code_challenge": "c" * 43, "code_challenge_method": "S256"}
    begun = await http.get("/auth/authorize", params=asked)
    assert begun.headers["location"].startswith(f"{BASE}/auth/request/")


async def test_initial_access_token_is_good_once(http: Any) -> None:
    token = await issue_registration_token(http.database, 60, ADMIN)
    refused = await http.post("/auth/register", json={"scope": "x"}, headers=bearer(token))
    assert refused.status_code == 400  # and the token is not used up by it
    assert (await http.post("/auth/register", json=PUBLIC, headers=bearer(token))).status_code == 201
    again = await http.post("/auth/register", json=PUBLIC, headers=bearer(token))
    assert (again.status_code, again.json()["error"]) == (401, "invalid_token")


async def test_of_many_with_one_initial_access_token_one_registers(database: Database) -> None:
    token = await issue_registration_token(database, 60, ADMIN)
    metadata = Metadata((BACK,), scope="patient/*.rs")
    made = await asyncio.gather(*(register(database, metadata, token, ADMIN) for _ in range(4)))
    assert sum(each is not None for each in made) == 1


async def test_what_opens_no_registration(http: Any) -> None:
    assert (await http.post("/auth/register", json=PUBLIC)).status_code == 401
    old = await issue_registration_token(http.database, 60, ADMIN)

    async def work(unit: UnitOfWork) -> None:
        await unit.execute(update(table_of(RegistrationToken)).values(expires_us=unit.now_us))

    await http.database.transact(work)
    for token in (old, "made-up"):
        answer = await http.post("/auth/register", json=PUBLIC, headers=bearer(token))
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    in_url = await http.post("/auth/register?access_token=x", json=PUBLIC)
    assert (in_url.status_code, in_url.json()["error"]) == (400, "invalid_request")
    with pytest.raises(InvalidLifetime):
        await issue_registration_token(http.database, 0, ADMIN)


async def test_wrong_tokens_are_limited_as_failed_logins_are(
    new_sqlite: Callable[[bool], str], tmp_path: Path
) -> None:
    settings = Settings(
        data=tmp_path, worker=False, database_url=new_sqlite(True), failed_logins_per_minute=2
    )
    app = build_app(settings, build_services(settings))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as client:
        statuses = [
            (await client.post("/auth/register", json=PUBLIC, headers=bearer("x"))).status_code
            for _ in range(4)
        ]
    assert statuses == [401, 401, 429, 429]


BY_KEYS = {"token_endpoint_auth_method": "private_key_jwt"}
NESTED = reduce(lambda inner, _: [inner], range(300), [0])  # lists in lists in lists


async def test_errors_are_those_of_rfc7591_3_2_2(http: Any) -> None:
    token = bearer(await issue_registration_token(http.database, 60, ADMIN))
    for said, error in (
        ({"redirect_uris": ["http://app.test/"]}, "invalid_redirect_uri"),
        ({"client_name": "\n"}, "invalid_client_metadata"),
        ({"scope": "system/*.cruds"}, "invalid_client_metadata"),
        ({**BY_KEYS, "jwks": {"keys": [], "x": 10**30}}, "invalid_client_metadata"),
        ({**BY_KEYS, "jwks": {"keys": [], "x": NESTED}}, "invalid_client_metadata"),
    ):
        answer = await http.post("/auth/register", json={**PUBLIC, **said}, headers=token)
        assert (answer.status_code, answer.json()["error"]) == (400, error)
    form = {**token, "Content-Type": "text/plain"}
    assert (await http.post("/auth/register", content=orjson.dumps(PUBLIC), headers=form)).status_code == 400


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"redirect_uris": []}, InvalidRedirect),
        ({"redirect_uris": None}, InvalidRedirect),
        ({"redirect_uris": ["https://app.test/#here"]}, InvalidRedirect),
        ({"redirect_uris": ["https://[/"]}, InvalidRedirect),
        ({"redirect_uris": [BACK] * 21}, InvalidClientMetadata),
        ({"redirect_uris": BACK}, InvalidClientMetadata),
        ({"scope": ""}, InvalidClientMetadata),
        ({"scope": "system/*.rs"}, InvalidClientMetadata),
        ({"scope": "nonsense"}, InvalidClientMetadata),
        ({"scope": "x" * 8193}, InvalidClientMetadata),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, InvalidClientMetadata),
        ({"token_endpoint_auth_method": "private_key_jwt"}, InvalidClientMetadata),
        ({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [{}]}}, InvalidClientMetadata),
        ({"token_endpoint_auth_method": "private_key_jwt", "jwks": []}, InvalidClientMetadata),
        ({"grant_types": ["client_credentials"]}, InvalidClientMetadata),
        ({"grant_types": ["implicit"], "response_types": ["token"]}, InvalidClientMetadata),
        ({"client_name": "x" * 201}, InvalidClientMetadata),
        ({"client_name": "\x00"}, InvalidClientMetadata),
        ({"client_name": 1}, InvalidClientMetadata),
    ],
)
def test_metadata_that_is_not_accepted(said: dict[str, Any], fault: type[Exception]) -> None:
    with pytest.raises(fault):
        client_row(wanted_of(read_metadata(orjson.dumps({**PUBLIC, **said}))), None)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b'{"scope":"\xff"}', b"[" * 100_000])
def test_bodies_that_are_none(body: bytes) -> None:
    with pytest.raises(InvalidClientMetadata):
        read_metadata(body)


@pytest.mark.parametrize(
    ("said", "method", "has_secret"),
    [
        ({"token_endpoint_auth_method": "none"}, "none", False),
        ({"token_endpoint_auth_method": None}, "client_secret_basic", True),
        ({"token_endpoint_auth_method": "client_secret_post"}, "client_secret_post", True),
        ({"token_endpoint_auth_method": "private_key_jwt", "jwks": KEYS}, "private_key_jwt", False),
        ({"token_endpoint_auth_method": "none", "jwks": KEYS}, "none", False),
    ],
)
def test_who_gets_a_secret(said: dict[str, Any], method: str, has_secret: bool) -> None:
    wanted = wanted_of(read_metadata(orjson.dumps({**PUBLIC, **said})))
    assert (wanted.method, wanted.has_secret) == (method, has_secret)
    assert wanted.grant_types == ["authorization_code", "refresh_token"]


async def test_rfc7592_an_app_manages_itself_and_nobody_else(database: Database) -> None:
    made = [await register(database, Metadata((BACK,), scope="patient/*.rs"), None, ADMIN) for _ in "ab"]
    assert made[0] is not None
    assert made[1] is not None
    (one, token), (other, _) = made
    client_id = one.row["client_id"]
    assert one.secret is not None
    assert await find_registration(database, other.row["client_id"], token) is None
    assert await find_registration(database, "nobody", token) is None
    found = await find_registration(database, client_id, token)
    assert found is not None
    assert found.secret is None  # it was shown once
    for wrong in (
        Metadata((BACK,), scope="patient/*.rs"),
        Metadata((BACK,), scope="patient/*.rs", client_id=other.row["client_id"]),
        Metadata((BACK,), scope="patient/*.rs", client_id=client_id, client_secret="guess"),
    ):
        with pytest.raises(InvalidClientMetadata):
            await replace_registration(database, found, wrong)
    said = Metadata((BACK + "2",), scope="openid", client_id=client_id, client_secret=one.secret)
    replaced = await replace_registration(database, found, said)
    assert replaced.secret is None
    assert replaced.row["secret_hash"] == hash_secret(one.secret)
    public = Metadata((BACK,), "none", scope="openid", client_id=client_id)
    assert (await replace_registration(database, replaced, public)).row["secret_hash"] is None
    await take_back(database, replaced)
    assert await find_registration(database, client_id, token) is None
    t = table_of(AuditRow).c
    async with database.read() as connection:
        query = select(t.principal, t.action).where(t.interaction == "client", t.resource_id == client_id)
        entries = [tuple(row) for row in await connection.execute(query.order_by(t.recorded_us))]
    itself = f"client:{client_id}"
    assert entries == [(ADMIN.id, "C"), (itself, "U"), (itself, "U"), (itself, "D")]


async def test_rfc7592_over_http(http: Any) -> None:
    told = await registered(http, token_endpoint_auth_method="client_secret_post")
    own, mine = told["registration_client_uri"], bearer(told["registration_access_token"])
    assert (told["client_secret_expires_at"], "client_secret" in told) == (0, True)
    said = {**PUBLIC, "client_id": told["client_id"], "client_name": "Renamed"}
    put = await http.put(own, json=said, headers=mine)
    assert (put.status_code, put.json()["client_name"]) == (200, "Renamed")
    assert "client_secret" not in put.json()
    issued = {**said, "client_id_issued_at": 1}
    assert (await http.put(own, json=issued, headers=mine)).json()["error"] == "invalid_client_metadata"
    for wrong in ({}, bearer("x")):
        assert (await http.get(own, headers=wrong)).status_code == 401
        assert (await http.delete(own, headers=wrong)).status_code == 401
    assert (await http.delete(own, headers=mine)).status_code == 204
    assert (await http.get(own, headers=mine)).status_code == 401


async def test_open_registration_is_for_this_machine(
    new_sqlite: Callable[[bool], str], tmp_path: Path
) -> None:
    with pytest.raises(ValidationError, match="loopback"):
        Settings(open_registration=True, host="192.0.2.1")
    settings = Settings(data=tmp_path, worker=False, database_url=new_sqlite(True), open_registration=True)
    app = build_app(settings, build_services(settings))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as client:
        assert (await client.post("/auth/register", json=PUBLIC)).status_code == 201
        refused = await client.post("/auth/register", json=PUBLIC, headers=bearer("x"))
        assert refused.status_code == 401  # a token that is sent must be good
        metadata = (await client.get("/.well-known/openid-configuration")).json()
        assert metadata["registration_endpoint"] == f"{BASE}/auth/register"
