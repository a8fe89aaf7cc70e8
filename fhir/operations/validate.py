"""$validate: is this resource valid, and does it obey profiles? (FHIR R4 resource-operation-validate.html)

The answer is an OperationOutcome with status 200, whatever it says of the resource; nothing is stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir.consents.told import issues_of_consent
from fhir.exchange import Answer, FhirRequest
from fhir.interactions import read as reading
from fhir.interactions.beside import beside
from fhir.interactions.door import Door
from fhir.interactions.library import library_with
from fhir.interactions.terms import check_codes, check_profiles_with, coded_elements
from fhir.model.json_codec import Json, decode_json, encode_json
from fhir.model.validation.issue import Issue, IssueType, Severity, error
from fhir.model.validation.walker import validate as walk
from fhir.negotiation import require_json_body
from fhir.operations.operation import Level, Operation
from fhir.operations.parameters import PARAMETERS, InvalidInput, value_of
from fhir.outcome import operation_outcome
from server.kernel.access import Access, Permission
from server.kernel.audit import Action, AuditEntry
from server.kernel.faults import Forbidden
from terminology.library import Library

_DEFINITION = "http://hl7.org/fhir/OperationDefinition/Resource-validate"
MAX_PROFILES = 20  # that one resource is held to

# mode -> the permission without which nobody needs the answer; None: any that lets a resource be seen or made
_MODES: Mapping[str | None, tuple[Permission, ...]] = {
    None: (Permission.READ, Permission.CREATE, Permission.UPDATE),
    "profile": (Permission.READ, Permission.CREATE, Permission.UPDATE),
    "create": (Permission.CREATE,),
    "update": (Permission.UPDATE,),
    "delete": (Permission.DELETE,),
}


@dataclass(slots=True)
class Asked:
    """What an invocation asks for."""

    resource: Json | None = None  # None: the one that is stored
    mode: str | None = None
    profiles: tuple[str, ...] = ()
    size: int = 0  # in bytes, about


async def validate(door: Door, request: FhirRequest) -> Answer:
    """What there is to say of a resource.

    Raises:
        InvalidInput, InvalidJson: the invocation itself makes no sense.
        Forbidden: the token opens nothing that the mode is about.
        NotFound: no such resource within the caller's reach.
    """
    asked = await beside(len(request.body), read_asked, request)
    _require_permission(request, asked)
    if asked.resource is None:
        asked.resource, asked.size = await _stored(door, request, asked)
    issues = await _issues(door, request, asked, asked.resource)
    entry = AuditEntry(
        request.access.principal, Action.EXECUTE, "$validate", _named(request), request.resource_id
    )
    await door.services.read_audit.record(entry)
    return Answer(text=encode_json(operation_outcome(issues)))


def read_asked(request: FhirRequest) -> Asked:
    """The input of an invocation: Parameters, or the resource itself as the body.

    Raises:
        InvalidInput: a parameter makes no sense.
        InvalidJson: the body is no JSON.
    """
    given: list[tuple[str, Any]] = list(request.pairs)
    asked = Asked(size=len(request.body))
    if request.body:
        require_json_body(request.headers.get("content-type"))
        body = decode_json(request.body)
        if body.get("resourceType") == PARAMETERS:
            given += _parts(body)
        else:
            asked.resource = body
    for name, value in given:
        if name == "resource" and isinstance(value, dict):
            asked.resource = value
        elif name == "mode":
            asked.mode = value
        elif name == "profile":
            asked.profiles = (*asked.profiles, str(value))
    if asked.mode not in _MODES:
        raise InvalidInput("'mode' is create, update, delete or profile.")
    if asked.mode == "profile" and not asked.profiles:
        raise InvalidInput("With the mode 'profile' the parameter 'profile' is needed.")
    return asked


def _parts(body: Json) -> Sequence[tuple[str, Any]]:
    parameters = body.get("parameter", ())
    if not isinstance(parameters, list):
        raise InvalidInput("'parameter' is an array.")
    return [(str(p.get("name")), value_of(p)) for p in parameters if isinstance(p, dict)]


def _named(request: FhirRequest) -> str:
    return request.resource_type or PARAMETERS


def _require_permission(request: FhirRequest, asked: Asked) -> None:
    assert request.resource_type is not None
    if not any(_may(request.access, request.resource_type, each) for each in _MODES[asked.mode]):
        raise Forbidden(f"The token opens nothing on {request.resource_type} that this is about.")


def _may(access: Access, resource_type: str, permission: Permission) -> bool:
    try:
        access.narrow_reach(resource_type, permission)
    except Forbidden:
        return False
    return True


async def _stored(door: Door, request: FhirRequest, asked: Asked) -> tuple[Json, int]:
    """The resource, and its size."""
    if request.resource_id is None or request.resource_type is None:
        raise InvalidInput("A resource is needed: as the body, or as the parameter 'resource'.")
    if asked.mode in ("create", "update"):
        raise InvalidInput("With this mode a resource is needed.")
    stored = await reading.read(door, request.access, request.resource_type, request.resource_id)
    return decode_json(stored.text), len(stored.text)


async def _issues(door: Door, request: FhirRequest, asked: Asked, resource: Json) -> Sequence[Issue]:
    if asked.mode == "delete":
        text = "The resource may be deleted; nothing but the server's own rules is checked then."
        return [Issue(Severity.INFORMATION, IssueType.INFORMATIONAL, text)]
    issues = [*_against_url(request, asked, resource), *await beside(asked.size, _walked, resource)]
    terms = Library(door.sources)
    if not any(issue.severity is Severity.ERROR for issue in issues):
        issues += await check_codes(terms, await beside(asked.size, coded_elements, resource))
        issues += issues_of_consent(resource, door.surroundings())
    profiles = [*_claimed(resource), *asked.profiles][:MAX_PROFILES]
    if profiles and isinstance(resource.get("resourceType"), str):
        async with door.services.database.read() as connection:
            now_us = door.services.clock()
            library = await library_with(door.services.database, connection, profiles, now_us)
        issues += await check_profiles_with(terms, resource, profiles, library)
    if not any(issue.severity in (Severity.ERROR, Severity.FATAL) for issue in issues):
        text = "No mistake was found."
        issues.append(Issue(Severity.INFORMATION, IssueType.INFORMATIONAL, text))
    return issues


def _walked(resource: Json) -> Sequence[Issue]:
    return walk(resource, with_warnings=True)


def _claimed(resource: Json) -> Sequence[str]:
    meta = resource.get("meta")
    claimed = meta.get("profile") if isinstance(meta, dict) else None
    return [each for each in claimed if isinstance(each, str)] if isinstance(claimed, list) else []


def _against_url(request: FhirRequest, asked: Asked, resource: Json) -> Sequence[Issue]:
    """What the URL says of type and id must be what the resource says (http.html#update)."""
    issues = []
    if resource.get("resourceType") != request.resource_type:
        issues.append(error(IssueType.INVALID, "The resource is of another type than the URL says."))
    if asked.resource is not None and request.resource_id is not None and asked.mode in (None, "update"):
        if resource.get("id") != request.resource_id:
            text = "The id is not that of the URL."
            issues.append(error(IssueType.INVALID, text, f"{request.resource_type}.id"))
    elif asked.mode == "update" and not resource.get("id"):
        text = "An update needs the id of the resource."
        issues.append(error(IssueType.REQUIRED, text, f"{request.resource_type}.id"))
    return issues


VALIDATE_OPERATIONS: Sequence[Operation] = (
    Operation("validate", _DEFINITION, frozenset({Level.TYPE, Level.INSTANCE}), validate),
)
