"""The reading entries of a Bundle, each by the interaction that its URL names."""

from collections.abc import Mapping, Sequence

from fhir.bundles.steps import Step
from fhir.exchange import Answer, Interaction
from fhir.interactions import table
from fhir.interactions.door import Door
from fhir.interactions.history import history
from fhir.operations.operation import Operation, operate

_INTERACTIONS: Mapping[str, Interaction] = {
    "read": table.read,
    "vread": table.vread,
    "history": history,
    "search": table.search,
}


async def perform_read(door: Door, operations: Sequence[Operation], step: Step) -> Answer:
    """What a read, a search, a history or an operation by GET answers."""
    if step.kind == "operation":
        return await operate(door, operations, step.request)
    return await _INTERACTIONS[step.kind](door, step.request)
