"""Legal holds: what must stay, whatever policy or person would delete it (DESIGN §5, Deletion).

A hold on a patient covers the studies that are the patient's when somebody wants to delete them: also those
that came later, those that a merge brought, and those whose Patient ID is the patient's but whose
demographics contradict. While a patient is merged into another, the other is held too: until they are parted,
they are one person.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, RowMapping, Select, exists, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from dicomweb.tables import LegalHold, Study
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault, FaultKind, NotFound
from server.kernel.rows import table_of
from server.kernel.tables import PatientIdentity, PatientMerge

_HOLD, _STUDY = table_of(LegalHold), table_of(Study)
_IDENTITY, _MERGE = table_of(PatientIdentity), table_of(PatientMerge)

LOCK = "legal-hold"  # of who places a hold, and of who deletes: nobody slips between the look and the act


class LegalHoldInForce(Fault):
    """What is to be deleted must be kept."""

    kind = FaultKind.CONFLICT


@dataclass(frozen=True, slots=True)
class HoldOrder:
    """What is to be held, and why; one of study and patient is named."""

    reason: str
    study_instance_uid: str | None = None
    patient_id: str | None = None


async def place_hold(unit: UnitOfWork, order: HoldOrder, principal: Principal) -> int:
    """Place a hold; returns its number. A patient that nobody knows is the caller's to refuse.

    Raises:
        NotFound: there is no such study; it may just have been deleted.
    """
    if order.study_instance_uid is not None:
        await unit.lock([f"study:{order.study_instance_uid}"])
        known = select(_STUDY.c.id).where(_STUDY.c.study_instance_uid == order.study_instance_uid)
        if (await unit.execute(known)).first() is None:
            raise NotFound("There is no such study.")
    await unit.lock([LOCK])
    row = {
        "study_instance_uid": order.study_instance_uid,
        "patient_id": order.patient_id,
        "reason": order.reason,
        "placed_by": principal.id,
        "placed_us": unit.now_us,
    }
    number: int = (await unit.execute(insert(_HOLD).values(row).returning(_HOLD.c.id))).scalar_one()
    unit.audit(_entry(principal, Action.CREATE, "place-hold", order.study_instance_uid, order.patient_id))
    return number


async def release_hold(unit: UnitOfWork, number: int, reason: str, principal: Principal) -> None:
    """End a hold; that it was, and why it ended, stays written.

    Raises:
        NotFound: there is no such hold, or it has ended.
    """
    said = {"released_us": unit.now_us, "released_by": principal.id, "release_reason": reason}
    standing = update(_HOLD).where(_HOLD.c.id == number, _in_force()).values(said)
    row = (await unit.execute(standing.returning(_HOLD.c.study_instance_uid, _HOLD.c.patient_id))).first()
    if row is None:
        raise NotFound("No hold of that number is in force.")
    unit.audit(_entry(principal, Action.UPDATE, "release-hold", row.study_instance_uid, row.patient_id))


async def list_holds(
    connection: AsyncConnection, after: int, limit: int, *, ended: bool = False
) -> Sequence[RowMapping]:
    """Holds by number; those that have ended only when asked for."""
    query = select(_HOLD).where(_HOLD.c.id > after).order_by(_HOLD.c.id).limit(limit)
    query = query if ended else query.where(_in_force())
    return (await connection.execute(query)).mappings().all()


async def require_no_hold(unit: UnitOfWork, study_instance_uid: str) -> None:
    """Let a deletion go on; no hold can be placed from here to the end of the transaction.

    Raises:
        LegalHoldInForce: a hold covers the study.
    """
    await unit.lock([LOCK])
    query = select(_STUDY.c.id).where(_STUDY.c.study_instance_uid == study_instance_uid, is_held())
    if (await unit.execute(query)).first() is not None:
        raise LegalHoldInForce("A legal hold is in force: nothing of this study may be deleted.")


def is_held() -> ColumnElement[bool]:
    """Whether a row of the study table is under a hold."""
    s = _STUDY.c
    held = _held_patients()
    itself = exists().where(_HOLD.c.study_instance_uid == s.study_instance_uid, _in_force())
    carrier = exists().where(
        _IDENTITY.c.system == s.patient_system,
        _IDENTITY.c.value == s.patient_value,
        _IDENTITY.c.patient_id.in_(held),
    )
    return or_(itself, s.patient_id.in_(held), carrier)


def _held_patients() -> Select[tuple[str]]:
    """The Patients under a hold, and those that they are merged into, over any number of merges."""
    named = select(_HOLD.c.patient_id).where(_HOLD.c.patient_id.is_not(None), _in_force())
    held = named.cte("held", recursive=True)
    held = held.union(select(_MERGE.c.target).join(held, _MERGE.c.source == held.c.patient_id))
    return select(held.c.patient_id)


def _in_force() -> ColumnElement[bool]:
    return _HOLD.c.released_us.is_(None)


def _entry(
    principal: Principal, action: Action, interaction: str, study: str | None, patient_id: str | None
) -> AuditEntry:
    kind = "Patient" if study is None else "ImagingStudy"
    return AuditEntry(principal, action, interaction, kind, study or patient_id, patient_id)
