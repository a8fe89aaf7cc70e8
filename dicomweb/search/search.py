"""One search: the page of rows, what is counted for it, and the body (PS3.18 10.6.3)."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Row, Select, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from dicomweb.attributes import Level
from dicomweb.overlay.load import NONE, load_overlays
from dicomweb.search.answers import Counts, answer_fragments
from dicomweb.search.parameters import fitting_limit
from dicomweb.search.query import MORE_RESULTS, Query
from dicomweb.search.sql import INSTANCE, SERIES, count_matches, select_matches, select_metadata_sizes
from server.kernel.access import Reach
from server.kernel.database import Database

MAX_PACKED_BYTES = 64 << 20  # of metadata as it is stored, read for one answer
MAX_INLINE_ROWS = 200  # rendered on the event loop: a few milliseconds; more, and metadata, goes to a thread


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """The body of a search response, and what its header fields say."""

    body: bytes
    warnings: tuple[str, ...]
    total: int | None = None  # of all pages; None: nobody asked


async def search(database: Database, query: Query, reach: Reach, public_base: str) -> SearchAnswer:
    """Answer `query` from the studies within `reach`; no match is an empty array with 200."""
    asked = query.limit
    async with database.read() as connection:
        if query.needs_metadata:
            sizes = (await connection.execute(select_metadata_sizes(query, reach))).scalars()
            query = replace(query, limit=fitting_limit(asked, sizes, MAX_PACKED_BYTES))
        rows = (await connection.execute(select_matches(query, reach))).all()
        page = rows[: query.limit]
        counts = await _count(connection, query.level, page)
        if query.needs_metadata:
            overlaid = {row.study_instance_uid for row in page if row.overlaid_us is not None}
            counts.overlays = await load_overlays(connection, overlaid) if overlaid else NONE
        total = await _total(connection, query, reach, len(rows)) if query.wants_total else None
    if len(page) <= MAX_INLINE_ROWS and not query.needs_metadata:
        fragments = answer_fragments(page, query, counts, public_base)
    else:
        fragments = await asyncio.to_thread(answer_fragments, page, query, counts, public_base)
    is_cut = query.limit < asked or len(fragments) < len(page)  # by their bytes
    more = is_cut or (len(rows) > query.limit and not query.is_limited)
    warnings = (*query.warnings, MORE_RESULTS) if more else query.warnings
    return SearchAnswer(b"[" + b",".join(fragments) + b"]", warnings, total)


async def _total(connection: AsyncConnection, query: Query, reach: Reach, found: int) -> int:
    """How many match; the last page tells by itself."""
    if 0 < found <= query.limit:
        return query.offset + found
    total: int = (await connection.execute(count_matches(query, reach))).scalar_one()
    return total


async def _count(connection: AsyncConnection, level: Level, page: Sequence[Row[Any]]) -> Counts:
    counts = Counts()
    if level is Level.STUDY and page:
        studies = [row.study_key for row in page]
        await _count_series(connection, studies, counts)
        counts.instances_of_study = await _count_instances(connection, INSTANCE.c.study_id, studies)
    if level is Level.SERIES and page:
        series = [row.series_key for row in page]
        counts.instances_of_series = await _count_instances(connection, INSTANCE.c.series_id, series)
    return counts


async def _count_series(connection: AsyncConnection, studies: Iterable[int], counts: Counts) -> None:
    for study, modality, number in await connection.execute(_COUNT_SERIES, {"keys": studies}):
        counts.series_of_study[study] = counts.series_of_study.get(study, 0) + number
        if modality:
            counts.modalities_of_study.setdefault(study, []).append(modality)


async def _count_instances(
    connection: AsyncConnection, owner: ColumnElement[int], keys: Iterable[int]
) -> dict[int, int]:
    return {row[0]: row[1] for row in await connection.execute(_count_instances_of(owner), {"keys": keys})}


# Built once: that costs more than to execute them.
_KEYS: BindParameter[int] = bindparam("keys", expanding=True)
_COUNT_SERIES = (
    select(SERIES.c.study_id, SERIES.c.modality, func.count())
    .where(SERIES.c.study_id.in_(_KEYS), SERIES.c.superseded_us.is_(None))
    .group_by(SERIES.c.study_id, SERIES.c.modality)
    .order_by(SERIES.c.modality)
)


@cache
def _count_instances_of(owner: ColumnElement[int]) -> Select[int, int]:
    current = INSTANCE.c.superseded_us.is_(None)
    return select(owner, func.count()).where(owner.in_(_KEYS), current).group_by(owner)
