"""batch: entries that have nothing to do with each other (FHIR R4 http.html#transaction).

Each is performed and judged as a request of its own, in a transaction of its own, and fails alone.
References between them are not rewritten.
"""

import asyncio
from collections.abc import Sequence

from fhir.bundles.answers import Done, done_of, failed, wants_resources
from fhir.bundles.faults import at_entry
from fhir.bundles.read import Asked
from fhir.bundles.reads import perform_read
from fhir.bundles.steps import Rank, Step, step_of, with_body
from fhir.exchange import FhirRequest, Interaction
from fhir.interactions import table
from fhir.interactions.door import Door
from fhir.operations.operation import Operation
from server.kernel.faults import Busy, Fault

ENTRIES_AT_ONCE = 16  # of one batch; those that write are committed together

_WRITES: dict[Rank, Interaction] = {
    Rank.DELETE: table.delete,
    Rank.CREATE: table.create,
    Rank.UPDATE: table.update,
    Rank.PATCH: table.patch,
}


async def process_batch(
    door: Door, operations: Sequence[Operation], request: FhirRequest, asked: Sequence[Asked]
) -> list[Done]:
    """What became of each entry; deletes come first and reads last, as in a transaction."""
    done: list[Done | None] = [None] * len(asked)
    steps: list[Step] = []
    for each in asked:
        try:
            steps.append(step_of(each, request, door.base_url))
        except Fault as fault:
            done[each.number] = failed(at_entry(each.number, fault))
    full = wants_resources(request)
    free = asyncio.Semaphore(ENTRIES_AT_ONCE)

    async def run(step: Step) -> None:
        async with free:
            done[step.number] = await _perform(door, operations, step, full=full)

    for rank in Rank:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                if step.rank is rank:
                    group.create_task(run(step))
    return [each for each in done if each is not None]


async def _perform(door: Door, operations: Sequence[Operation], step: Step, *, full: bool) -> Done:
    try:
        if step.rank is Rank.READ:
            return done_of(await perform_read(door, operations, step), full=step.asked.method != "HEAD")
        answer = await _WRITES[step.rank](door, with_body(step, step.asked.text))
    except Busy as busy:
        return failed(busy)
    except Fault as fault:
        return failed(at_entry(step.number, fault, step.request.resource_type))
    return done_of(answer, full=full)
