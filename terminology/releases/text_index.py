"""Concepts whose names have words that begin as a user has typed (valueset-operation-expand.html, `filter`).

SQLite streams the matches of FTS5 in the order of rowids, which is that of the numbers within a release. Its
index is filled here and not by triggers, within which FTS5 writes a segment for each single row.
PostgreSQL has `word_blocks`. Of a few concepts the words themselves are looked at.
"""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    bindparam,
    column,
    insert,
    literal,
    literal_column,
    select,
    table,
    text,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import Boolean, Integer

from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of
from terminology.releases import word_blocks
from terminology.releases.conditions import Condition
from terminology.releases.draft import MAX_WORD_CHARACTERS
from terminology.releases.pace import Pace
from terminology.releases.word_blocks import Sought
from terminology.tables import TerminologyConcept
from terminology.text import MAX_WORDS, words_of

CONCEPT = table_of(TerminologyConcept)

_WORDS = table("terminology_words", column("rowid", Integer), column("words"), column("terminology_words"))
_RELEASE_BITS = 32  # of the rowid, below which the number stands
MAX_NAMED_WORDS = 20  # that begin with one of a filter
_INDEXED_LETTERS = 3  # FTS5's `prefix` in the migration
# The words from one on that begin with it: each is the first that is not before the last and one letter more,
# "0" being the first that a word may have.
_KNOWN = text(
    "SELECT term FROM (WITH RECURSIVE known(term) AS ("
    " SELECT (SELECT term FROM terminology_words_known WHERE term >= :word ORDER BY term LIMIT 1)"
    " UNION ALL SELECT (SELECT term FROM terminology_words_known WHERE term >= known.term || '0'"
    " ORDER BY term LIMIT 1) FROM known WHERE substr(known.term, 1, :letters) = :word LIMIT :most + 1"
    ") SELECT term FROM known WHERE substr(term, 1, :letters) = :word LIMIT :most)"
)
_COMMAND = text("INSERT INTO terminology_words(terminology_words, rank) VALUES (:command, :value)")
_CHANGES = text("SELECT total_changes()")
_WORDS_OF = select(CONCEPT.c.number, CONCEPT.c.words).where(
    CONCEPT.c.release_id == bindparam("release_id"),
    CONCEPT.c.number.in_(bindparam("numbers", expanding=True)),
)
_ASKED_AT_ONCE = 500  # numbers in one statement
_PAGES_AT_ONCE = 100
_NEVER = 1_999  # segments of one level; FTS5 has 2,000 at most


def wanted_words(typed: str) -> Sequence[str]:
    """The words of a text filter, as they are indexed."""
    return [word[:MAX_WORD_CHARACTERS] for word in words_of(typed)[:MAX_WORDS]]


async def matching(
    connection: AsyncConnection, sought: Sought, conditions: Sequence[tuple[Condition, float]]
) -> Select[Any]:
    """Numbers with these words that meet the conditions, in order; of more than are sought the first.

    With each condition: about which share of the first numbers meets it.
    """
    if connection.dialect.name != "sqlite":
        return word_blocks.matching(sought, conditions)
    asked = [await _asked(connection, word) for word in sought.words]
    return _on_sqlite(sought, asked, [condition for condition, _ in conditions])


async def _asked(connection: AsyncConnection, word: str) -> str:
    """What FTS5 is to look for: words that begin with one.

    Of those that begin with a few letters it has an index. Else it gathers all concepts of all such words
    before it tells the first, but goes through those of words that are named, only as far as is asked.
    """
    found: Sequence[str] = ()
    if len(word) > _INDEXED_LETTERS:
        values = {"word": word, "letters": len(word), "most": MAX_NAMED_WORDS + 1}
        found = (await connection.execute(_KNOWN, values)).scalars().all()
    if 0 < len(found) <= MAX_NAMED_WORDS:
        return "(" + " OR ".join(f'"{each}"' for each in found) + ")"
    return f'"{word}"*'


def _on_sqlite(sought: Sought, asked: Sequence[str], conditions: Sequence[Condition]) -> Select[Any]:
    base = sought.release_id << _RELEASE_BITS
    number = type_coerce(_WORDS.c.rowid - literal_column(str(base)), Integer)
    matches = type_coerce(literal_column("terminology_words").op("MATCH")(" AND ".join(asked)), Boolean)
    return (
        select(number.label("number"))
        .where(matches, _WORDS.c.rowid > base, _WORDS.c.rowid <= base + sought.last)
        .where(*(each.holds(number) for each in conditions))
        .order_by(_WORDS.c.rowid)
        .limit(sought.most)
    )


async def of_few(
    connection: AsyncConnection, release_id: int, words: Sequence[str], numbers: Sequence[int]
) -> list[int]:
    """Those of a few concepts that have these words."""
    found: list[int] = []
    for at in range(0, len(numbers), _ASKED_AT_ONCE):
        values = {"release_id": release_id, "numbers": numbers[at : at + _ASKED_AT_ONCE]}
        rows = (await connection.execute(_WORDS_OF, values)).all()
        found += [row.number for row in rows if all(f" {word}" in f" {row.words}" for word in words)]
    return sorted(found)


async def index_all(connection: AsyncConnection) -> None:
    """Put all concepts that there are into the index, which is empty."""
    if connection.dialect.name == "sqlite":
        await index_concepts(connection, None)
    else:
        await word_blocks.fill_all(connection)


async def index_concepts(connection: AsyncConnection, of_concepts: ColumnElement[bool] | None) -> None:
    """Put concepts that have just been inserted into SQLite's index; None: all."""
    if connection.dialect.name == "sqlite":
        await connection.execute(insert(_WORDS).from_select(["rowid", "words"], _indexed(of_concepts)))


async def forget_concepts(connection: AsyncConnection, of_concepts: ColumnElement[bool]) -> None:
    """Take concepts that are about to be deleted out of SQLite's index."""
    if connection.dialect.name == "sqlite":
        rows = _indexed(of_concepts).add_columns(literal("delete"))
        columns = ["rowid", "words", "terminology_words"]
        await connection.execute(insert(_WORDS).from_select(columns, rows))


def _indexed(of_concepts: ColumnElement[bool] | None) -> Select[Any]:
    rowid = CONCEPT.c.release_id.op("<<")(literal_column(str(_RELEASE_BITS))).op("|")(CONCEPT.c.number)
    query = select(rowid.label("rowid"), CONCEPT.c.words).order_by(*CONCEPT.primary_key.columns)
    return query if of_concepts is None else query.where(of_concepts)


def tables(database: Database) -> Sequence[Table]:
    """What the index has of a release, by release: PostgreSQL's; SQLite's is told of each concept."""
    return () if database.is_sqlite else (word_blocks.WORDS,)


async def begin_filling(database: Database) -> None:
    """Before many concepts are inserted: FTS5 is not to merge many segments at once, others would wait."""
    if database.is_sqlite:
        await _tell_fts5(database, crisismerge=_NEVER)


async def end_filling(database: Database) -> None:
    """After that: merge segments, some in each transaction, until questions have one to look at."""
    if not database.is_sqlite:
        return
    pages = -_PAGES_AT_ONCE  # of all segments; further calls go on with it
    pace = Pace(database)
    is_left = True
    while is_left:
        await pace.let_others_write()
        began, changed = await _merge(database, pages)
        pace.ended(began)
        pages, is_left = _PAGES_AT_ONCE, changed > 1
    await _tell_fts5(database, crisismerge=16)


async def _tell_fts5(database: Database, **settings: int) -> None:
    async def work(unit: UnitOfWork) -> None:
        for name, value in settings.items():
            await unit.execute(_COMMAND, {"command": name, "value": value})

    await database.transact(work)


async def _merge(database: Database, pages: int) -> tuple[float, int]:
    """Merge as many pages; returns when it began, and how many rows of its own FTS5 has changed."""

    async def work(unit: UnitOfWork) -> tuple[float, int]:
        began = perf_counter()
        before = (await unit.execute(_CHANGES)).scalar_one()
        await unit.execute(_COMMAND, {"command": "merge", "value": pages})
        return began, int((await unit.execute(_CHANGES)).scalar_one() - before)

    return await database.transact(work)
