"""How far a caller may search each resource type, and the predicate of it, for what spans several types."""

from collections.abc import Mapping

from sqlalchemy import ColumnElement, and_, false, or_

from fhir.search.definitions import stored_types
from fhir.search.lowering import alike
from fhir.search.narrowed import within_narrowed
from fhir.search.reach import R, within_reach
from fhir.search.value import Surroundings
from server.kernel.access import Access, Permission, Reach
from server.kernel.faults import Forbidden

Reaches = Mapping[str, Reach]  # by resource type; types that are not named stay out


def reaches_of(access: Access, resource_type: str | None = None, *, narrowed: bool = False) -> Reaches:
    """The reach of each type that the caller may search, or of the one type.

    `narrowed`: with what grants open by criteria, for who puts them into the SQL.

    Raises:
        Forbidden: there is none.
    """
    reach_of = access.narrow_reach if narrowed else access.reach
    if resource_type is not None:
        return {resource_type: reach_of(resource_type, Permission.SEARCH)}
    reaches = {}
    for name in stored_types():
        try:
            reaches[name] = reach_of(name, Permission.SEARCH)
        except Forbidden:
            continue
    if not reaches:
        raise Forbidden("The token grants no 's' on any resource type.")
    return reaches


def patients_of_all(reaches: Reaches) -> frozenset[str] | None:
    """The patients to whom all of these reaches are confined; None: one of them reaches everyone."""
    patients: set[str] = set()
    for reach in reaches.values():
        within = reach.within
        if within is None:
            return None
        patients |= within
    return frozenset(patients)


def predicate_of(reaches: Reaches, around: Surroundings | None = None) -> ColumnElement[bool]:
    """A row of the resource table is of one of these types, and within reach.

    `around` None: no reach is narrowed.
    """
    terms = []
    for reach, names in alike(reaches):
        kept = within_reach(reach, names[0]) if around is None else within_narrowed(reach, names[0], around)
        terms.append(R.c.type.in_(names) if kept is None else and_(R.c.type.in_(names), kept))
    return or_(*terms) if terms else false()
