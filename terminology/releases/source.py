"""The releases in the database as a source of code systems.

Which there are is asked at most once a second by each process: a release that an import has made active, also
one of another process, is seen within `FRESH_US`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import bindparam, select

from server.kernel.clock import SECOND_US, Clock, now_us
from server.kernel.database import Database
from server.kernel.look_up import LookUp
from server.kernel.rows import table_of
from terminology.library import Edition, Kind
from terminology.listed import read_header
from terminology.releases.system import ReleasedCodeSystem, Rule
from terminology.tables import TerminologyRelease

FRESH_US = SECOND_US

RELEASE = table_of(TerminologyRelease)
_IS_ACTIVE = RELEASE.c.state == bindparam("state", "active")
_ACTIVE = LookUp(select(RELEASE.c.id).where(_IS_ACTIVE).order_by(RELEASE.c.id))
_ONE = select(RELEASE).where(RELEASE.c.id == bindparam("release_id"))


async def has_release(database: Database, url: object, version: object) -> bool:
    """Whether a version of a code system is an active release."""
    c = RELEASE.c
    one = select(c.id).where(c.url == str(url), c.version == str(version), c.state == "active")
    async with database.read() as connection:
        return (await connection.execute(one)).first() is not None


@dataclass(frozen=True, slots=True)
class _Known:
    edition: Edition
    system: ReleasedCodeSystem


class Releases:
    """A `library.Source` of the active releases; `rules` understand filters, by kind of release."""

    def __init__(self, database: Database, rules: Mapping[str, Rule], clock: Clock = now_us) -> None:
        self._database, self._rules, self._clock = database, rules, clock
        self._known: dict[int, _Known] = {}
        self._looked_us = 0

    async def editions(self, kind: Kind, url: str) -> Sequence[Edition]:
        """All versions of a code system."""
        return [each for each in await self.listing(kind) if each.url == url]

    async def supplements(self, system_url: str) -> Sequence[Edition]:
        """The supplements of any version of a code system."""
        found = await self.listing(Kind.CODE_SYSTEM)
        return [each for each in found if each.supplements and each.supplements.url == system_url]

    async def listing(self, kind: Kind) -> Sequence[Edition]:
        """Every release."""
        if kind is not Kind.CODE_SYSTEM:
            return ()
        return [each.edition for each in (await self._current()).values()]

    async def systems(self) -> Sequence[ReleasedCodeSystem]:
        """Every release, opened."""
        return [each.system for each in (await self._current()).values()]

    async def _current(self) -> Mapping[int, _Known]:
        now = self._clock()
        if abs(now - self._looked_us) >= FRESH_US:
            rows = await self._database.look_up(_ACTIVE, {"state": "active"})
            known = self._known
            self._known = {row.id: known.get(row.id) or await self._read(row.id) for row in rows}
            self._looked_us = now
        return self._known

    async def _read(self, release_id: int) -> _Known:
        async with self._database.read() as connection:
            row: Any = (await connection.execute(_ONE, {"release_id": release_id})).one()
        header = read_header(orjson.loads(row.header))
        counts = (row.concepts, row.active_concepts)
        system = ReleasedCodeSystem(
            self._database, release_id, header, counts=counts, rule=self._rules.get(row.kind)
        )

        async def opened() -> ReleasedCodeSystem:
            return system

        edition = Edition(
            Kind.CODE_SYSTEM,
            header.url,
            header.version,
            opened,
            header.content.value,
            header.supplements,
        )
        return _Known(edition, system)
