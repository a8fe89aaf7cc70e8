"""patch, also conditional (FHIR R4 http.html#patch): the next version is the current one with changes.

The patched resource is validated as an update is. Numbers keep the digits that they had; names that a patch
does not touch keep their order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.engine import Row as ResultRow

from fhir.exchange import FhirRequest
from fhir.interactions.body import MAX_RESOURCE_BYTES, text_of, unpack
from fhir.interactions.condition import Condition, find_one, read_condition
from fhir.interactions.door import Door
from fhir.interactions.etag import Guard, read_guard
from fhir.interactions.granted import may_read, require_match, require_reached, require_within, write_reach
from fhir.interactions.particular import particular
from fhir.interactions.policed import policed
from fhir.interactions.read import Deleted
from fhir.interactions.served import require_changeable_type
from fhir.interactions.update import require_same_identity
from fhir.interactions.write import Draft, Written, lock_and_find, lock_name, supersede
from fhir.model.json_codec import Json, decode_json, decode_value, require_shallow
from fhir.model.validation.issue import InvalidResource, IssueType, error
from fhir.model.validation.walker import require_valid
from fhir.negotiation import UnsupportedMediaType, media_type_of
from fhir.outcome import FHIR_JSON, JSON_PATCH, READS_AS_FHIR_JSON
from fhir.patching.fhirpath_patch import apply_fhirpath_patch, read_fhirpath_patch
from fhir.patching.json_patch import apply_json_patch, read_json_patch
from fhir.search.value import Surroundings
from server.kernel.access import Access, Permission, Reach
from server.kernel.database import UnitOfWork
from server.kernel.faults import NotFound, TooLarge

Change = Callable[[Json], Json]  # a resource -> the patched one, its own


@dataclass(slots=True)
class Patch:
    """A prepared patch; with a condition, `resource_id` is what `resolve` found."""

    door: Door
    access: Access
    reach: Reach
    resource_type: str
    resource_id: str | None
    change: Change
    guard: Guard
    condition: Condition | None
    around: Surroundings

    @property
    def locks(self) -> Sequence[str]:
        """The condition's, or the resource's."""
        return [self.condition.lock] if self.condition else self._names()

    async def resolve(self, unit: UnitOfWork) -> Sequence[str]:
        """Let the condition say which resource is meant.

        Raises:
            NotFound: none matches.
            SeveralMatches: more than one does.
        """
        if self.condition is None:
            return []
        found = await find_one(unit, self.condition, self.around)
        if found is None:
            raise NotFound("No resource matches the condition.")
        self.resource_id = found.id
        return self._names()

    async def perform(self, unit: UnitOfWork) -> Written:
        """Write the next version.

        Raises:
            NotFound, Deleted: no such resource within the caller's reach.
            VersionDiffers: somebody else was first.
            PatchFailed: the patch does not fit the resource.
            InvalidResource: the patched resource breaks the rules, or is another resource.
            InvalidJson, TooLarge: it is deeper or larger than a resource may be.
            Forbidden: it leaves the caller's reach, or changes who the patient is.
        """
        current = await self._current(unit)
        self.guard.require(current.version_id)
        draft = particular(self._patched(current), self.access, self.door.services)
        draft = policed(draft, self.access, self.door)
        within = require_within(self.reach, draft, self.around)
        require_same_identity(self.reach, current, draft)
        written = await supersede(unit, current, draft, self.access.principal, self.around)
        await require_match(unit, within, draft, self.around)
        shown = await may_read(unit, self.access, within, draft, self.around)
        return written if shown else replace(written, text=b"")

    def _patched(self, current: ResultRow[Any]) -> Draft:
        before = decode_json(unpack(current.body))
        after = self.change(before)
        require_shallow(after)
        _require_same_resource(before, after)
        require_valid(after)
        text = text_of(after)
        if len(text) > MAX_RESOURCE_BYTES:
            raise TooLarge(f"The patched resource is larger than {MAX_RESOURCE_BYTES} bytes.")
        return Draft(after, text, current.id)

    async def _current(self, unit: UnitOfWork) -> ResultRow[Any]:
        assert self.resource_id is not None
        current = await lock_and_find(unit, self.resource_type, self.resource_id)
        if current is None:
            raise NotFound("No such resource.")
        await require_reached(unit, self.reach, current, self.around)
        if current.deleted:
            raise Deleted("The resource was deleted.")
        return current

    def _names(self) -> list[str]:
        return [] if self.resource_id is None else [lock_name(self.resource_type, self.resource_id)]


def prepare_patch(door: Door, request: FhirRequest) -> Patch:
    """The patch that a request asks for, by the id in its URL or by criteria.

    Raises:
        Forbidden: no grant.
        UnsupportedMediaType: no patch format of R4 in JSON.
        InvalidPatch, InvalidSearch, InvalidHeader: what is sent.
    """
    assert request.resource_type is not None
    require_changeable_type(request.resource_type)
    reach = write_reach(request.access, request.resource_type, Permission.UPDATE)
    condition = None
    if request.resource_id is None:
        condition = read_condition(request.access, request.resource_type, request.pairs)
    change = read_change(request.headers.get("content-type"), request.body)
    return Patch(
        door,
        request.access,
        reach,
        request.resource_type,
        request.resource_id,
        change,
        read_guard(request.headers),
        condition,
        door.surroundings(),
    )


def read_change(content_type: str | None, text: bytes) -> Change:
    """What the body of a patch does to a resource.

    Raises:
        UnsupportedMediaType: another format.
        InvalidPatch: not well-formed.
    """
    media_type = media_type_of(content_type)
    if media_type == JSON_PATCH:
        operations = read_json_patch(text, decode_value)
        return lambda resource: apply_json_patch(operations, resource)
    if media_type in READS_AS_FHIR_JSON:
        parameters = decode_json(text)
        require_valid(parameters)
        changes = read_fhirpath_patch(parameters)
        return lambda resource: apply_fhirpath_patch(changes, resource)
    raise UnsupportedMediaType(f"This server reads patches as {JSON_PATCH} or {FHIR_JSON}.")


def _require_same_resource(before: Json, after: Json) -> None:
    if not isinstance(after, dict) or after.get("resourceType") != before["resourceType"]:
        raise InvalidResource(
            [error(IssueType.INVALID, "A patch keeps the resource's type.", "resourceType")]
        )
    if after.get("id") != before["id"]:
        named = f"{before['resourceType']}.id"
        raise InvalidResource([error(IssueType.INVALID, "A patch keeps the resource's id.", named)])
