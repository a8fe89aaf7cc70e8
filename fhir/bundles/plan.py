"""What a transaction is going to do: which resource each entry means, and what links become.

Made by a look at the database before the transaction, so that everything that takes long (reading,
validating, rewriting, indexing) is done when the transaction begins. The transaction looks again, under the
locks: where it finds something else, the plan is made anew.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.bundles.faults import at_entry, invalid_entry
from fhir.bundles.full_urls import Named, Names
from fhir.bundles.links import references_of
from fhir.bundles.pace import Pace
from fhir.bundles.steps import Rank, Step
from fhir.interactions.condition import (
    Condition,
    SeveralMatches,
    find_all,
    read_condition,
    read_condition_header,
)
from fhir.interactions.delete import MAX_DELETED
from fhir.interactions.door import Door
from fhir.interactions.table import require_stored_type
from fhir.model.validation.issue import IssueType
from server.kernel.faults import Fault, FaultKind
from server.kernel.uids import new_id

Key = tuple[str, str]  # type and id
Identifier = tuple[str, str]  # system and value

_NAMED = frozenset({Rank.CREATE, Rank.UPDATE})  # entries with a resource that others may refer to
_CONDITIONAL = re.compile(r"[A-Z][A-Za-z]+\?")
_WORD_END = re.compile(r"[=,&?|$]")


class NoMatch(Fault):
    """The criteria of a conditional reference match no resource."""

    kind = FaultKind.PRECONDITION_FAILED


@dataclass(slots=True)
class Planned:
    """A writing entry: what its condition is, whom it means, and how its resource will be called."""

    step: Step
    condition: Condition | None = None
    existing: str | None = None  # the id that the condition matches
    deletes: Sequence[str] = ()  # the ids that the condition of a delete matches
    new: str = field(default_factory=new_id)  # the id of what is created
    same_as: "Planned | None" = None  # the entry whose conditional create this one repeats

    @property
    def id(self) -> str:
        """The id that the entry's resource has."""
        if self.same_as is not None:
            return self.same_as.id
        return self.step.request.resource_id or self.existing or self.new

    @property
    def held(self) -> Sequence[str]:
        """The ids of what the condition of a write means, to be held."""
        if self.condition is None or self.same_as is not None:
            return ()
        return [self.id] if self.step.rank is Rank.UPDATE else self.deletes

    @property
    def type(self) -> str:
        """The resource type."""
        return self.step.request.resource_type or ""


@dataclass(slots=True)
class Plan:
    """The writing entries in the order of their processing, and the names within the Bundle."""

    writes: Sequence[Planned]
    names: Names


async def make_plan(door: Door, steps: Sequence[Step], held: AsyncConnection | None = None) -> Plan:
    """What a transaction of these entries is going to do; `held`: the one that has begun.

    Raises:
        EntryFailed: a condition that cannot be, or a reference to nothing or to several.
    """
    ordered = sorted(steps, key=lambda step: (step.rank, step.number))
    writes = [Planned(step) for step in ordered if step.rank is not Rank.READ]
    for each in writes:
        each.condition = _condition(each.step)
    _refuse_circles(writes)
    _join_repeated(writes)
    references: dict[str, Step] = {}
    pace = Pace()
    for step in steps:
        references.update(dict.fromkeys(_conditional_references(step), step))
        await pace.keep()
    reading = door.services.database.read() if held is None else nullcontext(held)
    async with reading as connection:
        look = _Look(connection, door, writes)
        for each in writes:
            if each.condition is not None and each.same_as is None:
                await look.find(each, each.condition)
        found = {link: await look.behind(link, step) for link, step in references.items()}
    return Plan(writes, Names(_by_full_url(writes), found))


@dataclass(slots=True)
class _Look:
    """A look at the database, and at what the transaction will have made of it."""

    connection: AsyncConnection
    door: Door
    writes: Sequence[Planned]  # what is deleted comes first, and matches nothing any more
    _deleted: set[Key] = field(init=False)
    _identified: dict[str, dict[Identifier, set[str]]] = field(default_factory=dict)
    _created: dict[str, Planned] = field(init=False)  # by their conditions

    def __post_init__(self) -> None:
        creates = (each for each in self.writes if each.step.rank is Rank.CREATE)
        self._created = {each.condition.lock: each for each in creates if each.condition is not None}
        self._deleted = _deleted(self.writes)

    async def find(self, planned: Planned, condition: Condition) -> None:
        """Enter into a write what its condition means."""
        step = planned.step
        if step.rank is Rank.DELETE:
            most = MAX_DELETED if self.door.policy.delete_multiple else 1
            rows = await find_all(self.connection, condition, self.door.surroundings(), most)
            planned.deletes = [str(row.id) for row in rows]
            self._deleted |= {(planned.type, each) for each in planned.deletes}
        elif step.rank in _NAMED:
            planned.existing = await self.at(step, condition)
            if step.rank is Rank.UPDATE:
                planned.new = _stated_id(step) or planned.new

    async def at(self, step: Step, condition: Condition) -> str | None:
        """The id of what matches when the transaction has deleted what it deletes."""
        gone = sum(1 for resource_type, _ in self._deleted if resource_type == condition.query.resource_type)
        rows = await find_all(self.connection, condition, self.door.surroundings(), 1 + gone)
        ids = [str(row.id) for row in rows if (row.type, row.id) not in self._deleted]
        if len(ids) > 1:
            raise at_entry(step.number, SeveralMatches("More than one resource matches the condition."))
        return ids[0] if ids else None

    async def behind(self, link: str, step: Step) -> str:
        """What a conditional reference becomes (FHIR R4 http.html#trules)."""
        resource_type, _, query = link.partition("?")
        try:
            require_stored_type(resource_type)
            pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
            condition = read_condition(step.request.access, resource_type, pairs)
        except ValueError:
            raise invalid_entry(step.number, "A conditional reference is no search.", "resource") from None
        except Fault as fault:
            raise at_entry(step.number, fault) from fault
        if (created := self._created.get(condition.lock)) is not None:
            return f"{resource_type}/{created.id}"
        stored = await self.at(step, condition)
        matches = self._made(resource_type, pairs) | ({stored} if stored else set())
        if len(matches) != 1:
            raise at_entry(step.number, _several_or_none(bool(matches)))
        return f"{resource_type}/{matches.pop()}"

    def _made(self, resource_type: str, pairs: Sequence[tuple[str, str]]) -> set[str]:
        """What the transaction writes that has the identifier, if an identifier is all that is asked for."""
        if len(pairs) != 1 or pairs[0][0] != "identifier" or "|" not in pairs[0][1]:
            return set()
        if resource_type not in self._identified:
            self._identified[resource_type] = _by_identifier(resource_type, self.writes)
        system, _, value = pairs[0][1].partition("|")
        return self._identified[resource_type].get((system, value), set())


def _by_identifier(resource_type: str, writes: Iterable[Planned]) -> dict[Identifier, set[str]]:
    found: dict[Identifier, set[str]] = {}
    for each in writes:
        if each.type == resource_type and each.step.rank in _NAMED:
            resource = each.step.decoded()
            for identifier in resource.get("identifier") or ():
                if isinstance(identifier, dict):
                    named = (str(identifier.get("system", "")), str(identifier.get("value", "")))
                    found.setdefault(named, set()).add(each.id)
    return found


def _several_or_none(several: bool) -> Fault:
    if several:
        return SeveralMatches("More than one resource matches a conditional reference.")
    return NoMatch("No resource matches a conditional reference.")


def _condition(step: Step) -> Condition | None:
    request = step.request
    if request.resource_type is None or request.resource_id is not None:
        return None
    try:
        if step.rank is Rank.CREATE:
            header = request.headers.get("if-none-exist")
            return (
                None
                if header is None
                else read_condition_header(request.access, request.resource_type, header)
            )
        return read_condition(request.access, request.resource_type, request.pairs)
    except Fault as fault:
        raise at_entry(step.number, fault) from fault


def _stated_id(step: Step) -> str | None:
    stated = step.decoded().get("id")
    return stated if isinstance(stated, str) and stated else None


def _refuse_circles(writes: Sequence[Planned]) -> None:
    """A condition cannot be about what the transaction will have made."""
    names = {each.step.asked.full_url for each in writes if each.step.asked.full_url}
    for each in writes:
        if each.condition is None:
            continue
        stated = each.step.request.headers.get("if-none-exist", each.step.asked.url)
        if not names.isdisjoint(_WORD_END.split(unquote(stated))):
            text = "A condition names an entry of the same Bundle."
            raise invalid_entry(each.step.number, text, "request", IssueType.NOT_SUPPORTED)


def _join_repeated(writes: Iterable[Planned]) -> None:
    """Conditional creates of one condition are one create: the second finds what the first has made."""
    first: dict[str, Planned] = {}
    for each in writes:
        if each.step.rank is Rank.CREATE and each.condition is not None:
            known = first.setdefault(each.condition.lock, each)
            each.same_as = known if known is not each else None


def _conditional_references(step: Step) -> Iterator[str]:
    if step.rank in _NAMED:
        try:
            links = references_of(step.asked.text)
        except Fault as fault:
            raise at_entry(step.number, fault, step.request.resource_type) from fault
        yield from (link for link in links if _CONDITIONAL.match(link))


def _deleted(writes: Iterable[Planned]) -> set[Key]:
    ids = ((each.type, each.step.request.resource_id) for each in writes if each.step.rank is Rank.DELETE)
    return {(resource_type, resource_id) for resource_type, resource_id in ids if resource_id is not None}


def _by_full_url(writes: Iterable[Planned]) -> dict[str, Named]:
    return {
        each.step.asked.full_url: Named(
            f"{each.type}/{each.id}", each.step.rank is Rank.CREATE and each.existing is None
        )
        for each in writes
        if each.step.asked.full_url is not None and each.step.rank in _NAMED
    }
