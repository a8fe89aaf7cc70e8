"""What a site may ask of writes beyond R4: references lead somewhere, known profiles are obeyed.

Both are asked when the transaction is about to commit: what a Bundle writes later counts too. Off by default
(`Policy`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import bindparam, false, select

from fhir.fhirpath import Item
from fhir.fhirpath.items import children_of, resource_item
from fhir.interactions.door import Door
from fhir.interactions.library import library_within
from fhir.interactions.terms import check_profiles_with
from fhir.interactions.write import Draft
from fhir.model.validation.issue import InvalidResource, Issue, IssueType, Severity, error
from fhir.model.validation.report import MAX_ISSUES
from fhir.search.definitions import SearchType, parameters_of, stored_types
from fhir.search.narrowed import within_narrowed
from fhir.search.value import Surroundings
from fhir.tables import FhirResource, SearchReference
from server.kernel.access import Access, Permission, Reach
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault, FaultKind, Forbidden
from server.kernel.rows import table_of
from terminology.library import Library

_R = table_of(FhirResource)
_THERE = select(_R.c.id, _R.c.version_id).where(
    _R.c.type == bindparam("type"), _R.c.id.in_(bindparam("ids", expanding=True)), _R.c.deleted == false()
)
_ASKED_AT_ONCE = 500

# (type, id) of a resource of this server -> where it is referred to, and the version if one is named
References = Mapping[tuple[str, str], tuple[str, int | None]]


class BreaksPolicy(InvalidResource):
    """The resource is valid R4 and breaks a rule of this server (FHIR R4 http.html#create, 422)."""

    kind = FaultKind.UNPROCESSABLE


def policed(draft: Draft, access: Access, door: Door) -> Draft:
    """The draft, with what the site's policy asks of it before it is committed."""
    policy = door.policy
    references = references_of(draft.resource, door.base_url) if policy.require_references else {}
    profiles = _claimed(draft.resource) if policy.require_profiles else ()
    if not references and not profiles:
        return draft
    resource, before = draft.resource, draft.beside

    async def check(unit: UnitOfWork) -> None:
        issues = [*await _leading_nowhere(unit, references, access, door.surroundings())]
        if profiles:
            library = await library_within(door.services.database, unit, profiles)
            found = await check_profiles_with(Library(door.sources), resource, profiles, library)
            issues += [each for each in found if each.severity is Severity.ERROR]
        if issues:
            raise BreaksPolicy(issues[:MAX_ISSUES])

    async def beside(unit: UnitOfWork, written: Draft, rid: int, version_id: int) -> None:
        if before is not None:
            await before(unit, written, rid, version_id)
        unit.before_commit(check)

    draft.beside = beside
    return draft


class StillReferredTo(Fault):
    """Other resources refer to what is to be deleted."""

    kind = FaultKind.CONFLICT


def police_deletion(unit: UnitOfWork, resource_type: str, resource_id: str, door: Door) -> None:
    """Where references must lead somewhere, let nothing be deleted that is referred to when all is done.

    The transaction fails with `StillReferredTo` otherwise. (On PostgreSQL a reference that another one
    writes at the same time is not seen.)
    """
    if not door.policy.require_references:
        return
    c = table_of(SearchReference).c
    numbers = _numbers_leading_to(resource_type)
    pointing = select(c.rid).where(c.param.in_(numbers), c.target_id == resource_id)
    pointing = pointing.where(c.target_type == resource_type).limit(1)

    async def check(unit: UnitOfWork) -> None:
        if (await unit.execute(pointing)).first() is not None:
            raise StillReferredTo("Other resources refer to this one: it cannot be deleted.")

    unit.before_commit(check)


@cache
def _numbers_leading_to(resource_type: str) -> Sequence[int]:
    """The reference parameters that may point to a type; with all of them the index by value serves."""
    return sorted(
        {
            parameter.number
            for name in stored_types()
            for parameter in parameters_of(name).values()
            if parameter.type is SearchType.REFERENCE
            and (not parameter.targets or resource_type in parameter.targets)
        }
    )


def _claimed(resource: Any) -> Sequence[str]:
    claimed: Sequence[str] = resource.get("meta", {}).get("profile", ())
    return claimed


def references_of(resource: Any, base_url: str) -> References:
    """The resources of this server that a valid resource refers to, those of contained ones too.

    What a stored Bundle holds refers within it or elsewhere, and is left alone.
    """
    found: dict[tuple[str, str], tuple[str, int | None]] = {}
    if resource["resourceType"] == "Bundle":
        return found
    for item in _references(resource_item(resource)):
        literal = item.value.get("reference")
        if not isinstance(literal, str) or literal.startswith("#"):
            continue
        place = f"{item.path()}.reference"
        named = literal.removeprefix(f"{base_url}/").partition("#")[0].split("/")
        if len(named) in (2, 4) and named[0] in stored_types():
            version = named[3] if len(named) == 4 and named[2] == "_history" else None
            stated = version if version and version.isascii() and version.isdigit() else ""
            number = int(stated) if 0 < len(stated) <= 9 else None
            found.setdefault((named[0], named[1]), (place, number))
    return found


def _references(item: Item) -> Iterator[Item]:
    if item.kind.name == "Reference":
        yield item
    for child in children_of(item):
        yield from _references(child)


async def _leading_nowhere(
    unit: UnitOfWork, references: References, access: Access, around: Surroundings
) -> Iterable[Issue]:
    """A confined caller learns of nobody else: what is out of its reach is as if it were not there."""
    by_type: dict[str, list[str]] = {}
    for resource_type, resource_id in references:
        by_type.setdefault(resource_type, []).append(resource_id)
    there: dict[tuple[str, str], int] = {}
    for resource_type, ids in by_type.items():
        kept = within_narrowed(_reach_of_target(access, resource_type), resource_type, around)
        statement = _THERE if kept is None else _THERE.where(kept)
        for at in range(0, len(ids), _ASKED_AT_ONCE):
            asked = {"type": resource_type, "ids": ids[at : at + _ASKED_AT_ONCE]}
            for row in (await unit.execute(statement, asked)).all():
                there[resource_type, row.id] = row.version_id
    text = "The reference leads to no resource of this server."
    return [
        error(IssueType.NOT_FOUND, text, place)
        for named, (place, version) in references.items()
        if named not in there or (version is not None and not 0 < version <= there[named])
    ]


def _reach_of_target(access: Access, resource_type: str) -> Reach:
    """As far as the caller reads; among what it may not read at all, its patients' record.

    What patients deny is there all the same: to write of them is not denied.
    """
    access = replace(access, denials=None)
    try:
        return access.narrow_reach(resource_type, Permission.READ)
    except Forbidden:
        return Reach(access.patient_ids)
