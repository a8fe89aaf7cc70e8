"""A release as a `CodeSystem`: each question is one statement, or a few, over the tables."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import orjson
from sqlalchemy import bindparam, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from server.kernel.database import Database
from server.kernel.faults import TookTooLong
from server.kernel.look_up import LookUp
from server.kernel.one_of import one_of, one_of_numbers
from terminology.code_system import Filter, FilterOperator, Header, Selected, Selection
from terminology.concept import Concept
from terminology.filters import CODE_NAMES
from terminology.issues import TooCostly
from terminology.listed import meanings_of, read_concept
from terminology.releases import text_index
from terminology.releases.bodies import decode_body
from terminology.releases.conditions import (
    CHILD,
    CLOSURE,
    CODE,
    CONCEPT,
    HIERARCHICAL,
    Condition,
    Conditions,
    by_value,
    hierarchical,
)
from terminology.releases.find import MAX_AT_ONCE, Wanted, find_numbers
from terminology.releases.patterns import Patterns

MAX_TOTALS = 1_000  # of selections of a release, which never changes
ASKED_AT_ONCE = 500  # codes and numbers in one statement

Rule = Callable[["ReleasedCodeSystem", Filter], Awaitable[Condition | None]]

_IN_RELEASE = CODE.c.release_id == bindparam("release_id", 0)
_JOINED = CODE.join(
    CONCEPT, (CONCEPT.c.release_id == CODE.c.release_id) & (CONCEPT.c.number == CODE.c.number)
)
_LOCATE = LookUp(
    select(CONCEPT.c.active, CONCEPT.c.body)
    .select_from(_JOINED)
    .where(_IN_RELEASE, CODE.c.code == bindparam("code", ""))
)
_NUMBER = LookUp(select(CODE.c.number).where(_IN_RELEASE, CODE.c.code == bindparam("code", "")))
_A, _D = CODE.alias("above"), CODE.alias("below")
_IS_BELOW = LookUp(
    select(CLOSURE.c.descendant)
    .select_from(CLOSURE, _A, _D)
    .where(
        *(each.c.release_id == bindparam("release_id", 0) for each in (_A, _D, CLOSURE)),
        _A.c.code == bindparam("ancestor", ""),
        _D.c.code == bindparam("descendant", ""),
        CLOSURE.c.ancestor == _A.c.number,
        CLOSURE.c.descendant == _D.c.number,
    )
)
_PARENTS = LookUp(
    select(CONCEPT.c.parents).select_from(_JOINED).where(_IN_RELEASE, CODE.c.code == bindparam("code", ""))
)
_CODES = LookUp(
    select(CONCEPT.c.code)
    .where(
        CONCEPT.c.release_id == bindparam("release_id", 0),
        one_of_numbers(CONCEPT.c.number, bindparam("numbers", "[]")),
    )
    .order_by(CONCEPT.c.number)
)
_CHILDREN = LookUp(
    select(CONCEPT.c.code)
    .select_from(
        CHILD.join(
            CONCEPT, (CONCEPT.c.release_id == CHILD.c.release_id) & (CONCEPT.c.number == CHILD.c.child)
        )
    )
    .where(CHILD.c.release_id == bindparam("release_id", 0), CHILD.c.parent == bindparam("parent", 0))
    .order_by(CHILD.c.child)
    .limit(MAX_AT_ONCE + 1)
)
_ALL = LookUp(
    select(CODE.c.code, CONCEPT.c.active, CONCEPT.c.body)
    .select_from(_JOINED)
    .where(_IN_RELEASE, one_of(CODE.c.code, bindparam("codes", "[]")))
)
_CHILDREN_OF = LookUp(
    select(CONCEPT.c.code)
    .select_from(
        CODE.join(CHILD, (CHILD.c.release_id == CODE.c.release_id) & (CHILD.c.parent == CODE.c.number)).join(
            CONCEPT, (CONCEPT.c.release_id == CHILD.c.release_id) & (CONCEPT.c.number == CHILD.c.child)
        )
    )
    .where(_IN_RELEASE, CODE.c.code == bindparam("code", ""))
    .order_by(CHILD.c.child)
    .limit(MAX_AT_ONCE + 1)
)
_DISPLAYS = LookUp(
    select(CONCEPT.c.code, CONCEPT.c.display)
    .select_from(_JOINED)
    .where(_IN_RELEASE, one_of(CODE.c.code, bindparam("codes", "[]")))
)
_BODIES = (
    select(CONCEPT.c.active, CONCEPT.c.body)
    .where(
        CONCEPT.c.release_id == bindparam("release_id", 0),
        one_of_numbers(CONCEPT.c.number, bindparam("numbers", "[]")),
    )
    .order_by(CONCEPT.c.number)
)


class ReleasedCodeSystem:
    """A `CodeSystem` in the tables of the database."""

    def __init__(
        self,
        database: Database,
        release_id: int,
        header: Header,
        *,
        counts: tuple[int, int],
        rule: Rule | None = None,
    ) -> None:
        """Name a release.

        Args:
            database: where it is.
            release_id: its key there.
            header: what is said of it as a whole.
            counts: of its concepts, and of the active ones.
            rule: understands the filters that only its kind of code system has; None for others.
        """
        self.header = header
        self.release_id, self.database = release_id, database
        self.concepts, self.active_concepts = counts
        self.make = Conditions(release_id)
        self._rule = rule
        self._meanings = meanings_of(header)
        self._totals: OrderedDict[tuple[tuple[Filter, ...], int], int] = OrderedDict()
        self._patterns = Patterns(database, self.make)

    async def locate(self, code: str) -> Concept | None:
        """The concept of a code."""
        rows = await self._look_up(_LOCATE, code=self._key(code))
        return self._concept(*rows[0]) if rows else None

    async def locate_all(self, codes: Sequence[str]) -> Mapping[str, Concept]:
        """The concepts of those codes that there are."""
        found: dict[str, Concept] = {}
        for some in _slices(sorted({self._key(code) for code in codes})):
            rows = await self._look_up(_ALL, codes=orjson.dumps(some).decode())
            found |= {code: self._concept(active, body) for code, active, body in rows}
        located = ((code, found.get(self._key(code))) for code in codes)
        return {code: concept for code, concept in located if concept is not None}

    async def displays(self, codes: Sequence[str]) -> Mapping[str, str]:
        """The displays of those codes that have one, as the code system writes them; no other names."""
        rows = [
            row
            for some in _slices(codes)
            for row in await self._look_up(_DISPLAYS, codes=orjson.dumps(list(map(self._key, some))).decode())
        ]
        return {row.code: row.display for row in rows if row.display}

    async def subsumes(self, ancestor: str, descendant: str) -> bool:
        """Whether the first is the second, or above it."""
        keys = {"ancestor": self._key(ancestor), "descendant": self._key(descendant)}
        if keys["ancestor"] == keys["descendant"]:
            return True
        return bool(await self._look_up(_IS_BELOW, **keys))

    async def parents(self, code: str) -> Sequence[str]:
        """The codes right above one."""
        rows = await self._look_up(_PARENTS, code=self._key(code))
        if not rows:
            return ()
        return [row.code for row in await self._look_up(_CODES, numbers=rows[0].parents)]

    async def children(self, code: str | None) -> Sequence[str]:
        """The codes right below one; None: those with none above them.

        Raises:
            TooCostly: there are too many.
        """
        if code is None:
            rows = await self._look_up(_CHILDREN, parent=0)
        else:
            rows = await self._look_up(_CHILDREN_OF, code=self._key(code))
        found = [row.code for row in rows]
        if len(found) > MAX_AT_ONCE:
            raise TooCostly(f"There are more than {MAX_AT_ONCE} codes.")
        return found

    async def lets_through(self, code: str, filters: Sequence[Filter]) -> bool:
        """Whether all filters let a code through."""
        conditions = []
        number = await self.number(code)
        for each in filters:
            if each.operator is FilterOperator.IS_A and each.property in CODE_NAMES:
                if await self.subsumes(each.value, code):
                    continue
                if self._rule is None or await self.number(each.value) is not None:
                    return False
            conditions.append(await self.condition(each))
        if number is None:
            return False
        others = []
        for condition in conditions:
            if condition.look_up is None:
                others.append(condition.holds(literal(number)))
                continue
            with _in_time():
                if not await self.database.look_up(condition.look_up, {"asked": number}):
                    return False
        if not others:
            return True
        holds = select(literal(1)).where(*others)
        async with self._read() as connection:
            return (await connection.execute(holds)).first() is not None

    async def select(self, selection: Selection) -> Selected:
        """The concepts that are wanted."""
        words = [] if selection.text is None else text_index.wanted_words(selection.text)
        conditions = [await self.condition(each) for each in selection.filters]
        last = self.active_concepts if selection.active_only else self.concepts
        key = (tuple(selection.filters), last)
        total = None if words else self._totals.get(key)
        wanted = Wanted(self.release_id, last, words, conditions, selection.offset, selection.limit, total)
        async with self._read() as connection:
            numbers, total = await find_numbers(connection, wanted)
            concepts = [
                self._concept(active, body)
                for some in _slices(numbers)
                for active, body in (
                    await connection.execute(_BODIES, self._values(numbers=orjson.dumps(some).decode()))
                ).all()
            ]
        if not words and total is not None:
            self._totals[key] = total
            if len(self._totals) > MAX_TOTALS:
                self._totals.popitem(last=False)
        return Selected(concepts, total)

    async def codes(self, filters: Sequence[Filter], *, active_only: bool, limit: int) -> Sequence[str]:
        """The codes that all filters let through, up to a limit, in no order."""
        conditions = [await self.condition(each) for each in filters]
        last = self.active_concepts if active_only else self.concepts
        c = CONCEPT.c
        wanted = select(c.code).where(c.release_id == self.release_id, c.number <= last)
        if conditions:
            first, *others = conditions
            wanted = wanted.where(c.number.in_(first.numbers), *(each.holds(c.number) for each in others))
        async with self._read() as connection:
            return list((await connection.execute(wanted.limit(limit))).scalars())

    async def number(self, code: str) -> int | None:
        """The number of a code's concept; None: there is none."""
        rows = await self._look_up(_NUMBER, code=self._key(code))
        return rows[0].number if rows else None

    async def condition(self, asked: Filter) -> Condition:
        """A filter as SQL.

        Raises:
            InvalidFilter: it is not understood here.
            TooCostly: a pattern has too much to look at.
        """
        if self._rule is not None and (found := await self._rule(self, asked)) is not None:
            return found
        if asked.operator in HIERARCHICAL:
            number = await self.number(asked.value)
            if number is not None and (found := hierarchical(asked, number, self.make)) is not None:
                return found
            nothing = self.make.nothing()
            return self.make.but(nothing) if asked.operator is FilterOperator.IS_NOT_A else nothing
        if asked.operator is FilterOperator.REGEX:
            return await self._patterns.condition(asked)
        if asked.property in CODE_NAMES:
            asked = replace(asked, value=self._key(asked.value))
        return by_value(asked, self.make)

    @asynccontextmanager
    async def _read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for what filters ask.

        Raises:
            TooCostly: a statement took longer than the database lets one take.
        """
        with _in_time():
            async with self.database.read() as connection:
                yield connection

    async def _look_up(self, look_up: LookUp, **values: Any) -> Sequence[Any]:
        return await self.database.look_up(look_up, self._values(**values))

    def _values(self, **values: Any) -> Mapping[str, Any]:
        return {"release_id": self.release_id, **values}

    def _key(self, code: str) -> str:
        """A code as it is looked up."""
        return code if self.header.case_sensitive else code.casefold()

    def _concept(self, active: bool, body: bytes) -> Concept:
        concept = read_concept(decode_body(body), self.header, self._meanings)
        return concept if active or concept.inactive else replace(concept, inactive=True)


@contextmanager
def _in_time() -> Iterator[None]:
    try:
        yield
    except TookTooLong as fault:
        raise TooCostly(
            "To find out which concepts are meant takes longer than the database may work for one question."
        ) from fault


def _slices(values: Sequence[Any]) -> Iterator[list[Any]]:
    return (list(values[at : at + ASKED_AT_ONCE]) for at in range(0, len(values), ASKED_AT_ONCE))
