"""The matches of one page, read by the way that costs least: collected, or walked along their order."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from fhir.search.conditions import SearchQuery
from fhir.search.order import After
from fhir.search.shape import Indexed
from fhir.search.sql import (
    KEPT_STATEMENTS,
    STEPS_OF_SEARCH,
    PageOf,
    Reaches,
    as_limit,
    kept_page,
    lower_page,
    named,
    placeholders,
    shown,
)
from fhir.search.value import Surroundings, Values
from fhir.search.walk import may_walk, select_end, select_probe, start_of, track_of, walked
from server.kernel.access import Reach
from server.kernel.database import Database
from server.kernel.look_up import LookUp

Rows = Sequence[Any]


async def read_matches(
    database: Database, query: SearchQuery, reach: Reach | Reaches, around: Surroundings, after: After | None
) -> Rows:
    """One more than a page of matches: the columns of `SHOWN`, then the sort values."""
    page, values = lower_page(query, reach, around, after)
    if query.count and may_walk(page.matching.conditions, page.sort, page.missing or ()):
        rows = await _walk(database, page, values)
        if rows is not None:
            return rows
    return await database.look_up(kept_page(page, len(values)), named(values))


async def _walk(database: Database, page: PageOf, values: list[Any]) -> Rows | None:
    """The page, by a walk; None: it is shorter to collect, or the walk did not fill the page."""
    size = len(values)
    start = start_of(page.matching.conditions)
    if start is not None:
        assert isinstance(start, Indexed)
        if not await database.look_up(_probe(start, size), named(values)):
            return None
    end = await database.look_up(_end(page, size), named(values))
    places = [*values, *end[0]] if end else values
    rows = await database.look_up(_walked(page, size, has_end=bool(end)), named(places))
    return rows if len(rows) == values[-1] else None


@lru_cache(maxsize=KEPT_STATEMENTS)
def _probe(start: Indexed, size: int) -> LookUp:
    return LookUp(select_probe(start, placeholders(size)), STEPS_OF_SEARCH)


@lru_cache(maxsize=KEPT_STATEMENTS)
def _end(page: PageOf, size: int) -> LookUp:
    track = track_of(page.matching.types, page.sort)
    return LookUp(select_end(track, _after(page, placeholders(size))), STEPS_OF_SEARCH)


@lru_cache(maxsize=KEPT_STATEMENTS)
def _walked(page: PageOf, size: int, *, has_end: bool) -> LookUp:
    values = placeholders(size + len(page.sort) + 1)
    track = track_of(page.matching.types, page.sort)
    places = (_after(page, values[:size]), values[size:] if has_end else None)
    along = walked(track, (page.matching.types, page.matching.conditions), values, places)
    return LookUp(shown(page, along.limit(as_limit(values[size - 1]))), STEPS_OF_SEARCH)


def _after(page: PageOf, values: Values) -> Values | None:
    """Of a page's values, the place where it begins."""
    return None if page.missing is None else values[-len(page.sort) - 2 : -1]
