"""Initial access tokens: whoever has one may register one client (RFC 7591 §3, decision 0032)."""

from sqlalchemy import ColumnElement, insert, select, update

from server.auth.tables import RegistrationToken
from server.auth.tokens import hash_secret
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Fault
from server.kernel.rows import table_of
from server.kernel.uids import new_secret

_TOKEN = table_of(RegistrationToken)

MAX_TTL_S = 30 * 24 * 3600  # of a token that opens one registration


class InvalidLifetime(Fault):
    """A registration token cannot live for so long."""


async def issue_registration_token(database: Database, ttl_s: int, by: Principal) -> str:
    """A new one; its text is kept nowhere.

    Raises:
        InvalidLifetime: the lifetime is out of bounds.
    """
    if not 0 < ttl_s <= MAX_TTL_S:
        raise InvalidLifetime(f"The lifetime must be between 1 and {MAX_TTL_S} seconds.")
    text = new_secret()

    async def work(unit: UnitOfWork) -> None:
        token_hash, expires_us = hash_secret(text), unit.now_us + ttl_s * SECOND_US
        row = {"token_hash": token_hash, "created_us": unit.now_us, "expires_us": expires_us}
        await unit.execute(insert(_TOKEN), [row])
        unit.audit(AuditEntry(by, Action.CREATE, "registration-token", "token", token_hash[:12]))

    await database.transact(work)
    return text


def holder_of(token: str) -> Principal:
    """Who registers with a token, as audit names them."""
    name = f"registration:{hash_secret(token)[:12]}"
    return Principal(name, name)


async def is_registration_token(database: Database, token: str, now_us: int) -> bool:
    """Whether a token opens a registration by now."""
    async with database.read() as connection:
        found = await connection.execute(select(_TOKEN.c.id).where(_is_good(token, now_us)))
    return found.first() is not None


async def use_registration_token(unit: UnitOfWork, token: str) -> bool:
    """Use a token up, in the caller's transaction; False: it is not good, or no longer."""
    fresh = update(_TOKEN).where(_is_good(token, unit.now_us)).values(used_us=unit.now_us)
    return bool((await unit.execute(fresh)).rowcount)


def _is_good(token: str, now_us: int) -> ColumnElement[bool]:
    c = _TOKEN.c
    return (c.token_hash == hash_secret(token)) & c.used_us.is_(None) & (c.expires_us > now_us)
