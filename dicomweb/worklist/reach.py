"""Which workitems a caller may know of (DESIGN §8)."""

from sqlalchemy import ColumnElement, select, true, union_all

from dicomweb.reach import within_reach
from dicomweb.tables import Study
from dicomweb.worklist.change import WORKITEM
from server.kernel.access import Reach
from server.kernel.rows import table_of

_STUDY = table_of(Study)
_STORED = _STUDY.alias("stored_study")
_REACHED = WORKITEM.alias("reached_workitem")


def within(reach: Reach) -> ColumnElement[bool]:
    """The compartment predicate: a workitem belongs to the patient of its study.

    The stored study's link decides, so that a merge or a conflict counts at once; the workitem's own patient
    decides only while no such study is stored (a step scheduled from outside). What is nobody's stays so.
    """
    if reach.patient_ids is None:
        return true()
    studies = select(_STUDY.c.study_instance_uid).where(within_reach(reach)).correlate(None)
    by_study = select(_REACHED.c.pk).where(_REACHED.c.study_instance_uid.in_(studies))
    is_stored = (
        select(_STORED.c.id).where(_STORED.c.study_instance_uid == _REACHED.c.study_instance_uid).exists()
    )
    by_itself = select(_REACHED.c.pk).where(_REACHED.c.patient_id.in_(sorted(reach.patient_ids)), ~is_stored)
    return WORKITEM.c.pk.in_(union_all(by_study, by_itself))  # a union: each half has its index
