"""A page of many matches: along the order until the page is full, instead of collecting all that match.

Worth it when even the best condition leaves many, and only when the order is that of an index. A walk goes at
most `WALKED` places, so that one that finds nothing costs little; whether the page is whole is then for the
caller to see (`fhir/search/matches.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, or_, select, tuple_

from fhir.search.aside import Aside, AsideColumns
from fhir.search.conditions import SortKey
from fhir.search.kinds import KINDS
from fhir.search.order import COLUMN_OF
from fhir.search.reach import R
from fhir.search.shape import Indexed, Rank, Shape, is_live, number_is
from fhir.search.value import Values

MANY = 500  # matches of the best condition; fewer are collected
WALKED = 4_000  # places of the order: some ten milliseconds


Places = tuple[Values | None, Values | None]  # where a walk begins and ends; None: at the end of the order


@dataclass(frozen=True, slots=True)
class Track:
    """The rows that are walked along: of an index of values, or of the resources themselves."""

    rows: FromClause
    base: Sequence[ColumnElement[bool]]  # which rows those are, as far as the order's index tells
    key: ColumnElement[Any] | None  # None: by rid alone
    rid: ColumnElement[int]
    descending: bool

    @property
    def place(self) -> Any:
        """What the order is by."""
        return self.rid if self.key is None else tuple_(self.key, self.rid)

    def clauses(self) -> list[ColumnElement[Any]]:
        """For ORDER BY."""
        columns = [column for column in (self.key, self.rid) if column is not None]
        return [column.desc() if self.descending else column.asc() for column in columns]

    def comes_after(self, place: Values) -> ColumnElement[bool]:
        """Beyond a place."""
        other = self._as_place(place)
        beyond: ColumnElement[bool] = self.place < other if self.descending else self.place > other
        return beyond

    def comes_no_later(self, place: Values) -> ColumnElement[bool]:
        """Not beyond a place."""
        other = self._as_place(place)
        within: ColumnElement[bool] = self.place >= other if self.descending else self.place <= other
        return within

    def _as_place(self, place: Values) -> Any:
        return place[-1] if self.key is None else tuple_(*place)


def track_of(types: Sequence[str], sort: Sequence[SortKey]) -> Track:
    """The track of an order by at most one key."""
    of_type = [R.c.type == types[0]] if len(types) == 1 else []
    if not sort:
        return Track(R, of_type, None, R.c.rid, descending=False)
    (key,) = sort
    direct = COLUMN_OF.get(key.parameter.code)
    if direct is not None:
        return Track(R, of_type, direct, R.c.rid, key.descending)
    kind = KINDS[key.parameter.type]
    values = kind.table.alias()
    column = values.c[kind.sort_column_descending if key.descending else kind.sort_column]
    base = [number_is(values.c, key.parameter.number)]
    return Track(values, base, column, values.c.rid, key.descending)


def start_of(shapes: Sequence[Shape]) -> Shape | None:
    """The condition that leaves least; None: none leaves little."""
    start = min(shapes, key=lambda shape: shape.rank, default=None)
    return None if start is None or start.rank is Rank.NEVER else start


def may_walk(shapes: Sequence[Shape], sort: Sequence[SortKey], missing: Sequence[bool]) -> bool:
    """Whether a walk could be shorter than to collect the matches."""
    if len(sort) > 1 or any(missing):
        return False
    start = start_of(shapes)
    if start is None:
        return bool(sort) and sort[0].parameter.code not in COLUMN_OF  # else all are in that order already
    return start.rank >= Rank.CODE and isinstance(start, Indexed)


def select_probe(start: Indexed, values: Values) -> Select[Any]:
    """A row if more than `MANY` have what the best condition asks for."""
    found = start.select_rids(values).subquery()
    return select(found.c.rid).limit(1).offset(MANY)


def select_end(track: Track, after: Values | None) -> Select[Any]:
    """The place where a walk ends; no row: it goes to the end of the order."""
    columns = [column for column in (track.key, track.rid) if column is not None]
    rows = select(*columns).select_from(track.rows).where(*track.base)
    rows = rows if after is None else rows.where(track.comes_after(after))
    return rows.order_by(*track.clauses()).limit(1).offset(WALKED)


def walked(
    track: Track, matching: tuple[Sequence[str], Sequence[Shape]], values: Values, places: Places
) -> Select[Any]:
    """The rids and keys of the matches along a track, in order; `matching`: their types and conditions."""
    (types, shapes), (after, end) = matching, places
    columns = [track.rid.label("rid"), *([track.key.label("sort_0")] if track.key is not None else [])]
    rows = select(*columns).select_from(track.rows).where(*track.base)
    if after is not None:
        rows = rows.where(track.comes_after(after))
    if end is not None:
        rows = rows.where(track.comes_no_later(end))
    if track.rows is not R:
        rows = rows.join(R, Aside(track.rid) == R.c.rid).where(_is_best(track))
    # What needs the rid only is asked before the resource is looked up.
    asked = (shape.holds(track.rows if isinstance(shape, Indexed) else R, values) for shape in shapes)
    return rows.where(*asked, is_live(R, *types, found=True)).order_by(*track.clauses())


def _is_best(track: Track) -> ColumnElement[bool]:
    """Of several values of a resource, the one that it is ordered by."""
    other = track.rows.original.alias()  # type: ignore[attr-defined]  # an alias of a table
    assert track.key is not None
    value, own = AsideColumns(other.c)[str(track.key.key)], track.key
    better = value > own if track.descending else value < own
    twin = and_(value == own, other.c.n < track.rows.c.n)
    same = select(other.c.rid).where(
        other.c.rid == track.rid, other.c.param == track.rows.c.param, or_(better, twin)
    )
    return ~same.correlate(track.rows).exists()
