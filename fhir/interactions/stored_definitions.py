"""The code systems, value sets and concept maps that are stored here, as a source of terminology.

What there is, by canonical URL and version, is kept in memory, read from the search index without opening a
body: looked at again after a write of this process, and else every `LOOK_US`. A definition is opened when it
is needed, and kept while there is room. One that names a patient is part of that patient's record, and no
definition for others.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Select, and_, bindparam, exists, false, func, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.interactions.beside import beside
from fhir.interactions.body import unpack
from fhir.interactions.write import DEFINITION_CHANGED, DEFINITIONS, VERSION
from fhir.model.json_codec import decode_json
from fhir.search.definitions import parameters_of
from fhir.search.kinds import KINDS
from fhir.search.reach import COMPARTMENT, R
from fhir.search.value import bounded
from server.kernel.clock import SECOND_US, Clock, now_us
from server.kernel.database import Database
from terminology.canonical import Canonical
from terminology.library import Edition, Kind
from terminology.listed import ListedCodeSystem

LOOK_US = 2 * SECOND_US  # after which writes of other processes are looked for
MAX_OPEN_BYTES = (
    8 << 20
)  # JSON text of the definitions that are kept open; in memory they take ten times that
_AT_ONCE = 500  # resources by one statement

# Both together differ after any write of a definition, in whichever order transactions commit.
_STATE = select(func.count(), func.sum(R.c.version_id)).where(R.c.type.in_(sorted(DEFINITIONS)))
_VERSIONS = select(R.c.rid, R.c.version_id).where(
    R.c.type.in_(sorted(DEFINITIONS)), R.c.deleted == false(), ~exists().where(COMPARTMENT.c.rid == R.c.rid)
)
_BODY = union_all(  # what was written over elsewhere is opened until that is looked for
    *(
        select(table.c.body).where(
            table.c.rid == bindparam("rid"), table.c.version_id == bindparam("version_id")
        )
        for table in (R, VERSION)
    )
)


@dataclass(slots=True)
class _Catalogue:
    """What there is."""

    versions: Mapping[int, int] = field(default_factory=dict)  # by rid: the version of the resource
    entries: dict[int, Edition] = field(default_factory=dict)  # by rid
    by_url: Mapping[tuple[Kind, str], Sequence[Edition]] = field(default_factory=dict)
    by_supplemented: Mapping[str, Sequence[Edition]] = field(default_factory=dict)


class StoredDefinitions:
    """A `terminology.library.Source` of one database."""

    def __init__(self, database: Database, clock: Clock = now_us) -> None:
        self._database, self._clock = database, clock
        self._catalogue = _Catalogue()
        self._state: Sequence[Any] | None = None  # None: something was written since it was looked at
        self._looked_us = 0
        self._heard = 0  # of writes
        self._looking = asyncio.Lock()
        self._open: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._open_bytes = 0
        self._opening: dict[tuple[int, int], asyncio.Future[Any]] = {}
        database.on_events(self._hear)

    async def editions(self, kind: Kind, url: str) -> Sequence[Edition]:
        """All versions of a definition."""
        return (await self._current()).by_url.get((kind, bounded(url)), ())

    async def supplements(self, system_url: str) -> Sequence[Edition]:
        """The supplements of any version of a code system."""
        return (await self._current()).by_supplemented.get(system_url, ())

    async def listing(self, kind: Kind) -> Sequence[Edition]:
        """Everything of a kind."""
        return [each for each in (await self._current()).entries.values() if each.kind is kind]

    async def open_text(self, kind: Kind, key: Hashable, text: bytes, url: str) -> Any:
        """A definition that has been read, as `Edition.open` gives it; kept under this key.

        `url` is what it is called where it does not say.
        """
        if (known := self._open.get(key)) is not None:
            self._open.move_to_end(key)
            return known[0]
        opened = await beside(len(text), _open, kind, text, url)
        self._keep(key, opened, len(text))
        return opened

    def _hear(self, kinds: AbstractSet[str]) -> None:
        if DEFINITION_CHANGED in kinds:
            self._heard += 1
            self._looked_us, self._state = 0, None

    async def _current(self) -> _Catalogue:
        if abs(self._clock() - self._looked_us) >= LOOK_US:
            async with self._looking:
                if abs(self._clock() - self._looked_us) >= LOOK_US:
                    await self._look()
        return self._catalogue

    async def _look(self) -> None:
        heard = self._heard
        async with self._database.read() as connection:
            state = tuple((await connection.execute(_STATE)).one())
            if state != self._state:
                self._catalogue = await self._read(connection)
        if heard == self._heard:  # else what was written meanwhile may be missing: look again
            self._state, self._looked_us = state, self._clock()

    async def _read(self, connection: AsyncConnection) -> _Catalogue:
        known = self._catalogue
        versions = {row.rid: row.version_id for row in (await connection.execute(_VERSIONS)).all()}
        changed = sorted(rid for rid, version in versions.items() if known.versions.get(rid) != version)
        kept = versions.keys() - set(changed)
        entries = {rid: each for rid, each in known.entries.items() if rid in kept}
        for kind in Kind:
            for at in range(0, len(changed), _AT_ONCE):
                rows = await connection.execute(_HEADERS[kind], {"rids": changed[at : at + _AT_ONCE]})
                entries |= {row.rid: self._edition(kind, row) for row in rows.all()}
        return _Catalogue(
            versions,
            entries,
            _grouped(((each.kind, each.url), each) for each in entries.values()),
            _grouped((each.supplements.url, each) for each in entries.values() if each.supplements),
        )

    def _edition(self, kind: Kind, row: Any) -> Edition:
        supplemented = getattr(row, "supplemented", None)
        return Edition(
            kind,
            row.url,
            row.version,
            partial(self._opened, kind, row.rid, row.version_id),
            getattr(row, "content", None),
            Canonical(supplemented, row.supplemented_version) if supplemented else None,
        )

    async def _opened(self, kind: Kind, rid: int, version_id: int) -> Any:
        key = (rid, version_id)
        if (known := self._open.get(key)) is not None:
            self._open.move_to_end(key)
            return known[0]
        opening = self._opening.get(key)
        if opening is None:  # who comes meanwhile waits for it, rather than read the same again
            opening = self._opening[key] = asyncio.ensure_future(self._read_one(kind, key))
            opening.add_done_callback(lambda _: self._opening.pop(key, None))
        return await asyncio.shield(opening)

    async def _read_one(self, kind: Kind, key: tuple[int, int]) -> Any:
        rid, version_id = key
        async with self._database.read() as connection:
            row = (await connection.execute(_BODY, {"rid": rid, "version_id": version_id})).one()
        text = unpack(row.body)
        opened = await beside(len(text), _open, kind, text)
        self._keep(key, opened, len(text))
        return opened

    def _keep(self, key: Hashable, opened: Any, size: int) -> None:
        if key not in self._open:
            self._open[key] = (opened, size)
            self._open_bytes += size
        while self._open_bytes > MAX_OPEN_BYTES and len(self._open) > 1:
            self._open_bytes -= self._open.popitem(last=False)[1][1]


def _open(kind: Kind, text: bytes, url: str | None = None) -> Any:
    resource = decode_json(text)
    if url is not None:
        resource.setdefault("url", url)
    return ListedCodeSystem(resource) if kind is Kind.CODE_SYSTEM else resource


def _grouped(pairs: Iterable[tuple[Any, Edition]]) -> Mapping[Any, Sequence[Edition]]:
    found: dict[Any, list[Edition]] = {}
    for key, each in pairs:
        found.setdefault(key, []).append(each)
    return found


def _headers(kind: Kind) -> Select[Any]:
    """What the search index says of definitions of a kind."""
    parameters = parameters_of(kind.value)

    def of(code: str, alias: str) -> tuple[Any, Any]:
        parameter = parameters[code]
        table = KINDS[parameter.type].table.alias(alias)
        return table, and_(table.c.rid == R.c.rid, table.c.param == parameter.number, table.c.n == 0)

    (url, is_url), (version, is_version) = of("url", "u"), of("version", "v")
    columns = [R.c.rid, R.c.version_id, url.c.uri.label("url"), version.c.code.label("version")]
    rows = select(*columns).join(url, is_url).outerjoin(version, is_version)
    if kind is Kind.CODE_SYSTEM:
        (content, is_content), (about, is_about) = of("content-mode", "c"), of("supplements", "s")
        rows = (
            rows.outerjoin(content, is_content)
            .outerjoin(about, is_about)
            .add_columns(
                content.c.code.label("content"),
                about.c.url.label("supplemented"),
                about.c.version.label("supplemented_version"),
            )
        )
    return rows.where(R.c.type == kind.value, R.c.rid.in_(bindparam("rids", expanding=True)))


_HEADERS: Mapping[Kind, Select[Any]] = {kind: _headers(kind) for kind in Kind}
