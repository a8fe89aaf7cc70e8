"""The entries of a transaction, ready to be performed: validated, their links rewritten, indexed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from fhir.binaries.content import BINARY
from fhir.bundles.faults import at_entry, invalid_entry
from fhir.bundles.full_urls import base_of
from fhir.bundles.links import rewrite_links
from fhir.bundles.pace import Pace
from fhir.bundles.places import Link
from fhir.bundles.plan import Plan, Planned
from fhir.bundles.steps import Rank, Step, with_body
from fhir.consents.keep import KEPT
from fhir.exchange import FhirRequest
from fhir.interactions.create import Create, prepare_create
from fhir.interactions.delete import Delete, prepare_delete
from fhir.interactions.door import Door
from fhir.interactions.patch import Patch, prepare_patch
from fhir.interactions.update import Update, prepare_update
from fhir.interactions.write import Written, lock_name
from fhir.model.validation.issue import IssueType
from fhir.search.compartment import PATIENT
from fhir.subscriptions.request import SUBSCRIPTION
from server.kernel.faults import Busy, Fault

_NEEDED_WHOLE = frozenset({PATIENT, SUBSCRIPTION, BINARY}) | KEPT


@dataclass(slots=True)
class Prepared:
    """A planned entry, ready to be performed."""

    planned: Planned
    request: FhirRequest
    write: Create | Update | Patch | Delete
    written: Written | None = None  # once it was performed

    @property
    def locks(self) -> Iterator[str]:
        """Names to hold, as far as the plan knows."""
        yield from self.write.locks
        yield from (lock_name(self.planned.type, each) for each in self.planned.held)

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


@contextmanager
def naming(step: Step) -> Iterator[None]:
    """What is refused within is refused at this entry."""
    try:
        yield
    except Busy:
        raise
    except Fault as fault:
        raise at_entry(step.number, fault, step.request.resource_type) from fault


async def prepare(door: Door, plan: Plan) -> list[Prepared]:
    """The writing entries of a plan, in its order.

    Raises:
        EntryFailed: one cannot be written, whatever is stored.
    """
    marks = plan.names.marks
    prepared: list[Prepared] = []
    pace = Pace()
    for planned in plan.writes:
        with naming(planned.step):
            one = _prepare_one(door, plan, planned, marks)
        _let_go(one)
        prepared.append(one)
        await pace.keep()
    require_distinct(prepared)
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
            update.draft, update.new = update.draft.renamed(planned.new), planned.new
        return Prepared(planned, request, update)
    return Prepared(planned, request, prepare_create(door, replace(request, resource_id=planned.new)))


def _let_go(prepared: Prepared) -> None:
    """Keep of a resource what is still needed: thousands of them, decoded, are ten times their text."""
    write = prepared.write
    if (
        isinstance(write, Create | Update)
        and not write.reach.is_confined
        and write.draft.type not in _NEEDED_WHOLE
    ):
        resource = write.draft.resource
        write.draft.resource = {name: resource[name] for name in ("resourceType", "id") if name in resource}


def require_distinct(prepared: Sequence[Prepared]) -> None:
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
