"""The access predicate of every statement that touches studies (DESIGN §8)."""

from dataclasses import dataclass, field, fields

from sqlalchemy import ColumnElement, and_, bindparam, false, or_, true

from dicomweb.tables import Study
from server.kernel.access import Access, Narrowed, Permission, Reach
from server.kernel.rows import table_of
from server.kernel.services import Services

_STUDY = table_of(Study)

IMAGING_STUDY = "ImagingStudy"

# The same for a confined caller, in a statement built once and executed with `patients_of`.
WITHIN_PATIENTS: ColumnElement[bool] = _STUDY.c.patient_id.in_(bindparam("patients", expanding=True))


@dataclass(frozen=True, slots=True)
class StudyReach(Reach):
    """A reach that criteria narrow, with what they are of a study's row."""

    criteria: tuple[ColumnElement[bool], ...] = field(default=(), compare=False)  # of each of `parts`


def study_reach(services: Services, access: Access, permission: Permission) -> Reach:
    """How far `permission` on studies goes (SMART Imaging Access): ImagingStudy's scopes open them.

    Raises:
        Forbidden: no grant opens it.
    """
    reach = access.narrow_reach(IMAGING_STUDY, permission)
    if not reach.narrowed:
        return reach
    if services.open_by_record is None:  # who holds to criteria is not there
        return access.reach(IMAGING_STUDY, permission)
    named = {each.name: getattr(reach, each.name) for each in fields(Reach)}
    narrowed = services.open_by_record(services, reach.narrowed, _STUDY.c.study_instance_uid)
    whole = [true()] * (len(reach.parts) - len(reach.narrowed))
    return StudyReach(**named, criteria=(*whole, *narrowed))


def patients_of(reach: Reach) -> dict[str, list[str]]:
    """The parameter of `WITHIN_PATIENTS`; of who is not confined, or by criteria, none."""
    return {} if reach.patient_ids is None or reach.narrowed else {"patients": sorted(reach.patient_ids)}


def within_reach(reach: Reach) -> ColumnElement[bool]:
    """The studies that the caller may know of; unassigned and conflicting ones are nobody's (DESIGN §5)."""
    if not reach.narrowed:
        return _of_patients(reach.patient_ids)
    assert isinstance(reach, StudyReach)  # only `study_reach` asks for criteria
    return or_(false(), *map(_of_part, reach.parts, reach.criteria))


def _of_part(part: Narrowed, criteria: ColumnElement[bool]) -> ColumnElement[bool]:
    return and_(_of_patients(part.patient_ids), criteria)


def _of_patients(patient_ids: frozenset[str] | None) -> ColumnElement[bool]:
    return true() if patient_ids is None else _STUDY.c.patient_id.in_(sorted(patient_ids))
