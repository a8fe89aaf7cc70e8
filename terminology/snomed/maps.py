"""Association reference sets as concept maps (terminology.hl7.org/SNOMEDCT.html, "Implicit Concept Maps")."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from server.kernel.rows import table_of
from terminology.issues import TooCostly
from terminology.releases.system import ReleasedCodeSystem
from terminology.tables import TerminologyConcept, TerminologyMember

Json = Any

MAX_MAPPED = 100_000  # rows of one reference set

# The reference sets that are maps, by their identifier: how a target relates to its source.
MAPS: Mapping[str, tuple[str, str]] = {
    "900000000000523009": ("POSSIBLY EQUIVALENT TO", "inexact"),
    "900000000000526001": ("REPLACED BY", "equivalent"),
    "900000000000527005": ("SAME AS", "equal"),
    "900000000000530003": ("ALTERNATIVE", "inexact"),
}

MEMBER, CONCEPT = table_of(TerminologyMember), table_of(TerminologyConcept)


async def make_map(url: str, refset: str, system: ReleasedCodeSystem) -> Json:
    """The concept map of a reference set.

    Raises:
        TooCostly: it has more rows than are told at once.
    """
    name, equivalence = MAPS[refset]
    source, target, member = CONCEPT.alias(), CONCEPT.alias(), MEMBER
    rows = (
        select(source.c.code, target.c.code, target.c.display)
        .select_from(
            member.join(
                source, (source.c.release_id == member.c.release_id) & (source.c.number == member.c.concept)
            ).join(
                target, (target.c.release_id == member.c.release_id) & (target.c.number == member.c.target)
            )
        )
        .where(member.c.release_id == system.release_id, member.c.refset == await system.number(refset))
        .order_by(member.c.concept, member.c.n)
        .limit(MAX_MAPPED + 1)
    )
    async with system.database.read() as connection:
        found = (await connection.execute(rows)).all()
    if len(found) > MAX_MAPPED:
        raise TooCostly(f"The reference set {refset} has more than {MAX_MAPPED} members.")
    elements: dict[str, list[Json]] = {}
    for code, to, display in found:
        entry = {"code": to, "display": display, "equivalence": equivalence}
        elements.setdefault(code, []).append({key: each for key, each in entry.items() if each is not None})
    return {
        "resourceType": "ConceptMap",
        "url": url,
        "name": "SNOMED_CT_implicit",
        "title": f"SNOMED CT: {name}",
        "status": "active",
        "sourceUri": f"{system.header.url}?fhir_vs",
        "targetUri": f"{system.header.url}?fhir_vs",
        "group": [
            {
                "source": system.header.url,
                "sourceVersion": system.header.version,
                "target": system.header.url,
                "targetVersion": system.header.version,
                "element": [{"code": code, "target": targets} for code, targets in elements.items()],
            }
        ],
    }
