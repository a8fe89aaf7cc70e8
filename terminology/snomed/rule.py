"""Filters of a value set over a SNOMED CT release (terminology.hl7.org/SNOMEDCT.html, "Filters").

Each filter becomes an expression constraint; what the expression means is known from then on, as the concepts
of a release do not change. What any code system knows (`code`, `display`, `semanticTag`) is left to others.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from weakref import WeakKeyDictionary

from sqlalchemy import Integer, bindparam, literal, select

from server.kernel.database import Database
from server.kernel.look_up import LookUp
from terminology.code_system import Filter, FilterOperator
from terminology.ecl.concepts import DEFINED, PRIMITIVE
from terminology.ecl.evaluate import Meaning, is_in_order
from terminology.ecl.parse import parse
from terminology.ecl.resolve import find_numbers
from terminology.ecl.syntax import (
    Active,
    AnyConcept,
    Attribute,
    Comparison,
    ConceptReference,
    DefinitionStatus,
    Direction,
    EffectiveTime,
    Either,
    Expression,
    MemberOf,
    Module,
    Refined,
    Related,
    Times,
    Without,
    WithState,
    codes_of,
)
from terminology.filters import CODE_NAMES, split_list
from terminology.issues import InvalidFilter
from terminology.releases.conditions import Condition
from terminology.releases.system import ReleasedCodeSystem
from terminology.sctid import has_form, why_invalid

MAX_KEPT = 256  # expressions whose meaning is kept, of all releases of a database

ANY = AnyConcept()
_EXPRESSIONS = frozenset({"constraint", "expression"})
_DATE_DIGITS = 8

_Kept = OrderedDict[tuple[int, Expression], Condition]


class SnomedRule:
    """A `releases.system.Rule` for SNOMED CT."""

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[Database, _Kept] = WeakKeyDictionary()

    async def __call__(self, system: ReleasedCodeSystem, asked: Filter) -> Condition | None:
        """The condition of a filter; None: it is an ordinary one.

        Raises:
            InvalidFilter: it makes no sense, or names concepts that are not there.
        """
        tree = expression_of(asked)
        if tree is None:
            return None
        kept = self._kept.setdefault(system.database, OrderedDict())
        key = system.release_id, tree
        found = kept.get(key)
        if found is None:
            found = kept[key] = await _condition(system, tree, asked.value)
            while len(kept) > MAX_KEPT:
                kept.popitem(last=False)
        else:
            kept.move_to_end(key)
        return found


async def _condition(system: ReleasedCodeSystem, tree: Expression, text: str) -> Condition:
    async with system.database.read() as connection:
        meaning = Meaning(
            system.release_id, await find_numbers(connection, system.release_id, codes_of(tree), text)
        )
    asked = bindparam("asked", 0, type_=Integer)
    look_up = LookUp(select(literal(1).label("found")).where(meaning.holds(tree, asked)))
    return Condition(
        meaning.numbers(tree), lambda number: meaning.holds(tree, number), look_up, is_in_order(tree)
    )


def expression_of(asked: Filter) -> Expression | None:
    """A filter as an expression constraint; None: it is an ordinary one.

    Raises:
        InvalidFilter: it makes no sense for SNOMED CT.
    """
    if asked.property in CODE_NAMES:
        return _of_concept(asked)
    if has_form(asked.property):
        return _of_attribute(asked)
    if asked.property in _EXPRESSIONS:
        _require(asked, FilterOperator.EQUALS)
        return parse(asked.value)
    rule = _BY_NAME.get(asked.property)
    return None if rule is None else rule(asked)


def _of_concept(asked: Filter) -> Expression | None:
    if asked.operator is FilterOperator.IN:
        return MemberOf(_references(asked))
    direction = _DIRECTIONS.get(asked.operator)
    if direction is not None:
        return Related(direction, _reference(asked.value))
    if asked.operator is FilterOperator.IS_NOT_A:
        return Without(ANY, Related(Direction.DESCENDANT_OR_SELF, _reference(asked.value)))
    return None


def _of_attribute(asked: Filter) -> Expression:
    """Concepts with an attribute: `363698007 = …`, and what can be said of its value."""
    if asked.operator is FilterOperator.EXISTS:
        has = Refined(ANY, Attribute(_reference(asked.property), Comparison.EQUAL, ANY))
        return has if _truth(asked) else Without(ANY, has)
    direction = _DIRECTIONS.get(asked.operator)
    if direction is not None:
        value: Expression = Related(direction, _reference(asked.value))
    else:
        _require(asked, FilterOperator.EQUALS, FilterOperator.IN)
        value = _references(asked)
    return Refined(ANY, Attribute(_reference(asked.property), Comparison.EQUAL, value))


def _module(asked: Filter) -> Expression:
    _require(asked, FilterOperator.EQUALS, FilterOperator.IN, FilterOperator.NOT_IN)
    comparison = Comparison.NOT_EQUAL if asked.operator is FilterOperator.NOT_IN else Comparison.EQUAL
    return WithState(ANY, (Module(comparison, _references(asked)),))


def _inactive(asked: Filter) -> Expression:
    _require(asked, FilterOperator.EQUALS)
    return WithState(ANY, (Active(not _truth(asked)),))


def _active(asked: Filter) -> Expression:
    _require(asked, FilterOperator.EQUALS)
    return WithState(ANY, (Active(_truth(asked)),))


def _defined(asked: Filter) -> Expression:
    _require(asked, FilterOperator.EQUALS)
    status = ConceptReference(DEFINED if _truth(asked) else PRIMITIVE)
    return WithState(ANY, (DefinitionStatus(Comparison.EQUAL, status),))


def _effective_time(asked: Filter) -> Expression:
    _require(asked, FilterOperator.EQUALS)
    if not asked.value.isdigit() or len(asked.value) != _DATE_DIGITS:
        raise InvalidFilter(f"'{asked.value[:30]}' is no effective time: YYYYMMDD.")
    return WithState(ANY, (EffectiveTime(Comparison.EQUAL, Times((int(asked.value),))),))


def _parent(asked: Filter) -> Expression:
    _require(asked, FilterOperator.EQUALS, FilterOperator.IN)
    return Related(Direction.CHILD, _references(asked))


def _child(asked: Filter) -> Expression:
    _require(asked, FilterOperator.EQUALS, FilterOperator.IN)
    return Related(Direction.PARENT, _references(asked))


def _expressions(asked: Filter) -> Expression:
    """Whether expressions belong to the value set: there are none here, so that it does not matter."""
    _require(asked, FilterOperator.EQUALS)
    _truth(asked)
    return ANY


def _require(asked: Filter, *operators: FilterOperator) -> None:
    if asked.operator not in operators:
        known = " or ".join(f"'{each}'" for each in operators)
        raise InvalidFilter(
            f"A SNOMED CT filter on '{asked.property}' has the operator {known}, not '{asked.operator}'."
        )


def _truth(asked: Filter) -> bool:
    if asked.value not in ("true", "false"):
        raise InvalidFilter(f"The value of a SNOMED CT filter on '{asked.property}' is 'true' or 'false'.")
    return asked.value == "true"


def _references(asked: Filter) -> Expression:
    codes = [asked.value.strip()] if asked.operator is FilterOperator.EQUALS else split_list(asked.value)
    found = tuple(_reference(code) for code in codes)
    return found[0] if len(found) == 1 else Either(found)


def _reference(code: str) -> ConceptReference:
    wrong = why_invalid(code.strip())
    if wrong is not None:
        raise InvalidFilter(f"'{code[:30]}' is no SNOMED CT concept: {wrong}.")
    return ConceptReference(code.strip())


_DIRECTIONS: Mapping[FilterOperator, Direction] = {
    FilterOperator.IS_A: Direction.DESCENDANT_OR_SELF,
    FilterOperator.DESCENDENT_OF: Direction.DESCENDANT,
    FilterOperator.CHILD_OF: Direction.CHILD,
    FilterOperator.GENERALIZES: Direction.ANCESTOR_OR_SELF,
}
_BY_NAME: Mapping[str, Callable[[Filter], Expression]] = {
    "moduleId": _module,
    "inactive": _inactive,
    "active": _active,
    "sufficientlyDefined": _defined,
    "effectiveTime": _effective_time,
    "parent": _parent,
    "child": _child,
    "expressions": _expressions,
}
