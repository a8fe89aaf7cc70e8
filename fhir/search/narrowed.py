"""A reach that criteria narrow, as a predicate of a resource row; and whether a scope can be held to them."""

from datetime import UTC

from sqlalchemy import ColumnElement, and_, bindparam
from sqlalchemy.types import NULLTYPE

from fhir.search.definitions import stored_types
from fhir.search.lowering import Lowering
from fhir.search.reach import R, within_reach
from fhir.search.value import InvalidSearch, Surroundings, UnsupportedSearch
from server.kernel.access import Criteria, Narrowed, Reach

_NOWHERE = Surroundings(UTC, "http://localhost", 0)


def within_narrowed(reach: Reach, resource_type: str, around: Surroundings) -> ColumnElement[bool] | None:
    """As `within_reach`, for a reach that criteria may narrow."""
    if not reach.narrowed:
        return within_reach(reach, resource_type)
    lowering = Lowering(around)
    shapes = list(lowering.reach(resource_type, reach))
    named = f"narrowed_{resource_type}_"  # a statement may be of several types
    values = [bindparam(f"{named}{at}", one, type_=NULLTYPE) for at, one in enumerate(lowering.values)]
    return and_(*(shape.holds(R, values) for shape in shapes))


def why_not_held(resource_type: str, criteria: Criteria) -> str | None:
    """Why a scope of this type cannot be held to these criteria; None: it can."""
    if resource_type not in stored_types():
        return f"{resource_type} is no resource type with search parameters."
    try:
        list(Lowering(_NOWHERE).reach(resource_type, Reach(frozenset(), (Narrowed(None, criteria),))))
    except (InvalidSearch, UnsupportedSearch) as fault:
        return str(fault)
    return None
