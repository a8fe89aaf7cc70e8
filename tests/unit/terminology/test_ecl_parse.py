"""Expression constraints are read (ECL 2.2, §5.1 and the examples of §6, in our own concepts)."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terminology.ecl.concepts import ACCEPTABLE, DEFINED, PREFERRED, SYNONYM
from terminology.ecl.parse import parse
from terminology.ecl.render import render
from terminology.ecl.scan import MAX_CHARACTERS, MAX_DEPTH, MAX_PARTS, InvalidExpression
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
from tests.unit.terminology.ecl_trees import Trees

A, B, C, D = (ConceptReference(f"{digit}00000100") for digit in (1, 2, 3, 4))
ALL = AnyConcept()
EQUAL, NOT_EQUAL = Comparison.EQUAL, Comparison.NOT_EQUAL


def below(of: Expression) -> Related:
    return Related(Direction.DESCENDANT, of)


def words(*texts: str) -> SearchTerms:
    return SearchTerms(tuple(SearchTerm(Match.WORDS, each) for each in texts))


def has(value: Any, comparison: Comparison = EQUAL) -> Refined:
    return Refined(A, Attribute(B, comparison, value))


SIMPLE = {
    "100000100": A,
    " \t\r\n100000100 ": A,
    "100000100 |A term (with brackets)|": A,
    "100000100|tight|": A,
    "/* first */ 100000100 /* a * star **/": A,
    "*": ALL,
    "ANY": ALL,
    "(100000100)": A,
    "((((< 100000100))))": below(A),
    "< (< 100000100)": below(below(A)),
    "^ 100000100": MemberOf(A),
    "memberOf 100000100": MemberOf(A),
    "^ (< 100000100)": MemberOf(below(A)),
    "^ *": MemberOf(ALL),
    "< ^ 100000100": below(MemberOf(A)),
    "^ [targetComponentId] 100000100": MemberOf(A, ("targetComponentId",)),
    "^ [ a , b ] 100000100": MemberOf(A, ("a", "b")),
    "^ [*] 100000100": MemberOf(A, ("*",)),
    "!!> (< 100000100)": Related(Direction.TOP, below(A)),
}
DIRECTIONS = {each.value: each for each in Direction} | {
    "descendantOf ": Direction.DESCENDANT,
    "DESCENDANTORSELFOF ": Direction.DESCENDANT_OR_SELF,
    "childOf ": Direction.CHILD,
    "childOrSelfOf ": Direction.CHILD_OR_SELF,
    "ancestorOf ": Direction.ANCESTOR,
    "ancestorOrSelfOf ": Direction.ANCESTOR_OR_SELF,
    "parentOf ": Direction.PARENT,
    "parentOrSelfOf ": Direction.PARENT_OR_SELF,
    "top ": Direction.TOP,
    "bottom ": Direction.BOTTOM,
}
COMPOUND = {
    "100000100 AND 200000100": Both((A, B)),
    "100000100, 200000100 and 300000100": Both((A, B, C)),
    "100000100 or 200000100 OR 300000100": Either((A, B, C)),
    "100000100 MINUS 200000100": Without(A, B),
    "(100000100 AND 200000100) OR 300000100": Either((Both((A, B)), C)),
    "100000100 MINUS (200000100 OR 300000100)": Without(A, Either((B, C))),
    "100000100 . 200000100": Dotted(A, B),
    "< 100000100.200000100 . (300000100 OR 400000100)": Dotted(Dotted(below(A), B), Either((C, D))),
}
EQUALS_C = Attribute(B, EQUAL, C)
REFINED = {
    "100000100 : 200000100 = 300000100": has(C),
    "100000100 : 200000100 = < 300000100": has(below(C)),
    "100000100 : 200000100 != 300000100": has(C, NOT_EQUAL),
    "100000100 : 200000100 NOT = 300000100": has(C, NOT_EQUAL),
    "100000100 : 200000100 <> 300000100": has(C, NOT_EQUAL),
    "100000100 : * = *": Refined(A, Attribute(ALL, EQUAL, ALL)),
    "100000100 : (200000100 OR 300000100) = 400000100": Refined(A, Attribute(Either((B, C)), EQUAL, D)),
    "100000100 : < 200000100 = 300000100": Refined(A, Attribute(below(B), EQUAL, C)),
    "100000100 : R 200000100 = 300000100": Refined(A, Attribute(B, EQUAL, C, is_reversed=True)),
    "100000100 : reverseOf 200000100 = 300000100": Refined(A, Attribute(B, EQUAL, C, is_reversed=True)),
    "100000100 : [1..3] 200000100 = 300000100": Refined(A, Attribute(B, EQUAL, C, Cardinality(1, 3))),
    "100000100 : [0 to many] 200000100 = 300000100": Refined(A, Attribute(B, EQUAL, C, Cardinality(0))),
    "100000100 : [0..0] R 200000100 = 300000100": Refined(
        A, Attribute(B, EQUAL, C, Cardinality(0, 0), is_reversed=True)
    ),
    "100000100 : 200000100 = 300000100, 300000100 = 400000100": Refined(
        A, All((EQUALS_C, Attribute(C, EQUAL, D)))
    ),
    "100000100 : 200000100 = 300000100 OR { 300000100 = 400000100 }": Refined(
        A, OneOf((EQUALS_C, Group(Attribute(C, EQUAL, D))))
    ),
    "100000100 : (200000100 = 300000100 OR 300000100 = 400000100), 200000100 = 300000100": Refined(
        A, All((OneOf((EQUALS_C, Attribute(C, EQUAL, D))), EQUALS_C))
    ),
    "100000100 : ((200000100)) = 300000100": has(C),
    "100000100 : ({200000100 = 300000100})": Refined(A, Group(EQUALS_C)),
    "100000100 : {200000100 = 300000100}": Refined(A, Group(EQUALS_C)),
    "100000100 : [0..1] { [2..*] 200000100 = 300000100, 300000100 = 400000100 }": Refined(
        A,
        Group(All((Attribute(B, EQUAL, C, Cardinality(2)), Attribute(C, EQUAL, D))), Cardinality(0, 1)),
    ),
    "(100000100 : 200000100 = 300000100) AND 400000100": Both((has(C), D)),
    "100000100 : 200000100 = (300000100 : 400000100 = 100000100)": has(Refined(C, Attribute(D, EQUAL, A))),
    "100000100 : (200000100 {{ C active = 1 }}) = 300000100": Refined(
        A, Attribute(WithState(B, (Active(value=True),)), EQUAL, C)
    ),
    "100000100 : (200000100) {{ C active = 1 }} = 300000100": Refined(
        A, Attribute(WithState(B, (Active(value=True),)), EQUAL, C)
    ),
    "100000100 : 200000100 = #5": has(Number(Decimal(5))),
    "100000100 : 200000100 >= #-2.50": has(Number(Decimal("-2.50")), Comparison.GREATER_OR_EQUAL),
    "100000100 : 200000100 < #10": has(Number(Decimal(10)), Comparison.LESS),
    '100000100 : 200000100 = "two words"': has(words("two words")),
    '100000100 : 200000100 = ("one" match:"two")': has(words("one", "two")),
    '100000100 : 200000100 = wild:"a\\*b* \\"c\\""': has(
        SearchTerms((SearchTerm(Match.WILD, 'a\\*b* "c"'),))
    ),
    "100000100 : 200000100 = TRUE": has(Boolean(value=True)),
    "100000100 : 200000100 != false": has(Boolean(value=False), NOT_EQUAL),
}


def described(*filters: Any) -> WithDescription:
    return WithDescription(A, filters)


FILTERED = {
    '100000100 {{ term = "heart att" }}': described(Term(EQUAL, words("heart att"))),
    '100000100 {{D term != ("heart" "card")}}': described(Term(NOT_EQUAL, words("heart", "card"))),
    '< 100000100 {{ term = "x" }}': WithDescription(below(A), (Term(EQUAL, words("x")),)),
    "100000100 {{ language = SV }}": described(Language(EQUAL, ("sv",))),
    "100000100 {{ language != (de en) }}": described(Language(NOT_EQUAL, ("de", "en"))),
    "100000100 {{ type = syn }}": described(Type(EQUAL, ConceptReference(SYNONYM))),
    "100000100 {{ typeId = 200000100 }}": described(Type(EQUAL, B)),
    "100000100 {{ typeId = (200000100 300000100) }}": described(Type(EQUAL, Either((B, C)))),
    "100000100 {{ typeId = (200000100 OR 300000100) }}": described(Type(EQUAL, Either((B, C)))),
    "100000100 {{ dialect = de (prefer) }}": described(
        Dialects(EQUAL, (Dialect(ConceptReference("722130004"), (PREFERRED,)),))
    ),
    "100000100 {{ dialect = (de (accept) fr) (prefer) }}": described(
        Dialects(
            EQUAL,
            (
                Dialect(ConceptReference("722130004"), (ACCEPTABLE,)),
                Dialect(ConceptReference("722131000"), (PREFERRED,)),
            ),
        )
    ),
    "100000100 {{ dialectId = 200000100 (300000100 400000100) }}": described(
        Dialects(EQUAL, (Dialect(B, (C.code, D.code)),))
    ),
    "100000100 {{ dialectId = (200000100 (prefer) 300000100) }}": described(
        Dialects(EQUAL, (Dialect(B, (PREFERRED,)), Dialect(C)))
    ),
    "100000100 {{ dialectId = (< 200000100) }}": described(Dialects(EQUAL, (Dialect(below(B)),))),
    "100000100 {{ moduleId = 200000100, active = 0, id = 123456 }}": described(
        Module(EQUAL, B), Active(value=False), DescriptionId(EQUAL, ("123456",))
    ),
    '100000100 {{ effectiveTime >= "20240131" }}': described(
        EffectiveTime(Comparison.GREATER_OR_EQUAL, Times((20240131,)))
    ),
    "100000100 {{ C definitionStatus = defined }}": WithState(
        A, (DefinitionStatus(EQUAL, ConceptReference(DEFINED)),)
    ),
    "100000100 {{ c definitionStatusId = 200000100 }}": WithState(A, (DefinitionStatus(EQUAL, B),)),
    '100000100 {{ C effectiveTime = ("20240131" "") }}': WithState(
        A, (EffectiveTime(EQUAL, Times((20240131, 0))),)
    ),
    "100000100 {{ C active = false, moduleId != < 200000100 }}": WithState(
        A, (Active(value=False), Module(NOT_EQUAL, below(B)))
    ),
    '100000100 {{ C active = "*" }}': WithState(A, (Active(value=None),)),
    "100000100 {{ C active != 1 }}": WithState(A, (Active(value=False),)),
    "100000100 {{ C active = 1 }} {{ type = syn }}": WithDescription(
        WithState(A, (Active(value=True),)), (Type(EQUAL, ConceptReference(SYNONYM)),)
    ),
    '^ 100000100 {{ M mapTarget = "J45", mapGroup = #2 }}': MemberOf(
        A,
        (),
        (MemberField("mapTarget", EQUAL, words("J45")), MemberField("mapGroup", EQUAL, Number(Decimal(2)))),
    ),
    "< ^ 100000100 {{ M targetComponentId = < 200000100 }} {{ C active = 1 }}": WithState(
        below(MemberOf(A, (), (MemberField("targetComponentId", EQUAL, below(B)),))), (Active(value=True),)
    ),
    '^ 100000100 {{ m validUntil > "20240131" }}': MemberOf(
        A, (), (MemberField("validUntil", Comparison.GREATER, Times((20240131,))),)
    ),
    "< 100000100 {{ + HISTORY }}": WithHistory(below(A), ALL),
    "< 100000100 {{+HISTORY_MIN}}": WithHistory(below(A), ConceptReference("900000000000527005")),
    "< 100000100 {{ +history-max }}": WithHistory(below(A), ALL),
    "< 100000100 {{ + HISTORY (< 200000100) }}": WithHistory(below(A), below(B)),
    "100000100 : 200000100 = < 300000100 {{ +HISTORY }}": has(WithHistory(below(C), ALL)),
}


@pytest.mark.parametrize(("text", "tree"), [*(SIMPLE | COMPOUND | REFINED | FILTERED).items()])
def test_5_1_is_read(text: str, tree: Expression) -> None:
    assert parse(text) == tree
    assert parse(render(tree)) == tree


@pytest.mark.parametrize(("sign", "direction"), DIRECTIONS.items())
def test_5_1_constraint_operators(sign: str, direction: Direction) -> None:
    assert parse(f"{sign}100000100") == Related(direction, A)


# The expression, where it cannot be understood (from 0), and what is said of it.
INVALID = [
    ("", 0, "a concept"),
    ("<<", 2, "a concept"),
    ("<< abc", 3, "a concept"),
    ("12345", 0, "no concept identifier"),
    ("012345678", 0, "no concept identifier"),
    ("1234567890123456789", 0, "no concept identifier"),
    ("<< 100000100 <<", 13, "the end expected"),
    ("< < 100000100", 2, "a concept"),
    ("100000100 |open", 10, "a term"),
    ("100000100 ||", 10, "a term"),
    ("100000100 /* open", 10, "the end expected"),
    ("(100000100", 10, "')' expected"),
    ("100000100)", 9, "the end expected"),
    ("100000100 AND 200000100 OR 300000100", 24, "brackets"),
    ("100000100 OR 200000100 MINUS 300000100", 23, "brackets"),
    ("100000100 MINUS 200000100 MINUS 300000100", 26, "brackets"),
    ("100000100 AND", 13, "a concept"),
    ("LOINC#1234-5", 0, "alternate identifiers"),
    ('"LOINC#1234-5"', 0, "alternate identifiers"),
    ("100000100 : 200000100", 21, "a comparison"),
    ("100000100 : 200000100 =", 23, "a concept"),
    ("100000100 : 200000100 < 300000100", 22, "compares numbers"),
    ("100000100 : R 200000100 = #5", 24, "reversed"),
    ("100000100 : 200000100 = #x", 24, "a number"),
    ("100000100 : [3..1] 200000100 = *", 12, "second bound"),
    ("100000100 : [a..1] 200000100 = *", 13, "a number"),
    ("100000100 : [1] 200000100 = *", 14, "'..'"),
    ("100000100 : {200000100 = *", 26, "'}'"),
    ("100000100 : {{200000100 = *}}", 13, "a concept"),
    ("100000100 : { { 200000100 = * } }", 14, "a concept"),
    ("100000100 : 200000100 = *, 300000100 = * OR 400000100 = *", 41, "brackets"),
    ("100000100 AND 200000100 : 300000100 = *", 24, "the end"),
    ('100000100 {{ term = "" }}', 20, "words"),
    ('100000100 {{ term = "open }}', 20, "a text"),
    ('100000100 {{ term > "x" }}', 18, "'=' or '!='"),
    ("100000100 {{ colour = red }}", 13, "one of"),
    ("100000100 {{ language = eng }}", 24, "a language"),
    ("100000100 {{ dialect = xx-yy }}", 23, "not known"),
    ("100000100 {{ type = name }}", 20, "one of"),
    ("100000100 {{ C term = x }}", 15, "one of"),
    ('100000100 {{ C effectiveTime = "2024" }}', 31, "a date"),
    ("100000100 {{ C active = maybe }}", 24, "1, 0"),
    ("100000100 {{ M mapGroup = #1 }}", 10, "right after"),
    ("100000100 {{ + HIST }}", 15, "'HISTORY'"),
    ("100000100 {{ +HISTORY }} {{ C active = 1 }}", 25, "the end"),
    ("^ [] 100000100", 3, "a field"),
    ("(" * (MAX_DEPTH + 1), MAX_DEPTH, "brackets"),
]


@pytest.mark.parametrize(("text", "position", "what"), INVALID)
def test_5_1_is_refused_where_it_is_wrong(text: str, position: int, what: str) -> None:
    with pytest.raises(InvalidExpression) as refused:
        parse(text)
    assert refused.value.position == position
    assert what in str(refused.value)
    assert text in str(refused.value)


def test_limits() -> None:
    with pytest.raises(InvalidExpression, match="parts"):
        parse(" OR ".join(["100000100"] * (MAX_PARTS + 1)))
    with pytest.raises(InvalidExpression, match="characters"):
        parse(" " * (MAX_CHARACTERS + 1))
    nested = "100000100 {{ C moduleId = " * 100
    with pytest.raises(InvalidExpression, match="within one another"):
        parse(nested)


ALL_TREES = Trees(
    [A, B, C, D],
    words=st.lists(st.text('abcé"\\*|', min_size=1, max_size=4), min_size=1, max_size=3).map(" ".join),
    wild=st.text('ab *"|', min_size=1, max_size=6),
    is_all=True,
)


@given(ALL_TREES.expressions())
@settings(max_examples=80, deadline=None)
def test_what_is_written_is_read_again(tree: Expression) -> None:
    assert parse(render(tree)) == tree


@given(st.text('<>!=^*()[]{}|"/.,:#RDCM+- 0123456789AND OR', max_size=60) | st.text(max_size=30))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        tree = parse(text)
    except InvalidExpression as refused:
        assert 0 <= refused.position <= len(text)  # noqa: PT017  # it may be read as well
    else:
        assert parse(render(tree)) == tree
