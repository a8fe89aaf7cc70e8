"""Studies and workitems follow their Patient when it is merged into another, and back (DESIGN §5).

Stored bytes and attributes stay as sent: only whose they are changes.
"""

from collections.abc import Iterable

from sqlalchemy import select, update

from dicomweb.tables import Study
from dicomweb.worklist.tables import Workitem
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of

_STUDY, _WORKITEM = table_of(Study), table_of(Workitem)

# Outbox event of a study whose patient was merged or unmerged; subject: Study Instance UID. It is not
# "study.changed": there is nothing new to analyse.
PATIENT_CHANGED = "study.patient-changed"


async def move_studies(
    unit: UnitOfWork, holder: str, to: str, identified: Iterable[str] | None = None
) -> int:
    """Give studies of the Patient `holder` to the Patient `to`, with their workitems; returns how many.

    `identified`: only those whose identifier is carried by one of these Patients; None: all.
    """
    c = _STUDY.c
    moving = update(_STUDY).where(c.patient_id == holder).values(patient_id=to)
    if identified is not None:
        moving = moving.where(c.identified_id.in_(sorted(identified)))
    moved = await unit.execute(moving)
    now_theirs = select(c.study_instance_uid).where(c.patient_id == to)
    workitems = update(_WORKITEM).where(_WORKITEM.c.study_instance_uid.in_(now_theirs))
    await unit.execute(workitems.values(patient_id=to))
    return moved.rowcount


async def announce_patient_changed(unit: UnitOfWork, patient_ids: Iterable[str]) -> None:
    """Announce every study of these Patients, so that what the record says of it is looked at again."""
    c = _STUDY.c
    query = select(c.study_instance_uid).where(c.patient_id.in_(sorted(patient_ids))).order_by(c.id)
    for study_instance_uid in (await unit.execute(query)).scalars():
        unit.emit(PATIENT_CHANGED, study_instance_uid)
