"""Expression constraints and refinements are read (ECL 2.2, §5.1; the keywords of §5.2 as well).

Recursive descent by the grammar's rules. Where brackets are needed to tell what is meant (§5.4), they must be
there. Alternate identifiers are not known here.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeVar

from terminology.ecl.filters import read_filters, read_member_filters
from terminology.ecl.scan import Scanner
from terminology.ecl.syntax import (
    All,
    AnyConcept,
    Attribute,
    Both,
    Cardinality,
    Comparison,
    Direction,
    Dotted,
    Either,
    Expression,
    Group,
    MemberOf,
    Number,
    OneOf,
    Refined,
    Refinement,
    Related,
    Without,
)
from terminology.ecl.values import read_comparison, read_reference, read_value

T = TypeVar("T")

_COUNT = re.compile(r"0|[1-9][0-9]{0,8}")
_FIELD = re.compile(r"[A-Za-z]+")
# Longest first, as `<<!` begins with `<<`.
_DIRECTIONS = sorted(Direction, key=lambda each: -len(each.value))
_DIRECTION_OF: Mapping[str, Direction] = {
    "descendantof": Direction.DESCENDANT,
    "descendantorselfof": Direction.DESCENDANT_OR_SELF,
    "childof": Direction.CHILD,
    "childorselfof": Direction.CHILD_OR_SELF,
    "ancestorof": Direction.ANCESTOR,
    "ancestororselfof": Direction.ANCESTOR_OR_SELF,
    "parentof": Direction.PARENT,
    "parentorselfof": Direction.PARENT_OR_SELF,
    "top": Direction.TOP,
    "bottom": Direction.BOTTOM,
}
_AND, _OR, _MINUS = "and", "or", "minus"


@lru_cache(512)
def parse(text: str) -> Expression:
    """The syntax tree of an expression constraint.

    Raises:
        InvalidExpression: it does not follow the grammar, or is too large.
    """
    scanner = Scanner(text)
    found = read_expression(scanner)
    if scanner.at < len(text):
        raise scanner.expected("the end")
    return found


def read_expression(scanner: Scanner) -> Expression:
    """The rule `expressionConstraint`."""
    first = read_sub_expression(scanner)
    if scanner.takes(":"):
        return Refined(first, _refinement(scanner, is_grouped=False))
    if scanner.sees("."):
        while scanner.takes("."):
            first = Dotted(first, read_sub_expression(scanner))
        return first
    return _compound(scanner, first)


def _compound(scanner: Scanner, first: Expression) -> Expression:
    if scanner.takes_word(_MINUS):
        found: Expression = Without(first, read_sub_expression(scanner))
        _refuse_another(scanner)
        return found
    word, parts = _joined(scanner, first, read_sub_expression)
    if word is None:
        return first
    return Both(parts) if word == _AND else Either(parts)


def _joined(scanner: Scanner, first: T, read: Callable[[Scanner], T]) -> tuple[str | None, tuple[T, ...]]:
    """What is joined by the same word."""
    parts, word = [first], None
    start = scanner.at
    while (found := _takes_joint(scanner)) is not None:
        if word not in (None, found):
            raise scanner.fault("brackets must tell how AND and OR belong together", start)
        word = found
        parts.append(read(scanner))
        start = scanner.at
    _refuse_another(scanner)
    return word, tuple(parts)


def _takes_joint(scanner: Scanner) -> str | None:
    if scanner.takes(",") or scanner.takes_word(_AND):
        return _AND
    return _OR if scanner.takes_word(_OR) else None


def _refuse_another(scanner: Scanner) -> None:
    if scanner.word() in (_AND, _OR, _MINUS):
        raise scanner.fault("brackets must tell how AND, OR and MINUS belong together")


def read_sub_expression(scanner: Scanner) -> Expression:
    """The rule `subExpressionConstraint`."""
    scanner.count()
    direction = _takes_direction(scanner)
    fields = _takes_member_of(scanner)
    found = _focus(scanner)
    if fields is not None:
        found = read_member_filters(scanner, MemberOf(found, fields), read_sub_expression)
    if direction is not None:
        found = Related(direction, found)
    return read_filters(scanner, found, read_sub_expression)


def _takes_direction(scanner: Scanner) -> Direction | None:
    for direction in _DIRECTIONS:
        if scanner.takes(direction.value):
            return direction
    word = scanner.word()
    if word in _DIRECTION_OF:
        scanner.takes_word(word)
    return _DIRECTION_OF.get(word)


def _takes_member_of(scanner: Scanner) -> tuple[str, ...] | None:
    """The fields that are asked for; None: it is not there."""
    if not (scanner.takes("^") or scanner.takes_word("memberof")):
        return None
    if not scanner.takes("["):
        return ()
    if scanner.takes("*"):
        fields = ["*"]
    else:
        fields = [_field(scanner)]
        while scanner.takes(","):
            fields.append(_field(scanner))
    scanner.take("]")
    return tuple(fields)


def _field(scanner: Scanner) -> str:
    found = scanner.matches(_FIELD)
    if found is None:
        raise scanner.expected("the name of a field")
    return found


def _focus(scanner: Scanner) -> Expression:
    if scanner.sees("("):
        scanner.enter("(")
        found = read_expression(scanner)
        scanner.leave(")")
        return found
    if scanner.takes("*") or scanner.takes_word("any"):
        return AnyConcept()
    return read_reference(scanner)


def _refinement(scanner: Scanner, *, is_grouped: bool) -> Refinement:
    """eclRefinement; in a group eclAttributeSet."""

    def read(scanner: Scanner) -> Refinement:
        return _sub_refinement(scanner, is_grouped=is_grouped)

    first = read(scanner)
    word, parts = _joined(scanner, first, read)
    if word is None:
        return first
    return All(parts) if word == _AND else OneOf(parts)


def _sub_refinement(scanner: Scanner, *, is_grouped: bool) -> Refinement:
    scanner.count()
    if scanner.sees("(") and not _is_name(scanner.after_bracket()):
        scanner.enter("(")
        found = _refinement(scanner, is_grouped=is_grouped)
        scanner.leave(")")
        return found
    cardinality = _takes_cardinality(scanner)
    if not is_grouped and scanner.sees("{"):
        scanner.enter("{")
        grouped = _refinement(scanner, is_grouped=True)
        scanner.leave("}")
        return Group(grouped, cardinality)
    return _attribute(scanner, cardinality)


def _is_name(follows: str) -> bool:
    """Whether brackets before this hold the name of an attribute."""
    return follows[:1] in ("=", "!", "<", ">") or follows[:2] == "{{" or follows.lower() == "not"


def _takes_cardinality(scanner: Scanner) -> Cardinality:
    start = scanner.at
    if not scanner.takes("["):
        return Cardinality()
    least = _count(scanner)
    if not (scanner.takes("..") or scanner.takes_word("to")):
        raise scanner.expected("'..'")
    most = None if scanner.takes("*") or scanner.takes_word("many") else _count(scanner)
    scanner.take("]")
    if most is not None and most < least:
        raise scanner.fault("the second bound is below the first", start)
    return Cardinality(least, most)


def _count(scanner: Scanner) -> int:
    found = scanner.matches(_COUNT)
    if found is None:
        raise scanner.expected("a number")
    return int(found)


def _attribute(scanner: Scanner, cardinality: Cardinality) -> Attribute:
    is_reversed = scanner.takes_word("reverseof") or _takes_r(scanner)
    name = read_sub_expression(scanner)
    start = scanner.at
    comparison = read_comparison(scanner)
    value = read_value(scanner, read_sub_expression)
    if comparison not in (Comparison.EQUAL, Comparison.NOT_EQUAL) and not isinstance(value, Number):
        raise scanner.fault(f"'{comparison}' compares numbers", start)
    if is_reversed and not isinstance(value, Expression):
        raise scanner.fault("a reversed attribute is compared with concepts", start)
    return Attribute(name, comparison, value, cardinality, is_reversed)


def _takes_r(scanner: Scanner) -> bool:
    """The flag is a capital letter."""
    return scanner.sees("R") and scanner.takes_word("r")
