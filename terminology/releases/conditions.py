"""Filters of a value set as SQL over a release (FHIR R4 codesystem.html#filters).

A condition is a set of concept numbers that can be looked at from both sides: which they are, and whether one
of them is in it. A filter that is about the hierarchy or a property becomes one; what a kind of code system
knows beside (ECL, LOINC's parts) is told by a `Rule` of that kind, which is asked first.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, false, literal, not_, or_, select, true, union_all

from server.kernel.look_up import LookUp
from server.kernel.rows import table_of
from terminology.code_system import Filter, FilterOperator
from terminology.filters import CODE_NAMES, split_list
from terminology.issues import InvalidFilter
from terminology.releases.draft import MAX_CODE_CHARACTERS, MAX_VALUE_CHARACTERS
from terminology.releases.numbers import above, numbers_in, strings_in
from terminology.tables import (
    TerminologyChild,
    TerminologyClosure,
    TerminologyCode,
    TerminologyConcept,
    TerminologyProperty,
)

CODE, CONCEPT = table_of(TerminologyCode), table_of(TerminologyConcept)
CHILD, CLOSURE = table_of(TerminologyChild), table_of(TerminologyClosure)
PROPERTY = table_of(TerminologyProperty)

Number = ColumnElement[int]


@dataclass(frozen=True, slots=True)
class Condition:
    """A set of concepts."""

    numbers: Select[Any]  # its one column has them, each once
    holds: Callable[[Number], ColumnElement[bool]]  # whether one number is among them
    look_up: LookUp | None = None  # the same with a parameter `asked`: a row if it is; for what is kept
    is_in_order: bool = False  # an index has `numbers` in order: those from one to another are read at once


def among(numbers: Select[Any]) -> Condition:
    """The concepts with these numbers."""
    return Condition(numbers, lambda number: number.in_(numbers))


@dataclass(frozen=True, slots=True)
class Conditions:
    """Makes conditions over one release."""

    release_id: int

    def nothing(self) -> Condition:
        """No concept."""
        return Condition(select(literal(0)).where(false()), lambda _: false())

    def all(self) -> Condition:
        """Every concept."""
        return Condition(select(CODE.c.number).where(CODE.c.release_id == self.release_id), lambda _: true())

    def one(self, number: int) -> Condition:
        """One concept."""
        c = CONCEPT.c  # a table to select from: SQLite merges a union of such in the order of numbers
        numbers = select(c.number).where(c.release_id == self.release_id, c.number == number)
        return Condition(numbers, lambda each: each == number, is_in_order=True)

    def but(self, condition: Condition) -> Condition:
        """All others."""
        numbers = self.all().numbers.where(not_(condition.holds(CODE.c.number)))
        return Condition(numbers, lambda number: not_(condition.holds(number)))

    def either(self, first: Condition, second: Condition) -> Condition:
        """What is in one of two."""
        both = union_all(first.numbers, second.numbers).subquery()
        (column,) = both.c
        return Condition(
            select(column),
            lambda number: or_(first.holds(number), second.holds(number)),
            is_in_order=first.is_in_order and second.is_in_order,
        )

    def below(self, number: int) -> Condition:
        """All below a concept."""
        c = CLOSURE.c
        of_ancestor = (c.release_id == self.release_id) & (c.ancestor == number)
        return Condition(
            select(c.descendant).where(of_ancestor),
            lambda each: select(literal(1)).where(of_ancestor, c.descendant == each).exists(),
            is_in_order=True,
        )

    def right_below(self, number: int) -> Condition:
        """The children of a concept; of 0: the roots."""
        c = CHILD.c
        of_parent = (c.release_id == self.release_id) & (c.parent == number)
        return Condition(
            select(c.child).where(of_parent),
            lambda each: select(literal(1)).where(of_parent, c.child == each).exists(),
            is_in_order=True,
        )

    def leaves(self) -> Condition:
        """The concepts that nothing lies below."""
        c = CHILD.c
        parents = select(c.parent).where(c.release_id == self.release_id)

        def holds(number: Number) -> ColumnElement[bool]:
            return not_(parents.where(c.parent == number).exists())

        return Condition(self.all().numbers.where(holds(CODE.c.number)), holds)

    def listed(self, numbers: Sequence[int]) -> Condition:
        """The concepts with these numbers, of which none is twice."""
        return among(numbers_in(literal(orjson.dumps(list(numbers)).decode())))

    def coded(self, codes: Sequence[str]) -> Condition:
        """The concepts of these codes, as the code system writes them."""
        c = CODE.c
        return among(select(c.number).where(c.release_id == self.release_id, c.code.in_(_strings(codes))))

    def displayed(self, names: Sequence[str]) -> Condition:
        """The concepts with one of these displays."""
        c = CONCEPT.c
        return among(select(c.number).where(c.release_id == self.release_id, c.display.in_(_strings(names))))

    def named(self) -> Condition:
        """The concepts with a display."""
        c = CONCEPT.c
        return among(select(c.number).where(c.release_id == self.release_id, c.display.is_not(None)))

    def valued(self, name: str, values: Sequence[str]) -> Condition:
        """The concepts with one of these values of a property."""
        c = PROPERTY.c
        given = [value[:MAX_VALUE_CHARACTERS] for value in values]
        is_wanted = c.value == given[0] if len(given) == 1 else c.value.in_(_strings(given))
        of_value = (c.release_id == self.release_id) & (c.property == name[:MAX_CODE_CHARACTERS]) & is_wanted
        numbers = select(c.concept).where(of_value)
        return Condition(
            numbers if len(given) == 1 else numbers.distinct(),
            lambda each: select(literal(1)).where(of_value, c.concept == each).exists(),
            is_in_order=len(given) == 1,
        )

    def stated(self, name: str) -> Condition:
        """The concepts of which a property says anything."""
        c = PROPERTY.c
        of_property = (c.release_id == self.release_id) & (c.property == name[:MAX_CODE_CHARACTERS])
        return among(select(c.concept).where(of_property).distinct())


def _strings(values: Sequence[str]) -> Select[Any]:
    return strings_in(literal(orjson.dumps(list(values)).decode()))


def hierarchical(asked: Filter, number: int, make: Conditions) -> Condition | None:
    """The condition of a filter about what lies around a concept; None: it is about something else."""
    rule = _HIERARCHICAL.get(asked.operator)
    return None if rule is None else rule(make, number)


_HIERARCHICAL: Mapping[FilterOperator, Callable[[Conditions, int], Condition]] = {
    FilterOperator.IS_A: lambda make, number: make.either(make.one(number), make.below(number)),
    FilterOperator.DESCENDENT_OF: lambda make, number: make.below(number),
    FilterOperator.IS_NOT_A: lambda make, number: make.but(make.either(make.one(number), make.below(number))),
    FilterOperator.CHILD_OF: lambda make, number: make.right_below(number),
    FilterOperator.GENERALIZES: lambda make, number: make.either(make.one(number), upwards(make, number)),
    FilterOperator.DESCENDENT_LEAF: lambda make, number: _both(make.below(number), make.leaves()),
}
HIERARCHICAL = frozenset(_HIERARCHICAL)


def upwards(make: Conditions, number: int, *, parents_only: bool = False) -> Condition:
    """All above a concept, or its parents."""
    numbers = above(make.release_id, select(literal(number)), parents_only=parents_only)
    if parents_only:
        return among(numbers)
    c = CLOSURE.c
    is_above = (c.release_id == make.release_id) & (c.descendant == number)
    return Condition(numbers, lambda each: select(literal(1)).where(is_above, c.ancestor == each).exists())


def _both(first: Condition, second: Condition) -> Condition:
    inner = first.numbers.subquery()
    (column,) = inner.c
    return Condition(
        select(column).where(second.holds(column)),
        lambda number: first.holds(number) & second.holds(number),
    )


def by_value(asked: Filter, make: Conditions) -> Condition:
    """The condition of a filter about the values of a property, or about the code itself.

    Raises:
        InvalidFilter: it is not understood.
    """
    values = [asked.value] if asked.operator is FilterOperator.EQUALS else split_list(asked.value)
    match asked.operator:
        case FilterOperator.EQUALS | FilterOperator.IN | FilterOperator.NOT_IN:
            by = {"display": make.displayed, **dict.fromkeys(CODE_NAMES, make.coded)}.get(asked.property)
            found = make.valued(asked.property, values) if by is None else by(values)
            return make.but(found) if asked.operator is FilterOperator.NOT_IN else found
        case FilterOperator.EXISTS if asked.value in ("true", "false"):
            by_name = {"display": make.named, **dict.fromkeys(CODE_NAMES, make.all)}.get(asked.property)
            found = make.stated(asked.property) if by_name is None else by_name()
            return found if asked.value == "true" else make.but(found)
        case FilterOperator.EXISTS:
            raise InvalidFilter("The value of a filter with 'exists' is 'true' or 'false'.")
    raise InvalidFilter(f"The filter operator '{asked.operator}' is not understood for this code system.")
