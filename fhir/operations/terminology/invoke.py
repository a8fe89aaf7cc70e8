"""How a terminology operation is invoked (FHIR R4 terminology-service.html): who may, over which library.

Definitions are in nobody's record: whoever may read the type that an operation is invoked on may invoke it,
whichever patient the token is confined to. Invocations are audited by operation and minute, with their
number: what was asked tells of no patient.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from fhir.exchange import Answer, FhirRequest
from fhir.interactions import read as reading
from fhir.interactions.beside import beside
from fhir.interactions.door import Door
from fhir.model.json_codec import Json, encode_json
from fhir.operations.terminology.element_context import name_by_context
from fhir.operations.terminology.given import TX_RESOURCE, read_given
from server.kernel.access import Permission
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import instant_text
from terminology.context import Context, Inputs
from terminology.in_request import GivenDefinitions, edition_of, edition_of_code_system
from terminology.issues import InvalidInput
from terminology.library import Edition, Kind, Library
from terminology.listed import ListedCodeSystem

Performed = Callable[[Inputs, Library, Context], Awaitable[Json]]


@dataclass(frozen=True, slots=True)
class Invoked:
    """An operation of the terminology package, as the door invokes it."""

    name: str  # without the "$"
    perform: Performed
    url: str = "url"  # by which parameters the definition is named that it is invoked on
    version: str = "version"

    async def __call__(self, door: Door, request: FhirRequest) -> Answer:
        """The answer of an invocation.

        Raises:
            Forbidden: the token may not read what it is invoked on.
            NotKnown: nothing is known of the element that `context` names.
            TerminologyFault: the operation cannot be performed.
        """
        for named in _types(request):
            request.access.reach(named, Permission.READ)
        inputs = await beside(len(request.body), read_given, request)
        if request.resource_type == Kind.VALUE_SET:
            await name_by_context(door, request, inputs)
        library = library_of(door, inputs.pop(TX_RESOURCE, ()))
        if request.resource_id is not None:
            library = await self._of_instance(door, request, inputs, library)
        answer = await self.perform(inputs, library, context_of(door, request))
        await door.services.read_audit.record_retrieval(self._entry(request))
        return Answer(text=encode_json(answer))

    def _entry(self, request: FhirRequest) -> AuditEntry:
        named = request.resource_type or Kind.VALUE_SET.value
        principal = request.access.principal
        return AuditEntry(principal, Action.EXECUTE, f"${self.name}", named, request.resource_id)

    async def _of_instance(
        self, door: Door, request: FhirRequest, inputs: dict[str, list[Any]], library: Library
    ) -> Library:
        """The library in which the definition that the operation is invoked on is the one that is named."""
        assert request.resource_type is not None
        assert request.resource_id is not None
        edition = await _instance(door, request, library)
        for name, value in ((self.url, edition.url), (self.version, edition.version)):
            if any(each != value for each in inputs.get(name, ())):
                raise InvalidInput(f"The parameter '{name}' is not that of the definition.", expression=name)
            inputs.pop(name, None)
            if value is not None:
                inputs[name] = [value]
        return _InstanceLibrary(library, edition)


async def _instance(door: Door, request: FhirRequest, library: Library) -> Edition:
    resource_type, resource_id = str(request.resource_type), str(request.resource_id)
    stored = await reading.read_for_operation(door, request.access, resource_type, resource_id)
    key = (resource_type, resource_id, stored.version_id, stored.last_updated_us)
    own_url = f"{door.base_url}/{resource_type}/{resource_id}"
    opened = await door.stored.open_text(Kind(resource_type), key, stored.text, own_url)
    if not isinstance(opened, ListedCodeSystem):
        return edition_of(opened)
    header = opened.header
    if not opened.hierarchy.entries:  # its concepts may lie in tables
        known = await library.editions(Kind.CODE_SYSTEM, header.url)
        same = next((each for each in known if each.version == header.version), None)
        if same is not None:
            return same
    return edition_of_code_system(opened)


class _InstanceLibrary(Library):
    """A library in which a URL means one definition only."""

    def __init__(self, library: Library, edition: Edition) -> None:
        self._library, self._edition = library, edition

    async def editions(self, kind: Kind, url: str) -> Sequence[Edition]:
        """All versions of a definition, the newest first."""
        if (kind, url) == (self._edition.kind, self._edition.url):
            return (self._edition,)
        return await self._library.editions(kind, url)

    async def supplements(self, system_url: str) -> Sequence[Edition]:
        """The supplements of any version of a code system."""
        return await self._library.supplements(system_url)

    async def listing(self, kind: Kind) -> Sequence[Edition]:
        """Everything of a kind."""
        return await self._library.listing(kind)


def library_of(door: Door, given: Sequence[Json] = ()) -> Library:
    """What a request brings along, before what the server has."""
    return Library([GivenDefinitions(given), *door.sources] if given else door.sources)


def context_of(door: Door, request: FhirRequest) -> Context:
    """The surroundings of a request."""
    clock, accepted = door.services.clock, request.headers.get("accept-language")
    return Context(lambda: instant_text(clock()), _new_uuid, accepted, door.policy.max_expansion)


def _new_uuid() -> str:
    return f"urn:uuid:{uuid4()}"


def _types(request: FhirRequest) -> Sequence[str]:
    """What the caller has to be allowed to read."""
    if request.resource_type is not None:
        return (request.resource_type,)
    return (Kind.CODE_SYSTEM.value, Kind.VALUE_SET.value)
