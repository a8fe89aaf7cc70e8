"""A search as SQL: criteria, access, order and page in one statement.

Every builder takes the `Reach`; its predicate is part of the statement, so counts, pages and includes know
nothing of what lies outside. Order is by the sort keys, missing values last, then by `rid`: a resource
keeps its `rid` for life, so pages stay whole while others write.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, SelectBase, and_, false, func, or_, select, union_all

from fhir.search.compartment import SHARED_TYPES, SOMEBODY
from fhir.search.composite import select_composite
from fhir.search.date import match_range
from fhir.search.definitions import SearchParameter, SearchType
from fhir.search.kinds import KINDS
from fhir.search.query import Criterion, Include, SearchQuery, SortKey
from fhir.search.value import Asked, Surroundings
from fhir.tables import FhirCompartment, FhirResource, SearchReference
from server.kernel.access import Reach
from server.kernel.rows import table_of

R = table_of(FhirResource)
COMPARTMENT = table_of(FhirCompartment)
REFERENCE = table_of(SearchReference)

ALTERNATIVES = 100  # of one expression; SQLite takes no tree that is deeper than 1000

# Of a row of R: the patient that audit names, one of several; null for none.
AUDITED_PATIENT = (
    select(func.min(COMPARTMENT.c.patient_id))
    .where(COMPARTMENT.c.rid == R.c.rid, COMPARTMENT.c.patient_id != SOMEBODY)
    .scalar_subquery()
)

SHOWN = (R.c.rid, R.c.type, R.c.id, R.c.version_id, R.c.last_updated_us, R.c.body)


@dataclass(frozen=True, slots=True)
class After:
    """Where a page begins: after the resource with these sort values and this rid."""

    values: tuple[Any, ...]
    rid: int


def within_reach(reach: Reach, resource_type: str) -> ColumnElement[bool] | None:
    """The predicate that keeps resources of this type within reach; None: nothing is kept out.

    A resource of several patients is within reach when all of them are.
    """
    if reach.patient_ids is None:
        return None
    ours = sorted(reach.patient_ids)
    c = COMPARTMENT.c
    nobody_elses = ~select(c.rid).where(c.rid == R.c.rid, c.patient_id.not_in(ours)).exists()
    if resource_type in SHARED_TYPES:
        return nobody_elses
    return and_(R.c.rid.in_(select(c.rid).where(c.patient_id.in_(ours))), nobody_elses)


def conditions(query: SearchQuery, reach: Reach, around: Surroundings) -> list[ColumnElement[bool]]:
    """All that a resource must fulfil to be a match."""
    terms: list[ColumnElement[bool]] = [R.c.type == query.resource_type, R.c.deleted == false()]
    terms += _kept(within_reach(reach, query.resource_type))
    return terms + [_criterion(criterion, around) for criterion in query.criteria]


def select_count(query: SearchQuery, reach: Reach, around: Surroundings) -> Select[Any]:
    """How many resources match."""
    return select(func.count()).select_from(R).where(*conditions(query, reach, around))


def select_page(query: SearchQuery, reach: Reach, around: Surroundings, after: After | None) -> Select[Any]:
    """One more than a page of matches: the columns of `SHOWN`, then the sort values."""
    keys = [_sort_value(key).label(f"sort_{n}") for n, key in enumerate(query.sort)]
    matches = select(R.c.rid, *keys).where(*conditions(query, reach, around))
    if not keys:
        rows = select(*SHOWN).where(*conditions(query, reach, around))
        rows = rows if after is None else rows.where(R.c.rid > after.rid)
        return rows.order_by(R.c.rid).limit(query.count + 1)
    found = matches.subquery()
    columns = [found.c[f"sort_{n}"] for n in range(len(keys))]
    page = select(*SHOWN, *columns).join(found, found.c.rid == R.c.rid)
    if after is not None:
        page = page.where(_follows(columns, query.sort, found.c.rid, after))
    ordered = [
        (column.desc() if key.descending else column.asc()).nulls_last()
        for column, key in zip(columns, query.sort, strict=True)
    ]
    return page.order_by(*ordered, found.c.rid).limit(query.count + 1)


def _follows(
    columns: Sequence[ColumnElement[Any]], keys: Sequence[SortKey], rid: ColumnElement[int], after: After
) -> ColumnElement[bool]:
    """Comes after `after` in the order; missing values are last."""
    same: list[ColumnElement[bool]] = []
    alternatives: list[ColumnElement[bool]] = []
    for column, key, value in zip(columns, keys, after.values, strict=True):
        if value is not None:
            beyond = column < value if key.descending else column > value
            alternatives.append(and_(*same, or_(beyond, column.is_(None))))
        same.append(column == value if value is not None else column.is_(None))
    return or_(*alternatives, and_(*same, rid > after.rid))


def _sort_value(key: SortKey) -> ColumnElement[Any]:
    direct = _COLUMN_OF.get(key.parameter.code)
    if direct is not None:
        return direct
    kind = KINDS[key.parameter.type]
    column = kind.table.c[kind.sort_column_descending if key.descending else kind.sort_column]
    best = func.max(column) if key.descending else func.min(column)
    rows = select(best).where(kind.table.c.rid == R.c.rid, kind.table.c.param == key.parameter.number)
    return rows.scalar_subquery()


_COLUMN_OF: dict[str, ColumnElement[Any]] = {"_id": R.c.id, "_lastUpdated": R.c.last_updated_us}


def _criterion(criterion: Criterion, around: Surroundings) -> ColumnElement[bool]:
    parameter = criterion.parameter
    if parameter.code in _COLUMN_OF:
        return _of_resource_row(criterion, around)
    if criterion.missing is not None:
        rows = _rids_with_value(parameter)
        return R.c.rid.not_in(rows) if criterion.missing else R.c.rid.in_(rows)
    asked = [_asked(criterion, text, around) for text in criterion.values]
    if parameter.type is SearchType.COMPOSITE:
        return or_(*(R.c.rid.in_(select_composite(parameter, one)) for one in asked))
    matching = _rids_matching(parameter, asked)
    return R.c.rid.not_in(matching) if criterion.modifier == "not" else R.c.rid.in_(matching)


def _rids_matching(parameter: SearchParameter, asked: Sequence[Asked]) -> SelectBase:
    """The resources that any of these values matches; a few alternatives in each SELECT."""
    kind = KINDS[parameter.type]
    c = kind.table.c
    parts = [
        select(c.rid).where(c.param == parameter.number, or_(*(kind.match(c, one) for one in some)))
        for some in (asked[at : at + ALTERNATIVES] for at in range(0, len(asked), ALTERNATIVES))
    ]
    return parts[0] if len(parts) == 1 else union_all(*parts)


def _rids_with_value(parameter: SearchParameter) -> Select[tuple[int]]:
    indexed = parameter.components[0] if parameter.components else parameter
    c = KINDS[indexed.type].table.c
    return select(c.rid).where(c.param == indexed.number)


def _of_resource_row(criterion: Criterion, around: Surroundings) -> ColumnElement[bool]:
    if criterion.missing is not None:  # every resource has both
        return R.c.rid.is_(None) if criterion.missing else R.c.rid.is_not(None)
    if criterion.parameter.code == "_id":
        return R.c.id.in_(criterion.values)
    at = R.c.last_updated_us
    asked = (_asked(criterion, text, around) for text in criterion.values)
    return or_(*(match_range(at, at + 1, one) for one in asked))


def _asked(criterion: Criterion, text: str, around: Surroundings) -> Asked:
    parameter = criterion.parameter
    return Asked(parameter.code, text, criterion.modifier, around, parameter.targets)


def select_included(
    include: Include, rids: Sequence[int], reaches: dict[str, Reach], limit: int
) -> Select[Any] | None:
    """What one `_include` or `_revinclude` adds to the matches `rids`; None: no type of it is open.

    `reaches` holds the reach of each resource type that the caller may search; other types stay out.
    """
    numbers = [parameter.number for parameter in include.parameters]
    if include.reverse:
        linked = _referring_to(rids, numbers, include.target_type)
        types = [include.source_type]
    else:
        linked = _referred_by(rids, numbers)
        types = [include.target_type] if include.target_type else sorted(_targets(include) or reaches)
    opened = _open_types({name: reaches[name] for name in types if name in reaches})
    if opened is None:
        return None
    return select(*SHOWN).where(linked, R.c.deleted == false(), opened).order_by(R.c.rid).limit(limit)


def _open_types(reaches: dict[str, Reach]) -> ColumnElement[bool] | None:
    alike: dict[tuple[Reach, bool], list[str]] = {}
    for name, reach in reaches.items():
        alike.setdefault((reach, name in SHARED_TYPES), []).append(name)
    terms = [
        and_(R.c.type.in_(names), *_kept(within_reach(reach, names[0])))
        for (reach, _), names in alike.items()
    ]
    return or_(*terms) if terms else None


def _kept(predicate: ColumnElement[bool] | None) -> list[ColumnElement[bool]]:
    return [] if predicate is None else [predicate]


def _targets(include: Include) -> set[str]:
    """The types that the parameters may point to; empty: any."""
    if not all(parameter.targets for parameter in include.parameters):
        return set()
    return {target for parameter in include.parameters for target in parameter.targets}


def _referred_by(rids: Sequence[int], numbers: Sequence[int]) -> ColumnElement[bool]:
    c = REFERENCE.c
    pointing = select(c.rid).where(
        c.rid.in_(rids), c.param.in_(numbers), c.target_type == R.c.type, c.target_id == R.c.id
    )
    return pointing.exists()


def _referring_to(
    rids: Sequence[int], numbers: Sequence[int], target_type: str | None
) -> ColumnElement[bool]:
    c = REFERENCE.c
    matches = R.alias()
    pointing = select(c.rid).where(
        matches.c.rid.in_(rids),
        c.param.in_(numbers),
        c.target_id == matches.c.id,
        c.target_type == matches.c.type,
        *([matches.c.type == target_type] if target_type else []),
    )
    return R.c.rid.in_(pointing)
