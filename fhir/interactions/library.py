"""The profiles and value sets that are stored here, as a library to validate with.

A definition is found by its canonical URL, with all that it names in turn. What is read is kept, and what is
compiled of it, until a definition is written: here, or elsewhere, which the index is asked at most once a
second. What a transaction sees that has written definitions itself is kept for nobody else.
"""

import asyncio
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import bindparam, false, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.interactions.body import unpack
from fhir.interactions.write import DEFINITION_CHANGED
from fhir.model.json_codec import decode_json
from fhir.model.profiles.library import KINDS, Library, canonicals_of
from fhir.search.definitions import parameters_of
from fhir.search.kinds import KINDS as SEARCH_KINDS
from fhir.search.value import bounded
from fhir.tables import FhirResource
from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of

MAX_DEFINITIONS = 2_000  # of one library; US Core 6.1.0 has 100

_R = table_of(FhirResource)
# Both together differ after any write of a definition, in whichever order transactions commit.
_STATE = select(func.count(), func.sum(_R.c.version_id)).where(_R.c.type.in_(KINDS))
_ASKED_AT_ONCE = 200


class _Kept:
    def __init__(self) -> None:
        self.library = Library()
        self.asked: set[tuple[str, str]] = set()
        self.state: Sequence[Any] = ()
        self.looked_us = 0
        self.reading = asyncio.Lock()  # so that nobody takes for unknown what another is about to read


_KEPT: WeakKeyDictionary[Database, _Kept] = WeakKeyDictionary()
_HEARD: WeakKeyDictionary[Database, int] = WeakKeyDictionary()  # writes of definitions, here
_WITHIN: WeakKeyDictionary[UnitOfWork, _Kept] = WeakKeyDictionary()


async def library_with(
    database: Database, connection: AsyncConnection, profiles: Iterable[str], now_us: int
) -> Library:
    """A library that holds these profiles as far as they are stored, and what they need."""
    return await _holding(await _current(database, connection, now_us), connection, profiles)


async def library_within(database: Database, unit: UnitOfWork, profiles: Iterable[str]) -> Library:
    """The same as a transaction sees it that is about to commit; it may have written some of it."""
    if DEFINITION_CHANGED not in unit.emitted:
        return await library_with(database, unit.connection, profiles, unit.now_us)
    return await _holding(_WITHIN.setdefault(unit, _Kept()), unit.connection, profiles)


async def _holding(kept: _Kept, connection: AsyncConnection, profiles: Iterable[str]) -> Library:
    named = {("StructureDefinition", url) for url in profiles}
    if not named <= kept.asked:
        async with kept.reading:
            await _complete(kept, connection, named - kept.asked)
    return kept.library


async def _complete(kept: _Kept, connection: AsyncConnection, wanted: set[tuple[str, str]]) -> None:
    asked = set(kept.asked)
    while wanted and len(asked) < MAX_DEFINITIONS:
        asked |= wanted
        found = await _read(connection, wanted)
        for resource in found:
            kept.library.add(resource)
        wanted = {each for resource in found for each in canonicals_of(resource) if each[1]} - asked
    kept.asked = asked


async def _current(database: Database, connection: AsyncConnection, now_us: int) -> _Kept:
    if database not in _KEPT:
        _begin(database)
    kept, heard = _KEPT[database], _HEARD[database]
    if abs(now_us - kept.looked_us) < SECOND_US and kept.state:
        return kept
    state = tuple((await connection.execute(_STATE)).one())
    if state != kept.state or len(kept.asked) >= MAX_DEFINITIONS:
        kept = _KEPT[database] = _Kept()
        kept.state = state
    if heard == _HEARD[database]:  # else what was written meanwhile may be missing: look again
        kept.looked_us = now_us
    return kept


def _begin(database: Database) -> None:
    _KEPT[database], _HEARD[database] = _Kept(), 0

    def hear(kinds: AbstractSet[str]) -> None:
        if DEFINITION_CHANGED in kinds:
            _HEARD[database] += 1
            _KEPT[database].looked_us = 0

    database.on_events(hear)


async def _read(connection: AsyncConnection, wanted: Iterable[tuple[str, str]]) -> Sequence[Any]:
    resources: list[Any] = []
    for kind in KINDS:
        urls = sorted({bounded(url.partition("|")[0]) for each, url in wanted if each == kind})
        for at in range(0, len(urls), _ASKED_AT_ONCE):
            rows = await connection.execute(_BY_URL[kind], {"urls": urls[at : at + _ASKED_AT_ONCE]})
            resources += [decode_json(unpack(row.body)) for row in rows.all()]
    return resources


def _by_url(kind: str) -> Any:
    parameter = parameters_of(kind)["url"]
    uri = SEARCH_KINDS[parameter.type].table
    return (
        select(_R.c.body)
        .join(uri, uri.c.rid == _R.c.rid)
        .where(
            uri.c.param == parameter.number,
            uri.c.uri.in_(bindparam("urls", expanding=True)),
            _R.c.deleted == false(),
        )
        .order_by(_R.c.rid)
    )


_BY_URL = {kind: _by_url(kind) for kind in KINDS}
