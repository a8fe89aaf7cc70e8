"""Whether an authority still stands when its token's request is long over."""

from sqlalchemy import update

from server.auth.clients import Wanted, add_client, disable_client
from server.auth.scopes import parse_scopes
from server.auth.standing import access_by
from server.auth.tables import AccessToken, OAuthClient
from server.auth.tokens import AccessTokens, TokenRequest, issue_token, new_token, revoke_token
from server.kernel.access import Access, Permission
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of

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
