"""Reference sets as concept maps (terminology.hl7.org/SNOMEDCT.html, "Implicit Concept Maps").

Association reference sets lead to other concepts of SNOMED CT; simple, complex and extended map reference
sets (Release File Specifications §5.2) to codes of other code systems. Mappings are looked up in the tables
code by code: a map has hundreds of thousands.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import bindparam, select

from server.kernel.look_up import LookUp
from server.kernel.rows import table_of
from terminology.canonical import Canonical
from terminology.concept_map import UNMATCHED, ConceptMap, Link, Mappings
from terminology.releases.system import ReleasedCodeSystem
from terminology.tables import TerminologyConcept, TerminologyMember
from terminology.translation import MAX_MATCHES

Json = Any

# Association reference sets that are maps, by identifier: how a target relates to its source.
ASSOCIATIONS: Mapping[str, str] = {
    "900000000000523009": "inexact",  # POSSIBLY EQUIVALENT TO
    "900000000000526001": "equivalent",  # REPLACED BY
    "900000000000527005": "equal",  # SAME AS
    "900000000000530003": "inexact",  # ALTERNATIVE
}
# Of maps to other code systems: which those are, as no file of a release says it.
TARGETS: Mapping[str, str] = {
    "446608001": "http://terminology.hl7.org/CodeSystem/icd-o-3",
    "447562003": "http://hl7.org/fhir/sid/icd-10",
    "447563008": "http://hl7.org/fhir/sid/icd-9-cm",
    "450993002": "http://hl7.org/fhir/sid/icpc-2",
    "6011000124106": "http://hl7.org/fhir/sid/icd-10-cm",
    "900000000000497000": "http://read.info/ctv3",
}
# correlationId of complex and extended maps: how a target relates to its source; others do not say
_CORRELATIONS: Mapping[str, str] = {
    "447556008": UNMATCHED,  # not mappable
    "447557004": "equivalent",  # exact match
    "447558009": "wider",  # narrow to broad
    "447559001": "narrower",  # broad to narrow
    "447560006": "inexact",  # partial overlap
}
_UNSPECIFIED = "relatedto"

MEMBER, CONCEPT = table_of(TerminologyMember), table_of(TerminologyConcept)
_OF_REFSET = (MEMBER.c.release_id == bindparam("release_id", 0)) & (MEMBER.c.refset == bindparam("refset", 0))
_IS_CONCEPT = CONCEPT.c.release_id == MEMBER.c.release_id
_SOURCES = MEMBER.join(CONCEPT, _IS_CONCEPT & (CONCEPT.c.number == MEMBER.c.concept))
_TARGETS = MEMBER.join(CONCEPT, _IS_CONCEPT & (CONCEPT.c.number == MEMBER.c.target))
_HAS_MAPPINGS = LookUp(select(MEMBER.c.n).where(_OF_REFSET, MEMBER.c.map_target.is_not(None)).limit(1))
_HAS_ASSOCIATIONS = LookUp(select(MEMBER.c.n).where(_OF_REFSET, MEMBER.c.target.is_not(None)).limit(1))
_REFSETS_WITH_MAPPINGS = LookUp(
    select(CONCEPT.c.code)
    .where(
        CONCEPT.c.release_id == bindparam("release_id", 0),
        CONCEPT.c.number.in_(
            select(MEMBER.c.refset)
            .where(MEMBER.c.release_id == bindparam("release_id", 0), MEMBER.c.map_target.is_not(None))
            .distinct()
        ),
    )
    .order_by(CONCEPT.c.number)
)
_ASSOCIATED_WITH = LookUp(
    select(CONCEPT.c.code, CONCEPT.c.display)
    .select_from(_TARGETS)
    .where(_OF_REFSET, MEMBER.c.concept == bindparam("concept", 0))
    .order_by(MEMBER.c.n)
    .limit(MAX_MATCHES + 1)
)
_ASSOCIATED_TO = LookUp(
    select(CONCEPT.c.code, CONCEPT.c.display)
    .select_from(_SOURCES)
    .where(_OF_REFSET, MEMBER.c.target == bindparam("target", 0))
    .order_by(MEMBER.c.concept, MEMBER.c.n)
    .limit(MAX_MATCHES + 1)
)
_MAPPED_WITH = LookUp(
    select(MEMBER.c.map_target, MEMBER.c.fields)
    .where(_OF_REFSET, MEMBER.c.concept == bindparam("concept", 0), MEMBER.c.map_target.is_not(None))
    .order_by(MEMBER.c.n)
    .limit(MAX_MATCHES + 1)
)
# What the index alone can tell first: otherwise SQLite goes through the whole reference set.
_WITH_TARGET = (
    select(MEMBER.c.refset, MEMBER.c.concept, MEMBER.c.n)
    .where(_OF_REFSET, MEMBER.c.map_target == bindparam("target", ""), MEMBER.c.map_target.is_not(None))
    .order_by(MEMBER.c.concept, MEMBER.c.n)
    .limit(MAX_MATCHES + 1)
    .subquery()
)
_MAPPED_TO = LookUp(
    select(CONCEPT.c.code, CONCEPT.c.display, MEMBER.c.fields)
    .select_from(
        _WITH_TARGET.join(
            MEMBER,
            (MEMBER.c.release_id == bindparam("release_id", 0))
            & (MEMBER.c.refset == _WITH_TARGET.c.refset)
            & (MEMBER.c.concept == _WITH_TARGET.c.concept)
            & (MEMBER.c.n == _WITH_TARGET.c.n),
        ).join(CONCEPT, _IS_CONCEPT & (CONCEPT.c.number == MEMBER.c.concept))
    )
    .order_by(MEMBER.c.concept, MEMBER.c.n)
)


async def find_map(url: str, refset: str, system: ReleasedCodeSystem) -> ConceptMap | None:
    """The concept map that a reference set of a release is; None: it is none."""
    number = await system.number(refset)
    if number is None:
        return None
    mappings: Mappings | None = None
    scope, target_scope = f"{system.header.url}?fhir_vs", None
    values = {"release_id": system.release_id, "refset": number}
    if refset in ASSOCIATIONS:
        if await system.database.look_up(_HAS_ASSOCIATIONS, values):
            mappings, target_scope = _Associations(refset, number, system), scope
    elif await system.database.look_up(_HAS_MAPPINGS, values):
        mappings = _MapTargets(refset, number, system)
    return None if mappings is None else ConceptMap(Canonical(url), "active", scope, target_scope, [mappings])


async def list_maps(system: ReleasedCodeSystem) -> Sequence[str]:
    """The reference sets of a release that may be maps."""
    rows = await system.database.look_up(_REFSETS_WITH_MAPPINGS, {"release_id": system.release_id})
    return [*ASSOCIATIONS, *(row.code for row in rows)]


class _Associations:
    """Mappings from concepts of SNOMED CT to others."""

    def __init__(self, refset: str, number: int, system: ReleasedCodeSystem) -> None:
        self.source = self.target = system.header.canonical
        self.unmapped = None
        self._equivalence = ASSOCIATIONS[refset]
        self._refset, self._system = number, system

    async def links_from(self, code: str) -> Sequence[Link]:
        """The mappings of an inactive concept."""
        rows = await self._rows(_ASSOCIATED_WITH, "concept", code)
        return [Link(code, None, row.code, row.display, self._equivalence) for row in rows]

    async def links_to(self, code: str) -> Sequence[Link]:
        """The mappings to a concept."""
        rows = await self._rows(_ASSOCIATED_TO, "target", code)
        return [Link(row.code, row.display, code, None, self._equivalence) for row in rows]

    async def _rows(self, asked: LookUp, name: str, code: str) -> Sequence[Any]:
        number = await self._system.number(code)
        if number is None:
            return ()
        values = {"release_id": self._system.release_id, "refset": self._refset, name: number}
        return await self._system.database.look_up(asked, values)


class _MapTargets:
    """Mappings from concepts of SNOMED CT to codes of another code system."""

    def __init__(self, refset: str, number: int, system: ReleasedCodeSystem) -> None:
        self.source = system.header.canonical
        self.target = Canonical(TARGETS[refset]) if refset in TARGETS else None
        self.unmapped = None
        self._values = {"release_id": system.release_id, "refset": number}
        self._system = system

    async def links_from(self, code: str) -> Sequence[Link]:
        """The mappings of a concept, by group and priority."""
        number = await self._system.number(code)
        if number is None:
            return ()
        rows = await self._system.database.look_up(_MAPPED_WITH, {**self._values, "concept": number})
        found = [(orjson.loads(row.fields), row.map_target) for row in rows]
        return [
            _link(code, None, target or None, fields) for fields, target in sorted(found, key=_by_priority)
        ]

    async def links_to(self, code: str) -> Sequence[Link]:
        """The mappings to a code."""
        rows = await self._system.database.look_up(_MAPPED_TO, {**self._values, "target": code})
        return [_link(row.code, row.display, code, orjson.loads(row.fields)) for row in rows]


def _by_priority(row: tuple[Json, str]) -> tuple[int, int]:
    fields = row[0]
    return int(fields.get("mapGroup", 0)), int(fields.get("mapPriority", 0))


def _link(code: str, display: str | None, target: str | None, fields: Json) -> Link:
    equivalence = _CORRELATIONS.get(fields.get("correlationId", ""), _UNSPECIFIED)
    if target is None:
        equivalence = UNMATCHED
    return Link(code, display, target, None, equivalence, advice=_advice(target, fields))


def _advice(target: str | None, fields: Json) -> str | None:
    """Under which condition a mapping of a group is meant: the first of those that hold."""
    if "mapGroup" not in fields:
        return None
    told = f"{target or 'no code'}: group {fields['mapGroup']}, priority {fields['mapPriority']}"
    return "; ".join(filter(None, (f"{told}, rule {fields['mapRule']}", fields["mapAdvice"])))
