"""Which Patient is merged into which (DESIGN §5; FHIR R4 patient.html#link).

Nothing that a Patient holds is moved here: identifiers stay with the Patient that carries them and are
followed to the *survivor*, the one that is merged into no other. So unmerging gives back what was the
source's, also what came for it meanwhile, and nothing that was the target's.
"""

from typing import Any

from sqlalchemy import Select, bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from server.kernel.consents.keep import spread_denials
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault, FaultKind
from server.kernel.rows import table_of
from server.kernel.tables import PatientMerge

_MERGE = table_of(PatientMerge)

MAX_MERGED = 500  # Patients merged into one; keeps what a token opens a short list in every statement

LOCK = (
    "patient-merge"  # one merge at a time: they are rare, and a cycle may close over any number of Patients
)


class MergeRefused(Fault):
    """The Patients stand to each other so that the merge, or its end, makes no sense."""

    kind = FaultKind.CONFLICT


async def survivor_of(connection: AsyncConnection, patient_id: str) -> str:
    """The Patient that this one is merged into, over any number of merges; itself when it is not merged."""
    while (target := await _target_of(connection, patient_id)) is not None:
        patient_id = target
    return patient_id


async def merged_into(connection: AsyncConnection, patient_id: str) -> frozenset[str]:
    """The Patients that are merged into this one, directly or over others."""
    return frozenset((await connection.execute(select_merged(patient_id))).scalars())


async def family_of(connection: AsyncConnection, patient_id: str) -> frozenset[str]:
    """All Patients that are one person with this one, by merges; itself among them."""
    survivor = await survivor_of(connection, patient_id)
    return await merged_into(connection, survivor) | {survivor}


async def patients_opened_by(connection: AsyncConnection, patient_id: str) -> frozenset[str]:
    """Whose compartments a token of this Patient opens: its own, and those of all merged into it.

    The token of a Patient that is itself merged away opens what still names that Patient, and nothing of any
    other: who it was issued for is in question.
    """
    if await _target_of(connection, patient_id) is not None:
        return frozenset({patient_id})
    return await merged_into(connection, patient_id) | {patient_id}


def select_merged(patient_id: str) -> Select[Any]:
    """The ids that `merged_into` gives, as SQL."""
    direct = select(_MERGE.c.source).where(_MERGE.c.target == patient_id).cte("merged", recursive=True)
    merged = direct.union(select(_MERGE.c.source).join(direct, _MERGE.c.target == direct.c.source))
    return select(merged.c.source)


async def record_merge(unit: UnitOfWork, source: str, target: str, *, source_active: bool | None) -> None:
    """Record that `source` is merged into `target`. The caller holds `LOCK`.

    Raises:
        MergeRefused: they are one, one of them is merged already, or too many are.
    """
    if source == target:
        raise MergeRefused("A Patient cannot be merged into itself.")
    if await _target_of(unit.connection, source) is not None:
        raise MergeRefused("The source is merged already; unmerge it first.")
    if await _target_of(unit.connection, target) is not None:
        raise MergeRefused("The target is itself merged into another Patient; name that one.")
    merged = await merged_into(unit.connection, source) | await merged_into(unit.connection, target)
    if len(merged) >= MAX_MERGED:
        raise MergeRefused(f"More than {MAX_MERGED} Patients would be merged into the target.")
    row = {"source": source, "target": target, "source_active": source_active, "merged_us": unit.now_us}
    await unit.execute(insert(_MERGE), [row])
    await spread_denials(unit, merged | {source, target})


async def end_merge(unit: UnitOfWork, source: str, target: str) -> bool | None:
    """Take a merge back; returns Patient.active of the source as it was before. The caller holds `LOCK`.

    Raises:
        MergeRefused: `source` is not merged into `target`.
    """
    this = (_MERGE.c.source == source) & (_MERGE.c.target == target)
    ended = (await unit.execute(delete(_MERGE).where(this).returning(_MERGE.c.source_active))).one_or_none()
    if ended is None:
        raise MergeRefused("The source is not merged into this target.")
    for one in (source, target):
        await spread_denials(unit, await family_of(unit.connection, one))
    active: bool | None = ended.source_active
    return active


async def _target_of(connection: AsyncConnection, patient_id: str) -> str | None:
    return (await connection.execute(_TARGET_OF, {"patient": patient_id})).scalar_one_or_none()


_TARGET_OF = select(_MERGE.c.target).where(_MERGE.c.source == bindparam("patient"))
