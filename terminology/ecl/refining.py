"""Refinements as SQL: attributes, groups and how often they occur (ECL 2.2, §6.2 and §6.3).

Attributes and groups are counted as the release has them, which is without redundant ones. Group 0 of a
relationship means that it is in no group.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, and_, distinct, func, not_, or_, select, true, union
from sqlalchemy.sql.selectable import FromClause

from terminology.ecl.matching import any_row, compared, matches_text, unindexed
from terminology.ecl.syntax import (
    All,
    AnyConcept,
    Attribute,
    Boolean,
    Cardinality,
    Comparison,
    Expression,
    Group,
    Number,
    OneOf,
    Refinement,
    SearchTerms,
)
from terminology.issues import NotSupported
from terminology.tables import TerminologyConcreteValue, TerminologyRelation

if TYPE_CHECKING:
    from terminology.ecl.evaluate import Meaning

_ONCE = Cardinality()


@dataclass(frozen=True, slots=True)
class Driver:
    """Concepts among which are all that a refinement lets through; `is_exact`: those alone."""

    numbers: Select[Any]
    is_exact: bool


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of one concept that an attribute is looked for in."""

    table: FromClause
    here: ColumnElement[bool]
    own: ColumnElement[int]  # the concept that is refined


def driver(meaning: "Meaning", node: Refinement, *, is_grouped: bool = False) -> Driver | None:
    """Where to begin; None: nothing says few."""
    match node:
        case Attribute():
            return _attribute_driver(meaning, node, is_grouped=is_grouped)
        case Group():
            inner = driver(meaning, node.of, is_grouped=True) if node.cardinality.least else None
            is_exact = node.cardinality == _ONCE and not isinstance(node.of, All)
            return inner and Driver(inner.numbers, inner.is_exact and is_exact)
        case All():
            found = (driver(meaning, each, is_grouped=is_grouped) for each in node.parts)
            first = next((each for each in found if each is not None), None)
            return first and Driver(first.numbers, is_exact=False)
        case OneOf():
            each = [driver(meaning, part, is_grouped=is_grouped) for part in node.parts]
            drivers = [part for part in each if part is not None]
            if len(drivers) < len(each):
                return None
            joined = union(*(part.numbers for part in drivers)).subquery()
            return Driver(select(joined.c.number), all(part.is_exact for part in drivers))


def _attribute_driver(meaning: "Meaning", node: Attribute, *, is_grouped: bool) -> Driver | None:
    is_any = isinstance(node.name, AnyConcept) and isinstance(node.value, AnyConcept)
    is_other = node.comparison is Comparison.NOT_EQUAL and isinstance(node.value, Expression)
    if is_grouped:
        _refuse_reversed(node)
    if not node.cardinality.least or is_any or is_other:
        return None
    rows = _rows(meaning, node)
    number = unindexed(rows.own).label("number")  # or SQLite would read all rows in its order
    found = select(number).where(rows.here, meaning.among(node.name, rows.table.c.attribute))
    if isinstance(node.value, Expression):
        found = found.where(meaning.among(node.value, _other_end(node, rows)))
    else:
        found = found.where(_value_fits(meaning, node, rows, 0))
    if is_grouped:
        found = found.where(rows.table.c.role_group > 0)
    return Driver(found.distinct(), node.cardinality == _ONCE)


def holds(
    meaning: "Meaning",
    node: Refinement,
    number: ColumnElement[int],
    level: int,
    group: ColumnElement[int] | None = None,
) -> ColumnElement[bool]:
    """Whether a concept has the attributes; `group`: within this group of it."""
    match node:
        case Attribute():
            return _has_attribute(meaning, node, number, level, group)
        case Group():
            return _has_group(meaning, node, number, level)
        case All():
            return and_(*(holds(meaning, each, number, level, group) for each in node.parts))
        case OneOf():
            return or_(*(holds(meaning, each, number, level, group) for each in node.parts))


def _has_attribute(
    meaning: "Meaning",
    node: Attribute,
    number: ColumnElement[int],
    level: int,
    group: ColumnElement[int] | None,
) -> ColumnElement[bool]:
    if group is not None:
        _refuse_reversed(node)
    if node.is_reversed:
        return _is_value_of(meaning, node, number)
    rows = _rows(meaning, node)
    conditions = [
        rows.here,
        rows.own == number,
        meaning.holds(node.name, unindexed(rows.table.c.attribute), level + 1),
        _value_fits(meaning, node, rows, level + 1),
    ]
    if group is not None:
        conditions.append(rows.table.c.role_group == group)
    return _as_often(node.cardinality, rows.table, func.count(), and_(*conditions))


def _refuse_reversed(node: Attribute) -> None:
    if node.is_reversed:
        raise NotSupported("ECL: a reversed attribute within a group is not supported.")


def _is_value_of(meaning: "Meaning", node: Attribute, number: ColumnElement[int]) -> ColumnElement[bool]:
    """A reversed attribute, looked for from the other end."""
    rows = _rows(meaning, node)
    fits = meaning.among(node.value, _other_end(node, rows))  # type: ignore[arg-type]  # the parser saw to it
    if node.comparison is Comparison.NOT_EQUAL:
        fits = not_(fits)
    found = (
        select(rows.own.label("number"))
        .where(rows.here, meaning.among(node.name, rows.table.c.attribute), fits)
        .group_by(rows.own)
    )
    least, most = node.cardinality.least, node.cardinality.most
    if most is None:
        return number.in_(found.having(func.count() >= least) if least > 1 else found) if least else true()
    if least == 0:
        return number.not_in(found.having(func.count() > most))
    return number.in_(found.having(func.count().between(least, most)))


def _has_group(
    meaning: "Meaning", node: Group, number: ColumnElement[int], level: int
) -> ColumnElement[bool]:
    leading = _leading(node.of)
    if leading is None:
        groups = _groups(meaning, number)
        conditions = [holds(meaning, node.of, number, level + 1, groups.c.role_group)]
    else:
        rows = _rows(meaning, leading)
        groups = rows.table
        conditions = [
            rows.here,
            rows.own == number,
            groups.c.role_group > 0,
            meaning.holds(leading.name, unindexed(groups.c.attribute), level + 1),
            _value_fits(meaning, leading, rows, level + 1),
        ]
        others = _others(node.of, leading)
        conditions += [holds(meaning, each, number, level + 1, groups.c.role_group) for each in others]
    return _as_often(node.cardinality, groups, func.count(distinct(groups.c.role_group)), and_(*conditions))


def _leading(node: Refinement) -> Attribute | None:
    """An attribute that the group must have: it leads to the group."""
    parts = node.parts if isinstance(node, All) else (node,)
    required = (
        each
        for each in parts
        if isinstance(each, Attribute) and each.cardinality.least and not each.is_reversed
    )
    return next(required, None)


def _others(node: Refinement, leading: Attribute) -> list[Refinement]:
    """What is to be looked at beside the leading attribute; itself where it is counted."""
    parts = node.parts if isinstance(node, All) else (node,)
    return [each for each in parts if each is not leading or leading.cardinality != _ONCE]


def _groups(meaning: "Meaning", number: ColumnElement[int]) -> FromClause:
    """The groups of a concept."""
    found = []
    for row in (TerminologyRelation, TerminologyConcreteValue):
        table, here = meaning.table(row)
        of_concept = select(table.c.role_group).where(here, table.c.source == number, table.c.role_group > 0)
        found.append(of_concept.correlate_except(table))
    return union(*found).subquery()


def _as_often(
    cardinality: Cardinality,
    table: FromClause,
    count: ColumnElement[int],
    condition: ColumnElement[bool],
) -> ColumnElement[bool]:
    """Whether as many rows fit as there may be."""
    if cardinality.most is None and cardinality.least == 0:
        return true()
    if cardinality == _ONCE:
        return any_row(table, condition)
    if cardinality.most == 0:
        return not_(any_row(table, condition))
    counted = select(count).select_from(table).where(condition)
    found = counted.correlate_except(table).scalar_subquery()
    if cardinality.most is None:
        return found >= cardinality.least
    return found.between(cardinality.least, cardinality.most)


def _rows(meaning: "Meaning", node: Attribute) -> _Rows:
    is_concept = isinstance(node.value, Expression)
    table, here = meaning.table(TerminologyRelation if is_concept else TerminologyConcreteValue)
    return _Rows(table, here, table.c.target if node.is_reversed else table.c.source)


def _other_end(node: Attribute, rows: _Rows) -> ColumnElement[int]:
    return rows.table.c.source if node.is_reversed else rows.table.c.target


def _value_fits(meaning: "Meaning", node: Attribute, rows: _Rows, level: int) -> ColumnElement[bool]:
    columns = rows.table.c
    match node.value:
        case Number(value):
            return compared(node.comparison, columns.number, float(value))
        case SearchTerms():
            found = matches_text(node.value, columns.value)
            fits = and_(columns.number.is_(None), found)
            return and_(columns.number.is_(None), not_(found)) if _is_not(node) else fits
        case Boolean(value):
            wanted = str(value != _is_not(node)).lower()
            return and_(columns.number.is_(None), func.lower(columns.value) == wanted)
        case _:
            fits = meaning.holds(node.value, unindexed(_other_end(node, rows)), level)
            return not_(fits) if _is_not(node) else fits


def _is_not(node: Attribute) -> bool:
    return node.comparison is Comparison.NOT_EQUAL
