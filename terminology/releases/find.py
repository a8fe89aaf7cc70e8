"""Which concepts of a release are wanted: their numbers, a page of them, and how many there are in all.

With a text filter, matches are counted as far as `COUNTED`: to count a hundred thousand would take longer
than to find the nearest hundred. Conditions alone are counted to the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from terminology.issues import TooCostly
from terminology.releases import text_index
from terminology.releases.conditions import Condition, Conditions
from terminology.releases.numbers import read_numbers
from terminology.releases.word_blocks import Sought

MAX_AT_ONCE = 20_000  # concepts, or codes, of one answer
COUNTED = 1_000  # matches of a text filter
FEW = 500  # concepts whose words are looked at, rather than the index of words


@dataclass(frozen=True, slots=True)
class Wanted:
    """A `Selection` over a release."""

    release_id: int
    last: int  # number
    words: Sequence[str]
    conditions: Sequence[Condition]
    offset: int
    limit: int | None
    total: int | None = None  # without words, where it is known already

    @property
    def end(self) -> int:
        """How many there may be up to the last that is told; one more than may be, to see that there are."""
        most = MAX_AT_ONCE + 1
        return self.offset + (most if self.limit is None else min(self.limit, most))


async def find_numbers(connection: AsyncConnection, wanted: Wanted) -> tuple[Sequence[int], int | None]:
    """The numbers of a page, in order, and how many there are; None: more than are counted.

    Raises:
        TooCostly: the page is too long.
    """
    if wanted.words:
        numbers, total = await _with_words(connection, wanted)
    elif wanted.conditions:
        numbers, total = await _with_conditions(connection, wanted)
    else:
        numbers, total = range(wanted.offset + 1, min(wanted.last, wanted.end) + 1), wanted.last
    if len(numbers) > MAX_AT_ONCE:
        raise _too_many()
    return numbers, total


def _too_many() -> TooCostly:
    return TooCostly(f"There are more than {MAX_AT_ONCE} concepts, the most that are told at once.")


async def _with_words(connection: AsyncConnection, wanted: Wanted) -> tuple[Sequence[int], int | None]:
    conditions: list[tuple[Condition, float]] = []
    for each in wanted.conditions:
        count, mean = await _first(connection, each)
        if count <= FEW:
            numbers = (await connection.execute(each.numbers)).scalars()
            return await _of_few(connection, wanted, each, [n for n in numbers if n <= wanted.last])
        conditions.append((each, min(1.0, count / (2 * mean))))
    most = max(wanted.end, COUNTED) + 1
    sought = Sought(wanted.release_id, wanted.last, wanted.words, most)
    numbers_found = await text_index.matching(connection, sought, conditions)
    found = await read_numbers(connection, numbers_found)
    return found[wanted.offset : wanted.end], len(found) if len(found) < most else None


async def _first(connection: AsyncConnection, condition: Condition) -> tuple[int, float]:
    """How many concepts meet a condition, if few do, and the mean of the first numbers."""
    (number,) = condition.numbers.limit(FEW + 1).subquery().c
    count, mean = (await connection.execute(select(func.count(), func.avg(number)))).one()
    return count, float(mean or 0)


async def _of_few(
    connection: AsyncConnection, wanted: Wanted, few: Condition, numbers: Sequence[int]
) -> tuple[Sequence[int], int]:
    """Few concepts meet one of the conditions: their words are looked at."""
    found = await text_index.of_few(connection, wanted.release_id, wanted.words, numbers)
    others = [each for each in wanted.conditions if each is not few]
    if found and others:
        left = _meeting(Conditions(wanted.release_id).listed(found), others, wanted.last)
        found = list((await connection.execute(left)).scalars())
    return found[wanted.offset : wanted.end], len(found)


async def _with_conditions(connection: AsyncConnection, wanted: Wanted) -> tuple[Sequence[int], int | None]:
    first, *others = wanted.conditions
    numbers = _meeting(first, others, wanted.last)
    page = numbers.offset(wanted.offset).limit(wanted.end - wanted.offset)
    found = list((await connection.execute(page)).scalars())
    if wanted.total is not None:
        return found, wanted.total
    if found and len(found) < wanted.end - wanted.offset:
        return found, wanted.offset + len(found)
    counted = select(func.count()).select_from(numbers.order_by(None).subquery())
    return found, int((await connection.execute(counted)).scalar_one())


def _meeting(first: Condition, others: Sequence[Condition], last: int) -> Select[Any]:
    (number,) = first.numbers.subquery().c
    return select(number).where(number <= last, *(each.holds(number) for each in others)).order_by(number)
