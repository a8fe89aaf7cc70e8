"""Value sets and concept maps that SNOMED CT has without anybody storing them.

terminology.hl7.org/SNOMEDCT.html, "Implicit Value Sets" and "Implicit Concept Maps":
`http://snomed.info/sct[/EDITION[/version/DATE]]?fhir_vs[=…]`, `…?fhir_cm=REFSET`. Without edition or version
the value set is of whichever version is meant where it is used.
"""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from sqlalchemy import select

from server.kernel.rows import table_of
from terminology.canonical import accepts
from terminology.concept_map import ConceptMap
from terminology.library import Edition, Kind
from terminology.releases.source import Releases
from terminology.releases.system import ReleasedCodeSystem
from terminology.sctid import has_form
from terminology.snomed.maps import find_map, list_maps
from terminology.tables import TerminologyMember

Json = Any

SNOMED_CT = "http://snomed.info/sct"
REFERENCE_SET = "900000000000455006"  # what all reference sets lie below

MEMBER = table_of(TerminologyMember)
_URL = re.compile(
    rf"(?P<base>{re.escape(SNOMED_CT)}(?:/[0-9]{{6,18}}(?:/version/[0-9]{{8}})?)?)\?(?P<what>fhir_(?:vs|cm))(?:=(?P<of>.*))?",
    re.DOTALL,
)


class ImplicitDefinitions:
    """A `library.Source` of what the SNOMED CT releases imply."""

    def __init__(self, releases: Releases) -> None:
        self._releases = releases
        self._maps: dict[int, Sequence[Edition]] = {}  # by release, which does not change

    async def editions(self, kind: Kind, url: str) -> Sequence[Edition]:
        """The definition, if a release has what it is about."""
        if not url.startswith(SNOMED_CT) or (found := _URL.fullmatch(url)) is None:
            return ()
        system = await self._system(found["base"])
        if system is None:
            return ()
        if kind is Kind.VALUE_SET and found["what"] == "fhir_vs":
            return await _value_sets(url, found, system)
        if kind is Kind.CONCEPT_MAP and found["what"] == "fhir_cm" and has_form(found["of"] or ""):
            return await _concept_maps(url, found["of"], system)
        return ()

    async def supplements(self, system_url: str) -> Sequence[Edition]:  # noqa: ARG002  of the protocol
        """None."""
        return ()

    async def listing(self, kind: Kind) -> Sequence[Edition]:
        """The concept maps of the newest release; of value sets there is no end."""
        if kind is not Kind.CONCEPT_MAP or (system := await self._system(SNOMED_CT)) is None:
            return ()
        if system.release_id not in self._maps:
            named = [(f"{SNOMED_CT}?fhir_cm={each}", each) for each in await list_maps(system)]
            found = [each for url, of in named for each in await _concept_maps(url, of, system)]
            self._maps = {system.release_id: found}
        return self._maps[system.release_id]

    async def _system(self, base: str) -> ReleasedCodeSystem | None:
        """The newest release of an edition and version."""
        wanted = None if base == SNOMED_CT else base
        found = [
            each
            for each in await self._releases.systems()
            if each.header.url == SNOMED_CT and accepts(wanted, each.header.version)
        ]
        return max(found, key=lambda each: _date(each.header.version), default=None)


def _date(version: str | None) -> str:
    return (version or "").rpartition("/")[2]


async def _value_sets(url: str, found: re.Match[str], system: ReleasedCodeSystem) -> Sequence[Edition]:
    what, _, of = (found["of"] or "").partition("/")
    if what == "isa" and has_form(of) and await system.number(of) is not None:
        filters = [_filter("concept", "is-a", of)]
    elif what == "refset" and not of:
        filters = [_filter("concept", "descendent-of", REFERENCE_SET)]
    elif what == "refset" and has_form(of) and await _has_members(system, of):
        filters = [_filter("concept", "in", of)]
    elif what == "ecl" and of:
        filters = [_filter("constraint", "=", unquote(of))]
    elif found["of"] is None:
        filters = []
    else:
        return ()
    include: Json = {"system": SNOMED_CT}
    if found["base"] != SNOMED_CT:
        include["version"] = system.header.version
    if filters:
        include["filter"] = filters
    value_set = {
        "resourceType": "ValueSet",
        "url": url,
        "name": "SNOMED_CT_implicit",
        "title": f"SNOMED CT: {found['of'] or 'all concepts'}",
        "status": "active",
        "compose": {"include": [include]},
    }

    async def opened() -> Json:
        return value_set

    return [Edition(Kind.VALUE_SET, url, None, opened)]


def _filter(name: str, operator: str, value: str) -> Json:
    return {"property": name, "op": operator, "value": value}


async def _has_members(system: ReleasedCodeSystem, refset: str) -> bool:
    number = await system.number(refset)
    if number is None:
        return False
    c = MEMBER.c
    one = select(c.concept).where(c.release_id == system.release_id, c.refset == number).limit(1)
    async with system.database.read() as connection:
        return (await connection.execute(one)).first() is not None


async def _concept_maps(url: str, refset: str, system: ReleasedCodeSystem) -> Sequence[Edition]:
    found = await find_map(url, refset, system)
    if found is None:
        return ()

    async def opened() -> ConceptMap:
        return found

    return [Edition(Kind.CONCEPT_MAP, url, _date(system.header.version), opened)]
