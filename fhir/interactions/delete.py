"""delete, also conditional (FHIR R4 http.html#delete, #cdelete): a version that says that it is gone.

What is not there, or not within reach, counts as deleted: the answer tells nobody what exists.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Row as ResultRow

from fhir.exchange import FhirRequest
from fhir.interactions.condition import Condition, SeveralMatches, find_all, read_condition
from fhir.interactions.door import Door
from fhir.interactions.etag import Guard, read_guard
from fhir.interactions.granted import require_reached, write_reach
from fhir.interactions.policed import police_deletion
from fhir.interactions.served import require_written_type
from fhir.interactions.write import Written, lock_and_find, lock_name, mark_deleted
from fhir.search.compartment import PATIENT
from fhir.search.value import Surroundings
from server.kernel.access import Access, Permission, Reach
from server.kernel.database import UnitOfWork
from server.kernel.faults import NotFound
from server.kernel.patients import identifier_locks

MAX_DELETED = 1_000  # resources by one conditional delete; with more, the condition is narrowed by the client
NOTHING = Written("", 0, False, 0, b"")  # what a delete that found nothing did


@dataclass(slots=True)
class Delete:
    """A prepared delete; with a condition, `ids` is what `resolve` found."""

    door: Door
    access: Access
    reach: Reach
    resource_type: str
    guard: Guard
    condition: Condition | None
    around: Surroundings
    ids: Sequence[str] = field(default=())

    @property
    def locks(self) -> Sequence[str]:
        """The condition's, or the resource's."""
        return [self.condition.lock] if self.condition else self._names()

    async def resolve(self, unit: UnitOfWork) -> Sequence[str]:
        """Let the condition say which resources are meant.

        Raises:
            SeveralMatches: more than one matches, or more than `MAX_DELETED` where several may.
        """
        if self.condition is None:
            return await self._identities(unit)
        limit = MAX_DELETED if self.door.policy.delete_multiple else 1
        found = await find_all(unit, self.condition, self.around, limit)
        if len(found) > limit:
            raise SeveralMatches(f"The condition matches more than {limit} resource(s).")
        self.ids = [row.id for row in found]
        return [*self._names(), *await self._identities(unit)]

    async def perform(self, unit: UnitOfWork) -> Written:
        """Delete; the answer is of the one, or of the last of several."""
        written = NOTHING
        for resource_id in self.ids:
            written = await self._delete(unit, resource_id)
        return written

    async def _delete(self, unit: UnitOfWork, resource_id: str) -> Written:
        current = await lock_and_find(unit, self.resource_type, resource_id)
        if current is None or current.deleted or not await self._reaches(unit, current):
            self.guard.require(None)
            return NOTHING
        self.guard.require(current.version_id)
        if refuse := self.door.deletion_guards.get(self.resource_type):
            await refuse(unit, resource_id)
        police_deletion(unit, self.resource_type, resource_id, self.door)
        return await mark_deleted(unit, current, self.access.principal)

    async def _reaches(self, unit: UnitOfWork, current: ResultRow[Any]) -> bool:
        try:
            await require_reached(unit, self.reach, current, self.around)
        except NotFound:
            return False
        return True

    async def _identities(self, unit: UnitOfWork) -> list[str]:
        return await identifier_locks(unit, self.ids) if self.resource_type == PATIENT else []

    def _names(self) -> list[str]:
        return [lock_name(self.resource_type, each) for each in self.ids]


def prepare_delete(door: Door, request: FhirRequest) -> Delete:
    """The delete that a request asks for, by the id in its URL or by criteria.

    Raises:
        Forbidden: no grant.
        InvalidSearch, InvalidHeader: what is sent.
    """
    assert request.resource_type is not None
    require_written_type(request.resource_type)
    reach = write_reach(request.access, request.resource_type, Permission.DELETE)
    condition, ids = None, [request.resource_id or ""]
    if request.resource_id is None:
        condition, ids = read_condition(request.access, request.resource_type, request.pairs), []
    guard = read_guard(request.headers)
    return Delete(
        door, request.access, reach, request.resource_type, guard, condition, door.surroundings(), ids
    )
