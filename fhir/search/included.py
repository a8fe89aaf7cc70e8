"""What `_include` and `_revinclude` add to a page, as SQL (FHIR R4 search.html#include).

Types that the caller may not search stay out. As for pages, a statement is built once for each shape: that of
an include has room for as many rids as the next power of two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Integer, and_, bindparam, literal, literal_column, or_, select
from sqlalchemy.types import NULLTYPE

from fhir.search.conditions import Include
from fhir.search.definitions import stored_types
from fhir.search.linked import REFERENCE
from fhir.search.lowering import Lowering, alike
from fhir.search.reach import R
from fhir.search.shape import Shape
from fhir.search.sql import SHOWN, STEPS_OF_SEARCH, Named
from fhir.search.value import Surroundings, Values
from server.kernel.access import Reach
from server.kernel.look_up import LookUp

KEPT_STATEMENTS = 500

ReachOf = Callable[[str], Reach | None]  # of a resource type; None: the caller may not search it


@dataclass(frozen=True, slots=True)
class _Open:
    """Types within one reach, which these keep."""

    types: tuple[str, ...]
    kept: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class _IncludeOf:
    """The shape of an include."""

    include: Include
    size: int  # rids that it starts from
    opened: tuple[_Open, ...]
    size_of_all: int  # of values


def prepare_included(
    include: Include, rids: Sequence[int], reach_of: ReachOf, limit: int, around: Surroundings
) -> tuple[LookUp, Named] | None:
    """What one `_include` or `_revinclude` adds to the resources `rids`; None: no type of it is open."""
    size = 1 << (len(rids) - 1).bit_length()
    lowering = Lowering(around, [*rids, *[rids[0]] * (size - len(rids))])
    opened = tuple(_grouped(_types(include), reach_of, lowering))
    values = lowering.values
    if not opened:
        return None
    values.append(limit)
    look_up = _kept(_IncludeOf(include, size, opened, len(values)))
    return look_up, {f"v{at}": value for at, value in enumerate(values)}


def _types(include: Include) -> Sequence[str]:
    """The types of what the include may add."""
    if include.reverse:
        return [include.source_type] if include.source_type else sorted(stored_types())
    if include.target_type:
        return [include.target_type]
    targets = {target for parameter in include.parameters for target in parameter.targets}
    is_any = not include.parameters or not all(p.targets for p in include.parameters)
    return sorted(stored_types() if is_any else targets & stored_types())


def _grouped(types: Sequence[str], reach_of: ReachOf, lowering: Lowering) -> Sequence[_Open]:
    """The open types by reach, whose patients and criteria join the values."""
    reaches = {name: reach for name in types if (reach := reach_of(name)) is not None}
    return [_Open(names, tuple(lowering.reach(names[0], reach))) for reach, names in alike(reaches)]


@lru_cache(maxsize=KEPT_STATEMENTS)
def _kept(shape: _IncludeOf) -> LookUp:
    values = [bindparam(f"v{at}", type_=NULLTYPE) for at in range(shape.size_of_all)]
    rids = values[: shape.size]
    linked = (
        _referring_to(shape.include, rids) if shape.include.reverse else _referred_by(shape.include, rids)
    )
    opened = or_(*(_is_open(group, values) for group in shape.opened))
    limit = bindparam(values[-1].key, type_=Integer)
    rows = select(*SHOWN).where(linked, ~R.c.deleted, opened)
    return LookUp(rows.order_by(R.c.rid).limit(limit), STEPS_OF_SEARCH)


def _is_open(group: _Open, values: Values) -> ColumnElement[bool]:
    terms: list[ColumnElement[bool]] = []
    if len(group.types) < len(stored_types()):
        terms.append(R.c.type.in_([literal(name) for name in group.types]))
    terms += [shape.holds(R, values) for shape in group.kept]
    return and_(True, *terms)


def _is_one_of(c: Any, include: Include) -> list[ColumnElement[bool]]:
    """The row is of one of the parameters; their numbers are ours, and part of the statement's text."""
    numbers: list[ColumnElement[Any]] = [
        literal_column(str(parameter.number)) for parameter in include.parameters
    ]
    return [c.param.in_(numbers)] if numbers else []


def _referred_by(include: Include, rids: Values) -> ColumnElement[bool]:
    c, target = REFERENCE.alias().c, R.alias()
    pointed_to = select(target.c.rid).where(
        c.rid.in_(rids), *_is_one_of(c, include), target.c.type == c.target_type, target.c.id == c.target_id
    )
    return R.c.rid.in_(pointed_to)


def _referring_to(include: Include, rids: Values) -> ColumnElement[bool]:
    c, matches = REFERENCE.alias().c, R.alias()
    pointing = select(c.rid).where(
        matches.c.rid.in_(rids),
        *_is_one_of(c, include),
        c.target_id == matches.c.id,
        c.target_type == matches.c.type,
        *([matches.c.type == include.target_type] if include.target_type else []),
    )
    return R.c.rid.in_(pointing)
