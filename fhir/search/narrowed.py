"""A reach that criteria narrow, as a predicate of a resource row; and whether a scope can be held to them."""

from datetime import UTC
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, select
from sqlalchemy.types import NULLTYPE

from fhir.search.definitions import stored_types
from fhir.search.lowering import Lowering
from fhir.search.reach import R, within_reach
from fhir.search.shape import is_live
from fhir.search.value import InvalidSearch, Surroundings, UnsupportedSearch, Values
from server.kernel.access import Criteria, Narrowed, Reach

_NOWHERE = Surroundings(UTC, "http://localhost", 0)


def within_narrowed(reach: Reach, resource_type: str, around: Surroundings) -> ColumnElement[bool] | None:
    """As `within_reach`, for a reach that criteria may narrow."""
    if not reach.narrowed:
        return within_reach(reach, resource_type)
    lowering = Lowering(around)
    shapes = list(lowering.reach(resource_type, reach))
    values = _bound(lowering, f"narrowed_{resource_type}_")  # a statement may be of several types
    return and_(*(shape.holds(R, values) for shape in shapes))


def is_open(
    part: Narrowed, named: tuple[str, ColumnElement[Any]], around: Surroundings, prefix: str
) -> ColumnElement[bool]:
    """A part of a reach opens the resource of this type and id; there is one.

    `prefix`: of the names of its values, for one part in a statement.
    """
    resource_type, resource_id = named
    lowering, r = Lowering(around), R.alias()
    shapes = list(lowering.reach(resource_type, Reach(frozenset(), (part,))))
    values = _bound(lowering, prefix)
    one = select(r.c.rid).where(is_live(r, resource_type), r.c.id == resource_id)
    return one.where(*(shape.holds(r, values) for shape in shapes)).exists()


def _bound(lowering: Lowering, prefix: str) -> Values:
    return [bindparam(f"{prefix}{at}", one, type_=NULLTYPE) for at, one in enumerate(lowering.values)]


def why_not_held(resource_type: str, criteria: Criteria) -> str | None:
    """Why a scope of this type cannot be held to these criteria; None: it can."""
    if resource_type not in stored_types():
        return f"{resource_type} is no resource type with search parameters."
    try:
        list(Lowering(_NOWHERE).reach(resource_type, Reach(frozenset(), (Narrowed(None, criteria),))))
    except (InvalidSearch, UnsupportedSearch) as fault:
        return str(fault)
    return None
