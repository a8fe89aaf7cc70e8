"""Pages of what an administrator looks at: users, clients, and what a user has open."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, select

from server.auth.tables import LoginSession, OAuthClient, OAuthGrant, SigningKey, UserAccount
from server.auth.tokens import grant_stands
from server.auth.users.sessions import IDLE_US
from server.kernel.clock import instant_text
from server.kernel.database import Database
from server.kernel.rows import table_of

PAGE = 100  # rows of one answer

_USER, _CLIENT = table_of(UserAccount), table_of(OAuthClient)
_SESSION, _GRANT, _KEY = table_of(LoginSession), table_of(OAuthGrant), table_of(SigningKey)

Page = dict[str, Any]


def select_users(after: int) -> Select[Any]:
    """Accounts, those out of use too; what the password is kept as is nobody's to see."""
    c = _USER.c
    told = (c.id, c.name, c.display, c.role, c.fhir_user, c.patient_id, c.issuer, c.subject)
    dated = (c.created_us, c.disabled_us)
    return select(*told, *dated).where(c.id > after).order_by(c.id).limit(PAGE)


def select_clients(after: int) -> Select[Any]:
    """Clients, those out of use too, without their secrets."""
    c = _CLIENT.c
    told = (c.id, c.client_id, c.name, c.token_endpoint_auth_method, c.scope, c.may_launch)
    return select(*told, c.created_us, c.disabled_us).where(c.id > after).order_by(c.id).limit(PAGE)


def select_sessions(user_id: int, after: int, now_us: int) -> Select[Any]:
    """The logins of a user that stand."""
    c = _SESSION.c
    stands = c.ended_us.is_(None) & (c.expires_us > now_us) & (c.used_us > now_us - IDLE_US)
    told = (c.id, c.issuer, c.authenticated_us, c.used_us, c.expires_us)
    return select(*told).where(c.user_id == user_id, c.id > after, stands).order_by(c.id).limit(PAGE)


def select_grants(user_id: int, after: int, now_us: int) -> Select[Any]:
    """What a user allowed clients, as far as it stands."""
    c, named = _GRANT.c, _CLIENT.c.name.label("client_name")
    told = (c.id, c.client_id, named, c.session_id, c.scope, c.patient_id, c.is_offline, c.created_us)
    ends = (c.purpose, c.expires_us)
    return (
        select(*told, *ends)
        .select_from(_GRANT.outerjoin(_CLIENT, _CLIENT.c.client_id == c.client_id))
        .where(c.user_id == user_id, grant_stands(now_us), c.id > after)
        .order_by(c.id)
        .limit(PAGE)
    )


def select_signing_keys(after: int) -> Select[Any]:
    """Keys of id_tokens; the first one of an installation signs from no time on."""
    c = _KEY.c
    told = (c.id, c.kid, func.nullif(c.signs_from_us, 0).label("signs_from_us"), c.verifies_until_us)
    return select(*told).where(c.id > after).order_by(c.id).limit(PAGE)


async def read_page(database: Database, name: str, statement: Select[Any]) -> Page:
    """One page; `after` in the answer leads to the next, None: this is the last."""
    async with database.read() as connection:
        rows: Sequence[Any] = (await connection.execute(statement)).mappings().all()
    after = rows[-1]["id"] if len(rows) == PAGE else None
    return {name: [_told(row) for row in rows], "after": after}


def _told(row: Any) -> dict[str, Any]:
    """A row as JSON; its instants as text."""
    return {
        column.removesuffix("_us"): instant_text(value) if column.endswith("_us") and value else value
        for column, value in row.items()
    }
