"""Sessions: that a browser's user has logged in, for as long as they are there (OWASP ASVS 5 §7).

The cookie is 256 random bits, of which the database has the hash. A session ends when nothing was done in it
for `IDLE_US`, at the latest `MAX_US` after the login; whoever logs off ends it, and with it every grant that
was not made to outlive it.
"""

from dataclasses import dataclass

from sqlalchemy import insert, select, update

from server.auth.tables import LoginSession, OAuthGrant, UserAccount
from server.auth.tokens import hash_secret
from server.auth.users.accounts import User, user_of
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of
from server.kernel.uids import new_secret

_SESSION = table_of(LoginSession)
_USER = table_of(UserAccount)
_GRANT = table_of(OAuthGrant)

IDLE_US = 15 * 60 * SECOND_US  # 45 CFR 164.312(a)(2)(iii), automatic logoff
MAX_US = 12 * 3600 * SECOND_US  # a shift
PROVIDER_LOGIN = "provider-login"  # as audit names it
NOTED_US = 60 * SECOND_US  # a use is written when the last one is older


@dataclass(frozen=True, slots=True)
class Session:
    """A login that stands."""

    id: int
    user: User
    authenticated_us: int  # the claim auth_time (OpenID Connect Core §2)
    begun_us: int  # later than that, where a provider knew the user already
    is_elsewhere: bool = False  # whether an external provider logged them in


@dataclass(frozen=True, slots=True)
class LoginElsewhere:
    """A login at an external provider."""

    issuer: str
    provider_session: str | None  # the claim `sid`
    authenticated_us: int | None  # the claim auth_time; None: it tells none


async def begin_session(unit: UnitOfWork, user: User, elsewhere: LoginElsewhere | None = None) -> str:
    """Log a user in, in the caller's transaction; returns the cookie's text."""
    secret = new_secret()
    known_us = None if elsewhere is None else elsewhere.authenticated_us
    row = {
        "token_hash": hash_secret(secret),
        "user_id": user.id,
        "issuer": None if elsewhere is None else elsewhere.issuer,
        "provider_session": None if elsewhere is None else elsewhere.provider_session,
        "authenticated_us": unit.now_us if known_us is None else min(known_us, unit.now_us),
        "used_us": unit.now_us,
        "expires_us": unit.now_us + MAX_US,
    }
    await unit.execute(insert(_SESSION), [row])
    how = "login" if elsewhere is None else PROVIDER_LOGIN
    unit.audit(AuditEntry(user.principal, Action.EXECUTE, how, "user", user.name))
    return secret


async def find_session(database: Database, secret: str | None, now_us: int) -> Session | None:
    """The session of a cookie; that it is used is noted. None: there is none, or it is over."""
    if not secret:
        return None
    token_hash = hash_secret(secret)
    statement = (
        select(
            _USER,
            _SESSION.c.id.label("session_id"),
            _SESSION.c.issuer.label("provider"),
            *(_SESSION.c[name] for name in ("authenticated_us", "used_us", "expires_us")),
        )
        .join(_USER, _USER.c.id == _SESSION.c.user_id)
        .where(
            _SESSION.c.token_hash == token_hash, _SESSION.c.ended_us.is_(None), _USER.c.disabled_us.is_(None)
        )
        .where(_SESSION.c.expires_us > now_us, _SESSION.c.used_us > now_us - IDLE_US)
    )
    async with database.read() as connection:
        row = (await connection.execute(statement)).first()
    if row is None:
        return None
    if row.used_us < now_us - NOTED_US:
        await _note_use(database, row.session_id)
    begun_us, is_elsewhere = row.expires_us - MAX_US, row.provider is not None
    return Session(row.session_id, user_of(row), row.authenticated_us, begun_us, is_elsewhere)


async def _note_use(database: Database, session_id: int) -> None:
    async def work(unit: UnitOfWork) -> None:
        stands = (_SESSION.c.id == session_id) & _SESSION.c.ended_us.is_(None)
        await unit.execute(update(_SESSION).where(stands).values(used_us=unit.now_us))

    await database.transact(work)


async def hold_session(unit: UnitOfWork, session: Session) -> bool:
    """Use a session in the caller's transaction; False: it has been ended.

    Whoever ends it waits for the transaction, and then finds what was made in it.
    """
    stands = (
        (_SESSION.c.id == session.id) & _SESSION.c.ended_us.is_(None) & (_SESSION.c.expires_us > unit.now_us)
    )
    used = await unit.execute(update(_SESSION).where(stands).values(used_us=unit.now_us))
    return bool(used.rowcount)


async def end_session(database: Database, session: Session) -> None:
    """Log off."""

    async def work(unit: UnitOfWork) -> None:
        await end_login(unit, session.id, session.user, session.user.principal)

    await database.transact(work)


async def end_login(unit: UnitOfWork, session_id: int, user: User, by: Principal) -> bool:
    """End a login of a user, with the grants that do not outlive it; False: it is none, or has ended."""
    stands = (_SESSION.c.id == session_id) & (_SESSION.c.user_id == user.id) & _SESSION.c.ended_us.is_(None)
    ended = await unit.execute(update(_SESSION).where(stands).values(ended_us=unit.now_us))
    if not ended.rowcount:
        return False
    bound = (_GRANT.c.session_id == session_id) & _GRANT.c.ended_us.is_(None) & _GRANT.c.is_offline.is_(False)
    await unit.execute(update(_GRANT).where(bound).values(ended_us=unit.now_us))
    unit.audit(AuditEntry(by, Action.EXECUTE, "logout", "user", user.name))
    return True
