"""Filters on descriptions, concepts and members of reference sets as SQL (ECL 2.2, §6.8 to §6.10).

Descriptions that are active are meant unless a filter says otherwise; of reference sets only the active
members are kept.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, false, func, literal, not_, or_, select
from sqlalchemy.sql.selectable import FromClause

from terminology.ecl.concepts import ACCEPTABLE, DEFINED, PREFERRED, PRIMITIVE
from terminology.ecl.fields import number_in, text_in
from terminology.ecl.matching import any_row, at_times, compared, matches_terms, matches_text, unless
from terminology.ecl.syntax import (
    Active,
    Boolean,
    Comparison,
    ConceptFilter,
    ConceptReference,
    DefinitionStatus,
    DescriptionFilter,
    DescriptionId,
    Dialect,
    Dialects,
    EffectiveTime,
    Either,
    Expression,
    Language,
    MemberField,
    MemberFilter,
    Module,
    Number,
    SearchTerms,
    Term,
    Times,
    Type,
)
from terminology.issues import NotSupported
from terminology.tables import TerminologyConcept, TerminologyConceptState, TerminologyDescription

if TYPE_CHECKING:
    from terminology.ecl.evaluate import Meaning

_LETTERS = {PREFERRED: "p", ACCEPTABLE: "a"}  # as `TerminologyDescription.dialects` has them


def by_description(
    meaning: "Meaning", filters: Sequence[DescriptionFilter], number: ColumnElement[int]
) -> ColumnElement[bool]:
    """Whether one description of a concept passes all filters."""
    description, here = meaning.table(TerminologyDescription)
    conditions = [_describes(meaning, each, description) for each in filters]
    if not any(isinstance(each, Active) for each in filters):
        conditions.append(description.c.active)
    return any_row(description, here, description.c.concept == number, *conditions)


def _describes(meaning: "Meaning", asked: DescriptionFilter, row: FromClause) -> ColumnElement[bool]:
    match asked:
        case Term(comparison, terms):
            return unless(comparison, matches_terms(terms, row.c.words, row.c.term))
        case Language(comparison, codes):
            return unless(comparison, row.c.language.in_(codes))
        case Type(comparison, types):
            return unless(comparison, _known_among(meaning, types, row.c.kind))
        case Dialects(comparison, dialects):
            return unless(comparison, or_(*(_in_dialect(meaning, each, row) for each in dialects)))
        case DescriptionId(comparison, codes):
            return unless(comparison, row.c.code.in_(codes))
        case Active(value):
            return _active(value, row)
        case _:
            return _shared(meaning, asked, row)


def _in_dialect(meaning: "Meaning", dialect: Dialect, row: FromClause) -> ColumnElement[bool]:
    wanted = dialect.acceptabilities or tuple(_LETTERS)
    marks = [
        f"% {meaning.number_of[code]}{_LETTERS[each]} %"
        for code in _refsets(dialect.refset)
        for each in wanted
        if each in _LETTERS
    ]
    return or_(false(), *(row.c.dialects.like(mark) for mark in marks))


def _refsets(node: Expression) -> Iterator[str]:
    for each in node.parts if isinstance(node, Either) else (node,):
        if not isinstance(each, ConceptReference):
            raise NotSupported("ECL: dialectId is compared with reference sets by their identifiers alone.")
        yield each.code


def _active(value: bool | None, row: FromClause) -> ColumnElement[bool]:
    return literal(1) == 1 if value is None else row.c.active if value else not_(row.c.active)


def _shared(meaning: "Meaning", asked: Any, row: FromClause) -> ColumnElement[bool]:
    if isinstance(asked, Module):
        return unless(asked.comparison, _known_among(meaning, asked.modules, row.c.module))
    assert isinstance(asked, EffectiveTime)
    return at_times(asked.comparison, row.c.effective_time, asked.times)


def _known_among(meaning: "Meaning", node: Expression, column: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a column has one of these concepts; False: it has none."""
    return and_(column.is_not(None), meaning.among(node, column))


def by_state(
    meaning: "Meaning", filters: Sequence[ConceptFilter], number: ColumnElement[int]
) -> ColumnElement[bool]:
    """Whether a concept passes all filters."""
    return and_(*(_states(meaning, each, number) for each in filters))


def _states(meaning: "Meaning", asked: ConceptFilter, number: ColumnElement[int]) -> ColumnElement[bool]:
    is_active = isinstance(asked, Active)
    row, here = meaning.table(TerminologyConcept if is_active else TerminologyConceptState)
    if isinstance(asked, Active):
        condition = _active(asked.value, row)
    elif isinstance(asked, DefinitionStatus):
        condition = unless(asked.comparison, _has_status(asked.statuses, row))
    else:
        condition = _shared(meaning, asked, row)
    return any_row(row, here, row.c.number == number, condition)


def _has_status(statuses: Expression, row: FromClause) -> ColumnElement[bool]:
    parts = statuses.parts if isinstance(statuses, Either) else (statuses,)
    wanted = {each.code for each in parts if isinstance(each, ConceptReference)}
    if len(wanted) < len(parts) or not wanted <= {DEFINED, PRIMITIVE}:
        raise NotSupported("ECL: a definition status is one of the two that SNOMED CT has.")
    return row.c.defined.in_([each == DEFINED for each in sorted(wanted)])


def of_member(
    meaning: "Meaning", filters: Sequence[MemberFilter], row: FromClause, level: int
) -> Iterator[ColumnElement[bool]]:
    """What is asked of a row of a reference set."""
    for asked in filters:
        if isinstance(asked, Active):
            if not asked.value:
                raise NotSupported("ECL: inactive members of reference sets are not kept here.")
        elif isinstance(asked, MemberField):
            yield _has_field(meaning, asked, row, level)
        else:
            yield _shared(meaning, asked, row)


def _has_field(meaning: "Meaning", asked: MemberField, row: FromClause, level: int) -> ColumnElement[bool]:
    own = {"referencedComponentId": row.c.concept, "targetComponentId": row.c.target}.get(asked.name)
    if own is not None and isinstance(asked.value, Expression):
        return and_(own.is_not(None), unless(asked.comparison, meaning.holds(asked.value, own, level + 1)))
    text = text_in(row.c.fields, asked.name)
    match asked.value:
        case Number(value):
            return compared(asked.comparison, number_in(row.c.fields, asked.name), float(value))
        case SearchTerms():
            return unless(asked.comparison, matches_text(asked.value, text))
        case Boolean(value):
            wanted = value != (asked.comparison is Comparison.NOT_EQUAL)
            return func.lower(text).in_(("true", "1") if wanted else ("false", "0"))
        case Times(dates):
            return or_(*(compared(asked.comparison, text, str(date or "")) for date in dates))
        case _:
            concept, here = meaning.table(TerminologyConcept)
            codes = select(concept.c.code).where(here, meaning.among(asked.value, concept.c.number))
            return and_(text.is_not(None), unless(asked.comparison, text.in_(codes)))
