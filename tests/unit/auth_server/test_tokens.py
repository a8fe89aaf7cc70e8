"""Access tokens: hashed at rest, bounded, revocable."""

import pytest
from sqlalchemy import insert, select

from server.auth.clients import Wanted, add_client, disable_client
from server.auth.scopes import InvalidScope, parse_scopes
from server.auth.tables import AccessToken
from server.auth.tokens import (
    AccessTokens,
    InvalidTokenRequest,
    TokenRequest,
    hash_secret,
    issue_token,
    new_token,
    revoke_token,
)
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow
from tests.asked_in_turn import asked_in_turn


async def test_text_of_the_token_is_not_in_the_database(database: Database) -> None:
    token = await issue_token(database, scope="system/*.rs")
    async with database.read() as connection:
        tokens = (await connection.execute(select(table_of(AccessToken)))).all()
        audit = (await connection.execute(select(table_of(AuditRow)))).all()
    assert token not in repr(tokens) + repr(audit)
    assert hash_secret(token) in repr(tokens)
    assert len(audit) == 1


async def test_tokens_differ(database: Database) -> None:
    tokens = {await issue_token(database, scope="system/*.rs") for _ in range(5)}
    assert len(tokens) == 5
    assert all(len(token) >= 43 for token in tokens)  # 256 bits


@asked_in_turn(
    ("scope", "patient"),
    [
        ("", None),
        ("openid", None),
        ("patient/*.rs", None),
        ("nonsense", None),
        ("patient/*.rs nonsense", "p1"),
    ],
)
async def test_issue_refuses_scope(database: Database, scope: str, patient: str | None) -> None:
    with pytest.raises(InvalidScope):
        await issue_token(database, scope=scope, patient=patient)


@asked_in_turn(
    ("patient", "ttl_s"),
    [("Patient/p1", 60), ("", 60), ("a" * 65, 60), (None, 0), (None, -5), (None, 10**9)],
)
async def test_issue_refuses_patient_or_lifetime(database: Database, patient: str | None, ttl_s: int) -> None:
    with pytest.raises(InvalidTokenRequest):
        await issue_token(database, scope="system/*.rs", patient=patient, ttl_s=ttl_s)


async def test_revoke_is_known_at_once_where_it_is_forgotten(database: Database) -> None:
    tokens = AccessTokens(database)
    token = await issue_token(database, scope="system/*.rs")
    assert await tokens.access_of(token) is not None
    assert await revoke_token(database, token)
    tokens.forget(hash_secret(token))
    assert await tokens.access_of(token) is None
    assert not await revoke_token(database, token)


async def test_cache_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.auth.tokens.CACHE_TOKENS", 3)
    tokens = AccessTokens(database)
    for _ in range(5):
        await tokens.access_of(await issue_token(database, scope="system/*.rs"))
        await tokens.access_of("unknown")
    assert len(tokens._cache) == 3


async def test_token_of_a_disabled_client_is_not_in_use(database: Database) -> None:
    client = await add_client(database, Wanted(name="EHR", scope="system/*.rs"))
    request = TokenRequest(f"client:{client.client_id}", parse_scopes("system/*.rs"), 60, client.client_id)

    async def work(unit: UnitOfWork) -> str:
        issued = new_token(request, unit.now_us)
        await unit.execute(insert(table_of(AccessToken)), [issued.row])
        return issued.text

    token = await database.transact(work)
    access = await AccessTokens(database).access_of(token)
    assert access is not None
    assert access.principal.display == "EHR"
    assert await disable_client(database, client.client_id)
    assert await AccessTokens(database).access_of(token) is None
