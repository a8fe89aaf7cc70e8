"""The reading entries of a Bundle, each by the interaction that its URL names."""

from collections.abc import Mapping, Sequence

from fhir.bundles.steps import Step, with_body
from fhir.exchange import Answer, FhirRequest, Interaction
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
    """What a read, a search, a history or an operation answers.

    Raises:
        UnknownOperation: there is none such, or it changes something: a Bundle cannot ask for that.
    """
    if step.kind == "operation":
        return await operate(door, [each for each in operations if not each.affects_state], _invocation(step))
    return await _INTERACTIONS[step.kind](door, step.request)


def _invocation(step: Step) -> FhirRequest:
    """By POST the entry's resource is the input."""
    is_read = step.asked.method != "POST" or step.asked.resource is None
    return step.request if is_read else with_body(step, step.asked.text)
