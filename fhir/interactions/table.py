"""The interactions as the door offers them: one function each, from request to answer (FHIR R4 http.html)."""

from dataclasses import replace

from fhir.audit_events.interactions import read_audit_event, search_audit_events
from fhir.audit_events.query import CRITERIA
from fhir.audit_events.render import AUDIT_EVENT
from fhir.binaries.content import BINARY
from fhir.binaries.interactions import read_binary, show_written
from fhir.exchange import Answer, FhirRequest
from fhir.interactions import read as reading
from fhir.interactions import search_type as searching
from fhir.interactions.answers import answer_deleted, answer_stored, answer_written
from fhir.interactions.beside import beside
from fhir.interactions.create import prepare_create
from fhir.interactions.delete import prepare_delete
from fhir.interactions.door import Door, UnknownType
from fhir.interactions.patch import prepare_patch
from fhir.interactions.provenance import refuse_provenance, with_provenance
from fhir.interactions.served import Served, ServedType
from fhir.interactions.update import prepare_update
from fhir.interactions.write import Written
from fhir.negotiation import read_preferences
from fhir.search.compartment import PATIENT
from fhir.search.definitions import compartment_types, stored_types
from fhir.search.place import EVERY_TYPE, Place, compartment_place, system_place, type_place

SERVED: Served = {AUDIT_EVENT: ServedType(read_audit_event, search_audit_events, tuple(CRITERIA))}


async def read(door: Door, request: FhirRequest) -> Answer:
    """The current version, also conditional (FHIR R4 http.html#read, #cread)."""
    if (served := SERVED.get(request.resource_type or "")) is not None:
        return await served.read(door, request)
    if request.resource_type == BINARY:
        return await read_binary(door, request)
    resource_type, resource_id = _named(request)
    return answer_stored(request, await reading.read(door, request.access, resource_type, resource_id))


async def vread(door: Door, request: FhirRequest) -> Answer:
    """One version (FHIR R4 http.html#vread)."""
    if (served := SERVED.get(request.resource_type or "")) is not None:
        return await served.read(door, request)
    if request.resource_type == BINARY:
        return await read_binary(door, request)
    resource_type, resource_id = _named(request)
    version = request.version_id or ""
    stored = await reading.vread(door, request.access, resource_type, resource_id, version)
    return answer_stored(request, stored)


async def search(door: Door, request: FhirRequest) -> Answer:
    """A search of a type, of everything or of a compartment (FHIR R4 http.html#search, #vsearch)."""
    if (served := SERVED.get(request.searched_type or request.resource_type or "")) is not None:
        return await served.search(door, _within(request))
    strict = read_preferences([request.headers.get("prefer", "")]).strict
    text = await searching.search(door, request.access, _place(request), request.pairs, strict=strict)
    return Answer(text=text)


async def create(door: Door, request: FhirRequest) -> Answer:
    """create, with If-None-Exist conditional (FHIR R4 http.html#create)."""
    write = with_provenance(door, request, await beside(len(request.body), prepare_create, door, request))
    return await _written(door, request, await door.writes.carry_out(write))


async def update(door: Door, request: FhirRequest) -> Answer:
    """update, guarded by If-Match; with criteria conditional (FHIR R4 http.html#update, #cond-update)."""
    write = with_provenance(door, request, await beside(len(request.body), prepare_update, door, request))
    return await _written(door, request, await door.writes.carry_out(write))


async def patch(door: Door, request: FhirRequest) -> Answer:
    """patch, guarded by If-Match; with criteria conditional (FHIR R4 http.html#patch)."""
    write = with_provenance(door, request, prepare_patch(door, request))
    return answer_written(door, request, await door.writes.carry_out(write))


async def delete(door: Door, request: FhirRequest) -> Answer:
    """delete; with criteria conditional (FHIR R4 http.html#delete)."""
    refuse_provenance(request)
    return answer_deleted(request, await door.writes.carry_out(prepare_delete(door, request)))


async def _written(door: Door, request: FhirRequest, written: Written) -> Answer:
    shown = await show_written(door, request, written) if request.resource_type == BINARY else written
    return answer_written(door, request, shown)


def require_stored_type(resource_type: str) -> None:
    """Let pass the name of a type that this server keeps.

    Raises:
        UnknownType: it is none.
    """
    if resource_type not in stored_types():
        raise UnknownType("The URL names no resource type that this server keeps.")


def _place(request: FhirRequest) -> Place:
    if request.resource_type is None:
        return system_place()
    if request.resource_id is None:
        return type_place(request.resource_type)
    if request.resource_type not in compartment_types():
        raise UnknownType("Resources of the type that the URL names have no compartment.")
    searched = request.searched_type or EVERY_TYPE
    if searched != EVERY_TYPE:
        require_stored_type(searched)
    return compartment_place(request.resource_type, request.resource_id, searched)


def _within(request: FhirRequest) -> FhirRequest:
    """A search in a compartment as one of the type; those of other types than Patient hold nothing served."""
    if request.searched_type is None:
        return request
    if request.resource_type != PATIENT:
        raise UnknownType("Resources of that type are in the compartments of Patients only.")
    return replace(request, pairs=[*request.pairs, ("patient", request.resource_id or "")])


def _named(request: FhirRequest) -> tuple[str, str]:
    assert request.resource_type is not None
    assert request.resource_id is not None
    return request.resource_type, request.resource_id
