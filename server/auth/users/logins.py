"""A login by name and password: who it is, or nobody, in the same words and time (OWASP ASVS 5 §6.3).

After `FREE_TRIES` failures in a row from one address a name is locked there, each time twice as long, up to
`MAX_LOCK_US`; a right password counts for nothing meanwhile. `FREE_TRIES_ANYWHERE` lock it for everybody.
Names that nobody has are locked the same way. How fast one address may try at all is for
`server/auth/authorize/pressure.py`.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from sqlalchemy import delete, insert, select, update

from server.auth.tables import LoginFailure, UserAccount
from server.auth.users.accounts import User, select_user, user_of
from server.auth.users.names import fold_name, is_name
from server.auth.users.passwords import hash_password, is_outdated, is_password
from server.auth.users.roles import Role
from server.auth.users.sessions import begin_session
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry, Outcome
from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Unauthenticated
from server.kernel.rows import table_of

_USER = table_of(UserAccount)
_FAILURE = table_of(LoginFailure)

FREE_TRIES = 5  # from one address
FREE_TRIES_ANYWHERE = 100
FIRST_LOCK_US = 60 * SECOND_US
MAX_LOCK_US = 3600 * SECOND_US
KEPT_US = 24 * 3600 * SECOND_US  # failures are forgotten this long after the last one
MAX_TYPED = 512  # characters of a name that are looked at

NOBODY = Principal("anonymous", "anonymous")
REFUSED = "The name or the password is not right, or there were too many attempts. Try again later."


class LoginRefused(Unauthenticated):
    """Nobody was logged in; why is not told."""


async def log_in(
    database: Database,
    typed_name: str,
    password: str,
    origin: str = "",
    *,
    only_administrators: bool = False,
) -> str:
    """Log in from an address or network; returns the text of the session's cookie.

    With `only_administrators` everybody else logs in at an external provider; they are refused as above.

    The attempt is counted before the password is looked at: guesses that come at the same time count too.

    Raises:
        LoginRefused: there is no such user, the password is another, or the name is locked.
    """
    name = fold_name(typed_name[:MAX_TYPED])
    keys = _keys(name, origin)
    may_try = await _count_attempt(database, keys)
    row = await _find(database, name) if is_name(name) else None
    password_hash = row.password_hash if row is not None else None
    may_enter = row is not None and (not only_administrators or row.role == Role.ADMIN.value)
    if not await is_password(password, password_hash) or not may_try or not may_enter or row is None:
        await _refuse(database, user_of(row) if row is not None else None)
    renewed = await hash_password(password) if is_outdated(row.password_hash) else None
    return await _let_in(database, keys, row, renewed)


def _keys(name: str, origin: str) -> dict[str, int]:
    """What is counted, with the tries that are free: the name from there, and from anywhere."""

    def key(*parts: str) -> str:  # a folded name has no NUL that a login would find
        return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()

    return {key(name, origin): FREE_TRIES, key(name): FREE_TRIES_ANYWHERE}


async def _find(database: Database, name: str) -> Any | None:
    async with database.read() as connection:
        return (await connection.execute(select_user(_USER.c.name == name))).first()


async def _count_attempt(database: Database, keys: Mapping[str, int]) -> bool:
    """Count one; returns whether the name was free to try."""

    async def work(unit: UnitOfWork) -> bool:
        await unit.lock([f"login {key}" for key in keys])
        await unit.execute(delete(_FAILURE).where(_FAILURE.c.last_us < unit.now_us - KEPT_US))
        found = (await unit.execute(select(_FAILURE).where(_FAILURE.c.name_hash.in_(keys)))).all()
        if any(known.locked_until_us > unit.now_us for known in found):
            return False
        failures = {known.name_hash: known.failures + 1 for known in found}
        for key, free in keys.items():
            count = failures.get(key, 1)
            locked_until_us = _lock_of(count, free, unit)
            values = {"failures": count, "last_us": unit.now_us, "locked_until_us": locked_until_us}
            if key in failures:
                await unit.execute(update(_FAILURE).where(_FAILURE.c.name_hash == key).values(**values))
            else:
                await unit.execute(insert(_FAILURE), [{"name_hash": key, **values}])
        return True

    return await database.transact(work)


def _lock_of(failures: int, free: int, unit: UnitOfWork) -> int:
    """Until when a name is locked after so many failures in a row, of which some are free."""
    if failures < free:
        return 0
    return unit.now_us + min(FIRST_LOCK_US << min(failures - free, 10), MAX_LOCK_US)


async def _refuse(database: Database, user: User | None) -> NoReturn:
    """Audit the failure, under the name of a user if there is one: what was typed may be a password."""
    principal = user.principal if user is not None else NOBODY
    entry = AuditEntry(
        principal,
        Action.EXECUTE,
        "login",
        "user",
        user.name if user is not None else None,
        outcome=Outcome.MINOR_FAILURE,
    )
    await database.record([entry])
    raise LoginRefused(REFUSED)


async def _let_in(database: Database, keys: Iterable[str], found: Any, renewed: str | None) -> str:
    """Begin the session of a user as they were found; who has been changed since is not let in."""
    same = (_USER.c.id == found.id) & (_USER.c.password_hash == found.password_hash)

    async def work(unit: UnitOfWork) -> str:
        row = (await unit.execute(select_user(same).with_for_update())).first()
        if row is None:
            raise LoginRefused(REFUSED)
        await unit.execute(delete(_FAILURE).where(_FAILURE.c.name_hash.in_(list(keys))))
        if renewed is not None:
            await unit.execute(update(_USER).where(same).values(password_hash=renewed))
        return await begin_session(unit, user_of(row))

    return await database.transact(work)
