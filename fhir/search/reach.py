"""How far a caller may look, as predicates of a resource row (see `fhir/search/compartment.py`).

A resource of several patients is within reach when all of them are, and none of them denies it.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, false, func, or_, select, true

from fhir.search.compartment import SHARED_TYPES, SOMEBODY
from fhir.search.denied import not_denied, terms_of
from fhir.tables import FhirCompartment, FhirResource
from server.kernel.access import Reach
from server.kernel.rows import table_of

R = table_of(FhirResource)
COMPARTMENT = table_of(FhirCompartment)

# Of a row of R: the patient that audit names, one of several; null for none.
AUDITED_PATIENT = (
    select(func.min(COMPARTMENT.c.patient_id))
    .where(COMPARTMENT.c.rid == R.c.rid, COMPARTMENT.c.patient_id != SOMEBODY)
    .scalar_subquery()
)


def within_reach(reach: Reach, resource_type: str) -> ColumnElement[bool] | None:
    """The predicate that keeps rows of R of this type within reach; None: nothing is kept out.

    A reach that criteria narrow has another: `fhir/search/narrowed.py`.
    """
    if reach.narrowed:
        raise ValueError("the reach is narrowed by criteria")
    if reach.is_everyone:
        return None
    kept = [] if reach.denials is None else [not_denied(R, terms_of(reach.denials))]
    if reach.patient_ids is not None:
        ours = sorted(reach.patient_ids)
        kept.append(of_no_other(R, ours))
        if resource_type not in SHARED_TYPES:
            kept.append(R.c.rid.in_(rids_of(ours)))
    return and_(*kept)


def rids_of(patients: Sequence[Any]) -> Any:
    """The rids of what is part of the record of one of these patients."""
    c = COMPARTMENT.alias().c
    return select(c.rid).where(or_(false(), *(c.patient_id == one for one in patients)))


def of_one_of(r: FromClause, patients: Sequence[Any]) -> ColumnElement[bool]:
    """The resource is part of the record of one of these patients."""
    c = COMPARTMENT.alias().c
    one = or_(false(), *(c.patient_id == patient for patient in patients))
    return select(c.rid).where(c.rid == r.c.rid, one).correlate(r).exists()


def of_no_other(r: FromClause, patients: Sequence[Any]) -> ColumnElement[bool]:
    """The resource is part of nobody else's record."""
    c = COMPARTMENT.alias().c
    other = and_(true(), *(c.patient_id != patient for patient in patients))
    return ~select(c.rid).where(c.rid == r.c.rid, other).correlate(r).exists()
