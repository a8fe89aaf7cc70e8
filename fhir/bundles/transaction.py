"""transaction: all entries or none (FHIR R4 http.html#transaction, #trules).

Planned (`fhir/bundles/plan.py`) and prepared before the database is held; then one transaction takes the
locks of all, sorted, looks again at what conditions mean, and performs: deletes, creates, updates, patches,
reads.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter

from fhir.binaries.content import BINARY
from fhir.binaries.interactions import show_written
from fhir.bundles.answers import Done, done_of, done_of_written, wants_resources
from fhir.bundles.faults import at_entry, invalid_entry
from fhir.bundles.full_urls import base_of
from fhir.bundles.links import rewrite_links
from fhir.bundles.places import Link
from fhir.bundles.plan import Plan, Planned, make_plan
from fhir.bundles.read import Asked
from fhir.bundles.reads import perform_read
from fhir.bundles.steps import Rank, Step, step_of, with_body
from fhir.bundles.within import within
from fhir.exchange import Answer, FhirRequest
from fhir.interactions.answers import answer_deleted, answer_written
from fhir.interactions.create import Create, prepare_create
from fhir.interactions.delete import Delete, prepare_delete
from fhir.interactions.door import Door
from fhir.interactions.patch import Patch, prepare_patch
from fhir.interactions.provenance import Target, read_provenance
from fhir.interactions.update import Update, prepare_update
from fhir.interactions.write import Written, find_ahead
from fhir.model.validation.issue import IssueType
from fhir.negotiation import Return, read_preferences
from fhir.operations.operation import Operation
from fhir.search.compartment import PATIENT
from fhir.subscriptions.request import SUBSCRIPTION
from server.kernel.database import UnitOfWork
from server.kernel.faults import Busy, Fault
from server.kernel.turns import Turns

PLANS = 3  # made anew when somebody else changes what a condition means
TURN_S = 0.02  # of preparing, before others have theirs
WRITES_AT_ONCE = 100  # entries whose rows go to the database together

_NEEDED_WHOLE = frozenset({PATIENT, SUBSCRIPTION, BINARY})

_TURNS = Turns()  # of all Bundles of this process


class _Changed(Exception):
    """A condition means another resource than when the plan was made."""


@dataclass(slots=True)
class Prepared:
    """A planned entry, ready to be performed."""

    planned: Planned
    request: FhirRequest
    write: Create | Update | Patch | Delete
    written: Written | None = None  # once it was performed

    def ids(self) -> Sequence[str]:
        """What it writes, once its condition is resolved."""
        match self.write:
            case Create():
                return [] if self.write.existing is not None else [self.write.draft.id]
            case Update():
                return [self.write.draft.id]
            case Patch():
                return [self.write.resource_id or ""]
        return self.write.ids


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
    for _ in range(PLANS):
        plan = await make_plan(door, steps)
        prepared = await _prepare(door, plan)

        async def work(unit: UnitOfWork, prepared: list[Prepared] = prepared) -> dict[int, Done]:
            done = await _write(door, unit, prepared, full=wants_resources(request))
            if provenance is not None:
                await provenance.store(unit, _targets(prepared))
                await unit.write()
            inside = within(unit, door)
            for step in reads:
                with _naming(step):
                    answer = await perform_read(inside, operations, step)
                    done[step.number] = done_of(answer, full=step.asked.method == "GET")
            return done

        try:
            done = await door.services.database.transact(work)
        except _Changed:
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


@contextmanager
def _naming(step: Step) -> Iterator[None]:
    """What is refused within is refused at this entry."""
    try:
        yield
    except Busy:
        raise
    except Fault as fault:
        raise at_entry(step.number, fault, step.request.resource_type) from fault


async def _prepare(door: Door, plan: Plan) -> list[Prepared]:
    marks = plan.names.marks
    prepared: list[Prepared] = []
    began = perf_counter()
    for planned in plan.writes:
        with _naming(planned.step):
            one = _prepare_one(door, plan, planned, marks)
        _let_go(one)
        prepared.append(one)
        if perf_counter() - began > TURN_S:
            await _TURNS.take()
            began = perf_counter()
    _require_distinct(prepared)
    return prepared


def _prepare_one(door: Door, plan: Plan, planned: Planned, marks: tuple[bytes, ...] | None) -> Prepared:
    step = planned.step
    if step.rank is Rank.DELETE:
        return Prepared(planned, step.request, prepare_delete(door, step.request))
    text = step.asked.text
    if step.rank is not Rank.PATCH and (plan.names.by_full_url or plan.names.by_condition):
        base = base_of(step.asked.full_url)

        def rewrite(kind: Link, link: str) -> str:
            return plan.names.rewrite(kind, link, base)

        text = rewrite_links(text, rewrite, marks)
    request = with_body(step, text)
    if step.rank is Rank.PATCH:
        return Prepared(planned, request, prepare_patch(door, request))
    if step.rank is Rank.UPDATE:
        update = prepare_update(door, request)
        if planned.condition is not None and planned.existing is None:
            update.draft = update.draft.renamed(planned.new)
        return Prepared(planned, request, update)
    return Prepared(planned, request, prepare_create(door, replace(request, resource_id=planned.new)))


def _let_go(prepared: Prepared) -> None:
    """Keep of a resource what is still needed: thousands of them, decoded, are ten times their text."""
    write = prepared.write
    if (
        isinstance(write, Create | Update)
        and write.reach.is_everyone
        and write.draft.type not in _NEEDED_WHOLE
    ):
        resource = write.draft.resource
        write.draft.resource = {name: resource[name] for name in ("resourceType", "id") if name in resource}


def _require_distinct(prepared: Sequence[Prepared]) -> None:
    """No resource is written by two entries (FHIR R4 http.html#trules)."""
    seen: set[tuple[str, str]] = set()
    for each in prepared:
        if each.planned.same_as is not None:
            continue
        for resource_id in each.ids():
            named = (each.planned.type, resource_id)
            if resource_id and named in seen:
                text = "Another entry of the transaction writes the same resource."
                raise invalid_entry(each.planned.step.number, text, code=IssueType.DUPLICATE)
            seen.add(named)


async def _write(
    door: Door, unit: UnitOfWork, prepared: Sequence[Prepared], *, full: bool
) -> dict[int, Done]:
    unit.gather(sum(each.planned.step.rank is Rank.CREATE for each in prepared) or 1)
    await unit.lock(name for each in prepared for name in each.write.locks)
    deletes = [each for each in prepared if each.planned.step.rank is Rank.DELETE]
    others = [each for each in prepared if each.planned.step.rank is not Rank.DELETE]
    done: dict[int, Done] = {}
    for some in (deletes, others):  # what is deleted fulfils no condition any more
        await _resolve(unit, some)
        if some is others:
            _require_distinct(prepared)
            await find_ahead(unit, _to_find(others))
        for at, each in enumerate(some, 1):
            done[each.planned.step.number] = await _perform(door, unit, each, done, full=full)
            if at % WRITES_AT_ONCE == 0:
                await unit.write()
                await _TURNS.take()
    await unit.write()
    return done


async def _resolve(unit: UnitOfWork, prepared: Sequence[Prepared]) -> None:
    names: list[str] = []
    for each in prepared:
        if each.planned.condition is None or each.planned.same_as is not None:
            continue
        with _naming(each.planned.step):
            names += await each.write.resolve(unit)
        _require_as_planned(each)
    await unit.lock(names)


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
    with _naming(each.planned.step):
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
