"""$meta, $meta-add, $meta-delete: profiles, tags and security labels (FHIR R4 resource-operation-meta.html).

Adding and deleting make a new version, so that every version says what it said; on superseded versions they
are not offered. `$meta` of a type or of the whole record tells what is in use within the caller's reach.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, false, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.exchange import Answer, FhirRequest
from fhir.interactions import read as reading
from fhir.interactions.body import with_members
from fhir.interactions.door import Door
from fhir.interactions.etag import read_guard
from fhir.interactions.granted import require_match, require_reached, require_within, write_reach
from fhir.interactions.particular import particular
from fhir.interactions.policed import policed
from fhir.interactions.reaches import predicate_of, reaches_of
from fhir.interactions.rewrite import hold_resource
from fhir.interactions.served import require_changeable_type
from fhir.interactions.write import Draft, supersede
from fhir.model.json_codec import Json, decode_json, decode_value, encode_json
from fhir.model.validation.walker import require_valid
from fhir.operations.operation import Level, Operation
from fhir.operations.parameters import InvalidInput, one_of, read_inputs
from fhir.search.definitions import EVERY_RESOURCE, parameters_of
from fhir.search.kinds import KINDS
from fhir.search.reach import COMPARTMENT, R
from server.kernel.access import Permission
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import UnitOfWork
from server.kernel.faults import NotFound

MAX_IN_USE = 1_000  # values of each kind that `$meta` of a type or of everything tells

_DEFINITION = "http://hl7.org/fhir/OperationDefinition/Resource-meta"
_CODINGS: Mapping[str, str] = {"security": "_security", "tag": "_tag"}  # element of Meta -> search parameter


async def meta(door: Door, request: FhirRequest) -> Answer:
    """The Meta of a resource, or what is in use on a type or in the whole record."""
    if request.resource_id is not None:
        assert request.resource_type is not None
        stored = await reading.read(door, request.access, request.resource_type, request.resource_id)
        return _returned(decode_json(stored.text).get("meta", {}))
    reaches, around = reaches_of(request.access, request.resource_type, narrowed=True), door.surroundings()
    kept = predicate_of(reaches, around)
    async with door.services.database.read() as connection:
        found = {name: await _codings(connection, code, kept) for name, code in _CODINGS.items()}
        found["profile"] = await _profiles(connection, kept)
    named = request.resource_type or EVERY_RESOURCE
    entry = AuditEntry(request.access.principal, Action.EXECUTE, "$meta", named)
    await door.services.read_audit.record(entry)
    return _returned({name: values for name, values in found.items() if values})


async def meta_add(door: Door, request: FhirRequest) -> Answer:
    """The resource with these profiles, tags and labels added, each once."""
    return await _change(door, request, _added)


async def meta_delete(door: Door, request: FhirRequest) -> Answer:
    """The resource without these profiles, tags and labels; what it does not have is passed over."""
    return await _change(door, request, _without)


async def _change(door: Door, request: FhirRequest, change: Any) -> Answer:
    assert request.resource_type is not None
    assert request.resource_id is not None
    resource_type, resource_id = request.resource_type, request.resource_id
    require_changeable_type(resource_type)
    reach = write_reach(request.access, resource_type, Permission.UPDATE)
    guard, around = read_guard(request.headers), door.surroundings()
    asked = one_of(read_inputs(request), "meta")
    if not isinstance(asked, dict):
        raise InvalidInput("The parameter 'meta' is needed: a Meta.")

    async def work(unit: UnitOfWork) -> Json:
        held = await hold_resource(unit, resource_type, resource_id)
        if held is None:
            raise NotFound("No such resource.")
        await require_reached(unit, reach, held.row, around)
        guard.require(held.row.version_id)
        before = decode_value(held.elements["meta"])
        after = change(before, asked)
        if after == before:
            return before
        text = with_members(held.text, {"meta": encode_json(after)})
        draft = Draft(decode_json(text), text, resource_id)
        require_valid(draft.resource)
        draft = policed(particular(draft, request.access, door.services), request.access, door)
        if draft.patients is None:  # a Meta says nothing of whose record it is in
            draft.patients = await _patients_of(unit, held.row.rid)
        within = require_within(reach, draft, around)
        written = await supersede(unit, held.row, draft, request.access.principal, around)
        await require_match(unit, within, draft, around)
        return decode_json(written.text)["meta"]

    return _returned(await door.services.database.transact(work))


async def _patients_of(unit: UnitOfWork, rid: int) -> frozenset[str]:
    query = select(COMPARTMENT.c.patient_id).where(COMPARTMENT.c.rid == rid)
    return frozenset((await unit.execute(query)).scalars())


def _added(before: Json, asked: Json) -> Json:
    after = dict(before)
    for name in (*_CODINGS, "profile"):
        has = list(before.get(name, ()))
        known = {_key(each) for each in has}
        has += [each for each in asked.get(name, ()) if _key(each) not in known]
        if has:
            after[name] = has
    return after


def _without(before: Json, asked: Json) -> Json:
    after = dict(before)
    for name in (*_CODINGS, "profile"):
        unwanted = {_key(each) for each in asked.get(name, ())}
        kept = [each for each in before.get(name, ()) if _key(each) not in unwanted]
        if kept:
            after[name] = kept
        else:
            after.pop(name, None)
    return after


def _key(value: Json) -> object:
    """What makes two entries the same: a Coding's system and code, a profile's URL."""
    return (value.get("system"), value.get("code")) if isinstance(value, dict) else value


def _returned(found: Json) -> Answer:
    parameter = {"name": "return", "valueMeta": found} if found else None
    parameters = {"resourceType": "Parameters", **({"parameter": [parameter]} if parameter else {})}
    return Answer(text=encode_json(parameters))


async def _codings(connection: AsyncConnection, code: str, kept: ColumnElement[bool]) -> Sequence[Json]:
    rows = await _in_use(connection, code, ("system", "code"), kept)
    return [{**({"system": row.system} if row.system else {}), "code": row.code} for row in rows]


async def _profiles(connection: AsyncConnection, kept: ColumnElement[bool]) -> Sequence[Json]:
    return [row.uri for row in await _in_use(connection, "_profile", ("uri",), kept)]


async def _in_use(
    connection: AsyncConnection, code: str, columns: Iterable[str], kept: ColumnElement[bool]
) -> Sequence[Any]:
    parameter = parameters_of(EVERY_RESOURCE)[code]
    table = KINDS[parameter.type].table
    asked = [table.c[name] for name in columns]
    rows = (
        select(*asked)
        .join(R, R.c.rid == table.c.rid)
        .where(table.c.param == parameter.number, R.c.deleted == false(), kept)
        .distinct()
        .order_by(*asked)
        .limit(MAX_IN_USE)
    )
    return (await connection.execute(rows)).all()


META_OPERATIONS: Sequence[Operation] = (
    Operation("meta", _DEFINITION, frozenset(Level), meta),
    Operation("meta-add", f"{_DEFINITION}-add", frozenset({Level.INSTANCE}), meta_add, affects_state=True),
    Operation(
        "meta-delete", f"{_DEFINITION}-delete", frozenset({Level.INSTANCE}), meta_delete, affects_state=True
    ),
)
