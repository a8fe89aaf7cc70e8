"""What a write may be about: what is stored and what is to be stored, both within the caller's reach.

The criteria of granular scopes (SMART App Launch 2.2, Finer-grained resource constraints) are asked of the
index by the SQL of searches: of the stored version before it changes, of the new one when its rows are
written. A new version that does not match fails the transaction.
"""

from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Row as ResultRow

from fhir.interactions.write import Draft
from fhir.search.compartment import patients_mentioned, patients_of
from fhir.search.narrowed import within_narrowed
from fhir.search.reach import R
from fhir.search.value import Surroundings
from fhir.subscriptions.request import SUBSCRIPTION
from server.kernel.access import EVERYONE, Access, Permission, Reach
from server.kernel.database import UnitOfWork
from server.kernel.faults import Forbidden, NotFound


def write_reach(access: Access, resource_type: str, permission: Permission) -> Reach:
    """How far a write may go, with what grants open by criteria; of Subscriptions without.

    Raises:
        Forbidden: no grant opens it.
    """
    if resource_type == SUBSCRIPTION:  # what it may tell depends on who may write it, not on what it says
        return access.reach(resource_type, permission)
    return access.narrow_reach(resource_type, permission)


async def require_reached(
    unit: UnitOfWork, reach: Reach, current: ResultRow[Any], around: Surroundings
) -> None:
    """Let pass when the stored resource is within the reach of a write.

    Raises:
        NotFound: it is not within reach; that it is there is not told.
        Forbidden: the caller is confined and may read it, since it is nobody's (`SHARED_TYPES`).
    """
    if reach.is_everyone:
        return
    if not await _is_within(unit, reach, current, around):
        raise NotFound("No such resource.")
    if not current.patients:
        beyond = [part for part in reach.parts if part.patient_ids is None]
        if not beyond or not await _is_within(unit, reach.only(beyond), current, around):
            raise Forbidden("The resource is part of no patient's record: the token may only read it.")


def require_within(reach: Reach, draft: Draft, around: Surroundings) -> Reach:
    """Let pass what a confined caller may write: a resource that is, and speaks, of its own patients only.

    Returns the part of the reach that it falls into, whose criteria `require_match` asks for.

    Raises:
        Forbidden: it is in nobody's compartment, or names another patient, or one that cannot be told.
    """
    if not reach.narrowed and (not reach.is_confined or draft.patients is not None):
        return reach
    patients, named = draft.patients, draft.patients
    if patients is None or named is None:
        patients = patients_of(draft.resource, draft.id, around)
        named = patients | patients_mentioned(draft.resource, around)
    parts = [
        part for part in reach.parts if part.patient_ids is None or (patients and named <= part.patient_ids)
    ]
    if not parts:
        raise Forbidden("The token's patient does not cover the whole resource.")
    return reach.only(parts)


async def require_match(unit: UnitOfWork, reach: Reach, draft: Draft, around: Surroundings) -> None:
    """Let stand what was written when it matches the criteria of the scopes that open it, denied or not.

    Raises:
        Forbidden: it does not; the transaction is not to be committed.
    """
    if reach.narrowed and not await _is_open(unit, replace(reach, denials=None), draft, around):
        raise Forbidden("The resource does not match the criteria of the token's scopes.")


async def may_read(
    unit: UnitOfWork, access: Access, within: Reach, draft: Draft, around: Surroundings
) -> bool:
    """Whether the caller may read what it has written within this reach."""
    try:
        reach = access.narrow_reach(draft.type, Permission.READ)
    except Forbidden:
        return False
    is_same = reach == within and reach.denials is None  # what it says now may be denied
    return is_same or reach == EVERYONE or await _is_open(unit, reach, draft, around)


async def _is_open(unit: UnitOfWork, reach: Reach, draft: Draft, around: Surroundings) -> bool:
    kept = within_narrowed(reach, draft.type, around)
    found = select(R.c.rid).where(R.c.type == draft.type, R.c.id == draft.id)
    return (await unit.execute(found if kept is None else found.where(kept))).first() is not None


async def _is_within(unit: UnitOfWork, reach: Reach, current: ResultRow[Any], around: Surroundings) -> bool:
    kept = within_narrowed(reach, current.type, around)
    found = select(R.c.rid).where(R.c.rid == current.rid)
    return kept is None or (await unit.execute(found.where(kept))).first() is not None
