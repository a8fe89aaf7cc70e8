"""Filters by regular expression over a release: its values are looked at one by one, as far as a limit.

Patterns run in time that grows with the text alone (RE2), a few values in a turn of the loop; what they came
to is kept: pages and validation ask the same again, and a release never changes.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from server.kernel.database import Database
from terminology.code_system import Filter
from terminology.effort import Effort
from terminology.filters import CODE_NAMES, compile_pattern, steps_of
from terminology.issues import TooCostly
from terminology.releases.conditions import CODE, CONCEPT, PROPERTY, Condition, Conditions
from terminology.releases.draft import MAX_CODE_CHARACTERS

MAX_VALUES = 200_000  # that one pattern is held against
MAX_MATCHES = 20_000
MAX_KEPT = 16  # patterns of one release
MAX_STEPS = 1_000_000  # as `effort` counts them
_AT_ONCE = 100  # values


class Patterns:
    """The patterns that one release was asked for."""

    def __init__(self, database: Database, make: Conditions) -> None:
        self._database, self._make = database, make
        self._kept: OrderedDict[tuple[str, str], Sequence[str]] = OrderedDict()

    async def condition(self, asked: Filter) -> Condition:
        """The concepts of which a value of the property matches as a whole.

        Raises:
            InvalidFilter: it is no pattern.
            TooCostly: there are too many values, or too many match.
        """
        compile_pattern(asked.value)
        key = (asked.property, asked.value)
        found = self._kept.get(key)
        if found is None:
            async with self._database.read() as connection:
                found = await _found(connection, _values(self._make.release_id, asked.property), asked)
            self._kept[key] = found
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        if asked.property in CODE_NAMES:
            return self._make.coded(found)
        by_display = asked.property == "display"
        return self._make.displayed(found) if by_display else self._make.valued(asked.property, found)


def _values(release_id: int, name: str) -> Select[Any]:
    if name in CODE_NAMES:
        values, of_release = CODE.c.code, CODE.c.release_id == release_id
    elif name == "display":
        values, of_release = CONCEPT.c.display, CONCEPT.c.release_id == release_id
    else:
        values = PROPERTY.c.value
        of_release = (PROPERTY.c.release_id == release_id) & (
            PROPERTY.c.property == name[:MAX_CODE_CHARACTERS]
        )
    return select(values).where(of_release, values.is_not(None)).distinct().limit(MAX_VALUES + 1)


async def _found(connection: AsyncConnection, query: Select[Any], asked: Filter) -> Sequence[str]:
    pattern = compile_pattern(asked.value)
    values = list((await connection.execute(query)).scalars())
    if len(values) > MAX_VALUES:
        raise TooCostly(f"The property has more than {MAX_VALUES} values to hold the pattern against.")
    found: list[str] = []
    effort = Effort(MAX_STEPS)
    for at in range(0, len(values), _AT_ONCE):
        some = values[at : at + _AT_ONCE]
        await effort.take(steps_of(asked, sum(map(len, some))))
        found += [value for value in some if pattern.fullmatch(value)]
    if len(found) > MAX_MATCHES:
        raise TooCostly(f"The pattern matches more than {MAX_MATCHES} values.")
    return found
