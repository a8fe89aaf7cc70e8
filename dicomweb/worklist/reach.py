"""Which workitems a caller may know of (DESIGN §8)."""

from sqlalchemy import ColumnElement, and_, or_, select, true, union_all

from dicomweb.reach import not_denied, within_reach
from dicomweb.tables import Study
from dicomweb.worklist.change import WORKITEM
from server.kernel.access import Denials, Reach
from server.kernel.consents.predicate import values_of
from server.kernel.rows import table_of

_STUDY = table_of(Study)
_STORED = _STUDY.alias("stored_study")
_REACHED = WORKITEM.alias("reached_workitem")
TASK = "Task"


def within(reach: Reach) -> ColumnElement[bool]:
    """The compartment predicate: a workitem belongs to the patient of its study.

    The stored study's link decides, so that a merge or a conflict counts at once; the workitem's own patient
    decides only while no such study is stored (a step scheduled from outside). What is nobody's stays so.
    What that patient denies of Task is out of reach, too.
    """
    if reach.denials is None:
        return _of_patients(reach)
    return and_(_of_patients(reach), _not_denied(reach.denials))


def _not_denied(denials: Denials) -> ColumnElement[bool]:
    """The same patients do not deny Task; its labels are those of its study."""
    terms = values_of(denials)
    of_study = _STORED.c.study_instance_uid == WORKITEM.c.study_instance_uid
    stored = select(_STORED.c.id).where(of_study).correlate(WORKITEM)
    return or_(
        stored.where(not_denied(_STORED, TASK, terms)).exists(),
        and_(~stored.exists(), not_denied(WORKITEM, TASK, terms)),
    )


def _of_patients(reach: Reach) -> ColumnElement[bool]:
    if reach.patient_ids is None:
        return true()
    studies = (
        select(_STUDY.c.study_instance_uid).where(within_reach(Reach(reach.patient_ids))).correlate(None)
    )
    by_study = select(_REACHED.c.pk).where(_REACHED.c.study_instance_uid.in_(studies))
    is_stored = (
        select(_STORED.c.id).where(_STORED.c.study_instance_uid == _REACHED.c.study_instance_uid).exists()
    )
    by_itself = select(_REACHED.c.pk).where(_REACHED.c.patient_id.in_(sorted(reach.patient_ids)), ~is_stored)
    return WORKITEM.c.pk.in_(union_all(by_study, by_itself))  # a union: each half has its index
