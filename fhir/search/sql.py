"""A search as SQL: criteria, access, order and page in one statement.

Every builder takes the `Reach`; its predicate is part of the statement, so counts and pages know nothing of
what lies outside. A statement is built once for each shape (`fhir/search/shape.py`) and executed with values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, bindparam, func, literal_column, select
from sqlalchemy.types import NULLTYPE

from fhir.search.conditions import SearchQuery, SortKey
from fhir.search.definitions import stored_types
from fhir.search.lowering import Lowering
from fhir.search.order import After, Order, sort_value
from fhir.search.reach import R
from fhir.search.shape import Rank, Shape, all_of, is_found, is_live
from fhir.search.value import Surroundings, Values
from server.kernel.access import Reach
from server.kernel.look_up import LookUp

SHOWN = (R.c.rid, R.c.type, R.c.id, R.c.version_id, R.c.last_updated_us, R.c.body)
KEPT_STATEMENTS = 1_000  # shapes of searches whose statements are kept
STEPS_OF_SEARCH = 20_000  # of SQLite, about 1 ms: a hand-over to a thread costs as much

Named = dict[str, Any]  # the values of a kept statement
Reaches = Mapping[str, Reach]  # of each type that is searched


@dataclass(frozen=True, slots=True)
class Matching:
    """The shape of what has to match: of one of these types (none: of any), and all conditions."""

    types: tuple[str, ...]
    conditions: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class PageOf:
    """The shape of a page of matches; `missing`: which sort values of `After` are None; None: first page."""

    matching: Matching
    sort: tuple[SortKey, ...]
    missing: tuple[bool, ...] | None


def select_count(query: SearchQuery, reach: Reach | Reaches, around: Surroundings) -> Select[Any]:
    """How many resources match."""
    matching, values = _lower(query, reach, around)
    return _build_count(matching, _in_place(values))


def select_page(
    query: SearchQuery, reach: Reach | Reaches, around: Surroundings, after: After | None
) -> Select[Any]:
    """One more than a page of matches: the columns of `SHOWN`, then the sort values."""
    page, values = lower_page(query, reach, around, after)
    return _build_page(page, _in_place(values))


def select_matches(query: SearchQuery, reach: Reach | Reaches, around: Surroundings) -> Select[tuple[int]]:
    """The rids of all that match."""
    matching, values = _lower(query, reach, around)
    return select(R.c.rid).where(*_conditions(matching, _in_place(values)))


def prepare_count(query: SearchQuery, reach: Reach | Reaches, around: Surroundings) -> tuple[LookUp, Named]:
    """As `select_count`, from the kept statements."""
    matching, values = _lower(query, reach, around)
    return _kept(matching, len(values)), named(values)


def kept_page(page: PageOf, size: int) -> LookUp:
    """The statement of a page that has so many values; it collects all that match."""
    return _kept(page, size)


def _lower(query: SearchQuery, reach: Reach | Reaches, around: Surroundings) -> tuple[Matching, list[Any]]:
    reaches = {query.resource_type: reach} if isinstance(reach, Reach) else reach
    lowering = Lowering(around)
    shapes = [lowering.condition(query.resource_type, condition) for condition in query.criteria]
    shapes += lowering.reaches(reaches)
    types = () if len(reaches) == len(stored_types()) else tuple(reaches)
    return Matching(types, tuple(shapes)), lowering.values


def lower_page(
    query: SearchQuery, reach: Reach | Reaches, around: Surroundings, after: After | None
) -> tuple[PageOf, list[Any]]:
    """The shape of a page and its values: of the conditions, of `after`, and how many rows at most."""
    matching, values = _lower(query, reach, around)
    missing = None
    if after is not None:
        missing = tuple(value is None for value in after.values)
        values += [*after.values, after.rid]
    return PageOf(matching, tuple(query.sort), missing), [*values, query.count + 1]


@lru_cache(maxsize=KEPT_STATEMENTS)
def _kept(shape: Matching | PageOf, size: int) -> LookUp:
    values = placeholders(size)
    select = _build_page(shape, values) if isinstance(shape, PageOf) else _build_count(shape, values)
    return LookUp(select, STEPS_OF_SEARCH)


def placeholders(size: int) -> Values:
    """So many values, for a statement that is kept."""
    return [bindparam(f"v{at}", type_=NULLTYPE) for at in range(size)]


def named(values: Sequence[Any]) -> Named:
    """The values for a kept statement."""
    return {f"v{at}": value for at, value in enumerate(values)}


def _in_place(values: Sequence[Any]) -> Values:
    # Named: an anonymous one takes its name from its address, and comparisons make copies of it.
    return [bindparam(f"asked_{at}", value, type_=NULLTYPE) for at, value in enumerate(values)]


def _build_count(matching: Matching, values: Values) -> Select[Any]:
    return select(func.count().label("total")).select_from(R).where(*_conditions(matching, values))


def _conditions(matching: Matching, values: Values) -> list[Any]:
    return [
        is_live(R, *matching.types, found=is_found(matching.conditions)),
        *all_of(matching.conditions, R, values),
    ]


def _build_page(page: PageOf, values: Values) -> Select[Any]:
    limit = as_limit(values[-1])
    conditions = _conditions(page.matching, values)
    if not page.sort:
        rows = select(*SHOWN).where(*conditions)
        rows = rows if page.missing is None else rows.where(R.c.rid > values[-2])
        return rows.order_by(_rid_of(page.matching)).limit(limit)
    return shown(page, _in_order(page, conditions, values).limit(limit))


def _rid_of(matching: Matching) -> ColumnElement[int]:
    """What a page is in the order of; of resources by id an expression: SQLite would walk all of the type."""
    by_id = any(shape.rank is Rank.ID for shape in matching.conditions)
    return R.c.rid + literal_column("0") if by_id else R.c.rid


def as_limit(value: Any) -> Any:
    """The value for LIMIT."""
    return bindparam(value.key, value.value, type_=Integer, required=value.required)


def shown(page: PageOf, chosen: Select[Any]) -> Select[Any]:
    """The rows of the rids of a page, with their sort values, in order."""
    found = chosen.subquery()
    columns = [found.c[f"sort_{n}"] for n in range(len(page.sort))]
    rows = select(*SHOWN, *columns).join(found, found.c.rid == R.c.rid)
    return rows.order_by(*Order(page.sort, columns, found.c.rid).clauses())


def _in_order(page: PageOf, conditions: list[Any], values: Values) -> Select[Any]:
    """The rids of the page and what they are ordered by; bodies are looked up for these only."""
    keys = [sort_value(key).label(f"sort_{n}") for n, key in enumerate(page.sort)]
    rows = select(R.c.rid, *keys).where(*conditions)
    if page.missing is None:
        return rows.order_by(*Order(page.sort, keys, R.c.rid).clauses())
    found = rows.subquery()
    columns = [found.c[f"sort_{n}"] for n in range(len(page.sort))]
    order = Order(page.sort, columns, found.c.rid)
    later = order.follows(page.missing, values[-len(keys) - 2 : -2], values[-2])
    return select(found.c.rid, *columns).where(later).order_by(*order.clauses())
