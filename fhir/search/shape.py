"""The shape of a search: its conditions without the values, and how each becomes SQL.

Two searches that differ in values only have one shape, and one statement. A shape knows where in the
statement's values its own stand (`Slot`). Each condition can be put in two ways: `among` collects the rids
that fulfil it, out of an index; `holds` looks at one resource. A statement starts from the condition of the
lowest rank, and asks the others of what that finds: SQLite has no statistics of values, and would collect
the rids of each condition.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    FromClause,
    Select,
    and_,
    false,
    literal,
    literal_column,
    not_,
    or_,
    select,
    true,
    union_all,
)

from fhir.search.aside import Aside, AsideColumns
from fhir.search.composite import ROWS_PER_ELEMENT
from fhir.search.date import match_range
from fhir.search.definitions import SearchParameter
from fhir.search.full_text import RidsWith
from fhir.search.kinds import KINDS
from fhir.search.near import match_near, near_number
from fhir.search.quantity import QUANTITY
from fhir.search.value import Values

ALTERNATIVES = 100  # of one expression; SQLite takes no tree that is deeper than 1000


class Rank(IntEnum):
    """How few resources a condition leaves, as a rule; what is `NEVER` started from fits most of them."""

    ID = 0
    IDENTIFIER = 1
    REFERENCE = 2
    PATIENT = 3  # a confined caller's record
    NAME = 4
    CODE = 5
    RANGE = 6
    STATUS = 7
    SCAN = 8
    NEVER = 9


@dataclass(frozen=True, slots=True)
class Slot:
    """A `Term` whose values are the statement's from `at` on."""

    form: Any
    at: int
    size: int

    def of(self, values: Values) -> Values:
        """Its values."""
        return values[self.at : self.at + self.size]


class Shape(Protocol):
    """One condition on a resource row `r`."""

    @property
    def rank(self) -> Rank:
        """How good a start it is."""

    def among(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """The condition as a collection of rids."""

    def holds(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """The condition asked of one resource."""


def number_is(c: Any, number: int) -> ColumnElement[bool]:
    """The row is of this parameter; its number is ours, and part of the statement's text."""
    is_same: ColumnElement[bool] = c.param == literal_column(str(number))
    return is_same


def is_live(r: FromClause, *types: str, found: bool = False) -> ColumnElement[bool]:
    """The row is a resource of one of these types (none: of any) that was not deleted.

    `found`: something else finds the rows, the types are only looked at.
    """
    live: ColumnElement[bool] = r.c.deleted == false()
    if not types:
        return live
    column = Aside(r.c.type) if found else r.c.type
    return and_(column == types[0] if len(types) == 1 else column.in_(map(literal, types)), live)


def is_found(shapes: Sequence[Shape]) -> bool:
    """Whether `all_of` these starts from rids, rather than from what is asked beside."""
    return min((shape.rank for shape in shapes), default=Rank.NEVER) not in (Rank.ID, Rank.NEVER)


def all_of(shapes: Sequence[Shape], r: FromClause, values: Values) -> list[ColumnElement[bool]]:
    """All conditions: one collected, the others asked of what it finds."""
    start = min(shapes, key=lambda shape: shape.rank, default=None)
    return [
        shape.among(r, values) if shape is start and shape.rank is not Rank.NEVER else shape.holds(r, values)
        for shape in shapes
    ]


@dataclass(frozen=True, slots=True)
class Always:
    """No condition, or one that nothing fulfils."""

    truth: bool
    rank: Rank = Rank.NEVER

    def among(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """A constant."""
        return self.holds(r, values)

    def holds(self, r: FromClause, values: Values) -> ColumnElement[bool]:  # noqa: ARG002  the protocol's
        """A constant."""
        return true() if self.truth else false()


@dataclass(frozen=True, slots=True)
class OfRow:
    """`_id` by any of several, or `_lastUpdated` in any of several ranges: columns of the row itself."""

    code: str
    slots: tuple[Slot, ...]

    @property
    def rank(self) -> Rank:
        """An id is the best start there is."""
        return Rank.ID if self.code == "_id" else Rank.NEVER

    def among(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """The comparison."""
        return self.holds(r, values)

    def holds(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """The comparison."""
        if self.code == "_id":
            return r.c.id.in_([value for slot in self.slots for value in slot.of(values)])
        at = r.c.last_updated_us
        return or_(*(match_range(at, at + 1, slot.form, slot.of(values)) for slot in self.slots))


@dataclass(frozen=True, slots=True)
class Indexed:
    """A value of the parameter that fits one of the slots; no slot: any value at all."""

    parameter: SearchParameter
    slots: tuple[Slot, ...]
    rank: Rank

    def among(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """From the index of the values."""
        return r.c.rid.in_(self.select_rids(values))

    def select_rids(self, values: Values) -> Select[Any] | CompoundSelect[Any]:
        """The rids from the index of the values."""
        parts = [select(c.rid).where(*terms) for c, terms in self._rows(values, found=False)]
        return parts[0] if len(parts) == 1 else union_all(*parts)

    def holds(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """From the rows of the resource."""
        return or_(
            *(
                select(c.rid).where(c.rid == r.c.rid, *terms).correlate(r).exists()
                for c, terms in self._rows(values, found=True)
            )
        )

    def _rows(self, values: Values, *, found: bool) -> Iterable[tuple[Any, list[ColumnElement[bool]]]]:
        kind = KINDS[self.parameter.type]
        for start in range(0, max(len(self.slots), 1), ALTERNATIVES):
            c = kind.table.alias().c
            some = self.slots[start : start + ALTERNATIVES]
            asked: Any = AsideColumns(c) if found else c
            fits = [or_(*(kind.match(asked, slot.form, slot.of(values)) for slot in some))] if some else []
            yield c, [number_is(c, self.parameter.number), *fits]


@dataclass(frozen=True, slots=True)
class HasWords:
    """The words of the slot occur in the column that it names."""

    slot: Slot
    rank: Rank = Rank.NAME

    def among(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """From the index of words."""
        return RidsWith(r.c.rid, self.slot.form, self.slot.of(values))

    def holds(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """The same: an index of words is asked for words."""
        return self.among(r, values)


@dataclass(frozen=True, slots=True)
class Composite:
    """Values that belong together: for one of the alternatives, each component has a slot."""

    parameter: SearchParameter
    alternatives: tuple[tuple[Slot, ...], ...]
    rank: Rank = Rank.CODE

    def among(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """From the index of the first component's values."""
        return or_(*(r.c.rid.in_(self._select(slots, values, found=False)[0]) for slots in self.alternatives))

    def holds(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """From the rows of the resource."""
        found = (self._select(slots, values, found=True) for slots in self.alternatives)
        return or_(*(rows.where(rid == r.c.rid).correlate(r).exists() for rows, rid in found))

    def _select(
        self, slots: Sequence[Slot], values: Values, *, found: bool
    ) -> tuple[Select[Any], ColumnElement[int]]:
        """Rows of one element share `n // ROWS_PER_ELEMENT`: that is what the join goes by."""
        tables = [KINDS[component.type].table.alias() for component in self.parameter.components]
        first = tables[0]
        terms: list[ColumnElement[bool]] = []
        for component, slot, rows in zip(self.parameter.components, slots, tables, strict=True):
            kind = KINDS[component.type]
            asked: Any = AsideColumns(rows.c) if found or rows is not first else rows.c
            terms += [number_is(rows.c, component.number), kind.match(asked, slot.form, slot.of(values))]
            if rows is not first:
                terms.append(rows.c.rid == first.c.rid)
                terms.append(rows.c.n // ROWS_PER_ELEMENT == first.c.n // ROWS_PER_ELEMENT)
        return select(first.c.rid).where(*terms), first.c.rid


@dataclass(frozen=True, slots=True)
class OfPlace:
    """A position near one of several."""

    slots: tuple[Slot, ...]
    rank: Rank = Rank.NAME

    def among(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """From the index of the latitudes."""
        c = QUANTITY.table.alias().c
        return r.c.rid.in_(select(c.rid).where(*self._terms(c, c, values)))

    def holds(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """From the rows of the resource."""
        c = QUANTITY.table.alias().c
        terms = self._terms(c, AsideColumns(c), values)
        return select(c.rid).where(c.rid == r.c.rid, *terms).correlate(r).exists()

    def _terms(self, c: Any, asked: Any, values: Values) -> list[ColumnElement[bool]]:
        near = or_(*(match_near(asked, slot.of(values)) for slot in self.slots))
        return [number_is(c, near_number()), near]


@dataclass(frozen=True, slots=True)
class Not:
    """The condition does not hold."""

    inner: Shape
    rank: Rank = Rank.NEVER

    def among(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """As asked of one: most resources fulfil it."""
        return self.holds(r, values)

    def holds(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """The opposite."""
        return not_(self.inner.holds(r, values))


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of several conditions holds."""

    inner: tuple[Shape, ...]

    @property
    def rank(self) -> Rank:
        """That of the worst: all have to be collected."""
        return max((shape.rank for shape in self.inner), default=Rank.NEVER)

    def among(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """Each collected."""
        return or_(false(), *(shape.among(r, values) for shape in self.inner))

    def holds(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """Each asked."""
        return or_(false(), *(shape.holds(r, values) for shape in self.inner))


@dataclass(frozen=True, slots=True)
class AllOf:
    """Several conditions hold together."""

    inner: tuple[Shape, ...]

    @property
    def rank(self) -> Rank:
        """That of the best, which the others are asked of."""
        return min((shape.rank for shape in self.inner), default=Rank.NEVER)

    def among(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """The best collected."""
        return and_(true(), *all_of(self.inner, r, values))

    def holds(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """Each asked."""
        return and_(true(), *(shape.holds(r, values) for shape in self.inner))
