"""A draft becomes a release: rows in short transactions that nobody sees, then one that makes it active.

Rows go in by the order of their keys, which is by far the cheapest on both databases. A release that is being
written shows that somebody is at it by `loaded_at_us`; one that has not for a while is the rest of a crash,
and the next import removes it.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import Any

import msgspec
from sqlalchemy import Table, insert, select, text, update

from server.kernel.bulk import copy_rows
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Fault, FaultKind
from server.kernel.rows import table_of
from terminology.releases import text_index
from terminology.releases.draft import ReleaseDraft
from terminology.releases.numbered import Numbered
from terminology.releases.pace import Pace
from terminology.releases.removal import SEEN_WITHIN_S, abandon_release, remove_left_over, take_out_of_use
from terminology.releases.word_blocks import count_blocks, fill_block
from terminology.tables import RELEASE_ROWS, TerminologyConcept, TerminologyRelease

Progress = Callable[[str, int, int], None]  # what is under way, how much of it is done, of how much

CONCEPT, RELEASE = table_of(TerminologyConcept), table_of(TerminologyRelease)


class Superseded(Fault):
    """The release that is being written is not there any more."""

    kind = FaultKind.CONFLICT


@dataclass(frozen=True, slots=True)
class Written:
    """What came of an import."""

    release_id: int
    url: str
    version: str
    concepts: int
    active_concepts: int


def untold(_what: str, _done: int, _total: int) -> None:
    """Progress that nobody wants to hear of."""


async def write_release(
    database: Database, draft: ReleaseDraft, progress: Progress = untold, grace_s: float | None = None
) -> Written:
    """Make the draft the active release of its URL and version; other versions stay as they are.

    A release that is replaced stays for `grace_s` (None: `SEEN_WITHIN_S`): requests have begun with it.

    Raises:
        InvalidDefinition: codes are named that are no concepts', or concepts lie below themselves.
        Superseded: another process has cleared it away.
    """
    await remove_left_over(database)
    progress("hierarchy", 0, 1)
    numbered = await asyncio.to_thread(Numbered, draft)
    progress("hierarchy", 1, 1)
    release_id = await _begin(database, draft)
    try:
        await text_index.begin_filling(database)
        writing = _Writing(database, release_id, progress)
        for table, total, rows in numbered.tables(release_id):
            await writing.write(table, total, rows)
        progress("indexes", 0, 2)
        await writing.index_words(len(numbered.order))
        await text_index.end_filling(database)
        progress("indexes", 1, 2)
        await _analyze(database)
        progress("indexes", 2, 2)
        replaced = await _activate(database, release_id, numbered)
    except BaseException:
        await asyncio.shield(abandon_release(database, release_id))
        raise
    if replaced:
        grace_s = SEEN_WITHIN_S if grace_s is None else grace_s
        await asyncio.sleep(grace_s)
        await remove_left_over(database, grace_s)
    header = draft.read_header
    return Written(release_id, header.url, header.version or "", len(numbered.order), numbered.active)


async def _begin(database: Database, draft: ReleaseDraft) -> int:
    header = {name: value for name, value in draft.header.items() if name not in ("concept", "text")}

    async def work(unit: UnitOfWork) -> int:
        release_id = await unit.new_key(RELEASE)
        row = {
            "id": release_id,
            "url": draft.read_header.url,
            "version": draft.read_header.version or "",
            "state": "loading",
            "kind": draft.kind,
            "header": msgspec.json.Encoder(decimal_format="number").encode(header),
            "concepts": 0,
            "active_concepts": 0,
            "loaded_at_us": unit.now_us,
        }
        await unit.execute(insert(RELEASE).values(row))
        return release_id

    return await database.transact(work)


async def _activate(database: Database, release_id: int, numbered: Numbered) -> bool:
    """Make it the active release; returns whether it takes the place of another."""
    c = RELEASE.c
    same = select(c.url, c.version).where(c.id == release_id)

    async def work(unit: UnitOfWork) -> bool:
        row = (await unit.execute(same)).one()
        url, version = row.url, row.version
        await unit.lock([f"terminology {url}|{version}"])
        others = (c.url == url) & (c.version == version) & (c.state == "active")
        replaced = await take_out_of_use(unit, others)
        counts = {"concepts": len(numbered.order), "active_concepts": numbered.active}
        await _touch(unit, release_id, state="active", **counts)
        return bool(replaced)

    return await database.transact(work)


async def _analyze(database: Database) -> None:
    """Have PostgreSQL do at once what it would do in a minute: know the tables."""
    if not database.is_sqlite:
        for table in [*(table_of(row) for row in RELEASE_ROWS), *text_index.tables(database)]:
            statement = text(f"ANALYZE {table.name}")
            await database.transact(lambda unit, statement=statement: unit.execute(statement))  # type: ignore[misc]


async def _touch(unit: UnitOfWork, release_id: int, **values: Any) -> None:
    ours = (RELEASE.c.id == release_id) & (RELEASE.c.state == "loading")
    done = await unit.execute(update(RELEASE).where(ours).values(loaded_at_us=unit.now_us, **values))
    if not done.rowcount:
        raise Superseded("The release was removed while it was being written.")


class _Writing:
    """Writes the rows of one release."""

    def __init__(self, database: Database, release_id: int, progress: Progress) -> None:
        self._database, self._release_id, self._progress = database, release_id, progress
        self._is_ours = CONCEPT.c.release_id == release_id

    async def write(self, table: Table, total: int, rows: Iterator[Sequence[Any]]) -> None:
        """Write all rows of one table; each has the columns in the table's order."""
        columns = [column.name for column in table.columns]
        pace = Pace(self._database)
        done = 0
        while some := list(islice(rows, pace.rows)):
            await pace.let_others_write()

            async def work(unit: UnitOfWork, some: Sequence[Sequence[Any]] = some) -> float:
                began = perf_counter()
                await _touch(unit, self._release_id)
                await copy_rows(unit.connection, table.name, columns, some)
                if table is CONCEPT:
                    numbers = CONCEPT.c.number.between(some[0][1], some[-1][1])
                    await text_index.index_concepts(unit.connection, self._is_ours & numbers)
                return began

            pace.ended(await self._database.transact(work))
            done += len(some)
            self._progress(table.name.removeprefix("terminology_").replace("_", " "), done, max(total, done))

    async def index_words(self, last: int) -> None:
        """Fill PostgreSQL's index of words, when all concepts are there."""
        if self._database.is_sqlite:
            return
        for block in range(count_blocks(last)):

            async def work(unit: UnitOfWork, block: int = block) -> None:
                await _touch(unit, self._release_id)
                await fill_block(unit.connection, self._release_id, block)

            await self._database.transact(work)
