"""The order of a search's matches and where a page of them begins (FHIR R4 search.html#sort).

By the sort keys, missing values last, then by `rid` in the direction of the last key: a resource keeps its
`rid` for life, so pages stay whole while others write.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_

from fhir.search.aside import AsideColumns
from fhir.search.conditions import SortKey
from fhir.search.kinds import KINDS
from fhir.search.reach import R
from fhir.search.shape import number_is


@dataclass(frozen=True, slots=True)
class After:
    """Where a page begins: after the resource with these sort values and this rid."""

    values: tuple[Any, ...]
    rid: int


@dataclass(frozen=True, slots=True)
class Order:
    """The keys of an order as columns of some rows, and their rid."""

    keys: Sequence[SortKey]
    columns: Sequence[ColumnElement[Any]]
    rid: ColumnElement[int]

    def clauses(self) -> list[ColumnElement[Any]]:
        """For ORDER BY."""
        ordered = [_ordered(key, column) for key, column in zip(self.keys, self.columns, strict=True)]
        return [*ordered, self.rid.desc() if self._rids_descend() else self.rid]

    def follows(self, missing: Sequence[bool], values: Sequence[Any], rid: Any) -> ColumnElement[bool]:
        """Comes after a row with these sort values, some of them missing, and this rid."""
        if len(self.keys) == 1 and is_direct(self.keys[0]):  # comparable as a place of the index
            place: Any = tuple_(self.columns[0], self.rid)
            other = tuple_(values[0], rid)
            beyond: ColumnElement[bool] = place < other if self._rids_descend() else place > other
            return beyond
        same: list[ColumnElement[bool]] = []
        alternatives: list[ColumnElement[bool]] = []
        for column, key, lacks, value in zip(self.columns, self.keys, missing, values, strict=True):
            if lacks:
                same.append(column.is_(None))
                continue
            further = column < value if key.descending else column > value
            alternatives.append(and_(*same, or_(further, column.is_(None))))
            same.append(column == value)
        after_rid = self.rid < rid if self._rids_descend() else self.rid > rid
        return or_(*alternatives, and_(*same, after_rid))

    def _rids_descend(self) -> bool:
        return bool(self.keys) and self.keys[-1].descending


def is_direct(key: SortKey) -> bool:
    """Whether the key is a column of the resource row, which every resource has."""
    return key.parameter.code in COLUMN_OF


def _ordered(key: SortKey, column: ColumnElement[Any]) -> ColumnElement[Any]:
    direction = column.desc() if key.descending else column.asc()
    # NULLS LAST where nothing is null would keep PostgreSQL from reading an index backwards.
    return direction if is_direct(key) else direction.nulls_last()


def sort_value(key: SortKey) -> ColumnElement[Any]:
    """The value of a row of R that a key orders by: of several the one that comes first."""
    direct = COLUMN_OF.get(key.parameter.code)
    if direct is not None:
        return direct
    kind = KINDS[key.parameter.type]
    c = kind.table.alias().c
    column = c[kind.sort_column_descending if key.descending else kind.sort_column]
    best = func.max(column) if key.descending else func.min(column)
    # Aside: for max() SQLite would walk the index of the values instead.
    rows = select(best).where(c.rid == R.c.rid, number_is(AsideColumns(c), key.parameter.number))
    return rows.correlate(R).scalar_subquery()


COLUMN_OF: Mapping[str, ColumnElement[Any]] = {"_id": R.c.id, "_lastUpdated": R.c.last_updated_us}
