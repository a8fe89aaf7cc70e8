"""update with optimistic locking (FHIR R4 http.html#update, #concurrency)."""

import re
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Row as ResultRow

from fhir.interactions.body import unpack
from fhir.interactions.create import read_draft, require_within
from fhir.interactions.door import Door
from fhir.interactions.write import (
    Draft,
    Written,
    demographics_of,
    identifiers_of,
    insert_first,
    lock_and_find,
    supersede,
)
from fhir.model.json_codec import Json, decode_json
from fhir.search.compartment import PATIENT
from fhir.search.sql import R, within_reach
from fhir.search.value import Surroundings
from server.kernel.access import Access, Permission, Reach
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault, FaultKind, Forbidden, NotFound

_ETAG = re.compile(r'\s*(?:W/)?"(?P<version>\d{1,9})"\s*')


class NoUpsert(Fault):
    """PUT to an id that is not there, where clients do not name resources."""

    kind = FaultKind.METHOD_NOT_ALLOWED


class VersionDiffers(Fault):
    """`If-Match` names another version than the current one."""

    kind = FaultKind.PRECONDITION_FAILED


class InvalidHeader(Fault):
    """A header that cannot be understood."""

    kind = FaultKind.INVALID


def version_of_etag(if_match: str) -> int:
    """The version that an `If-Match` header names.

    Raises:
        InvalidHeader: it is no ETag of ours.
    """
    match = _ETAG.fullmatch(if_match)
    if match is None:
        raise InvalidHeader("'If-Match' is no ETag of this server.")
    return int(match["version"])


async def update(
    door: Door, access: Access, resource_type: str, draft_of: tuple[str, bytes, str | None]
) -> Written:
    """Write the next version of a resource; `draft_of` is (id in the URL, body, If-Match header).

    Raises:
        NotFound: no such resource within the caller's reach.
        VersionDiffers: somebody else was first.
        NoUpsert: there is none, and clients may not name resources.
        Forbidden: no grant, the new version leaves the caller's compartment, or changes who the patient is.
    """
    resource_id, text, if_match = draft_of
    reach = access.reach(resource_type, Permission.UPDATE)
    draft = read_draft(resource_type, text, resource_id)
    around = door.surroundings()
    expected = None if if_match is None else version_of_etag(if_match)

    async def work(unit: UnitOfWork) -> Written:
        current = await lock_and_find(unit, resource_type, resource_id)
        await _require_allowed(unit, door, reach, current)
        require_within(reach, draft.resource, resource_id, around)
        _require_same_identity(reach, current, draft)
        return await _write(unit, (current, expected), draft, access, around)

    return await door.services.database.transact(work)


async def _require_allowed(
    unit: UnitOfWork, door: Door, reach: Reach, current: ResultRow[Any] | None
) -> None:
    if current is None:
        if reach.is_everyone and not door.create_on_update:
            raise NoUpsert("There is no such resource, and this server names new ones itself: use POST.")
        if not reach.is_everyone:
            raise NotFound("No such resource.")
        return
    kept = within_reach(reach, current.type)
    if kept is not None:
        mine = await unit.execute(select(R.c.rid).where(R.c.rid == current.rid, kept))
        if mine.first() is None:
            raise NotFound("No such resource.")


def _require_same_identity(reach: Reach, current: ResultRow[Any] | None, draft: Draft) -> None:
    """Let a confined caller keep the identity of its Patient, and no more: studies are linked by it.

    With an identifier of somebody else, that person's next study would fall to the caller; without the
    demographics, nothing would contradict.

    Raises:
        Forbidden: the identifiers, or the name, birth date or gender that are matched, differ.
    """
    if reach.is_everyone or draft.type != PATIENT or current is None:
        return
    before = {} if current.deleted else decode_json(unpack(current.body))
    if _identity_of(before) != _identity_of(draft.resource):
        raise Forbidden("A token confined to a patient changes no identifier, name, birth date or gender.")


def _identity_of(patient: Json) -> tuple[object, object]:
    return frozenset(identifiers_of(patient)), demographics_of(patient)


async def _write(
    unit: UnitOfWork,
    at: tuple[ResultRow[Any] | None, int | None],
    draft: Draft,
    access: Access,
    around: Surroundings,
) -> Written:
    current, expected = at
    if expected is not None and (current is None or current.version_id != expected):
        raise VersionDiffers("The resource is at another version than 'If-Match' says.")
    if current is None:
        return await insert_first(unit, draft, access.principal, around)
    return await supersede(unit, current, draft, access.principal, around)
