"""The shapes that lead to other resources: chains, compartments, and whose record a resource is part of.

As those of `fhir/search/shape.py`; at each other resource the caller's reach is among the conditions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    and_,
    exists,
    literal_column,
    or_,
    select,
)

from fhir.search.definitions import SearchParameter
from fhir.search.reach import R, of_no_other, of_one_of, rids_of
from fhir.search.shape import AllOf, Rank, Shape, Slot, all_of, is_found, is_live, number_is
from fhir.search.value import Values
from fhir.tables import SearchReference
from server.kernel.rows import table_of

REFERENCE = table_of(SearchReference)


@dataclass(frozen=True, slots=True)
class OfPatients:
    """Within reach of a confined caller: part of one of these patients' records (`fhir/search/reach.py`)."""

    slot: Slot
    rank: Rank = Rank.PATIENT

    def among(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """From the index of the patients."""
        return r.c.rid.in_(rids_of(self.slot.of(values)))

    def holds(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """From the rows of the resource."""
        return of_one_of(r, self.slot.of(values))


@dataclass(frozen=True, slots=True)
class OfNobodyElse:
    """Within reach of a confined caller: part of no other patient's record."""

    slot: Slot
    rank: Rank = Rank.NEVER

    def among(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """As asked of one."""
        return self.holds(r, values)

    def holds(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """From the rows of the resource."""
        return of_no_other(r, self.slot.of(values))


@dataclass(frozen=True, slots=True)
class Chained:
    """A reference to a resource of this type that fulfils all conditions (search.html#chaining)."""

    parameter: SearchParameter
    target_type: str
    inner: tuple[Shape, ...]

    @property
    def rank(self) -> Rank:
        """That of what is asked of the other resource."""
        return AllOf(self.inner).rank

    def among(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """From the other resource to those that refer to it."""
        target, reference = R.alias(), REFERENCE.alias()
        joined = self._joined(target, reference, all_of(self.inner, target, values))
        return r.c.rid.in_(select(reference.c.rid).where(*joined))

    def holds(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """From the resource's own references to the other."""
        target, reference = R.alias(), REFERENCE.alias()
        joined = self._joined(target, reference, [shape.holds(target, values) for shape in self.inner])
        return exists(select(reference.c.rid).where(reference.c.rid == r.c.rid, *joined).correlate(r))

    def _joined(
        self, target: FromClause, reference: FromClause, fulfils: Sequence[ColumnElement[bool]]
    ) -> list[ColumnElement[bool]]:
        return [
            is_live(target, self.target_type, found=is_found(self.inner)),
            number_is(reference.c, self.parameter.number),
            reference.c.target_id == target.c.id,
            reference.c.target_type == self.target_type,
            *fulfils,
        ]


@dataclass(frozen=True, slots=True)
class ReferredTo:
    """A reference from a resource of the source type that fulfils all conditions (search.html#has)."""

    source_type: str
    parameter: SearchParameter
    inner: tuple[Shape, ...]

    @property
    def rank(self) -> Rank:
        """That of what is asked of the other resource."""
        return AllOf(self.inner).rank

    def among(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """From the other resource to those that it refers to."""
        source, reference, target = R.alias(), REFERENCE.alias(), R.alias()
        joined = self._joined(source, reference, target, all_of(self.inner, source, values))
        return r.c.rid.in_(select(target.c.rid).where(*joined))

    def holds(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """From the references to the resource to the other."""
        source, reference = R.alias(), REFERENCE.alias()
        fulfils = [shape.holds(source, values) for shape in self.inner]
        return exists(
            select(reference.c.rid).where(*self._joined(source, reference, r, fulfils)).correlate(r)
        )

    def _joined(
        self,
        source: FromClause,
        reference: FromClause,
        target: FromClause,
        fulfils: Sequence[ColumnElement[bool]],
    ) -> list[ColumnElement[bool]]:
        return [
            is_live(source, self.source_type, found=is_found(self.inner)),
            number_is(reference.c, self.parameter.number),
            reference.c.rid == source.c.rid,
            reference.c.target_id == target.c.id,
            reference.c.target_type == target.c.type,
            *fulfils,
        ]


@dataclass(frozen=True, slots=True)
class OfCompartment:
    """In the compartment of the resource whose type and id are the slot's (compartmentdefinition.html)."""

    parameters: tuple[SearchParameter, ...]
    itself: bool
    slot: Slot
    rank: Rank = Rank.REFERENCE

    def among(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """From the references to that resource."""
        c = REFERENCE.alias().c
        return self._or_itself(r, values, r.c.rid.in_(select(c.rid).where(*self._refers(c, values))))

    def holds(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """From the references of the resource."""
        c = REFERENCE.alias().c
        rows = select(c.rid).where(c.rid == r.c.rid, *self._refers(c, values)).correlate(r)
        return self._or_itself(r, values, rows.exists())

    def _refers(self, c: Any, values: Values) -> list[ColumnElement[bool]]:
        numbers: list[ColumnElement[Any]] = [literal_column(str(p.number)) for p in self.parameters]
        resource_type, resource_id = self.slot.of(values)
        return [c.param.in_(numbers), c.target_id == resource_id, c.target_type == resource_type]

    def _or_itself(self, r: FromClause, values: Values, refers: ColumnElement[bool]) -> ColumnElement[bool]:
        if not self.itself:
            return refers
        resource_type, resource_id = self.slot.of(values)
        is_it = R.alias()
        found = select(is_it.c.rid).where(is_it.c.type == resource_type, is_it.c.id == resource_id)
        return or_(refers, r.c.rid.in_(found))


@dataclass(frozen=True, slots=True)
class OneOfTypes:
    """Of a type of one of the groups, and what that group asks for."""

    groups: tuple[tuple[tuple[str, ...], tuple[Shape, ...]], ...]
    rank: Rank = Rank.NEVER

    def among(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """As asked of one."""
        return self.holds(r, values)

    def holds(self, r: FromClause, values: Values) -> ColumnElement[bool]:
        """By the columns of the row and what its group asks for."""
        return or_(
            *(
                and_(is_live(r, *types), *(shape.holds(r, values) for shape in shapes))
                for types, shapes in self.groups
            )
        )
