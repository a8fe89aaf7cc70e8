"""Accounts of users: made, found, changed, taken out of use. Every change is audited.

What a change takes away it takes away everywhere: a new password or role and a disabled account end the
sessions and grants that were begun before it.
"""

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, insert, select, update

from server.auth.tables import LoginSession, OAuthGrant, UserAccount
from server.auth.users.identities import Identity, require_unknown
from server.auth.users.names import require_name
from server.auth.users.passwords import hash_password, require_password
from server.auth.users.roles import Role
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Fault, FaultKind, NotFound
from server.kernel.rows import table_of

_USER = table_of(UserAccount)
_GRANT = table_of(OAuthGrant)
_SESSION = table_of(LoginSession)

MAX_DISPLAY = 200  # characters
_REFERENCE = re.compile(
    r"(?:Practitioner|PractitionerRole|Patient|RelatedPerson|Person)/[A-Za-z0-9\-.]{1,64}"
)


class InvalidAccount(Fault):
    """There can be no such account."""


class NameTaken(Fault):
    """There is, or was, a user by this name."""

    kind = FaultKind.CONFLICT


@dataclass(frozen=True, slots=True)
class NewUser:
    """What an account shall be; without a password its user logs in at an external provider only."""

    name: str
    role: Role
    display: str | None = None  # None: the name
    password: str | None = None
    fhir_user: str | None = None  # the claim fhirUser (SMART 2.2, openid scope), relative
    patient_id: str | None = None  # of the role patient
    identity: Identity | None = None  # at an external provider; None: they do not log in there


@dataclass(frozen=True, slots=True)
class User:
    """A user whose account is in use."""

    id: int
    name: str
    display: str
    role: Role
    fhir_user: str | None
    patient_id: str | None

    @property
    def principal(self) -> Principal:
        """The user as audit names them."""
        return Principal(f"user:{self.name}", self.display)


def select_user(where: ColumnElement[bool]) -> Select[Any]:
    """Accounts in use."""
    return select(_USER).where(where, _USER.c.disabled_us.is_(None))


def user_of(row: Any) -> User:
    """The user of a row."""
    return User(row.id, row.name, row.display, Role(row.role), row.fhir_user, row.patient_id)


async def add_user(database: Database, new: NewUser, by: Principal) -> User:
    """Make an account.

    Raises:
        InvalidName, InvalidPassword, InvalidAccount, InvalidIdentity: it cannot be as asked.
        NameTaken, IdentityTaken: there is one by this name, or of this identity, in use or not.
    """
    password_hash = None if new.password is None else await _hashed(new.password)

    async def work(unit: UnitOfWork) -> User:
        if new.identity is not None:
            await require_unknown(unit, new.identity)
        return await make_user(unit, new, password_hash, by)

    return await database.transact(work)


async def make_user(unit: UnitOfWork, new: NewUser, password_hash: str | None, by: Principal | None) -> User:
    """Make an account in the caller's transaction, as `add_user` says; `by` None: its own user."""
    name = require_name(new.name)
    row = {
        "name": name,
        "display": _display(new.display or new.name.strip()),
        "role": new.role.value,
        "fhir_user": _fhir_user(new),
        "patient_id": _patient_id(new),
        "password_hash": password_hash,
        "issuer": None if new.identity is None else new.identity.issuer,
        "subject": None if new.identity is None else new.identity.subject,
    }
    await unit.lock([f"user {name}"])
    if (await unit.execute(select(_USER.c.id).where(_USER.c.name == name))).first() is not None:
        raise NameTaken("There is, or was, a user by this name.")
    made = insert(_USER).values(**row, created_us=unit.now_us).returning(_USER)
    user = user_of((await unit.execute(made)).one())
    unit.audit(AuditEntry(by or user.principal, Action.CREATE, "user", "user", name))
    return user


async def find_user(database: Database, name: str) -> User:
    """A user by name.

    Raises:
        NotFound: there is no such user.
    """
    async with database.read() as connection:
        row = (await connection.execute(select_user(_USER.c.name == require_name(name)))).first()
    if row is None:
        raise NotFound("There is no such user.")
    return user_of(row)


async def set_password(database: Database, name: str, password: str, by: Principal) -> None:
    """Set a user's password; whoever is logged in as them no longer is.

    Raises:
        InvalidPassword: it is not accepted.
        NotFound: there is no such user.
    """
    password_hash = await _hashed(password)
    await _change(database, name, by, {"password_hash": password_hash})


async def disable_user(database: Database, name: str, by: Principal) -> None:
    """Take an account out of use, with everything that was allowed in its name.

    Raises:
        NotFound: there is no such user.
    """
    await _change(database, name, by, {"disabled_us": None})


async def enable_user(database: Database, name: str, by: Principal) -> None:
    """Take an account into use again, with its password; what was ended with it stays ended.

    Raises:
        NotFound: there is no such user, or the account is in use.
    """
    folded = require_name(name)
    disabled = (_USER.c.name == folded) & _USER.c.disabled_us.is_not(None)

    async def work(unit: UnitOfWork) -> None:
        enabled = update(_USER).where(disabled).values(disabled_us=None).returning(_USER.c.id)
        user_id = (await unit.execute(enabled)).scalar()
        if user_id is None:
            raise NotFound("There is no such user out of use.")
        await end_sessions(unit, user_id)  # whatever may have begun when it was taken out
        unit.audit(AuditEntry(by, Action.UPDATE, "user", "user", folded))

    await database.transact(work)


async def _change(
    database: Database, name: str, by: Principal, values: dict[str, Any], wanted: Identity | None = None
) -> None:
    folded = require_name(name)

    async def work(unit: UnitOfWork) -> None:
        if wanted is not None:
            await require_unknown(unit, wanted, but=folded)
        found = (await unit.execute(select_user(_USER.c.name == folded))).first()
        if found is None:
            raise NotFound("There is no such user.")
        dated = {key: unit.now_us if key.endswith("_us") else value for key, value in values.items()}
        await unit.execute(update(_USER).where(_USER.c.id == found.id).values(**dated))
        await end_sessions(unit, found.id)
        unit.audit(AuditEntry(by, Action.UPDATE, "user", "user", folded))

    await database.transact(work)


async def link_user(database: Database, name: str, identity: Identity | None, by: Principal) -> None:
    """Let a user log in at an external provider, as `identity`; None: no longer. What is open ends.

    Raises:
        InvalidIdentity: nobody can be named so.
        IdentityTaken: another account, in use or not, has it.
        NotFound: there is no such user.
    """
    if identity is None:
        await _change(database, name, by, {"issuer": None, "subject": None})
    else:
        await _change(database, name, by, {"issuer": identity.issuer, "subject": identity.subject}, identity)


async def end_sessions(unit: UnitOfWork, user_id: int) -> None:
    """End what a user began and allowed: logins and grants, those that outlive a login too."""
    for table in (_SESSION, _GRANT):
        stands = (table.c.user_id == user_id) & table.c.ended_us.is_(None)
        await unit.execute(update(table).where(stands).values(ended_us=unit.now_us))


def is_person(reference: str) -> bool:
    """Whether a reference, relative, is to the resource of a person."""
    return _REFERENCE.fullmatch(reference) is not None


async def _hashed(password: str) -> str:
    require_password(password)
    return await hash_password(password)


def _display(text: str) -> str:
    if not text or len(text) > MAX_DISPLAY or not text.isprintable():
        raise InvalidAccount(f"The name for people has 1 to {MAX_DISPLAY} printable characters.")
    return text


def _fhir_user(new: NewUser) -> str | None:
    if new.fhir_user is None:
        return f"Patient/{new.patient_id}" if new.role is Role.PATIENT else None
    if not is_person(new.fhir_user):
        raise InvalidAccount("fhirUser is a relative reference to a Practitioner, Patient or other person.")
    return new.fhir_user


def _patient_id(new: NewUser) -> str | None:
    if (new.patient_id is None) is (new.role is Role.PATIENT):
        raise InvalidAccount("A user of the role patient has a Patient; nobody else does.")
    if new.patient_id is not None and not is_person(f"Patient/{new.patient_id}"):
        raise InvalidAccount("The patient is not named by a FHIR id.")
    return new.patient_id
