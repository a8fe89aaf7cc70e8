"""Ends that an administrator puts to what a user has open; each is audited as the administrator's."""

from sqlalchemy import select

from server.auth.grants.grant import end_grant
from server.auth.tables import OAuthGrant, UserAccount
from server.auth.users.accounts import User, end_sessions, select_user, user_of
from server.auth.users.names import require_name
from server.auth.users.sessions import end_login
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import NotFound
from server.kernel.rows import table_of

_GRANT, _USER = table_of(OAuthGrant), table_of(UserAccount)


async def end_all(database: Database, name: str, by: Principal) -> None:
    """End every login of a user, and all that they allowed.

    Raises:
        NotFound: there is no such user.
    """

    async def work(unit: UnitOfWork) -> None:
        user = await _find(unit, name)
        await end_sessions(unit, user.id)
        unit.audit(AuditEntry(by, Action.EXECUTE, "logout", "user", user.name))

    await database.transact(work)


async def end_one_session(database: Database, name: str, session_id: int, by: Principal) -> None:
    """End one login of a user, with what was allowed for as long as it lasts.

    Raises:
        NotFound: there is no such user, or no such login of theirs.
    """

    async def work(unit: UnitOfWork) -> None:
        if not await end_login(unit, session_id, await _find(unit, name), by):
            raise NotFound("The user has no such session.")

    await database.transact(work)


async def end_one_grant(database: Database, name: str, grant_id: int, by: Principal) -> None:
    """End what a user allowed a client once, with every token of it.

    Raises:
        NotFound: there is no such user, or no such grant of theirs.
    """

    async def work(unit: UnitOfWork) -> None:
        user = await _find(unit, name)
        theirs = (_GRANT.c.id == grant_id) & (_GRANT.c.user_id == user.id) & _GRANT.c.ended_us.is_(None)
        if (await unit.execute(select(_GRANT.c.id).where(theirs))).first() is None:
            raise NotFound("The user has no such grant.")
        await unit.connection.run_sync(lambda c: end_grant(unit, c, grant_id, "revoke", by))

    await database.transact(work)


async def _find(unit: UnitOfWork, name: str) -> User:
    row = (await unit.execute(select_user(_USER.c.name == require_name(name)))).first()
    if row is None:
        raise NotFound("There is no such user.")
    return user_of(row)
