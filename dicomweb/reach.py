"""The access predicate of every statement that touches studies (DESIGN §8)."""

from sqlalchemy import ColumnElement, bindparam, true

from dicomweb.tables import Study
from server.kernel.access import Reach
from server.kernel.rows import table_of

_STUDY = table_of(Study)


# The same for a confined caller, in a statement built once and executed with `patients_of`.
WITHIN_PATIENTS: ColumnElement[bool] = _STUDY.c.patient_id.in_(bindparam("patients", expanding=True))


def patients_of(reach: Reach) -> dict[str, list[str]]:
    """The parameter of `WITHIN_PATIENTS`; of who is not confined none."""
    return {} if reach.patient_ids is None else {"patients": sorted(reach.patient_ids)}


def within_reach(reach: Reach) -> ColumnElement[bool]:
    """The studies that the caller may know of; unassigned and conflicting ones are nobody's (DESIGN §5)."""
    if reach.patient_ids is None:
        return true()
    return _STUDY.c.patient_id.in_(sorted(reach.patient_ids))
