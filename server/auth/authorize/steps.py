"""From a pending request to its answer: who it is, which patient, what is allowed (SMART 2.2, App Launch)."""

from collections.abc import Collection
from dataclasses import replace
from enum import Enum

from server.auth.authorize.asked import RefusedRequest
from server.auth.authorize.pending import Pending, answer_once
from server.auth.grants.code import new_code
from server.auth.grants.context import LaunchContext
from server.auth.grants.grant import OFFLINE, ONLINE, Allowed, new_grant
from server.auth.launches import may_use
from server.auth.scopes import Scopes, intersect
from server.auth.users.roles import Role, scopes_of
from server.auth.users.sessions import Session, hold_session
from server.kernel.access import Context
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork

CHOOSABLE = frozenset({OFFLINE, ONLINE})  # of the scopes that open no resource


class Step(Enum):
    """The page that comes next."""

    LOGIN = "login"
    PATIENT = "patient"
    ENCOUNTER = "encounter"
    CONSENT = "consent"


def next_step(pending: Pending, session: Session | None, now_us: int) -> Step:
    """The page that a request needs.

    Raises:
        RefusedRequest: it cannot be granted to this user, or not without asking somebody whom the app
            does not want asked.
    """
    asked = pending.asked
    if session is None or must_log_in_again(pending, session, now_us):
        if asked.prompt == "none":
            raise RefusedRequest("login_required", "The user has to log in.")
        return Step.LOGIN
    require_suitable(pending, session)
    if asked.prompt == "none":
        raise RefusedRequest("interaction_required", "The user has to be asked.")
    scopes = offered(asked.scopes, session)
    if needs_patient(pending, scopes) and patient_of(pending, session) is None:
        return Step.PATIENT
    is_picked = pending.encounter_id is not None or not needs_encounter(pending, scopes)
    return Step.CONSENT if is_picked else Step.ENCOUNTER


def must_log_in_again(pending: Pending, session: Session, now_us: int) -> bool:
    """Whether the app wants a fresher login than this one (OpenID Connect Core §3.1.2.1)."""
    asked = pending.asked
    if asked.prompt is not None and "login" in asked.prompt and session.begun_us < pending.begun_us:
        return True
    age_us = now_us - session.authenticated_us
    is_new = session.begun_us >= pending.begun_us
    return asked.max_age_s is not None and not is_new and age_us > asked.max_age_s * SECOND_US


def require_suitable(pending: Pending, session: Session) -> None:
    """Let pass a user whom the launch is for, and who has something to give.

    Raises:
        RefusedRequest: another one.
    """
    user, launch = session.user, pending.launch
    if launch is not None and not may_use(launch.prepared, user):
        raise RefusedRequest("access_denied", "The launch was prepared for another user.")
    if user.role is Role.PATIENT and pending.patient_id not in (None, user.patient_id):
        raise RefusedRequest("access_denied", "The launch is about another patient.")
    if not offered(pending.asked.scopes, session):
        raise RefusedRequest("access_denied", "The user can grant none of these scopes.")


def needs_patient(pending: Pending, scopes: Scopes) -> bool:
    """Whether a patient has to be in context: `patient/` scopes open nothing without one."""
    is_asked = bool(scopes.in_context(Context.PATIENT)) or "launch/patient" in scopes.others
    return is_asked or needs_encounter(pending, scopes)


def needs_encounter(pending: Pending, scopes: Scopes) -> bool:
    """Whether a visit is to be picked (SMART 2.2, launch/encounter): an EHR would bring it."""
    return pending.launch is None and "launch/encounter" in scopes.others


def patient_of(pending: Pending, session: Session) -> str | None:
    """The patient that was picked or brought by the launch; of a patient their own record."""
    return session.user.patient_id if session.user.role is Role.PATIENT else pending.patient_id


def patient_in_context(pending: Pending, session: Session, scopes: Scopes) -> str | None:
    """The patient that a grant of these scopes is about; None: nobody's record.

    A patient's grants are always about their own, whatever the scopes: nothing else confines their tokens.
    """
    is_wanted = needs_patient(pending, scopes) or _is_launched(pending, scopes)
    return patient_of(pending, session) if is_wanted or session.user.role is Role.PATIENT else None


def offered(scopes: Scopes, session: Session) -> Scopes:
    """What of the scopes this user has to give; who sees no record has no patient to be in context."""
    given = scopes_of(session.user.role)
    sees_records = bool(given.in_context(Context.PATIENT))
    others = tuple(each for each in scopes.others if sees_records or not each.startswith("launch"))
    return intersect(scopes, Scopes(given.resources, others))


def _is_launched(pending: Pending, scopes: Scopes) -> bool:
    """Whether an EHR launched the app, and its context was asked for (SMART 2.2, the scope launch)."""
    return pending.launch is not None and "launch" in scopes.others


async def allow(database: Database, pending: Pending, session: Session, chosen: Collection[str]) -> str:
    """Grant what was chosen; returns the code for the app.

    Raises:
        RefusedRequest: nothing was chosen, or the user is no longer logged in.
        NotPending: the request was answered before.
    """
    allowed = decide(pending, session, offered(pending.asked.scopes, session), chosen)

    async def work(unit: UnitOfWork) -> str:
        return (await grant(unit, pending, session, allowed))[1]

    return await database.transact(work)


def decide(pending: Pending, session: Session, scopes: Scopes, chosen: Collection[str]) -> Allowed:
    """What a user allows who chose these of the scopes that were offered.

    Raises:
        RefusedRequest: it is nothing.
    """
    scopes = _chosen(scopes, chosen)
    if not scopes.resources and "openid" not in scopes.others:
        raise RefusedRequest("access_denied", "The user allowed nothing.")
    patient_id = patient_in_context(pending, session, scopes)
    context = LaunchContext()
    if pending.launch is not None and _is_launched(pending, scopes):
        context = pending.launch.prepared.context
    elif needs_encounter(pending, scopes):
        context = LaunchContext(encounter_id=pending.encounter_id or None)
    return Allowed(pending.asked.client_id, session.user, session.id, scopes, patient_id, context)


async def grant(unit: UnitOfWork, pending: Pending, session: Session, allowed: Allowed) -> tuple[int, str]:
    """Answer a request with a grant, in the caller's transaction; returns its id, and the code for the app.

    Raises:
        RefusedRequest: the user is no longer logged in.
        NotPending: the request was answered before.
    """
    if not await hold_session(unit, session):
        raise RefusedRequest("login_required", "The user is no longer logged in.")
    await answer_once(unit, pending)
    grant_id = await unit.connection.run_sync(lambda c: new_grant(c, allowed, unit.now_us))
    bound = pending.asked.bound
    code = await unit.connection.run_sync(lambda c: new_code(c, grant_id, bound, unit.now_us))
    principal = replace(session.user.principal, purpose=allowed.purpose)
    about = (allowed.client_id, allowed.patient_id)
    unit.audit(AuditEntry(principal, Action.EXECUTE, "authorize", "client", *about))
    return grant_id, code


async def refuse(database: Database, pending: Pending) -> None:
    """Take a request out of use that is not granted."""

    async def work(unit: UnitOfWork) -> None:
        await answer_once(unit, pending)

    await database.transact(work)


def _chosen(scopes: Scopes, chosen: Collection[str]) -> Scopes:
    """What was offered and chosen; what only says who and where is no choice."""
    return Scopes(
        tuple(each for each in scopes.resources if each.text in chosen),
        tuple(each for each in scopes.others if each not in CHOOSABLE or each in chosen),
    )
