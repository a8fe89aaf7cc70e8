"""From a person whom the provider knows to a session here (OpenID Connect Core §5.7).

An account is found by issuer and subject and by nothing else, so no claim takes over another's. One with a
password of ours is kept by administrators of ours: of it claims change nothing. One without is the
provider's: its role is what the provider says at each login.
"""

import hashlib
from functools import partial
from typing import Any

from sqlalchemy import select, update

from server.auth.federation.claims import Person
from server.auth.federation.provider import ClaimRules
from server.auth.tables import UserAccount
from server.auth.users.accounts import (
    InvalidAccount,
    NameTaken,
    NewUser,
    User,
    end_sessions,
    make_user,
    user_of,
)
from server.auth.users.identities import Identity
from server.auth.users.logins import NOBODY
from server.auth.users.roles import Role
from server.auth.users.sessions import PROVIDER_LOGIN, LoginElsewhere, begin_session
from server.kernel.audit import Action, AuditEntry, Outcome
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Fault, FaultKind
from server.kernel.rows import table_of

_USER = table_of(UserAccount)

NO_RECORD = "The provider does not say whose record is yours."


class NotLetIn(Fault):
    """The provider knows them, and yet nobody is logged in here; the message is for them."""

    kind = FaultKind.FORBIDDEN


async def log_in_person(
    database: Database, person: Person, rules: ClaimRules, elsewhere: LoginElsewhere
) -> str:
    """Log somebody in; returns the text of the session's cookie.

    Raises:
        NotLetIn: there is no account in use, none is made, or it can have no role.
    """
    identity = Identity(person.issuer, person.subject)

    async def work(unit: UnitOfWork) -> str:
        await unit.lock([identity.lock])
        mine = (_USER.c.issuer == identity.issuer) & (_USER.c.subject == identity.subject)
        row = (await unit.execute(select(_USER).where(mine).with_for_update())).first()
        user = (
            await _first_login(unit, person, rules) if row is None else await _again(unit, row, person, rules)
        )
        return await begin_session(unit, user, elsewhere)

    try:
        return await database.transact(work)
    except NotLetIn:
        await database.transact(partial(_keep_out, identity))
        raise


async def record_failure(database: Database) -> None:
    """Audit a login that did not come to anything."""
    await database.record([_failure(None)])


async def _keep_out(identity: Identity, unit: UnitOfWork) -> None:
    """Audit it under the name of its user, if there is one; what was begun by the provider's word ends."""
    mine = (_USER.c.issuer == identity.issuer) & (_USER.c.subject == identity.subject)
    row = (await unit.execute(select(_USER).where(mine).with_for_update())).first()
    if row is not None and row.password_hash is None:
        await end_sessions(unit, row.id)
    unit.audit(_failure(None if row is None else user_of(row)))


def _failure(user: User | None) -> AuditEntry:
    principal = NOBODY if user is None else user.principal
    name = None if user is None else user.name
    failed = Outcome.MINOR_FAILURE
    return AuditEntry(principal, Action.EXECUTE, PROVIDER_LOGIN, "user", name, outcome=failed)


async def _first_login(unit: UnitOfWork, person: Person, rules: ClaimRules) -> User:
    if not rules.makes_accounts:
        raise NotLetIn(
            "Nobody here is linked to this login. An administrator can do that: tell them that your"
            f" subject is {person.subject}"
        )
    new = _account(person, _role_of(person), person.fhir_user)
    try:
        return await make_user(unit, new, None, None)
    except InvalidAccount as fault:  # of a patient without a record
        raise NotLetIn(NO_RECORD) from fault
    except NameTaken as fault:  # made at a first login, and unlinked since
        raise NotLetIn("Your account here is no longer linked to this login.") from fault


async def _again(unit: UnitOfWork, row: Any, person: Person, rules: ClaimRules) -> User:
    if row.disabled_us is not None:
        raise NotLetIn("Your account is out of use.")
    if row.password_hash is not None or not rules.role_claim:
        return user_of(row)
    fhir_user = person.fhir_user if rules.fhir_user_claim else row.fhir_user
    values = _standing(_account(person, _role_of(person), fhir_user))
    if all(getattr(row, name) == value for name, value in values.items()):
        return user_of(row)
    changed = update(_USER).where(_USER.c.id == row.id).values(**values).returning(_USER)
    user = user_of((await unit.execute(changed)).one())
    await end_sessions(unit, user.id)  # what was begun in another role
    unit.audit(AuditEntry(user.principal, Action.UPDATE, "user", "user", user.name))
    return user


def _role_of(person: Person) -> Role:
    if person.role is None:
        raise NotLetIn("The provider does not say of you what you are here for.")
    return person.role


def _account(person: Person, role: Role, fhir_user: str | None) -> NewUser:
    """The account as the provider would have it; its name tells nothing that somebody could choose."""
    digest = hashlib.sha256(f"{person.issuer} {person.subject}".encode()).hexdigest()
    kind, _, patient_id = (fhir_user or "").partition("/")
    return NewUser(
        name=f"provider-{digest[:20]}",
        role=role,
        display=person.display,
        fhir_user=fhir_user,
        patient_id=patient_id if role is Role.PATIENT and kind == "Patient" else None,
        identity=Identity(person.issuer, person.subject),
    )


def _standing(new: NewUser) -> dict[str, Any]:
    """The columns that a role decides."""
    if (new.patient_id is None) is (new.role is Role.PATIENT):
        raise NotLetIn(NO_RECORD)
    return {"role": new.role.value, "fhir_user": new.fhir_user, "patient_id": new.patient_id}
