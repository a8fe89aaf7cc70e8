"""Random syntax trees of expression constraints."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from terminology.ecl.concepts import ACCEPTABLE, DEFINED, PREFERRED, PRIMITIVE
from terminology.ecl.syntax import (
    Active,
    All,
    AnyConcept,
    Attribute,
    Boolean,
    Both,
    Cardinality,
    Comparison,
    ConceptReference,
    DefinitionStatus,
    DescriptionId,
    Dialect,
    Dialects,
    Direction,
    Dotted,
    EffectiveTime,
    Either,
    Expression,
    Group,
    Language,
    Match,
    MemberField,
    MemberOf,
    Module,
    Number,
    OneOf,
    Refined,
    Related,
    SearchTerm,
    SearchTerms,
    Term,
    Times,
    Type,
    WithDescription,
    WithHistory,
    Without,
    WithState,
)

Strategy = st.SearchStrategy[Any]

SAME = st.sampled_from([Comparison.EQUAL, Comparison.NOT_EQUAL])
ORDER = st.sampled_from(Comparison)
CARDINALITIES = st.sampled_from(
    [Cardinality(), Cardinality(0, 0), Cardinality(0, 1), Cardinality(2), Cardinality(1, 1)]
)
TIMES = st.lists(st.sampled_from([0, 20240131, 20250131]), min_size=1, max_size=2).map(
    lambda each: Times(tuple(each))
)
NUMBERS = st.integers(-2, 3).map(Number)


def several(each: Strategy, least: int = 2) -> Strategy:
    """A tuple of two or three, or of fewer."""
    return st.lists(each, min_size=least, max_size=3).map(tuple)


@dataclass(frozen=True)
class Trees:
    """What trees are made of; `is_all`: also what is read and written but not answered."""

    references: Sequence[ConceptReference]
    words: Strategy
    wild: Strategy
    is_all: bool = False

    def expressions(self, leaves: int = 8) -> st.SearchStrategy[Expression]:
        """Expressions with up to so many concepts."""
        leaf = st.sampled_from(self.references) | st.just(AnyConcept())
        return st.recursive(leaf, self._grown, max_leaves=leaves)

    def _grown(self, inner: Strategy) -> Strategy:
        return (
            st.builds(Related, st.sampled_from(Direction), inner)
            | st.builds(MemberOf, inner, self._fields(), self._of_members(inner))
            | st.builds(Both, several(inner))
            | st.builds(Either, several(inner))
            | st.builds(Without, inner, inner)
            | st.builds(Dotted, inner, inner)
            | st.builds(Refined, inner, self._refinements(inner))
            | st.builds(WithDescription, inner, self._of_descriptions(inner))
            | st.builds(WithState, inner, self._of_states(inner))
            | st.builds(WithHistory, inner, inner)
        )

    def _fields(self) -> Strategy:
        more = [("a", "b"), ("*",)] if self.is_all else []
        return st.sampled_from([(), ("targetComponentId",), *more])

    def _terms(self) -> Strategy:
        term = st.builds(SearchTerm, st.just(Match.WORDS), self.words) | st.builds(
            SearchTerm, st.just(Match.WILD), self.wild
        )
        return several(term, 1).map(SearchTerms)

    def _shared(self, inner: Strategy) -> Strategy:
        return st.builds(Module, SAME, inner) | st.builds(EffectiveTime, ORDER, TIMES)

    def _of_members(self, inner: Strategy) -> Strategy:
        active = st.builds(Active, st.sampled_from([True, False, None] if self.is_all else [True]))
        value = inner | self._terms()
        field = (
            st.builds(MemberField, st.just("targetComponentId"), SAME, inner)
            | st.builds(MemberField, st.just("referencedComponentId"), SAME, inner)
            | st.builds(MemberField, st.just("mapTarget"), SAME, value)
            | st.builds(MemberField, st.just("mapGroup"), ORDER, NUMBERS)
        )
        return several(self._shared(inner) | active | field, 0)

    def _of_descriptions(self, inner: Strategy) -> Strategy:
        accepted = st.sampled_from([(), (PREFERRED,), (ACCEPTABLE,), (PREFERRED, ACCEPTABLE)])
        dialect = st.builds(Dialect, st.sampled_from(self.references), accepted)
        return several(
            self._shared(inner)
            | st.builds(Active, st.sampled_from([True, False, None]))
            | st.builds(Term, SAME, self._terms())
            | st.builds(Type, SAME, inner)
            | st.builds(Language, SAME, st.sampled_from([("en",), ("de", "en")]))
            | st.builds(Dialects, SAME, several(dialect, 1))
            | st.builds(DescriptionId, SAME, st.just(("123456", "234567"))),
            1,
        )

    def _of_states(self, inner: Strategy) -> Strategy:
        statuses = st.sampled_from([ConceptReference(DEFINED), ConceptReference(PRIMITIVE)])
        return several(
            self._shared(inner)
            | st.builds(Active, st.sampled_from([True, False, None]))
            | st.builds(DefinitionStatus, SAME, inner if self.is_all else statuses),
            1,
        )

    def _refinements(self, inner: Strategy) -> Strategy:
        attribute = (
            st.builds(Attribute, inner, SAME, inner, CARDINALITIES)
            | st.builds(Attribute, inner, ORDER, NUMBERS, CARDINALITIES)
            | st.builds(
                Attribute, inner, SAME, self._terms() | st.builds(Boolean, st.booleans()), CARDINALITIES
            )
        )
        backwards = st.builds(Attribute, inner, SAME, inner, CARDINALITIES, st.just(True))
        grouped = self._sets(attribute | backwards if self.is_all else attribute)
        return self._sets(attribute | backwards | st.builds(Group, grouped, CARDINALITIES))

    def _sets(self, part: Strategy) -> Strategy:
        one_level = part | st.builds(All, several(part)) | st.builds(OneOf, several(part))
        return one_level | st.builds(All, several(one_level)) | st.builds(OneOf, several(one_level))
