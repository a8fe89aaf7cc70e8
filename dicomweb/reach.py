"""The access predicate of every statement that touches studies (DESIGN §8).

What the patient denies of ImagingStudy is out of reach; the labels of a study are those of its ImagingStudy.
"""

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, bindparam, false, literal_column, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import NULLTYPE

from dicomweb.tables import Study
from server.kernel.access import Access, Narrowed, Permission, Reach
from server.kernel.consents.predicate import (
    NUMBER_OF_TERMS,
    NotDenied,
    Thing,
    columns_of,
    not_denied_text,
    values_of,
)
from server.kernel.faults import NotFound
from server.kernel.rows import table_of
from server.kernel.services import Services

_STUDY = table_of(Study)
IMAGING_STUDY = "ImagingStudy"
_ALL = true()


class StudyNotDenied(NotDenied):
    """Of a patient, a study and a resource type."""

    inherit_cache = True


@compiles(StudyNotDenied)
def _study(element: StudyNotDenied, compiler: SQLCompiler, **kw: Any) -> str:
    patient_id, study_instance_uid, resource_type = columns_of(element, compiler, **kw)
    denials = f"consent_denial AS d WHERE d.patient_id = {patient_id}"
    labels = f"study_label AS t WHERE t.study_instance_uid = {study_instance_uid}"
    return not_denied_text(element, Thing(denials, resource_type, labels), compiler, **kw)


def not_denied(table: FromClause, resource_type: str, terms: tuple[Any, ...]) -> ColumnElement[bool]:
    """The patient of the row does not deny something of this type that is about the row's study."""
    c = table.c
    return StudyNotDenied(terms, c.patient_id, c.study_instance_uid, literal_column(f"'{resource_type}'"))


_TERMS = [f"denials_{at}" for at in range(NUMBER_OF_TERMS)]
# What the patient does not deny, in a statement built once and executed with `denials_of`.
UNLESS_DENIED = not_denied(_STUDY, IMAGING_STUDY, tuple(bindparam(name, type_=NULLTYPE) for name in _TERMS))


def denials_of(reach: Reach) -> dict[str, Any]:
    """The parameters of `UNLESS_DENIED`; of a caller to whom nothing is denied none."""
    return {} if reach.denials is None else dict(zip(_TERMS, values_of(reach.denials), strict=True))


# The same for a confined caller, in a statement built once and executed with `patients_of`.
WITHIN_PATIENTS: ColumnElement[bool] = _STUDY.c.patient_id.in_(bindparam("patients", expanding=True))


@dataclass(frozen=True, slots=True)
class StudyReach(Reach):
    """A reach that criteria narrow, with what they are of a study's row."""

    criteria: tuple[ColumnElement[bool], ...] = ()  # of each of `parts`; the very same, or others


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
    whole = [_ALL] * (len(reach.parts) - len(reach.narrowed))
    return StudyReach(**named, criteria=(*whole, *narrowed))


def patients_of(reach: Reach) -> dict[str, list[str]]:
    """The parameter of `WITHIN_PATIENTS`; of who is not confined, or by criteria, none."""
    return {} if reach.patient_ids is None or reach.narrowed else {"patients": sorted(reach.patient_ids)}


def within_reach(reach: Reach) -> ColumnElement[bool]:
    """The studies that the caller may know of; unassigned and conflicting ones are nobody's (DESIGN §5)."""
    kept = opened_by(reach)
    if reach.denials is None:
        return kept
    return and_(kept, not_denied(_STUDY, IMAGING_STUDY, values_of(reach.denials)))


def opened_by(reach: Reach) -> ColumnElement[bool]:
    """What scopes open, whatever is denied."""
    if not reach.narrowed:
        return _of_patients(reach.patient_ids)
    assert isinstance(reach, StudyReach)  # only `study_reach` asks for criteria
    return or_(false(), *map(_of_part, reach.parts, reach.criteria))


def _of_part(part: Narrowed, criteria: ColumnElement[bool]) -> ColumnElement[bool]:
    return and_(_of_patients(part.patient_ids), criteria)


def _of_patients(patient_ids: frozenset[str] | None) -> ColumnElement[bool]:
    return true() if patient_ids is None else _STUDY.c.patient_id.in_(sorted(patient_ids))


async def require_study(connection: AsyncConnection, study_instance_uid: str, reach: Reach) -> None:
    """Let pass who may know of a study, or that there is none.

    Raises:
        NotFound: it is there, and not within reach.
    """
    of_uid = select(_STUDY.c.id).where(_STUDY.c.study_instance_uid == study_instance_uid)
    if reach.is_everyone or (await connection.execute(of_uid)).first() is None:
        return
    if (await connection.execute(of_uid.where(within_reach(reach)))).first() is None:
        raise NotFound("There is no such study.")
