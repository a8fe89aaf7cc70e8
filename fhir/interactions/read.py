"""read and vread (FHIR R4 http.html#read, #vread): the stored text, audited before it leaves."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import NULLTYPE

from fhir.interactions.body import unpack
from fhir.interactions.door import Door
from fhir.model.json_codec import Json, decode_json
from fhir.search.compartment import SHARED_TYPES, SOMEBODY
from fhir.search.denied import not_denied, terms_of, version_not_denied
from fhir.search.narrowed import within_narrowed
from fhir.search.reach import AUDITED_PATIENT, R, within_reach
from fhir.tables import FhirResourceVersion
from server.kernel.access import Access, Permission, Reach
from server.kernel.audit import Action, AuditEntry
from server.kernel.consents.predicate import NUMBER_OF_TERMS, values_of
from server.kernel.faults import Fault, FaultKind, NotFound
from server.kernel.look_up import LookUp
from server.kernel.rows import table_of

VERSION = table_of(FhirResourceVersion)

_CURRENT = select(
    R, AUDITED_PATIENT.label("patient_id")
).where(  # built once: that costs more than to execute it
    R.c.type == bindparam("resource_type"), R.c.id == bindparam("resource_id")
)
_LOOK_UP = LookUp(_CURRENT)
_TERMS = [f"term_{at}" for at in range(NUMBER_OF_TERMS)]
_LOOK_UP_UNLESS_DENIED = LookUp(
    _CURRENT.where(not_denied(R, tuple(bindparam(name, type_=NULLTYPE) for name in _TERMS)))
)


class Deleted(Fault):
    """The resource was deleted (FHIR R4 http.html#delete)."""

    kind = FaultKind.GONE


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of a resource as stored."""

    type: str
    id: str
    version_id: int
    last_updated_us: int
    text: bytes


async def read(door: Door, access: Access, resource_type: str, resource_id: str) -> Stored:
    """The current version.

    Raises:
        NotFound: no such resource within the caller's reach.
        Deleted: it was deleted.
    """
    return await _answer(door, access, await _current(door, access, resource_type, resource_id), "read")


async def read_for_operation(door: Door, access: Access, resource_type: str, resource_id: str) -> Stored:
    """The current version, for an operation whose own audit entry tells of it.

    What names a patient is audited as read, too; raises as `read`.
    """
    row = await _current(door, access, resource_type, resource_id)
    if row is None or row.deleted or row.patient_id:
        return await _answer(door, access, row, "read")
    return _stored(row)


async def _current(door: Door, access: Access, resource_type: str, resource_id: str) -> Any:
    """The row of the current version within reach; None: there is none."""
    reach = access.narrow_reach(resource_type, Permission.READ)
    named = {"resource_type": resource_type, "resource_id": resource_id}
    if not reach.is_confined:
        look_up = _LOOK_UP
        if reach.denials is not None:
            look_up = _LOOK_UP_UNLESS_DENIED
            named |= zip(_TERMS, values_of(reach.denials), strict=True)
        return next(iter(await door.services.database.look_up(look_up, named)), None)
    statement = _select_current(resource_type, reach, door)
    async with door.services.database.read() as connection:
        return (await connection.execute(statement, named)).one_or_none()


async def vread(door: Door, access: Access, resource_type: str, resource_id: str, version: str) -> Stored:
    """One version, current or superseded; a superseded one only where it was within the caller's reach too.

    Criteria are met by current versions: what is open by them opens no others.

    Raises:
        NotFound: no such version within the caller's reach.
        Deleted: that version is the deletion.
    """
    reach = access.narrow_reach(resource_type, Permission.READ)
    if not version.isascii() or not version.isdigit() or len(version) > 9:
        raise NotFound("No such version.")
    number = int(version)
    named = {"resource_type": resource_type, "resource_id": resource_id}
    async with door.services.database.read() as connection:
        row = (await connection.execute(_select_current(resource_type, reach, door), named)).one_or_none()
        if row is not None and row.version_id != number and reach.narrowed:
            whole = [part for part in reach.parts if not part.criteria]
            if not whole:
                raise NotFound("No such resource.")
            reach = reach.only(whole)
            row = (await connection.execute(_select_current(resource_type, reach, door), named)).one_or_none()
        if row is not None and row.version_id != number:
            row = (
                await connection.execute(_select_version(row.rid, number, resource_type, reach))
            ).one_or_none()
    return await _answer(door, access, row, "vread")


async def read_resource(connection: AsyncConnection, resource_type: str, resource_id: str) -> Json | None:
    """A resource for the server's own use, decoded; None: there is none, or it was deleted."""
    query = select(R.c.body).where(R.c.type == resource_type, R.c.id == resource_id, ~R.c.deleted)
    body = (await connection.execute(query)).scalar_one_or_none()
    return None if body is None else decode_json(unpack(body))


def _select_current(resource_type: str, reach: Reach, door: Door) -> Select[Any]:
    """The statement, to be executed with the type and the id."""
    kept = (
        within_narrowed(reach, resource_type, door.surroundings())
        if reach.narrowed
        else within_reach(reach, resource_type)
    )
    return _CURRENT if kept is None else _CURRENT.where(kept)


def _select_version(rid: int, number: int, resource_type: str, reach: Reach) -> Select[Any]:
    query = select(VERSION, R.c.type, R.c.id).join(R, R.c.rid == VERSION.c.rid)
    return query.where(
        VERSION.c.rid == rid, VERSION.c.version_id == number, _was_within(reach, resource_type)
    )


def _was_within(reach: Reach, resource_type: str) -> ColumnElement[bool]:
    kept: ColumnElement[bool] = and_(True)
    if reach.denials is not None:
        kept = version_not_denied(R, VERSION, terms_of(reach.denials))
    if reach.patient_ids is None:
        return kept
    mine = VERSION.c.patient_id.in_(sorted(reach.patient_ids))
    return and_(kept, or_(mine, VERSION.c.patient_id == "") if resource_type in SHARED_TYPES else mine)


async def _answer(door: Door, access: Access, row: Any, interaction: str) -> Stored:
    if row is None:
        raise NotFound("No such resource.")
    patient_id = None if row.patient_id in ("", SOMEBODY) else row.patient_id
    entry = AuditEntry(access.principal, Action.READ, interaction, row.type, row.id, patient_id)
    await door.services.read_audit.record(entry)
    if row.deleted:
        raise Deleted("The resource was deleted.")
    return _stored(row)


def _stored(row: Any) -> Stored:
    return Stored(row.type, row.id, row.version_id, row.last_updated_us, unpack(row.body))
