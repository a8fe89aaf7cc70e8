"""Refresh tokens: each buys the next one, once; a used one ends the grant (RFC 9700 §4.14.2)."""

from typing import Any

from sqlalchemy import Connection, insert, select, update

from server.auth.tables import RefreshToken
from server.auth.tokens import hash_secret
from server.kernel.clock import SECOND_US
from server.kernel.rows import table_of
from server.kernel.uids import new_secret

_REFRESH = table_of(RefreshToken)

REFRESH_US = 90 * 24 * 3600 * SECOND_US  # unused for so long, and the user has to be asked again


def new_refresh_token(connection: Connection, grant_id: int, now_us: int) -> str:
    """Make one; returns its text."""
    text = new_secret()
    row = {"token_hash": hash_secret(text), "grant_id": grant_id, "expires_us": now_us + REFRESH_US}
    connection.execute(insert(_REFRESH), [row])
    return text


def find_refresh_token(connection: Connection, text: str) -> Any | None:
    """Its row, used or not; None: there is no such token."""
    return connection.execute(select(_REFRESH).where(_REFRESH.c.token_hash == hash_secret(text))).first()


def use_refresh_token(connection: Connection, row: Any, now_us: int) -> bool:
    """Use one up; False: it was used before. The update decides between two that come at the same time."""
    fresh = update(_REFRESH).where(_REFRESH.c.id == row.id, _REFRESH.c.used_us.is_(None))
    return connection.execute(fresh.values(used_us=now_us)).rowcount == 1
