"""Which workitems a caller may know of (DESIGN §8)."""

from sqlalchemy import ColumnElement, and_, or_, select, true

from dicomweb.tables import Study
from dicomweb.worklist.change import WORKITEM
from server.kernel.access import Reach
from server.kernel.rows import table_of

_STUDY = table_of(Study).alias("reached_study")


def within(reach: Reach) -> ColumnElement[bool]:
    """The compartment predicate: a workitem belongs to the patient of its study.

    The stored study's link decides, so that a merge or a conflict counts at once; the workitem's own patient
    decides only while no such study is stored (a step scheduled from outside). What is nobody's stays so.
    """
    if reach.patient_ids is None:
        return true()
    patients = sorted(reach.patient_ids)
    stored = select(_STUDY.c.study_instance_uid)
    return or_(
        WORKITEM.c.study_instance_uid.in_(stored.where(_STUDY.c.patient_id.in_(patients))),
        and_(
            WORKITEM.c.patient_id.in_(patients),
            ~stored.where(_STUDY.c.study_instance_uid == WORKITEM.c.study_instance_uid).exists(),
        ),
    )
