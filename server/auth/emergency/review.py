"""Looking at who broke the glass: each emergency access gets one verdict, by somebody else.

45 CFR 164.308(a)(1)(ii)(D), information system activity review. For auditors, and for administrators: what is
told has the reason, which may say more of a patient than audit does.
"""

from enum import Enum
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Select, func, select, update

from fhir.audit_events.render import TOKENS
from server.auth.administration.lists import PAGE
from server.auth.emergency.access import LASTS_US, one_line
from server.auth.tables import EmergencyAccess, OAuthGrant, UserAccount
from server.auth.tokens import select_role
from server.auth.users.roles import AUDIT, Role
from server.kernel.access import Access, Permission, Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import SECOND_US, instant_text, now_us
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Fault, FaultKind, Forbidden, NotFound
from server.kernel.metrics import Fact, fact
from server.kernel.rows import table_of

_EMERGENCY, _USER, _GRANT = table_of(EmergencyAccess), table_of(UserAccount), table_of(OAuthGrant)

MAX_NOTE = 500  # characters
COUNTED = 1000  # that wait for a review, counted for metrics
SETTLED_US = 300 * SECOND_US  # after its end all that was done under it is in the trail, counted reads too

Json = dict[str, Any]


class Verdict(Enum):
    """What a reviewer says of it."""

    JUSTIFIED = "justified"
    NOT_JUSTIFIED = "not-justified"


class InvalidNote(Fault):
    """A note cannot be like that."""


class Reviewed(Fault):
    """The emergency access has its verdict."""

    kind = FaultKind.CONFLICT


async def require_reviewer(database: Database, access: Access) -> Principal:
    """Who looks, if it is an auditor or an administrator.

    Raises:
        Forbidden: it is neither.
    """
    grant_id = access.origin.grant_id if access.origin is not None else None
    if grant_id is not None:
        async with database.read() as connection:
            role = (await connection.execute(select_role(grant_id, now_us()))).scalar()
        if role == Role.AUDITOR.value:
            for permission in (Permission.READ, Permission.SEARCH):
                access.reach(AUDIT, permission)
            return access.principal
    access.require_administrator()
    return access.principal


async def list_accesses(database: Database, base: str, *, reviewed: bool | None, after: int) -> Json:
    """One page; `reviewed` None: with and without verdict. `after` in the answer leads to the next page."""
    async with database.read() as connection:
        rows = (await connection.execute(_select(reviewed, after))).all()
    return {
        "emergency-accesses": [_told(row, base) for row in rows],
        "after": rows[-1].id if len(rows) == PAGE else None,
    }


async def review(database: Database, number: int, by: Principal, verdict: Verdict, note: str | None) -> None:
    """Give a verdict.

    Raises:
        NotFound: there is no such emergency access.
        Forbidden: it is the reviewer's own, by this account or another one of theirs.
        Reviewed: it has one.
        InvalidNote: the note is too long.
    """
    kept = one_line(note or "") or None
    if kept is not None and len(kept) > MAX_NOTE:
        raise InvalidNote(f"A note has at most {MAX_NOTE} characters.")
    values = {"reviewer": by.id, "verdict": verdict.value, "note": kept}

    async def work(unit: UnitOfWork) -> None:
        found = (await unit.execute(_select(None, 0).where(_EMERGENCY.c.id == number))).first()
        if found is None:
            raise NotFound("There is no such emergency access.")
        if f"user:{found.user}" == by.id or await _is_theirs(unit, found, by):
            raise Forbidden("Who broke the glass does not review it.")
        waits = (_EMERGENCY.c.id == number) & _EMERGENCY.c.reviewed_us.is_(None)
        given = update(_EMERGENCY).where(waits).values(**values, reviewed_us=unit.now_us)
        if not (await unit.execute(given)).rowcount:
            raise Reviewed("The emergency access has been reviewed.")
        about = ("emergency-access", str(number), found.patient_id)
        unit.audit(AuditEntry(by, Action.UPDATE, "review-emergency", *about))

    await database.transact(work)


async def _is_theirs(unit: UnitOfWork, found: Any, by: Principal) -> bool:
    """Whether the reviewer's account is of the same person, as far as accounts say who that is."""
    mine = select(_USER.c.fhir_user).where(_USER.c.name == by.id.removeprefix("user:"))
    return found.fhir_user is not None and (await unit.execute(mine)).scalar() == found.fhir_user


async def emergency_facts(database: Database) -> list[Fact]:
    """How many emergency accesses wait for a review, and how long the oldest has."""
    waits = _EMERGENCY.c.reviewed_us.is_(None)
    few = select(_EMERGENCY.c.begun_us).where(waits).order_by(_EMERGENCY.c.begun_us).limit(COUNTED).subquery()
    async with database.read() as connection:
        count, oldest_us = (
            await connection.execute(select(func.count(), func.min(few.c.begun_us)).select_from(few))
        ).one()
    age_s = 0.0 if oldest_us is None else max(0, now_us() - oldest_us) / SECOND_US
    text = "Emergency accesses that nobody has reviewed."
    return [
        fact("isthmus_emergency_accesses_unreviewed", text, float(count)),
        fact("isthmus_emergency_access_oldest_unreviewed_seconds", "Age of the oldest of them.", age_s),
    ]


def _select(reviewed: bool | None, after: int) -> Select[Any]:
    c = _EMERGENCY.c
    query = (
        select(_EMERGENCY, _USER.c.name.label("user"), _USER.c.fhir_user, _GRANT.c.ended_us)
        .join(_USER, _USER.c.id == c.user_id)
        .outerjoin(_GRANT, _GRANT.c.id == c.grant_id)  # which bookkeeping once took
    )
    if reviewed is not None:
        query = query.where(c.reviewed_us.is_not(None) if reviewed else c.reviewed_us.is_(None))
    return query.where(c.id > after).order_by(c.id).limit(PAGE)


def _told(row: Any, base: str) -> Json:
    ends_us = min(row.begun_us + LASTS_US, row.ended_us or row.begun_us + LASTS_US)
    return {
        "id": row.id,
        "user": row.user,
        "patient_id": row.patient_id,
        "client_id": row.client_id,
        "grant_id": row.grant_id,
        "reason": row.reason,
        "begun": instant_text(row.begun_us),
        "ends": instant_text(ends_us),
        "audit_events": None if row.token is None else _trail_url(row, base),
        "reviewed": None if row.reviewed_us is None else instant_text(row.reviewed_us),
        "reviewer": row.reviewer,
        "verdict": row.verdict,
        "note": row.note,
    }


def _trail_url(row: Any, base: str) -> str:
    """What was done under it, as a search of AuditEvents."""
    settled_us = row.begun_us + LASTS_US + SETTLED_US
    asked = [
        ("policy", f"{TOKENS}{row.token}"),
        ("date", f"ge{instant_text(row.begun_us)}"),
        ("date", f"lt{instant_text(settled_us)}"),
    ]
    return f"{base}/fhir/{AUDIT}?{urlencode(asked)}"
