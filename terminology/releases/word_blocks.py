"""PostgreSQL's index of words: for each block of numbers, which concepts of it have a word.

Blocks are read one after the other, until enough is found: the nearest matches cost no more where there are
many. The words that begin as one was typed stand side by side in the key. A GIN index over the concepts would
have all matches gathered, and each of their wide rows visited to know the number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    Column,
    ColumnElement,
    Integer,
    MetaData,
    Select,
    Table,
    TableValuedAlias,
    Text,
    bindparam,
    cast,
    column,
    func,
    literal,
    not_,
    select,
    text,
    true,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from terminology.releases.conditions import Condition

BLOCK_BITS = 13  # of a number: those of one block differ in these alone
# Not among the tables that backups carry: it is made anew from the concepts.
WORDS = Table(
    "terminology_words",
    MetaData(),
    Column("release_id", Integer, primary_key=True),
    Column("block", Integer, primary_key=True),
    Column("word", Text(collation="C"), primary_key=True),
    Column("numbers", ARRAY(Integer), nullable=False),
)

_LAST_CHARACTER = "\U0010ffff"
_READ_FOR_A_LOOK_UP = 4  # numbers that are read in order in the time of one look-up
_FILL = (
    f"INSERT INTO terminology_words SELECT release_id, number >> {BLOCK_BITS}, word, array_agg(number)"  # noqa: S608  a number of ours
    " FROM terminology_concept, unnest(string_to_array(words, ' ')) AS word WHERE word <> ''"
)
_IN_ORDER = ' GROUP BY 1, 2, 3 ORDER BY 1, 2, word COLLATE "C"'
_FILL_ALL = text(_FILL + _IN_ORDER)
_FILL_BLOCK = text(
    _FILL + " AND release_id = :release_id AND number >= :first AND number < :end" + _IN_ORDER
).bindparams(*(bindparam(name, type_=Integer) for name in ("release_id", "first", "end")))


@dataclass(frozen=True, slots=True)
class Sought:
    """Concepts of a release with words that begin with these, up to a number."""

    release_id: int
    last: int
    words: Sequence[str]
    most: int  # of more the first are told


def count_blocks(last: int) -> int:
    """How many blocks there are where the last number is this one."""
    return (last >> BLOCK_BITS) + 1


async def fill_block(connection: AsyncConnection, release_id: int, block: int) -> None:
    """Put the words of one block of concepts into the index."""
    values = {"first": block << BLOCK_BITS, "end": (block + 1) << BLOCK_BITS}
    await connection.execute(_FILL_BLOCK, {"release_id": release_id, **values})


async def fill_all(connection: AsyncConnection) -> None:
    """Put the words of all concepts into the index, which is empty."""
    await connection.execute(_FILL_ALL)


def matching(sought: Sought, conditions: Sequence[tuple[Condition, float]]) -> Select[Any]:
    """Numbers with these words that meet the conditions, in order; of more than are sought the first.

    With each condition: about which share of the first numbers meets it.
    """
    empty = cast(literal("{}"), ARRAY(Integer))
    begin = select(literal(-1).label("block"), empty.label("numbers"), literal(0).label("total"))
    found = begin.cte("found", recursive=True)
    total = found.c.total + func.cardinality(found.c.numbers)
    of_block = _meeting(found, _hits(found, sought), conditions)
    following = select(found.c.block + 1, _array_of(of_block), total).where(
        total < sought.most, found.c.block < sought.last >> BLOCK_BITS
    )
    found = found.union_all(following)
    each = _each_of(found.c.numbers)
    number = each.c.number
    return select(number).select_from(found.join(each, true())).order_by(number).limit(sought.most)


def _hits(found: CTE, sought: Sought) -> Select[Any]:
    """Those numbers of the next block that have all words; of the shortest there are likely most."""

    def having(word: str) -> Select[Any]:
        c = WORDS.alias().c
        is_there = (c.release_id == sought.release_id) & (c.block == found.c.block + 1)
        begins = (c.word >= word) & (c.word < word + _LAST_CHARACTER)
        numbers = select(func.unnest(c.numbers, type_=Integer).label("number"))
        return numbers.where(is_there, begins).correlate(found)

    shortest, *others = sorted(sought.words, key=len)
    number = having(shortest).subquery().c.number
    has_others = (number.in_(having(word)) for word in others)
    return select(number).distinct().where(number <= sought.last, *has_others).correlate(found)


def _meeting(found: CTE, hits: Select[Any], conditions: Sequence[tuple[Condition, float]]) -> Select[Any]:
    """Those of a block's hits that meet the conditions.

    Of a condition whose numbers stand in order those of the block are read, if hits are not far fewer.
    """
    shares = [share for condition, share in conditions if condition.is_in_order]
    if not shares:
        number = hits.subquery().c.number
        return select(number).where(*(each.holds(number) for each, _ in conditions)).order_by(number)
    gathered = select(_array_of(hits).label("numbers")).correlate(found)
    block_hits = gathered.offset(0).subquery()  # with an offset it is worked out once
    few = int(min(shares) * (1 << BLOCK_BITS)) // _READ_FOR_A_LOOK_UP
    is_few = func.cardinality(block_hits.c.numbers) <= few
    some, many = (_each_of(block_hits.c.numbers) for _ in range(2))
    looked_up = select(some.c.number).where(is_few, *(each.holds(some.c.number) for each, _ in conditions))
    among = (_is_among(each, many.c.number, found) for each, _ in conditions)
    read = select(many.c.number).where(not_(is_few), *among)
    either = union_all(*(each.correlate(block_hits, found) for each in (looked_up, read))).lateral()
    (number,) = either.c
    return select(number).select_from(block_hits.join(either, true())).order_by(number)


def _is_among(condition: Condition, number: ColumnElement[int], found: CTE) -> ColumnElement[bool]:
    if not condition.is_in_order:
        return condition.holds(number)
    (each,) = condition.numbers.subquery().c
    first = (found.c.block + 1) * (1 << BLOCK_BITS)
    of_block = each.between(first, first + (1 << BLOCK_BITS) - 1)
    return number.in_(select(each).where(of_block).correlate(found))


def _array_of(numbers: Select[Any]) -> ColumnElement[Any]:
    return func.array(numbers.scalar_subquery(), type_=ARRAY(Integer))


def _each_of(numbers: ColumnElement[Any]) -> TableValuedAlias:
    return func.unnest(numbers).table_valued(column("number", Integer)).render_derived()
