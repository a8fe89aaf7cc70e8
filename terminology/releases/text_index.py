"""Concepts whose names have words that begin as a user has typed (valueset-operation-expand.html, `filter`).

SQLite streams the matches of FTS5 in the order of rowids, which is that of the numbers within a release.
PostgreSQL gathers them by a GIN index, and sorts. Of a few concepts the words themselves are looked at.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
    table,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.types import Boolean, Integer

from server.kernel.rows import table_of
from terminology.releases.conditions import Condition
from terminology.releases.draft import MAX_WORD_CHARACTERS
from terminology.tables import TerminologyConcept
from terminology.text import MAX_WORDS, words_of

CONCEPT = table_of(TerminologyConcept)

_WORDS = table("terminology_words", column("rowid", Integer))
_RELEASE_BITS = 32  # of the rowid, below which the number stands
_VECTOR: ColumnElement[Any] = literal_column(
    "array_to_tsvector(array_remove(string_to_array(terminology_concept.words, ' '), ''))"
)


def wanted_words(text: str) -> Sequence[str]:
    """The words of a text filter, as they are indexed."""
    return [word[:MAX_WORD_CHARACTERS] for word in words_of(text)[:MAX_WORDS]]


def on_sqlite(
    release_id: int, last: int, words: Sequence[str], conditions: Sequence[Condition]
) -> Select[Any]:
    """Numbers up to `last` with these words that meet the conditions, in order."""
    base = release_id << _RELEASE_BITS
    number = type_coerce(_WORDS.c.rowid - literal_column(str(base)), Integer)
    query = " AND ".join(f'"{word}"*' for word in words)
    matches = type_coerce(literal_column("terminology_words").op("MATCH")(query), Boolean)
    return (
        select(number.label("number"))
        .where(matches, _WORDS.c.rowid > base, _WORDS.c.rowid <= base + last)
        .where(*(each.holds(number) for each in conditions))
        .order_by(_WORDS.c.rowid)
    )


def on_postgresql(
    release_id: int, last: int, words: Sequence[str], conditions: Sequence[Condition]
) -> Select[Any]:
    """The same."""
    c = CONCEPT.c
    query = cast(literal(" & ".join(f"'{word}':*" for word in words)), TSQUERY)
    return (
        select(c.number)
        .where(c.release_id == release_id, c.number <= last, type_coerce(_VECTOR.op("@@")(query), Boolean))
        .where(*(each.holds(c.number) for each in conditions))
        .order_by(c.number)
    )


def of_few(release_id: int, words: Sequence[str], few: Condition) -> Condition:
    """Those of a few concepts that have these words."""
    c = CONCEPT.c
    spaced = literal(" ") + c.words
    has_words = and_(*(spaced.like(f"% {word}%") for word in words))
    of_them = (c.release_id == release_id) & c.number.in_(few.numbers) & has_words
    return Condition(select(c.number).where(of_them), lambda number: and_(of_them, c.number == number))


def count_up_to(numbers: Select[Any], most: int) -> Select[Any]:
    """How many numbers there are, or one more than `most`."""
    return select(func.count()).select_from(numbers.limit(most + 1).subquery())
