"""Comparisons of columns with the values of an expression constraint (ECL 2.2, §6.8 to §6.10)."""

import re
from collections.abc import Callable, Iterable, Mapping
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from sqlalchemy import ColumnElement, and_, false, func, literal, not_, or_, select
from sqlalchemy.sql.selectable import FromClause

from terminology.ecl.syntax import Comparison, Match, SearchTerm, SearchTerms, Times
from terminology.text import words_of

ESCAPE = "~"  # in a pattern of LIKE

_COMPARE: Mapping[Comparison, Callable[[Any, Any], Any]] = {
    Comparison.EQUAL: eq,
    Comparison.NOT_EQUAL: ne,
    Comparison.LESS: lt,
    Comparison.LESS_OR_EQUAL: le,
    Comparison.GREATER: gt,
    Comparison.GREATER_OR_EQUAL: ge,
}
_CAPITALS, _SIGNS = re.compile(r"[A-Z]+"), re.compile(r"[%_~]")
_WILD = re.compile(r"\\(.)|(\*)|([%_~])", re.DOTALL)


def compared(comparison: Comparison, column: ColumnElement[Any], value: Any) -> ColumnElement[bool]:
    """A column compared with a value."""
    found: ColumnElement[bool] = _COMPARE[comparison](column, value)
    return found


def any_row(table: FromClause, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a table has a row with all this; the conditions may look at tables of any query around it."""
    return select(literal(1)).select_from(table).where(*conditions).correlate_except(table).exists()


def unindexed(column: ColumnElement[int]) -> ColumnElement[int]:
    """The column as no index has it: rows are to be found by what else is asked of them."""
    return column + 0


def unless(comparison: Comparison, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """The condition, or that it does not hold where the comparison is `!=`."""
    return not_(condition) if comparison is Comparison.NOT_EQUAL else condition


def matches_terms(
    terms: SearchTerms, words: ColumnElement[str], whole: ColumnElement[str]
) -> ColumnElement[bool]:
    """Whether one of the search terms fits.

    Args:
        terms: what is looked for.
        words: a column of folded words with a space before each.
        whole: a column of the text in lower case.
    """
    return or_(false(), *(_matches(each, words, whole) for each in terms.terms))


def _matches(term: SearchTerm, words: ColumnElement[str], whole: ColumnElement[str]) -> ColumnElement[bool]:
    if term.match is Match.WILD:
        return whole.like(pattern_of(term.text.casefold()), escape=ESCAPE)
    found = words_of(term.text)
    if not found:
        return false()
    return and_(*(words.like(f"% {each}%", escape=ESCAPE) for each in found))


def matches_text(terms: SearchTerms, text: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether one of the search terms fits a text of which no words are kept.

    Its words are what white space parts: `J45.9` is one. Accents count.
    """
    low = func.lower(text)
    return or_(false(), *(_in_text(each, low) for each in terms.terms))


def _in_text(term: SearchTerm, low: ColumnElement[str]) -> ColumnElement[bool]:
    if term.match is Match.WILD:
        return _is_like(low, [pattern_of(each) for each in _spellings(term.text)])
    begun = ([f"% {_literally(each)}%" for each in _spellings(word)] for word in term.text.split())
    return and_(*(_is_like(" " + low, patterns) for patterns in begun))


def _is_like(column: ColumnElement[str], patterns: Iterable[str]) -> ColumnElement[bool]:
    return or_(false(), *(column.like(each, escape=ESCAPE) for each in patterns))


def _spellings(text: str) -> Iterable[str]:
    """In lower case; and only what is ASCII in lower case, as `lower` of SQL may have it."""
    return dict.fromkeys((text.lower(), _CAPITALS.sub(lambda found: found[0].lower(), text)))


def _literally(text: str) -> str:
    return _SIGNS.sub(lambda found: ESCAPE + found[0], text)


def pattern_of(wild: str) -> str:
    """The pattern of LIKE for a wild search term: `*` stands for anything."""

    def sign(found: re.Match[str]) -> str:
        if found[2]:
            return "%"
        plain = found[1] or found[3]
        return ESCAPE + plain if plain in "%_~" else plain

    return _WILD.sub(sign, wild)


def at_times(comparison: Comparison, column: ColumnElement[int], times: Times) -> ColumnElement[bool]:
    """A column YYYYMMDD (0: none) compared with dates; only `=` and `!=` know none."""
    if comparison is Comparison.EQUAL:
        return column.in_(times.dates)
    if comparison is Comparison.NOT_EQUAL:
        return column.not_in(times.dates)
    dates = [date for date in times.dates if date]
    return and_(column != 0, or_(false(), *(compared(comparison, column, date) for date in dates)))
