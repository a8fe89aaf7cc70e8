"""`X-Provenance`: where what is written comes from, stored with it (FHIR R4 provenance.html#header).

The header holds a Provenance without a target; the server fills in what the request wrote, by version, and
stores it in the same transaction: never one without the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, tuple_

from fhir.exchange import FhirRequest
from fhir.interactions.body import text_of
from fhir.interactions.door import Door
from fhir.interactions.etag import InvalidHeader
from fhir.interactions.mentions import PROVENANCE
from fhir.interactions.prepared import Write
from fhir.interactions.write import COMPARTMENT, Draft, Written, insert_first
from fhir.model.json_codec import InvalidJson, decode_json
from fhir.model.validation.issue import InvalidResource, IssueType, error
from fhir.model.validation.walker import require_valid
from fhir.search.compartment import patients_mentioned
from fhir.search.reach import R
from fhir.search.value import Surroundings
from server.kernel.access import Access, Permission, Reach
from server.kernel.database import UnitOfWork
from server.kernel.faults import Forbidden
from server.kernel.uids import new_id

HEADER = "x-provenance"
NAMED_AT_ONCE = 200  # resources of one statement

Target = tuple[str, str, int]  # type, id and version of what was written


@dataclass(frozen=True, slots=True)
class HeaderProvenance:
    """The Provenance of a request, which lacks its targets."""

    resource: dict[str, Any]
    access: Access
    reach: Reach
    around: Surroundings

    async def store(self, unit: UnitOfWork, targets: Sequence[Target]) -> None:
        """Write it for what was written; nothing when nothing was.

        Raises:
            Forbidden: the caller is confined, and it names other patients.
        """
        if not targets:
            return
        references = [{"reference": f"{kind}/{named}/_history/{version}"} for kind, named, version in targets]
        resource = {"resourceType": PROVENANCE, "target": references, **self.resource}
        draft = Draft(resource, text_of(resource), new_id())
        if self.reach.patient_ids is not None:
            draft.patients = await self._patients(unit, targets, resource)
        await insert_first(unit, draft, self.access.principal, self.around)

    async def _patients(
        self, unit: UnitOfWork, targets: Sequence[Target], resource: dict[str, Any]
    ) -> frozenset[str]:
        """Of a confined caller's: whose record the targets are part of, which it could write already."""
        patients = patients_mentioned(resource, self.around)
        for at in range(0, len(targets), NAMED_AT_ONCE):
            some = [(kind, named) for kind, named, _ in targets[at : at + NAMED_AT_ONCE]]
            query = select(COMPARTMENT.c.patient_id).join(R, R.c.rid == COMPARTMENT.c.rid)
            found = await unit.execute(query.where(tuple_(R.c.type, R.c.id).in_(some)))
            patients |= frozenset(found.scalars())
        if not patients or not patients <= (self.reach.patient_ids or frozenset()):
            raise Forbidden("The token's patient does not cover the whole Provenance.")
        return patients


@dataclass(slots=True)
class Proven:
    """A prepared write with the Provenance of its request."""

    write: Write
    resource_type: str
    provenance: HeaderProvenance
    _targets: list[Target] = field(default_factory=list)

    @property
    def locks(self) -> Sequence[str]:
        """Those of the write: the Provenance is new."""
        return self.write.locks

    async def resolve(self, unit: UnitOfWork) -> Sequence[str]:
        """As the write does."""
        return await self.write.resolve(unit)

    async def perform(self, unit: UnitOfWork) -> Written:
        """Write both."""
        written = await self.write.perform(unit)
        if written.changed:
            await self.provenance.store(unit, [(self.resource_type, written.id, written.version_id)])
        return written


def with_provenance(door: Door, request: FhirRequest, write: Write) -> Write:
    """The write, with the Provenance that the request's header states; raises as `read_provenance`."""
    provenance = read_provenance(door, request)
    if provenance is None:
        return write
    assert request.resource_type is not None
    return Proven(write, request.resource_type, provenance)


def read_provenance(door: Door, request: FhirRequest) -> HeaderProvenance | None:
    """The Provenance in the header; None: there is none.

    Raises:
        InvalidHeader: it is no JSON object.
        InvalidResource: no Provenance, not a valid one, or one with targets.
        Forbidden: no grant to create one.
    """
    header = request.headers.get(HEADER)
    if header is None:
        return None
    reach = request.access.reach(PROVENANCE, Permission.CREATE)
    try:
        resource = decode_json(header.encode("latin-1"))
    except (InvalidJson, UnicodeEncodeError):
        raise InvalidHeader("'X-Provenance' is no resource in JSON.") from None
    if resource.get("resourceType") != PROVENANCE:
        text = "'X-Provenance' holds no Provenance."
        raise InvalidResource([error(IssueType.INVALID, text, "resourceType")])
    for name in ("target", "id"):
        if name in resource:
            text = "In 'X-Provenance' this element is the server's to set."
            raise InvalidResource([error(IssueType.INVALID, text, f"{PROVENANCE}.{name}")])
    require_valid({**resource, "target": [{"reference": "Basic/placeholder"}]})
    return HeaderProvenance(resource, request.access, reach, door.surroundings())


def refuse_provenance(request: FhirRequest) -> None:
    """Let pass a request without the header, which would be lost.

    Raises:
        InvalidHeader: it has one.
    """
    if HEADER in request.headers:
        raise InvalidHeader("'X-Provenance' goes with create, update, patch and transaction.")
