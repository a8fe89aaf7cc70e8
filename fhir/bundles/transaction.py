"""transaction: all entries or none (FHIR R4 http.html#transaction, #trules).

Planned (`fhir/bundles/plan.py`) and prepared before the database is held; then one transaction takes the
locks of all, sorted, looks again at what conditions mean, and performs: deletes, creates, updates, patches,
reads. When a condition means something else by then, the plan is made anew while the conditions are held.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fhir.binaries.content import BINARY
from fhir.binaries.interactions import show_written
from fhir.bundles.answers import Done, done_of, done_of_written, wants_resources
from fhir.bundles.faults import at_entry
from fhir.bundles.pace import TURNS
from fhir.bundles.plan import Plan, make_plan
from fhir.bundles.prepare import Prepared, naming, prepare, require_distinct
from fhir.bundles.read import Asked
from fhir.bundles.reads import perform_read
from fhir.bundles.steps import Rank, Step, step_of
from fhir.bundles.within import within
from fhir.exchange import Answer, FhirRequest
from fhir.interactions.answers import answer_deleted, answer_written
from fhir.interactions.create import Create
from fhir.interactions.delete import Delete
from fhir.interactions.door import Door
from fhir.interactions.patch import Patch
from fhir.interactions.prepared import LOOKS
from fhir.interactions.provenance import Target, read_provenance
from fhir.interactions.update import Update
from fhir.interactions.write import Written, find_ahead
from fhir.negotiation import Return, read_preferences
from fhir.operations.operation import Operation
from server.kernel.database import UnitOfWork
from server.kernel.faults import Busy, Fault

PLANS = 3  # made anew when somebody else changes what a condition means
WRITES_AT_ONCE = 100  # entries whose rows go to the database together


class _Changed(Exception):
    """A condition means another resource than when the plan was made."""


async def process_transaction(
    door: Door, operations: Sequence[Operation], request: FhirRequest, asked: Sequence[Asked]
) -> list[Done]:
    """What became of each entry, in their order.

    Raises:
        EntryFailed: an entry was refused, with the status it would have by itself; nothing is written.
        Busy: conditions did not stop changing.
    """
    provenance = read_provenance(door, request)
    steps = [_step(each, request, door) for each in asked]
    reads = [step for step in steps if step.rank is Rank.READ]
    planned = await make_plan(door, steps)
    ready: list[Prepared] | None = await prepare(door, planned)
    for _ in range(PLANS):

        async def work(unit: UnitOfWork, ready: list[Prepared] | None = ready) -> dict[int, Done]:
            prepared = await _prepare_within(door, unit, steps, planned) if ready is None else ready
            done = await _write(door, unit, prepared, full=wants_resources(request))
            if provenance is not None:
                await provenance.store(unit, _targets(prepared))
                await unit.write()
            inside = within(unit, door)
            for step in reads:
                with naming(step):
                    answer = await perform_read(inside, operations, step)
                    done[step.number] = done_of(answer, full=step.asked.method != "HEAD")
            return done

        try:
            done = await door.services.database.transact(work)
        except _Changed:
            ready = None
            continue
        return [done[each.number] for each in asked]
    raise Busy("What the conditions of the transaction mean keeps changing; retry later.")


def _targets(prepared: Sequence[Prepared]) -> list[Target]:
    """What was written, and is not deleted."""
    return [
        (each.planned.type, each.written.id, each.written.version_id)
        for each in prepared
        if each.written is not None and each.written.changed and not isinstance(each.write, Delete)
    ]


def _step(asked: Asked, request: FhirRequest, door: Door) -> Step:
    try:
        return step_of(asked, request, door.base_url)
    except Fault as fault:
        raise at_entry(asked.number, fault) from fault


async def _prepare_within(
    door: Door, unit: UnitOfWork, steps: Sequence[Step], before: Plan
) -> list[Prepared]:
    """The entries by a plan that is made while its conditions are held."""
    await unit.lock(each.condition.lock for each in before.writes if each.condition is not None)
    return await prepare(door, await make_plan(door, steps, unit.connection))


async def _write(
    door: Door, unit: UnitOfWork, prepared: Sequence[Prepared], *, full: bool
) -> dict[int, Done]:
    unit.gather(sum(each.planned.step.rank is Rank.CREATE for each in prepared) or 1)
    await unit.lock(name for each in prepared for name in each.locks)
    deletes = [each for each in prepared if each.planned.step.rank is Rank.DELETE]
    others = [each for each in prepared if each.planned.step.rank is not Rank.DELETE]
    done: dict[int, Done] = {}
    for some in (deletes, others):  # what is deleted fulfils no condition any more
        await _resolve(unit, some)
        if some is others:
            require_distinct(prepared)
            await find_ahead(unit, _to_find(others))
        for at, each in enumerate(some, 1):
            done[each.planned.step.number] = await _perform(door, unit, each, done, full=full)
            if at % WRITES_AT_ONCE == 0:
                await unit.write()
                await TURNS.take()
    await unit.write()
    return done


async def _resolve(unit: UnitOfWork, prepared: Sequence[Prepared]) -> None:
    """Find what conditions mean, until that is what is held."""
    for _ in range(LOOKS):
        names: list[str] = []
        for each in prepared:
            if each.planned.condition is not None and each.planned.same_as is None:
                with naming(each.planned.step):
                    names += await each.write.resolve(unit)
                _require_as_planned(each)
        if not await unit.lock(names):
            return
    raise _Changed


def _require_as_planned(each: Prepared) -> None:
    match each.write:
        case Create():
            found = None if each.write.existing is None else each.write.existing.id
        case Update():
            found = each.write.draft.id
            if each.planned.existing is None and found == each.planned.new:
                found = None
        case _:
            return  # nobody refers to it
    if found != each.planned.existing:
        raise _Changed


def _to_find(prepared: Sequence[Prepared]) -> Iterator[tuple[str, str]]:
    for each in prepared:
        if isinstance(each.write, Update | Patch):
            yield from ((each.planned.type, resource_id) for resource_id in each.ids())


async def _perform(
    door: Door, unit: UnitOfWork, each: Prepared, done: dict[int, Done], *, full: bool
) -> Done:
    first = each.planned.same_as
    if first is not None:  # what the first of them made, or found
        return _repeated(done[first.step.number])
    with naming(each.planned.step):
        written = await each.write.perform(unit)
        each.written = replace(written, text=b"")
        if full and each.planned.type == BINARY:
            written = await show_written(within(unit, door), each.request, written)
    if read_preferences([each.request.headers.get("prefer", "")]).returned is Return.OPERATION_OUTCOME:
        return done_of(_answer(door, each.request, written), full=False)
    place = "" if isinstance(each.write, Delete) else f"{door.base_url}/{each.planned.type}"
    return done_of_written(place, written, written.text if full else b"")


def _answer(door: Door, request: FhirRequest, written: Written) -> Answer:
    if request.method == "DELETE":
        return answer_deleted(request, written)
    return answer_written(door, request, written)


def _repeated(first: Done) -> Done:
    return Done({**first.response, "status": "200 OK"}, first.text)
