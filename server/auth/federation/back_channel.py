"""Sessions that end because the provider's do (OpenID Connect Back-Channel Logout 1.0 §2.7)."""

from sqlalchemy import false, select

from server.auth.assertions import burn_jti
from server.auth.federation.id_tokens import RefusedToken
from server.auth.federation.logout_tokens import EndedElsewhere
from server.auth.tables import LoginSession, UserAccount
from server.auth.users.accounts import user_of
from server.auth.users.sessions import end_login
from server.kernel.access import Principal
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of

_USER, _SESSION = table_of(UserAccount), table_of(LoginSession)

PROVIDER = Principal("system:provider", "OpenID provider")


async def end_elsewhere(database: Database, issuer: str, ended: EndedElsewhere) -> None:
    """End the sessions that a login at the provider began here, with the grants that do not outlive them.

    Raises:
        RefusedToken: its token was used before.
    """
    theirs = (_SESSION.c.issuer == issuer) & _SESSION.c.ended_us.is_(None)
    if ended.subject is not None:
        theirs &= (_USER.c.issuer == issuer) & (_USER.c.subject == ended.subject)
    if ended.provider_session is not None:
        is_it = _SESSION.c.provider_session == ended.provider_session
        maybe = false() if ended.subject is None else _SESSION.c.provider_session.is_(None)
        theirs &= is_it | maybe
    statement = (
        select(_USER, _SESSION.c.id.label("session_id"))
        .join(_USER, _USER.c.id == _SESSION.c.user_id)
        .where(theirs)
        .order_by(_SESSION.c.id)
    )

    async def work(unit: UnitOfWork) -> None:
        if not await unit.connection.run_sync(lambda c: burn_jti(c, issuer, ended.jti, ended.expires_us)):
            raise RefusedToken("jti")
        for row in (await unit.execute(statement)).all():
            await end_login(unit, row.session_id, user_of(row), PROVIDER)

    await database.transact(work)
