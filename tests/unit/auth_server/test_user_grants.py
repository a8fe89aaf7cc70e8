"""Codes and refresh tokens: once, for who they are for, and together with their grant.

RFC 6749 §4.1 and §6, RFC 7636, RFC 9700 §4.14; SMART 2.2, App Launch.
"""

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import insert, select, update

from server.auth.grants.code import CODE_US, Bound, new_code
from server.auth.grants.context import LaunchContext
from server.auth.grants.grant import Allowed, new_grant
from server.auth.grants.refresh import REFRESH_US
from server.auth.scopes import parse_scopes
from server.auth.signing import ALGORITHM, PUBLISHED_US, SigningKeys
from server.auth.tables import (
    AuthorizationCode,
    LoginSession,
    OAuthClient,
    OAuthGrant,
    RefreshToken,
    SigningKey,
)
from server.auth.token_endpoint import Form, Issuer, Reply, answer
from server.auth.tokens import AccessTokens, hash_secret
from server.auth.users.accounts import NewUser, User, add_user, disable_user
from server.auth.users.roles import Role
from server.auth.users.sessions import IDLE_US, Session, begin_session, end_session, find_session
from server.kernel.access import Access, Permission, Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import now_us
from server.kernel.database import Database, UnitOfWork
from server.kernel.envelope import Keyring
from server.kernel.faults import Forbidden
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow
from tests.conftest import sqlite_first

BASE, REDIRECT = "https://isthmus.test", "https://app.test/cb"
ADMIN = Principal("system:administrator", "administrator")
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
SCOPE = "openid fhirUser launch/patient offline_access patient/*.rs user/Patient.rs"


class Flow:
    """A user, a public client, and what they do at the token endpoint."""

    def __init__(self, database: Database, user: User, session: Session) -> None:
        self.database, self.user, self.session = database, user, session
        self.issuer = Issuer(database, BASE, SigningKeys(database, Keyring(b"k" * 32)))

    async def code(self, scope: str = SCOPE, patient_id: str | None = "p1", client_id: str = "app") -> str:
        """A code for what the user has just allowed."""
        context = LaunchContext("e1", ({"reference": "ImagingStudy/s1"},))
        allowed = Allowed(client_id, self.user, self.session.id, parse_scopes(scope), patient_id, context)
        bound = Bound(REDIRECT, CHALLENGE, nonce="n-1")

        async def work(unit: UnitOfWork) -> str:
            return await unit.connection.run_sync(
                lambda c: new_code(c, new_grant(c, allowed, unit.now_us), bound, unit.now_us)
            )

        return await self.database.transact(work)

    async def post(self, endpoint: str = "token", **fields: str) -> Reply:
        """A form as the public client sends it."""
        body = urlencode({"client_id": "app", **fields}).encode()
        return await answer(self.issuer, endpoint, Form("application/x-www-form-urlencoded", body, ()))

    async def redeem(self, code: str, **fields: str) -> Reply:
        said = {"redirect_uri": REDIRECT, "code_verifier": VERIFIER, **fields}
        return await self.post(grant_type="authorization_code", code=code, **said)

    async def refresh(self, token: str, **fields: str) -> Reply:
        return await self.post(grant_type="refresh_token", refresh_token=token, **fields)

    async def access(self, reply: Mapping[str, Any]) -> Access | None:
        return await AccessTokens(self.database).access_of(reply["access_token"])


async def make_flow(database: Database, role: Role = Role.CLINICIAN) -> Flow:
    patient = "p1" if role is Role.PATIENT else None
    person = None if patient else "Practitioner/ada"
    user = await add_user(database, NewUser("ada", role, "Dr Ada", None, person, patient), ADMIN)

    async def work(unit: UnitOfWork) -> str:
        for name in ("app", "other"):
            row = {
                "client_id": name,
                "name": name,
                "token_endpoint_auth_method": "none",
                "scope": SCOPE,
                "grant_types": '["authorization_code","refresh_token"]',
                "redirect_uris": f'["{REDIRECT}"]',
                "created_us": unit.now_us,
            }
            await unit.execute(insert(table_of(OAuthClient)), [row])
        return await begin_session(unit, user)

    session = await find_session(database, await database.transact(work), now_us())
    assert session is not None
    return Flow(database, user, session)


@pytest.fixture
async def flow(database: Database) -> Flow:
    return await make_flow(database)


async def move(database: Database, table: type, column: str, by: int) -> None:
    """Put an instant of every row of a table back."""

    async def work(unit: UnitOfWork) -> None:
        rows = table_of(table)
        await unit.execute(update(rows).values(**{column: rows.c[column] - by}))

    await database.transact(work)


async def test_code_buys_tokens_and_the_launch_context(flow: Flow) -> None:
    reply = await flow.redeem(await flow.code())
    assert reply.status == 200, reply.body
    told = {name: reply.body[name] for name in ("patient", "encounter", "fhirContext", "need_patient_banner")}
    assert told == {
        "patient": "p1",
        "encounter": "e1",
        "fhirContext": [{"reference": "ImagingStudy/s1"}],
        "need_patient_banner": True,
    }
    assert set(reply.body["scope"].split()) == set(SCOPE.split())
    access = await flow.access(reply.body)
    assert access is not None
    assert access.principal == Principal("user:ada", "Dr Ada")


async def test_id_token_says_who_and_for_whom(flow: Flow) -> None:
    reply = await flow.redeem(await flow.code())
    keys = KeySet.import_key_set(await flow.issuer.keys.jwks())  # type: ignore[arg-type]
    claims = jwt.decode(reply.body["id_token"], keys, algorithms=[ALGORITHM]).claims
    assert {name: claims[name] for name in ("iss", "sub", "aud", "nonce", "fhirUser")} == {
        "iss": BASE,
        "sub": "user:ada",
        "aud": "app",
        "nonce": "n-1",
        "fhirUser": f"{BASE}/fhir/Practitioner/ada",
    }


@sqlite_first
@pytest.mark.parametrize(
    ("scope", "members"),
    [
        ("patient/*.rs", set()),
        ("openid patient/*.rs", {"id_token"}),
        ("online_access patient/*.rs", {"refresh_token"}),
    ],
)
async def test_only_what_was_granted_is_issued(flow: Flow, scope: str, members: set[str]) -> None:
    reply = await flow.redeem(await flow.code(scope))
    assert reply.body.keys() & {"id_token", "refresh_token"} == members


BUYS_NOTHING: list[tuple[dict[str, str], str]] = [
    ({"code_verifier": "w" * 43}, "invalid_grant"),
    ({"code_verifier": "v" * 42}, "invalid_grant"),
    ({"code_verifier": CHALLENGE}, "invalid_grant"),  # as `plain` would have it
    ({"code_verifier": ""}, "invalid_request"),
    ({"redirect_uri": REDIRECT + "/"}, "invalid_grant"),
    ({"redirect_uri": ""}, "invalid_request"),
    ({"client_id": "other"}, "invalid_grant"),
    ({"client_id": "nobody"}, "invalid_client"),
    ({"code": "made up"}, "invalid_grant"),
    ({"code": "\x00"}, "invalid_grant"),
]


async def test_codes_that_buy_nothing(flow: Flow) -> None:
    for fields, error in BUYS_NOTHING:
        code = await flow.code()
        said = {"redirect_uri": REDIRECT, "code_verifier": VERIFIER, "code": code, **fields}
        reply = await flow.post(grant_type="authorization_code", **said)
        assert (reply.status, reply.body["error"]) == (400, error), fields
        after = await flow.redeem(code)
        was_shown = error == "invalid_grant" and fields.get("code") is None
        assert after.status == (400 if was_shown else 200), fields  # one that came wrongly is trusted no more


async def test_a_code_expires(flow: Flow) -> None:
    code = await flow.code()
    await move(flow.database, AuthorizationCode, "expires_us", CODE_US)
    assert (await flow.redeem(code)).body["error"] == "invalid_grant"


async def test_a_code_that_comes_again_ends_what_it_bought(flow: Flow) -> None:
    code = await flow.code()
    first = await flow.redeem(code)
    again = await flow.redeem(code)
    assert again.body["error"] == "invalid_grant"
    assert again.revoked == [hash_secret(first.body["access_token"])]
    assert await flow.access(first.body) is None
    assert (await flow.refresh(first.body["refresh_token"])).body["error"] == "invalid_grant"


async def test_of_codes_redeemed_at_once_one_counts(flow: Flow) -> None:
    code = await flow.code()
    replies = await asyncio.gather(*(flow.redeem(code) for _ in range(8)))
    assert sorted(reply.status for reply in replies) == [200] + [400] * 7


async def test_refresh_tokens_rotate(flow: Flow) -> None:
    first = (await flow.redeem(await flow.code())).body
    second = await flow.refresh(first["refresh_token"])
    assert second.status == 200
    assert second.body["refresh_token"] != first["refresh_token"]
    assert second.body["patient"] == "p1"
    assert "id_token" not in second.body
    assert await flow.access(second.body) is not None


async def test_reuse_of_a_refresh_token_ends_the_family(flow: Flow) -> None:
    first = (await flow.redeem(await flow.code())).body
    second = (await flow.refresh(first["refresh_token"])).body
    assert (await flow.refresh(first["refresh_token"])).body["error"] == "invalid_grant"
    assert (await flow.refresh(second["refresh_token"])).body["error"] == "invalid_grant"
    assert await flow.access(second) is None


async def test_of_refreshes_at_once_one_counts(flow: Flow) -> None:
    first = (await flow.redeem(await flow.code())).body
    replies = await asyncio.gather(*(flow.refresh(first["refresh_token"]) for _ in range(8)))
    assert sorted(reply.status for reply in replies) == [200] + [400] * 7


async def test_a_refresh_token_is_for_its_client(flow: Flow) -> None:
    first = (await flow.redeem(await flow.code())).body
    stolen = await flow.refresh(first["refresh_token"], client_id="other")
    assert stolen.body["error"] == "invalid_grant"


async def test_a_public_app_need_not_name_itself_to_refresh(flow: Flow) -> None:
    """As SMART Health IT's own client does."""
    first = (await flow.redeem(await flow.code())).body
    body = urlencode({"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}).encode()
    form = Form("application/x-www-form-urlencoded", body, ())
    assert (await answer(flow.issuer, "token", form)).status == 200
    again = await answer(flow.issuer, "token", form)
    assert (again.status, again.body["error"]) == (400, "invalid_grant")


@sqlite_first
@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ("patient/Observation.rs", "patient/Observation.rs"),
        ("patient/*.cruds", "patient/*.rs"),
        ("system/*.rs", None),
        ("nonsense", None),
    ],
)
async def test_scopes_of_a_refresh(flow: Flow, asked: str, got: str | None) -> None:
    first = (await flow.redeem(await flow.code())).body
    reply = await flow.refresh(first["refresh_token"], scope=asked)
    assert reply.body.get("scope") == got
    assert reply.body.get("error") == (None if got else "invalid_scope")
    if got is None:  # a mistake of the client costs it nothing
        assert (await flow.refresh(first["refresh_token"])).status == 200


async def test_a_refresh_token_expires(flow: Flow) -> None:
    first = (await flow.redeem(await flow.code())).body
    await move(flow.database, RefreshToken, "expires_us", REFRESH_US)
    assert (await flow.refresh(first["refresh_token"])).body["error"] == "invalid_grant"


@pytest.mark.parametrize(("access", "outlives"), [("offline_access", True), ("online_access", False)])
@pytest.mark.parametrize("end", ["logoff", "idle"])
async def test_what_outlives_the_session(flow: Flow, access: str, outlives: bool, end: str) -> None:
    first = (await flow.redeem(await flow.code(f"{access} patient/*.rs"))).body
    if end == "logoff":
        await end_session(flow.database, flow.session)
        assert (await flow.access(first) is not None) is outlives
    else:
        await move(flow.database, LoginSession, "used_us", IDLE_US)
    assert ((await flow.refresh(first["refresh_token"])).status == 200) is outlives


async def test_a_disabled_user_has_no_tokens(flow: Flow) -> None:
    first = (await flow.redeem(await flow.code())).body
    await disable_user(flow.database, "ada", ADMIN)
    assert await flow.access(first) is None
    assert (await flow.refresh(first["refresh_token"])).body["error"] == "invalid_grant"


@pytest.mark.parametrize("member", ["access_token", "refresh_token"])
async def test_revocation_is_of_the_family(flow: Flow, member: str) -> None:
    first = (await flow.redeem(await flow.code())).body
    reply = await flow.post("revocation", token=first[member])
    assert (reply.status, reply.revoked) == (200, [hash_secret(first["access_token"])])
    assert await flow.access(first) is None
    assert (await flow.refresh(first["refresh_token"])).body["error"] == "invalid_grant"


async def test_revocation_by_another_client_does_nothing(flow: Flow) -> None:
    first = (await flow.redeem(await flow.code())).body
    await flow.post("revocation", token=first["refresh_token"], client_id="other")
    assert (await flow.refresh(first["refresh_token"])).status == 200


async def test_no_other_token_opens_a_door(flow: Flow) -> None:
    code = await flow.code()
    issued = (await flow.redeem(code)).body
    assert await flow.access(issued) is not None
    for other in (issued["refresh_token"], issued["id_token"], code):
        assert await flow.access({"access_token": other}) is None


async def test_secrets_are_not_in_the_database(flow: Flow) -> None:
    code = await flow.code()
    body = (await flow.redeem(code)).body
    async with flow.database.read() as connection:
        for table in (AuthorizationCode, RefreshToken, OAuthGrant, LoginSession):
            kept = repr((await connection.execute(select(table_of(table)))).all())
            assert not [text for text in (code, body["refresh_token"], body["access_token"]) if text in kept]


@pytest.mark.parametrize(
    ("role", "resource_type", "patients"),
    [
        (Role.CLINICIAN, "Observation", frozenset({"p1"})),  # patient/*.rs
        (Role.CLINICIAN, "Patient", None),  # user/Patient.rs beside it
        (Role.PATIENT, "Patient", frozenset({"p1"})),
    ],
)
async def test_how_far_a_users_token_reaches(
    database: Database, role: Role, resource_type: str, patients: frozenset[str] | None
) -> None:
    flow = await make_flow(database, role)
    access = await flow.access((await flow.redeem(await flow.code())).body)
    assert access is not None
    assert access.reach(resource_type, Permission.READ).patient_ids == patients


async def test_audit_names_user_client_token_and_purpose(database: Database) -> None:
    flow = await make_flow(database)
    body = (await flow.redeem(await flow.code())).body
    await database.transact(lambda unit: unit.execute(update(table_of(OAuthGrant)).values(purpose="BTG")))
    access = await flow.access(body)
    assert access is not None
    assert access.origin is not None
    await database.record([AuditEntry(access.principal, Action.READ, "read", "Patient", "p1", "p1")])
    async with database.read() as connection:
        audit = table_of(AuditRow)
        row = (await connection.execute(select(audit).where(audit.c.interaction == "read"))).one()
    assert row.principal == access.principal.id
    assert row.principal.startswith("user:")
    assert (row.client, row.purpose) == (f"client:{access.origin.client_id}", "BTG")
    assert row.token == access.origin.token_hash[:12]


async def test_a_patient_without_a_patient_reaches_no_record(database: Database) -> None:
    """Such a grant is not made any more; one that was reaches nobody."""
    flow = await make_flow(database, Role.PATIENT)
    access = await flow.access((await flow.redeem(await flow.code("user/*.rs", None))).body)
    assert access is not None
    assert access.reach("Observation", Permission.READ).patient_ids == frozenset()


async def test_a_refresh_gets_no_more_than_the_client_may_have_by_now(flow: Flow) -> None:
    first = (await flow.redeem(await flow.code())).body

    async def narrow(unit: UnitOfWork) -> None:
        await unit.execute(
            update(table_of(OAuthClient)).values(scope="offline_access patient/Observation.rs")
        )

    await flow.database.transact(narrow)
    second = (await flow.refresh(first["refresh_token"])).body
    assert second["scope"] == "offline_access patient/Observation.rs"


async def test_a_token_of_a_session_that_is_over_is_not_active(flow: Flow) -> None:
    secret = hash_secret("secret")

    async def confide(unit: UnitOfWork) -> None:
        values = {"token_endpoint_auth_method": "client_secret_post", "secret_hash": secret}
        await unit.execute(update(table_of(OAuthClient)).values(**values))

    await flow.database.transact(confide)
    first = await flow.redeem(await flow.code("online_access patient/*.rs"), client_secret="secret")
    asked = {"token": first.body["refresh_token"], "client_secret": "secret"}
    assert (await flow.post("introspection", **asked)).body["active"] is True
    await move(flow.database, LoginSession, "used_us", IDLE_US)
    assert (await flow.post("introspection", **asked)).body == {"active": False}


@sqlite_first
@pytest.mark.parametrize("role", list(Role))
async def test_audit_and_administration_are_for_their_roles(database: Database, role: Role) -> None:
    flow = await make_flow(database, role)
    patient_id = "p1" if role is Role.PATIENT else None
    access = await flow.access((await flow.redeem(await flow.code("user/*.cruds", patient_id))).body)
    assert access is not None
    opened = []
    for name, ask in (
        ("audit", lambda: access.reach("AuditEvent", Permission.SEARCH)),
        ("administration", access.require_administrator),
    ):
        try:
            ask()
            opened.append(name)
        except Forbidden:
            continue
    assert opened == {Role.ADMIN: ["audit", "administration"], Role.AUDITOR: ["audit"]}.get(role, [])


async def test_keys_rotate_without_a_gap(database: Database) -> None:
    at = now_us()
    keys = SigningKeys(database, Keyring(b"k" * 32), lambda: at)
    old = (await keys.signer())({"iss": BASE})
    new_kid = await keys.rotate(ADMIN)
    assert len((await keys.jwks())["keys"]) == 2
    assert jwt.decode(
        (await keys.signer())({}), KeySet.import_key_set(await keys.jwks()), algorithms=[ALGORITHM]
    )  # type: ignore[arg-type]
    at += PUBLISHED_US + 60_000_000
    signed = jwt.decode(
        (await keys.signer())({}), KeySet.import_key_set(await keys.jwks()), algorithms=[ALGORITHM]
    )  # type: ignore[arg-type]
    assert signed.header["kid"] == new_kid
    assert old.split(".")[0] != (await keys.signer())({}).split(".")[0]


async def test_processes_that_start_at_once_make_one_key(database: Database) -> None:
    makers = [SigningKeys(database, Keyring(b"k" * 32)) for _ in range(3)]
    sets = await asyncio.gather(*(each.jwks() for each in makers))
    assert all(each == sets[0] for each in sets)
    async with database.read() as connection:
        rows = (await connection.execute(select(table_of(SigningKey)))).all()
    assert len(rows) == 1
    assert b'"d"' not in rows[0].sealed_jwk
    assert '"d"' not in rows[0].public_jwk
