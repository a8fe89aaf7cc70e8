"""The step that breaks the glass, instead of the consent (45 CFR 164.312(a)(2)(ii), emergency access).

For clinicians, with a patient in context, for a reason that is written down, and after they have said that it
is an emergency. Nothing of it outlasts the hour: no scope that would is granted.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import structlog

from server.auth.authorize.asked import RefusedRequest
from server.auth.authorize.pending import Pending
from server.auth.authorize.steps import (
    CHOOSABLE,
    Step,
    decide,
    grant,
    offered,
    patient_in_context,
    patient_of,
)
from server.auth.denials import EMERGENCY
from server.auth.emergency.access import (
    BROKEN,
    LASTS_US,
    MAX_REASON,
    MIN_REASON,
    note_access,
    one_line,
)
from server.auth.scopes import Scopes
from server.auth.users.roles import Role
from server.auth.users.sessions import Session
from server.kernel.access import Context
from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork

STEP = "emergency"  # the value of the form's field `step`
MINUTES = LASTS_US // SECOND_US // 60

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Said:
    """What the page of an emergency sent."""

    chosen: Collection[str]
    reason: str
    is_confirmed: bool


def is_said(said: str, step: Step) -> bool:
    """Whether a form asks for it, where it may be asked for."""
    return said == STEP and step is Step.CONSENT


def read_said(chosen: Collection[str], reason: str, confirmed: str) -> Said:
    """What the fields of the form say."""
    return Said(chosen, one_line(reason), confirmed == "yes")


def problem_of(said: Said) -> str | None:
    """What is still missing; None: nothing."""
    if not MIN_REASON <= len(said.reason) <= MAX_REASON:
        return f"Write why you need the record, in {MIN_REASON} to {MAX_REASON} characters."
    if not said.is_confirmed:
        return "Say that this is an emergency."
    return None if said.chosen else "Leave at least one thing that the app may do."


def scopes_of(pending: Pending, session: Session) -> Scopes:
    """What an app may be allowed in an emergency: of the one patient, since each act is audited as of it."""
    scopes = offered(pending.asked.scopes, session)
    return Scopes(
        scopes.in_context(Context.PATIENT).resources,
        tuple(each for each in scopes.others if each not in CHOOSABLE),
    )


def is_offered(pending: Pending, session: Session) -> bool:
    """Whether this user may break the glass here."""
    scopes = scopes_of(pending, session)
    patient_id = patient_in_context(pending, session, scopes)
    return session.user.role is Role.CLINICIAN and bool(scopes.resources) and patient_id is not None


async def break_glass(database: Database, pending: Pending, session: Session, said: Said) -> str:
    """Grant what was chosen for the emergency; returns the code for the app.

    Raises:
        RefusedRequest: it is not for this user, nothing was chosen, or the user is no longer logged in.
        NotPending: the request was answered before.
    """
    patient_id = patient_of(pending, session)
    if not is_offered(pending, session) or patient_id is None:
        raise RefusedRequest("access_denied", "The user may not do this.")
    decided = decide(pending, session, scopes_of(pending, session), said.chosen)
    if not decided.scopes.resources:
        raise RefusedRequest("access_denied", "The user allowed nothing.")
    allowed = replace(decided, patient_id=patient_id, purpose=EMERGENCY, lasts_us=LASTS_US)

    async def work(unit: UnitOfWork) -> tuple[str, int]:
        grant_id, code = await grant(unit, pending, session, allowed)
        about = (grant_id, patient_id)
        number = await note_access(unit, session.user, allowed.client_id, about, said.reason)
        return code, number

    code, number = await database.transact(work)
    BROKEN.inc()
    log.warning("emergency access", emergency_access=number)
    return code
