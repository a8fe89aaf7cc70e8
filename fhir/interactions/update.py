"""update, also conditional, with optimistic locking (FHIR R4 http.html#update, #cond-update)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Row as ResultRow

from fhir.consents.keep import IMAGING_STUDY, study_of
from fhir.exchange import FhirRequest
from fhir.interactions.body import unpack
from fhir.interactions.condition import Condition, find_one, read_condition
from fhir.interactions.create import read_written
from fhir.interactions.door import Door
from fhir.interactions.etag import Guard, read_guard
from fhir.interactions.granted import require_match, require_reached, require_within, write_reach
from fhir.interactions.particular import particular
from fhir.interactions.policed import policed
from fhir.interactions.served import require_written_type
from fhir.interactions.write import (
    Draft,
    Written,
    demographics_of,
    identifiers_of,
    insert_first,
    lock_and_find,
    lock_name,
    supersede,
)
from fhir.model.json_codec import Json, decode_json
from fhir.model.validation.issue import InvalidResource, IssueType, error
from fhir.search.compartment import PATIENT
from fhir.search.value import Surroundings
from server.kernel.access import Access, Permission, Reach
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault, FaultKind, Forbidden, NotFound


class NoUpsert(Fault):
    """PUT to an id that is not there, where clients do not name resources."""

    kind = FaultKind.METHOD_NOT_ALLOWED


class IdTaken(Fault):
    """What a condition does not match has the id of the body: it is not what the client means."""

    kind = FaultKind.CONFLICT


@dataclass(slots=True)
class Update:
    """A prepared update; with a condition, `draft.id` is what `resolve` found, or else `new`."""

    door: Door
    access: Access
    reach: Reach
    draft: Draft
    guard: Guard
    condition: Condition | None
    around: Surroundings
    new: str  # how what is created is called
    may_name: bool = False  # whether an id that is not there is the server's own, so that it may be created
    matches: bool = True  # the condition

    @property
    def locks(self) -> Sequence[str]:
        """The condition's, or the resource's, and those of a Patient's identifiers."""
        named = self.condition.lock if self.condition else lock_name(self.draft.type, self.draft.id)
        return [named, *self.draft.identity_locks()]

    async def resolve(self, unit: UnitOfWork) -> Sequence[str]:
        """Let the condition say which resource is meant (FHIR R4 http.html#cond-update).

        Raises:
            SeveralMatches: more than one matches.
            InvalidResource: one matches, and the body names another.
        """
        if self.condition is None:
            return []
        found = await find_one(unit, self.condition, self.around)
        stated = self.draft.resource.get("id")
        if found is not None and stated not in (None, found.id):
            named = f"{self.draft.type}.id"
            raise InvalidResource(
                [error(IssueType.INVALID, "The condition matches another resource.", named)]
            )
        self.matches = found is not None
        self.may_name = found is None and stated is None
        self.draft = self.draft.renamed(self.new if found is None else found.id)
        return [lock_name(self.draft.type, self.draft.id)]

    async def perform(self, unit: UnitOfWork) -> Written:
        """Write the next version, or the first.

        Raises:
            NotFound: no such resource within the caller's reach.
            VersionDiffers: somebody else was first.
            NoUpsert: there is none, and clients may not name resources.
            IdTaken: the condition matches none, and one has the id of the body.
            Forbidden: the new version leaves the caller's reach, or changes who the patient is.
        """
        current = await lock_and_find(unit, self.draft.type, self.draft.id)
        if current is None:
            self._require_creatable()
        else:
            await require_reached(unit, self.reach, current, self.around)
            if not self.matches and not current.deleted:
                raise IdTaken("The condition matches no resource, and there is one with the id of the body.")
        within = require_within(self.reach, self.draft, self.around)
        require_same_identity(self.reach, current, self.draft)
        self.guard.require(None if current is None or current.deleted else current.version_id)
        principal, around = self.access.principal, self.around
        if current is None:
            written = await insert_first(unit, self.draft, principal, around)
        else:
            written = await supersede(unit, current, self.draft, principal, around)
        await require_match(unit, within, self.draft, around)
        return written

    def _require_creatable(self) -> None:
        """The scope of update covers update as create (SMART App Launch 2.2, scopes for requesting data)."""
        if self.may_name:
            return
        if self.reach.is_confined:  # whose answers would tell which ids others have
            raise NotFound("No such resource.")
        if not self.door.policy.create_on_update:
            if not self.reach.is_everyone:  # as if it were denied
                raise NotFound("No such resource.")
            raise NoUpsert("There is no such resource, and this server names new ones itself: use POST.")


def prepare_update(door: Door, request: FhirRequest) -> Update:
    """The update that a request asks for, by the id in its URL or by criteria.

    Raises:
        Forbidden: no grant.
        InvalidJson, InvalidResource, InvalidSearch, InvalidHeader: what is sent.
    """
    assert request.resource_type is not None
    require_written_type(request.resource_type)
    reach = write_reach(request.access, request.resource_type, Permission.UPDATE)
    condition = None
    if request.resource_id is None:
        condition = read_condition(request.access, request.resource_type, request.pairs)
    draft = read_written(request, request.resource_id)
    if condition is not None and (stated := draft.resource.get("id")) is not None:
        draft = draft.renamed(stated)
    draft = policed(particular(draft, request.access, door.services), request.access, door)
    guard, around = read_guard(request.headers), door.surroundings()
    draft.indexed(around)  # here, where it holds up no other writer
    return Update(door, request.access, reach, draft, guard, condition, around, draft.id)


def require_same_identity(reach: Reach, current: ResultRow[Any] | None, draft: Draft) -> None:
    """Let studies stay linked to what they are linked to.

    The ImagingStudy of a stored study keeps its UID, by which its labels count on DICOMweb. A confined
    caller keeps the identity of its Patient: with an identifier of somebody else, that person's next study
    would fall to the caller; without the demographics, nothing would contradict.

    Raises:
        Forbidden: the identifiers, or the name, birth date or gender that are matched, differ.
        InvalidResource: the ImagingStudy no longer names its study.
    """
    if draft.type == IMAGING_STUDY and current is not None and not current.deleted:
        _require_same_study(decode_json(unpack(current.body)), draft)
    if not reach.is_confined or draft.type != PATIENT or current is None:
        return
    before = {} if current.deleted else decode_json(unpack(current.body))
    if _identity_of(before) != _identity_of(draft.resource):
        raise Forbidden("A token confined to a patient changes no identifier, name, birth date or gender.")


def _require_same_study(before: Json, draft: Draft) -> None:
    named = study_of(before, draft.id)
    if named is not None and study_of(draft.resource, draft.id) != named:
        said = "The ImagingStudy that this server keeps of a study names it by its DICOM UID."
        raise InvalidResource([error(IssueType.BUSINESS_RULE, said, "ImagingStudy.identifier")])


def _identity_of(patient: Json) -> tuple[object, object]:
    return frozenset(identifiers_of(patient)), demographics_of(patient)
