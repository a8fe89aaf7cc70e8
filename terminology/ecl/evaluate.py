"""Which concepts of a release an expression constraint means, as SQL (ECL 2.2, §6 and §7.4).

A `Meaning` says it in two ways. `numbers` selects the concepts, beginning where there are likely fewest.
`holds` asks whether one concept is among them, by keys of that concept: fast for one, or for a few. What
lies deeper is a common table expression: SQLite cannot read many subqueries within one another, and the same
part is worked out once.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    and_,
    except_,
    false,
    literal,
    not_,
    or_,
    select,
    true,
    union,
    union_all,
)
from sqlalchemy.sql.selectable import CTE, FromClause

from server.kernel.rows import table_of
from terminology.ecl import filtering, refining
from terminology.ecl.matching import any_row, unindexed
from terminology.ecl.syntax import (
    AnyConcept,
    Both,
    ConceptReference,
    Direction,
    Dotted,
    Either,
    Expression,
    MemberOf,
    Refined,
    Related,
    WithDescription,
    WithHistory,
    Without,
    WithState,
)
from terminology.issues import NotSupported
from terminology.releases.numbers import above, below_others, each_number
from terminology.tables import (
    TerminologyChild,
    TerminologyClosure,
    TerminologyConcept,
    TerminologyMember,
    TerminologyRelation,
)

Number = ColumnElement[int]
Numbers = Select[Any]  # one column of concepts, `number`

INLINE_LEVELS = 1  # subqueries in which a part is still written where it is asked

_UP = frozenset({Direction.ANCESTOR, Direction.ANCESTOR_OR_SELF, Direction.PARENT, Direction.PARENT_OR_SELF})
_NEXT = frozenset({Direction.CHILD, Direction.CHILD_OR_SELF, Direction.PARENT, Direction.PARENT_OR_SELF})
_WITH_SELF = frozenset(
    {
        Direction.DESCENDANT_OR_SELF,
        Direction.CHILD_OR_SELF,
        Direction.ANCESTOR_OR_SELF,
        Direction.PARENT_OR_SELF,
    }
)
_ENDS = frozenset({Direction.TOP, Direction.BOTTOM})
_FIELDS = {"referencedComponentId": "concept", "targetComponentId": "target"}


class Meaning:
    """Expressions over one release, whose concepts are known by number."""

    def __init__(self, release_id: int, number_of: Mapping[str, int]) -> None:
        self.release_id = release_id
        self.number_of = number_of
        self._parts: dict[Expression, CTE] = {}

    def table(self, row: type[Any]) -> tuple[FromClause, ColumnElement[bool]]:
        """A table under a name of its own, and that its rows are of this release."""
        table = table_of(row).alias()
        return table, table.c.release_id == self.release_id

    def numbers(self, node: Expression) -> Numbers:
        """The concepts that an expression means, each once; the column is `number`."""
        return _NUMBERS[type(node)](self, node)

    def holds(self, node: Expression, number: Number, level: int = 0) -> ColumnElement[bool]:
        """Whether an expression means a concept; `level` subqueries lie around it."""
        if level > INLINE_LEVELS and not is_plain(node):
            return number.in_(self.part(node))
        return _HOLDS[type(node)](self, node, number, level)

    def part(self, node: Expression) -> Numbers:
        """The same as `numbers`, as a part of a statement that may use it often."""
        if is_plain(node):
            return self.numbers(node)
        if node not in self._parts:
            self._parts[node] = self.numbers(node).cte(f"part_{len(self._parts)}")
        return select(self._parts[node].c.number)

    def among(self, node: Expression, number: Number) -> ColumnElement[bool]:
        """Whether a concept is among what an expression means, where all of those are wanted at once."""
        if isinstance(node, ConceptReference | AnyConcept):
            return self.holds(node, number)
        return number.in_(self.part(node))

    def narrowed(self, base: Expression, condition: Callable[[Number], ColumnElement[bool]]) -> Numbers:
        """Those of an expression for which a condition holds."""
        each = self.numbers(base).subquery()
        return select(each.c.number).where(condition(each.c.number))


def is_plain(node: Expression) -> bool:
    """Whether it is one look into one index."""
    if isinstance(node, Related):
        return isinstance(node.of, ConceptReference) and node.direction not in _ENDS
    if isinstance(node, MemberOf):
        return isinstance(node.of, ConceptReference) and not node.filters
    return isinstance(node, ConceptReference | AnyConcept)


def is_in_order(node: Expression) -> bool:
    """Whether an index has the concepts that are meant in the order of their numbers."""
    return is_plain(node) and (
        (isinstance(node, MemberOf) and not node.fields)
        or (isinstance(node, Related) and node.direction not in _UP)
    )


def _reference(meaning: Meaning, node: ConceptReference) -> Numbers:
    return select(literal(meaning.number_of[node.code]).label("number"))


def _any(meaning: Meaning, _: AnyConcept) -> Numbers:
    concept, here = meaning.table(TerminologyConcept)
    return select(concept.c.number).where(here)


def _related(meaning: Meaning, node: Related) -> Numbers:
    if node.direction in _ENDS:
        return _ends(meaning, node)
    if isinstance(node.of, AnyConcept) and node.direction in _WITH_SELF:
        return meaning.numbers(node.of)
    found = _upwards(meaning, node) if node.direction in _UP else _downwards(meaning, node)
    if node.direction not in _WITH_SELF:
        return found
    join = union_all if isinstance(node.of, ConceptReference) else union
    return _as_select(join(found, meaning.part(node.of)))


def _as_select(compound: Any) -> Numbers:
    return select(compound.subquery().c.number)


def _downwards(meaning: Meaning, node: Related) -> Numbers:
    if node.direction in _NEXT or isinstance(node.of, AnyConcept):
        child, here = meaning.table(TerminologyChild)
        found = select(child.c.child.label("number")).where(here, child.c.parent != 0)
        upper = child.c.parent
    else:
        closure, here = meaning.table(TerminologyClosure)
        found = select(closure.c.descendant.label("number")).where(here)
        upper = closure.c.ancestor
    if isinstance(node.of, ConceptReference):
        return found.where(meaning.holds(node.of, upper))
    return found.where(meaning.among(node.of, upper)).distinct()


def _upwards(meaning: Meaning, node: Related) -> Numbers:
    if isinstance(node.of, AnyConcept):
        child, here = meaning.table(TerminologyChild)
        return select(child.c.parent.label("number")).where(here, child.c.parent != 0).distinct()
    return above(meaning.release_id, meaning.part(node.of), parents_only=node.direction in _NEXT)


def _ends(meaning: Meaning, node: Related) -> Numbers:
    """The top, or the bottom, of a set."""
    of, is_top = node.of, node.direction is Direction.TOP
    is_few = estimate(of) <= _SOME
    if is_top and is_few:
        return _top_of_some(meaning, of)
    if is_top or is_few or isinstance(of, AnyConcept):
        others = meaning.numbers(Related(Direction.DESCENDANT if is_top else Direction.ANCESTOR, of))
        return meaning.narrowed(of, lambda number: number.not_in(others))
    closure, here = meaning.table(TerminologyClosure)
    within = unindexed(closure.c.descendant).in_(meaning.part(of))
    each = meaning.part(of).subquery()
    is_higher = any_row(closure, here, closure.c.ancestor == each.c.number, within)
    return select(each.c.number).where(not_(is_higher))


def _top_of_some(meaning: Meaning, of: Expression) -> Numbers:
    """The top of a set, by what lies above each: cheaper than by what lies below, unless there are many."""
    return _but(meaning, of, below_others(meaning.release_id, meaning.part(of)))


def _but(meaning: Meaning, of: Expression, others: Numbers) -> Numbers:
    """Those of a set but others. Told NOT IN, PostgreSQL would look through so many for each."""
    return _as_select(except_(meaning.part(of), others))


def _members(meaning: Meaning, node: MemberOf) -> Numbers:
    member, here = meaning.table(TerminologyMember)
    number = _member_column(node, member)
    return (
        select(number.label("number"))
        .where(here, number.is_not(None), meaning.among(node.of, member.c.refset))
        .where(*filtering.of_member(meaning, node.filters, member, 0))
        .distinct()
    )


def _member_column(node: MemberOf, member: FromClause) -> Number:
    names = node.fields or ("referencedComponentId",)
    if len(names) > 1 or names[0] not in _FIELDS:
        raise NotSupported("ECL: '^ [field]' is done for referencedComponentId and targetComponentId alone.")
    return member.c[_FIELDS[names[0]]]


def _described(meaning: Meaning, node: WithDescription) -> Numbers:
    return meaning.narrowed(node.of, lambda number: filtering.by_description(meaning, node.filters, number))


def _stated(meaning: Meaning, node: WithState) -> Numbers:
    return meaning.narrowed(node.of, lambda number: filtering.by_state(meaning, node.filters, number))


def _history(meaning: Meaning, node: WithHistory) -> Numbers:
    member, here = meaning.table(TerminologyMember)
    associated = select(member.c.concept.label("number")).where(
        here, meaning.among(node.of, member.c.target), meaning.among(node.refsets, member.c.refset)
    )
    if isinstance(node.of, AnyConcept):
        return meaning.numbers(node.of)
    return _as_select(union(meaning.part(node.of), associated))


def _both(meaning: Meaning, node: Both) -> Numbers:
    first, *others = sorted(node.parts, key=estimate)
    return meaning.narrowed(first, lambda number: and_(*(meaning.holds(each, number) for each in others)))


def _either(meaning: Meaning, node: Either) -> Numbers:
    references = [each for each in node.parts if isinstance(each, ConceptReference)]
    found = [meaning.part(each) for each in node.parts if not isinstance(each, ConceptReference)]
    if references:
        concept, here = meaning.table(TerminologyConcept)
        known = {meaning.number_of[each.code] for each in references}
        found.append(select(concept.c.number).where(here, concept.c.number.in_(sorted(known))))
    return found[0] if len(found) == 1 else _as_select(union(*found))


def _without(meaning: Meaning, node: Without) -> Numbers:
    return meaning.narrowed(node.of, lambda number: not_(meaning.holds(node.excluded, number)))


def _dotted(meaning: Meaning, node: Dotted) -> Numbers:
    relation, here = meaning.table(TerminologyRelation)
    columns = relation.c
    source: Number = columns.source
    attribute: Number = columns.attribute
    if estimate(node.of) <= _FEW:
        attribute = unindexed(attribute)
    elif isinstance(node.attribute, ConceptReference):
        source = unindexed(source)
    return (
        select(unindexed(columns.target).label("number"))
        .where(here, meaning.among(node.of, source), meaning.among(node.attribute, attribute))
        .distinct()
    )


def _refined(meaning: Meaning, node: Refined) -> Numbers:
    driver = refining.driver(meaning, node.refinement)
    if driver is None or estimate(node.of) <= _FEW:
        return meaning.narrowed(
            node.of, lambda number: refining.holds(meaning, node.refinement, number, level=0)
        )
    each = driver.numbers.subquery()
    number = each.c.number
    found = select(number).where(meaning.holds(node.of, number))
    return (
        found if driver.is_exact else found.where(refining.holds(meaning, node.refinement, number, level=0))
    )


def _related_holds(meaning: Meaning, node: Related, number: Number, level: int) -> ColumnElement[bool]:
    if node.direction in _ENDS and isinstance(number, BindParameter):
        return _one_is_end(meaning, node, number, level)
    if not isinstance(node.of, ConceptReference) or node.direction in _ENDS:
        return number.in_(meaning.part(node))
    other = meaning.number_of[node.of.code]
    if node.direction in _NEXT:
        table, here = meaning.table(TerminologyChild)
        upper, lower = table.c.parent, table.c.child
    else:
        table, here = meaning.table(TerminologyClosure)
        upper, lower = table.c.ancestor, table.c.descendant
    if node.direction in _UP:
        found = any_row(table, here, upper == number, lower == other)
    else:
        found = any_row(table, here, upper == other, lower == number)
    return or_(number == other, found) if node.direction in _WITH_SELF else found


def _one_is_end(meaning: Meaning, node: Related, number: Number, level: int) -> ColumnElement[bool]:
    """Whether one given concept is at the top, or the bottom, of a set: without working out the whole end."""
    if node.direction is Direction.TOP:
        concept, here = meaning.table(TerminologyConcept)
        each = each_number(concept.c.ancestors)
        further = any_row(
            concept.join(each.table, true()),
            here,
            concept.c.number == number,
            meaning.holds(node.of, each.number, level + 1),
        )
    else:
        closure, here = meaning.table(TerminologyClosure)
        is_within = meaning.holds(node.of, closure.c.descendant, level + 1)
        further = any_row(closure, here, closure.c.ancestor == number, is_within)
    return and_(meaning.holds(node.of, number, level), not_(further))


def _member_holds(meaning: Meaning, node: MemberOf, number: Number, level: int) -> ColumnElement[bool]:
    member, here = meaning.table(TerminologyMember)
    return any_row(
        member,
        here,
        _member_column(node, member) == number,
        meaning.holds(node.of, member.c.refset, level + 1),
        *filtering.of_member(meaning, node.filters, member, level + 1),
    )


def _history_holds(meaning: Meaning, node: WithHistory, number: Number, level: int) -> ColumnElement[bool]:
    member, here = meaning.table(TerminologyMember)
    associated = any_row(
        member,
        here,
        member.c.concept == number,
        member.c.target.is_not(None),
        meaning.holds(node.of, member.c.target, level + 1),
        meaning.holds(node.refsets, member.c.refset, level + 1),
    )
    return or_(meaning.holds(node.of, number, level), associated)


def _either_holds(meaning: Meaning, node: Either, number: Number, level: int) -> ColumnElement[bool]:
    references = {meaning.number_of[each.code] for each in node.parts if isinstance(each, ConceptReference)}
    others = [
        meaning.holds(each, number, level) for each in node.parts if not isinstance(each, ConceptReference)
    ]
    known = [number.in_(sorted(references))] if references else []
    return or_(false(), *known, *others)


_ONE, _FEW, _SOME, _MANY, _ALL = 0, 1, 2, 3, 4


def estimate(node: Expression) -> int:
    """About how many concepts a part means: what is asked first is what likely means fewest."""
    match node:
        case ConceptReference():
            return _ONE
        case AnyConcept():
            return _ALL
        case Related():
            is_small = node.direction in _UP or node.direction in _NEXT or estimate(node.of) == _ALL
            return _FEW if is_small and isinstance(node.of, ConceptReference) else _MANY
        case MemberOf() | Dotted():
            return _SOME
        case Both():
            return min(estimate(each) for each in node.parts)
        case Either():
            return max(estimate(each) for each in node.parts)
        case Refined():
            return min(_SOME, estimate(node.of))
        case _:
            return estimate(node.of)


_NUMBERS: Mapping[type, Callable[[Meaning, Any], Numbers]] = {
    ConceptReference: _reference,
    AnyConcept: _any,
    Related: _related,
    MemberOf: _members,
    WithDescription: _described,
    WithState: _stated,
    WithHistory: _history,
    Both: _both,
    Either: _either,
    Without: _without,
    Dotted: _dotted,
    Refined: _refined,
}
_HOLDS: Mapping[type, Callable[[Meaning, Any, Number, int], ColumnElement[bool]]] = {
    ConceptReference: lambda meaning, node, number, _: number == meaning.number_of[node.code],
    AnyConcept: lambda *_: true(),
    Related: _related_holds,
    MemberOf: _member_holds,
    WithDescription: lambda meaning, node, number, level: and_(
        meaning.holds(node.of, number, level), filtering.by_description(meaning, node.filters, number)
    ),
    WithState: lambda meaning, node, number, level: and_(
        meaning.holds(node.of, number, level), filtering.by_state(meaning, node.filters, number)
    ),
    WithHistory: _history_holds,
    Both: lambda meaning, node, number, level: and_(
        *(meaning.holds(each, number, level) for each in node.parts)
    ),
    Either: _either_holds,
    Without: lambda meaning, node, number, level: and_(
        meaning.holds(node.of, number, level), not_(meaning.holds(node.excluded, number, level))
    ),
    # Looked up from its end alone an attribute would be looked for in all.
    Dotted: lambda meaning, node, number, _: number.in_(meaning.part(node)),
    Refined: lambda meaning, node, number, level: and_(
        meaning.holds(node.of, number, level), refining.holds(meaning, node.refinement, number, level)
    ),
}
