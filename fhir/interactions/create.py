"""create, also conditional (FHIR R4 http.html#create, #ccreate): never two resources for one condition."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Row as ResultRow

from fhir.binaries.stored import raw_draft
from fhir.exchange import FhirRequest
from fhir.interactions.body import unpack
from fhir.interactions.condition import Condition, find_one, read_condition_header
from fhir.interactions.door import Door
from fhir.interactions.granted import require_match, require_within, write_reach
from fhir.interactions.particular import particular
from fhir.interactions.policed import policed
from fhir.interactions.served import require_written_type
from fhir.interactions.write import Draft, Written, insert_first
from fhir.model.json_codec import decode_json
from fhir.model.validation.issue import InvalidResource, IssueType, error
from fhir.model.validation.walker import require_valid
from fhir.search.reach import AUDITED_PATIENT, R
from fhir.search.value import Surroundings
from server.kernel.access import Access, Permission, Reach
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import UnitOfWork
from server.kernel.uids import new_id


def read_draft(resource_type: str, text: bytes, resource_id: str | None) -> Draft:
    """The resource in a request body, valid and of this type; `resource_id` None: the server names it.

    Raises:
        InvalidJson: not JSON that every reader understands alike.
        InvalidResource: with every broken rule.
    """
    resource = decode_json(text)
    if resource.get("resourceType") != resource_type:
        text_of_issue = f"The resource is no {resource_type}, as the URL says."
        raise InvalidResource([error(IssueType.INVALID, text_of_issue, "resourceType")])
    require_valid(resource)
    if resource_id is not None and resource.get("id") != resource_id:
        raise InvalidResource(
            [error(IssueType.INVALID, "The id is not that of the URL.", f"{resource_type}.id")]
        )
    return Draft(resource, text, resource_id or new_id())


def read_written(request: FhirRequest, resource_id: str | None) -> Draft:
    """What a request sends to be written: a resource, or the content of a Binary; as `read_draft`."""
    assert request.resource_type is not None
    if request.content is not None:
        return raw_draft(request.content, request.headers, resource_id)
    return read_draft(request.resource_type, request.body, resource_id)


@dataclass(slots=True)
class Create:
    """A prepared create; `existing` is what fulfils the condition already."""

    access: Access
    reach: Reach
    draft: Draft
    condition: Condition | None
    around: Surroundings
    existing: ResultRow[Any] | None = None

    @property
    def locks(self) -> Sequence[str]:
        """The condition's, and those of a Patient's identifiers; a new id needs none."""
        condition = [] if self.condition is None else [self.condition.lock]
        return [*condition, *self.draft.identity_locks()]

    async def resolve(self, unit: UnitOfWork) -> Sequence[str]:
        """Look for what fulfils the condition.

        Raises:
            SeveralMatches: more than one resource fulfils it.
        """
        if self.condition is not None:
            self.existing = await find_one(unit, self.condition, self.around)
        return []

    async def perform(self, unit: UnitOfWork) -> Written:
        """Create the resource, or tell of the one that fulfils the condition (`changed` False).

        Raises:
            Forbidden: the resource is not wholly within the caller's reach.
        """
        within = require_within(self.reach, self.draft, self.around)
        if self.existing is not None:
            return await _as_written(unit, self.access, self.existing)
        written = await insert_first(unit, self.draft, self.access.principal, self.around)
        await require_match(unit, within, self.draft, self.around)
        return written


def prepare_create(door: Door, request: FhirRequest) -> Create:
    """The create that a request asks for.

    Raises:
        Forbidden: no grant.
        InvalidJson, InvalidResource, InvalidSearch: the body or the condition.
    """
    assert request.resource_type is not None
    require_written_type(request.resource_type)
    reach = write_reach(request.access, request.resource_type, Permission.CREATE)
    draft = read_written(request, None)
    if request.resource_id is not None:  # a transaction has named it
        draft.id = request.resource_id
    draft = policed(particular(draft, request.access, door.services), request.access, door)
    if_none_exist = request.headers.get("if-none-exist")
    condition = (
        None
        if if_none_exist is None
        else read_condition_header(request.access, request.resource_type, if_none_exist)
    )
    around = door.surroundings()
    draft.indexed(around)  # here, where it holds up no other writer
    return Create(request.access, reach, draft, condition, around)


async def _as_written(unit: UnitOfWork, access: Access, row: ResultRow[Any]) -> Written:
    patient_id = (await unit.execute(select(AUDITED_PATIENT).where(R.c.rid == row.rid))).scalar_one()
    unit.audit(AuditEntry(access.principal, Action.READ, "create", row.type, row.id, patient_id))
    return Written(row.id, row.version_id, False, row.last_updated_us, unpack(row.body))
