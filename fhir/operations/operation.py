"""What an operation is, and how a request finds its own (FHIR R4 operations.html)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from fhir.exchange import Answer, FhirRequest, Interaction
from fhir.interactions.door import Door
from fhir.model.validation.issue import IssueType
from fhir.outcome import FhirFault
from server.kernel.faults import FaultKind


class Level(Enum):
    """Where an operation is invoked: OperationDefinition.system, .type, .instance."""

    SYSTEM = "system"
    TYPE = "type"
    INSTANCE = "instance"


class UnknownOperation(FhirFault):
    """No operation of this name is offered there."""

    kind = FaultKind.NOT_FOUND
    issue_type = IssueType.NOT_SUPPORTED


class NeedsPost(FhirFault):
    """The operation changes something, so it is no GET (operations.html#executing)."""

    kind = FaultKind.METHOD_NOT_ALLOWED
    issue_type = IssueType.NOT_SUPPORTED


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation that this server offers; `perform` judges the caller's access itself."""

    name: str  # without the "$"
    definition: str  # canonical URL of its OperationDefinition
    levels: frozenset[Level]
    perform: Interaction
    types: frozenset[str] = frozenset()  # resource types; empty: every one
    affects_state: bool = False

    def serves(self, level: Level, resource_type: str | None) -> bool:
        """Whether it is invoked there."""
        return level in self.levels and (
            resource_type is None or not self.types or resource_type in self.types
        )


def level_of(request: FhirRequest) -> Level:
    """Where a request invokes its operation."""
    if request.resource_type is None:
        return Level.SYSTEM
    return Level.TYPE if request.resource_id is None else Level.INSTANCE


async def operate(door: Door, operations: Sequence[Operation], request: FhirRequest) -> Answer:
    """Perform the operation that a request invokes.

    Raises:
        UnknownOperation: none of that name is offered there.
        NeedsPost: it changes something, and the request is a GET.
    """
    level = level_of(request)
    for operation in operations:
        if operation.name == request.operation and operation.serves(level, request.resource_type):
            if operation.affects_state and request.method != "POST":
                raise NeedsPost("This operation is invoked by POST.")
            return await operation.perform(door, request)
    raise UnknownOperation("This server offers no such operation here.")
