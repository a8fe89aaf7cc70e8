"""Studies and workitems follow their Patient when it is merged into another, and back (DESIGN §5).

Stored bytes stay as sent; what the studies show of the Patient is set by `dicomweb/overlay/merged.py`. A
deleted study follows too, for the sake of its reports, which stay.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import CompoundSelect, select, union, update

from dicomweb.tables import DeletedStudy, Study
from dicomweb.worklist.tables import Workitem
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of

_STUDY, _DELETED, _WORKITEM = table_of(Study), table_of(DeletedStudy), table_of(Workitem)

# Outbox event of a study whose patient was merged or unmerged; subject: Study Instance UID. It is not
# "study.changed": there is nothing new to analyse.
PATIENT_CHANGED = "study.patient-changed"


async def move_studies(
    unit: UnitOfWork, holder: str, to: str, identified: Iterable[str] | None = None
) -> int:
    """Give studies of the Patient `holder` to the Patient `to`, with their workitems; returns how many.

    `identified`: only those whose identifier is carried by one of these Patients; None: all.
    """
    carriers = None if identified is None else sorted(identified)
    moved = {}
    for table in (_STUDY, _DELETED):  # in this order: a study that is being deleted is waited for
        moving = update(table).where(table.c.patient_id == holder).values(patient_id=to)
        if carriers is not None:
            moving = moving.where(table.c.identified_id.in_(carriers))
        moved[table] = (await unit.execute(moving)).rowcount
    now_theirs = _of_patients([to])
    workitems = update(_WORKITEM).where(_WORKITEM.c.study_instance_uid.in_(now_theirs))
    await unit.execute(workitems.values(patient_id=to))
    return moved[_STUDY]


async def announce_patient_changed(unit: UnitOfWork, patient_ids: Iterable[str]) -> None:
    """Announce every study of these Patients, so that what the record says of it is looked at again."""
    for study_instance_uid in (await unit.execute(_of_patients(sorted(patient_ids)))).scalars():
        unit.emit(PATIENT_CHANGED, study_instance_uid)


def _of_patients(patient_ids: Sequence[str]) -> CompoundSelect[Any]:
    """The UIDs of these Patients' studies, with those that are deleted."""
    studies = [
        select(table.c.study_instance_uid).where(table.c.patient_id.in_(patient_ids))
        for table in (_STUDY, _DELETED)
    ]
    return union(*studies)
