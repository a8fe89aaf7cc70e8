"""Whether an authority still stands when its token's request is long over."""

from functools import partial

from sqlalchemy import delete, insert, update

from server.auth.clients import Wanted, add_client, disable_client
from server.auth.scopes import parse_scopes
from server.auth.standing import access_by
from server.auth.tables import AccessToken, OAuthClient, OAuthGrant
from server.auth.tokens import AccessTokens, TokenRequest, issue_token, new_token, revoke_token
from server.auth.users.accounts import NewUser, add_user
from server.auth.users.roles import Role
from server.kernel.access import Access, Permission
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of
from tests.unit.auth_server.test_user_grants import ADMIN, make_flow

SCOPE = "system/DiagnosticReport.rs system/Subscription.cruds"


async def access_with(database: Database, token: str) -> Access:
    access = await AccessTokens(database).access_of(token)
    assert access is not None
    return access


async def now(database: Database, then: Access) -> Access | None:
    assert then.origin is not None
    async with database.read() as connection:
        return await access_by(connection, then.origin, then.principal)


async def test_token_of_an_administrator_stands_for_itself(database: Database) -> None:
    token = await issue_token(database, scope=SCOPE)
    then = await access_with(database, token)
    assert await now(database, then) == then
    await revoke_token(database, token)
    assert await now(database, then) is None


async def test_expired_token_of_an_administrator_stands_no_more(database: Database) -> None:
    then = await access_with(database, await issue_token(database, scope=SCOPE))

    async def expire(unit: UnitOfWork) -> None:
        await unit.execute(update(table_of(AccessToken)).values(expires_us=unit.now_us - 1))

    await database.transact(expire)
    assert await now(database, then) is None


async def test_confined_token_stays_confined(database: Database) -> None:
    token = await issue_token(database, scope="patient/*.rs", patient="ada")
    found = await now(database, await access_with(database, token))
    assert found is not None
    assert found.reach("DiagnosticReport", Permission.READ).patient_ids == {"ada"}


async def test_client_stands_after_its_token_expired_until_it_is_disabled(database: Database) -> None:
    then = await client_access(database)
    found = await now(database, then)
    assert found is not None
    assert found.reach("DiagnosticReport", Permission.READ).is_everyone
    assert then.origin is not None
    assert then.origin.client_id is not None
    await disable_client(database, then.origin.client_id)
    assert await now(database, then) is None


async def test_client_whose_scope_was_narrowed_reaches_no_further(database: Database) -> None:
    then = await client_access(database)

    async def narrow(unit: UnitOfWork) -> None:
        await unit.execute(update(table_of(OAuthClient)).values(scope="system/Patient.rs"))

    await database.transact(narrow)
    assert await now(database, then) is None


async def test_grant_that_bookkeeping_took_is_no_other_grant(database: Database) -> None:
    """Its id is not given again; and another user's, or another app's, is not what was allowed."""
    flow = await make_flow(database)
    then = await flow.access((await flow.redeem(await flow.code())).body)
    assert then is not None
    assert then.origin is not None
    assert await now(database, then) is not None
    root = await add_user(database, NewUser("root", Role.ADMIN, "Root"), ADMIN)
    grant = table_of(OAuthGrant)
    row = {"session_id": 1, "scope": "user/*.rs", "context": "{}", "is_offline": True, "created_us": 1}

    async def take_and_make(unit: UnitOfWork, user_id: int, client_id: str, **more: int) -> int:
        await unit.execute(delete(grant))
        made = insert(grant).values(user_id=user_id, client_id=client_id, **row, **more)
        number: int = (await unit.execute(made.returning(grant.c.id))).scalar_one()
        return number

    old = then.origin.grant_id
    new = await database.transact(partial(take_and_make, user_id=root.id, client_id="app"))
    assert new != old
    assert await now(database, then) is None
    for user_id, client_id, stands in (
        (root.id, "app", False),
        (flow.user.id, "other", False),
        (flow.user.id, "app", True),
    ):
        await database.transact(partial(take_and_make, user_id=user_id, client_id=client_id, id=old))
        assert (await now(database, then) is not None) is stands


async def client_access(database: Database) -> Access:
    """The Access of a client's token, which has expired by now."""
    client = await add_client(database, Wanted(name="EHR", scope=SCOPE))
    asked = TokenRequest(f"client:{client.client_id}", parse_scopes(SCOPE), 300, client.client_id)

    async def issue(unit: UnitOfWork) -> str:
        issued = new_token(asked, unit.now_us)
        await unit.execute(table_of(AccessToken).insert(), [issued.row])
        return issued.text

    then = await access_with(database, await database.transact(issue))

    async def expire(unit: UnitOfWork) -> None:
        await unit.execute(update(table_of(AccessToken)).values(expires_us=unit.now_us - 1))

    await database.transact(expire)
    return then
