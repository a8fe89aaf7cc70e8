"""A grant: made when a user consents, ended once for all that it bought (decision 0032)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, insert, select, update

from server.auth.grants.context import LaunchContext, read_context
from server.auth.scopes import Scopes, parse_scopes
from server.auth.tables import AccessToken, LoginSession, OAuthGrant, UserAccount
from server.auth.tokens import grant_stands
from server.auth.users.accounts import User, user_of
from server.auth.users.sessions import IDLE_US
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import SECOND_US
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of

_GRANT = table_of(OAuthGrant)
_USER = table_of(UserAccount)
_SESSION = table_of(LoginSession)
_TOKEN = table_of(AccessToken)

OFFLINE, ONLINE = "offline_access", "online_access"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a user has allowed a client."""

    client_id: str
    user: User
    session_id: int
    scopes: Scopes
    patient_id: str | None  # in context; None: there is none
    context: LaunchContext
    purpose: str | None = None  # PurposeOfUse, when it is not treatment
    lasts_us: int | None = None  # after which it ends by itself; None: it does not


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant that stands."""

    id: int
    client_id: str
    user: User
    scopes: Scopes
    patient_id: str | None
    context: LaunchContext
    is_offline: bool
    authenticated_us: int  # when the user logged in
    is_online: bool  # whether the session is still in use
    purpose: str | None = None
    expires_us: int | None = None  # None: it has no end of its own

    def ttl_s(self, most_s: int, now_us: int) -> int:
        """How long a token of it may live; `most_s` at most."""
        return most_s if self.expires_us is None else min(most_s, (self.expires_us - now_us) // SECOND_US)

    def told_context(self, style_url: str | None) -> dict[str, Any]:
        """What its app is told of where it was launched; nothing where there is no patient and no launch."""
        if self.patient_id is not None:
            return {"patient": self.patient_id, **self.context.as_parameters(style_url)}
        return {} if self.context == LaunchContext() else self.context.as_parameters(style_url)


def new_grant(connection: Connection, allowed: Allowed, now_us: int) -> int:
    """Make a grant; returns its id."""
    row = {
        "client_id": allowed.client_id,
        "user_id": allowed.user.id,
        "session_id": allowed.session_id,
        "scope": allowed.scopes.text,
        "patient_id": allowed.patient_id,
        "context": allowed.context.to_json(),
        "purpose": allowed.purpose,
        "is_offline": OFFLINE in allowed.scopes.others,
        "created_us": now_us,
        "expires_us": None if allowed.lasts_us is None else now_us + allowed.lasts_us,
    }
    grant_id: int = connection.execute(insert(_GRANT).values(**row).returning(_GRANT.c.id)).scalar_one()
    return grant_id


def find_grant(connection: Connection, grant_id: int, now_us: int) -> Grant | None:
    """A grant that stands, of a user in use."""
    row = connection.execute(_select_grant(grant_id, now_us)).first()
    if row is None:
        return None
    is_online = row.session_ended_us is None and row.over_us > now_us and row.used_us > now_us - IDLE_US
    return Grant(
        row.grant_id,
        row.client_id,
        user_of(row),
        parse_scopes(row.scope),
        row.launch_patient,
        read_context(row.context),
        row.is_offline,
        row.authenticated_us,
        is_online,
        row.purpose,
        row.expires_us,
    )


def _select_grant(grant_id: int, now_us: int) -> Select[Any]:
    return (
        select(
            _USER,
            _GRANT.c.id.label("grant_id"),
            _GRANT.c.patient_id.label("launch_patient"),
            *(_GRANT.c[n] for n in ("client_id", "scope", "context", "is_offline", "purpose", "expires_us")),
            _SESSION.c.authenticated_us,
            _SESSION.c.used_us,
            _SESSION.c.expires_us.label("over_us"),
            _SESSION.c.ended_us.label("session_ended_us"),
        )
        .join(_GRANT, _GRANT.c.user_id == _USER.c.id)
        .join(_SESSION, _SESSION.c.id == _GRANT.c.session_id)
        .where(_GRANT.c.id == grant_id, grant_stands(now_us), _USER.c.disabled_us.is_(None))
    )


def end_grant(
    unit: UnitOfWork, connection: Connection, grant_id: int, why: str, by: Principal | None = None
) -> Sequence[str]:
    """End a grant with all its tokens; returns the hashes of access tokens that caches must forget.

    `why` is the interaction that audit names: "revoke", "reuse". `by` None: it is told as the user's.
    """
    stands = (_GRANT.c.id == grant_id) & _GRANT.c.ended_us.is_(None)
    ended = update(_GRANT).where(stands).values(ended_us=unit.now_us).returning(_GRANT.c.user_id)
    user_id = connection.execute(ended).scalar()
    if user_id is not None:
        user = user_of(connection.execute(select(_USER).where(_USER.c.id == user_id)).one())
        unit.audit(AuditEntry(by or user.principal, Action.UPDATE, why, "grant", str(grant_id)))
    live = (_TOKEN.c.grant_id == grant_id) & (_TOKEN.c.expires_us > unit.now_us)
    return connection.execute(select(_TOKEN.c.token_hash).where(live)).scalars().all()
