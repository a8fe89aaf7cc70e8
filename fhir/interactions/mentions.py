"""Of whom a version tells, for what patients deny (`FhirMention`): what it names, and what that is about.

A Provenance is in nobody's compartment (FHIR R4 compartmentdefinition-patient.html), and tells what the
patients of its targets may deny; so does a Task by its focus, a List by its entries. Whose those are is asked
at the end of the transaction: a target may be written behind it. It is not followed later.
"""

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import bindparam, insert, literal, select, tuple_, union

from fhir.search.compartment import SHARED_TYPES, SOMEBODY, resources_named
from fhir.search.reach import COMPARTMENT, R
from fhir.search.value import Surroundings
from fhir.tables import FhirMention
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of

Json = Any

MENTION = table_of(FhirMention)
PROVENANCE = "Provenance"
NAMED_AT_ONCE = 200  # resources of one statement

_OF_VERSION = (MENTION.c.rid == bindparam("key"), MENTION.c.version_id == bindparam("version"))
_KNOWN = select(MENTION.c.patient_id).where(*_OF_VERSION)
_COPY = insert(MENTION).from_select(
    ["rid", "version_id", "patient_id"],
    select(MENTION.c.rid, literal(1) + MENTION.c.version_id, MENTION.c.patient_id).where(*_OF_VERSION),
)


def mentions(rid: int, version_id: int, patients: Iterable[str]) -> list[dict[str, Any]]:
    """The rows that say that this version tells of these patients."""
    return [{"rid": rid, "version_id": version_id, "patient_id": each} for each in sorted(patients)]


def inherits_from(
    resource: Json, patients: frozenset[str], around: Surroundings
) -> frozenset[tuple[str, str]]:
    """The resources, by type and id, that a resource of the record of these patients may tell of."""
    resource_type = resource["resourceType"]
    if resource_type != PROVENANCE and (patients or resource_type in SHARED_TYPES):
        return frozenset()
    return resources_named(resource, around)


async def inherit_mentions(
    unit: UnitOfWork, version: tuple[int, int], resources: Iterable[tuple[str, str]]
) -> None:
    """Have a version, by rid and number, tell of everybody of whom these resources do."""
    named = sorted(resources)
    found: set[str] = set()
    c, m = COMPARTMENT.c, MENTION.c
    for at in range(0, len(named), NAMED_AT_ONCE):
        these = tuple_(R.c.type, R.c.id).in_(named[at : at + NAMED_AT_ONCE])
        of_record = select(c.patient_id).join(R, R.c.rid == c.rid).where(these, c.patient_id != SOMEBODY)
        is_current = (R.c.rid == m.rid) & (R.c.version_id == m.version_id)
        told = select(m.patient_id).join(R, is_current).where(these)
        found |= set((await unit.execute(union(of_record, told))).scalars())
    await add_mentions(unit, version, found)


async def add_mentions(unit: UnitOfWork, version: tuple[int, int], patients: Collection[str]) -> None:
    """Have a version tell of these patients too."""
    if patients:
        known = (await unit.execute(_KNOWN, dict(zip(("key", "version"), version, strict=True)))).scalars()
        if missing := set(patients) - set(known):
            await unit.execute(insert(MENTION), mentions(*version, missing))


async def keep_mentions(unit: UnitOfWork, rid: int, version_id: int) -> None:
    """Have the version after this one tell of whom this one does."""
    await unit.execute(_COPY, {"key": rid, "version": version_id})
