"""Whether value sets and their includes have a code (FHIR R4 valueset.html#compositions).

Asked of codes that have been found: which of them are excluded, or in a further value set of an include. A
value set is not expanded for that.
"""

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from terminology.code_system import CodeSystem, Filter, FilterOperator, Selected, Selection
from terminology.concept import Concept
from terminology.effort import Effort
from terminology.filters import steps_of
from terminology.hierarchy import Hierarchy
from terminology.imports import Composed
from terminology.issues import InvalidFilter, NotSupported, TooCostly
from terminology.listed import read_designation
from terminology.opened import Opened, OpenedSystems
from terminology.value_set import Include, NamedConcept, ValueSet

Json = Any

MAX_LOOKED_AT = 20_000  # concepts for one expansion that cannot be left to one code system
_COST_OF_ASKING = 4  # concepts looked at, that a question to a code system counts for
_COST_OF_SELECTING = 100  # steps, that a selection from a code system that is not in memory counts for
_CHARACTERS = 30_000  # that a pattern is held against there, roughly; `releases.patterns` counts them
_LONGEST = 100  # the same of one concept
_OFTEN = 50  # questions about one include, after which all its codes are found
_FEW = 5_000  # codes that are found for that


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A code of a value set."""

    system: str
    version: str | None  # of the code system
    concept: Concept
    opened: Opened | None = None  # None: the value set is an expansion
    named: NamedConcept | None = None  # as the include names it


class Work:
    """What has been done for one request."""

    def __init__(self) -> None:
        self.looked_at = 0
        self.effort = Effort()

    @property
    def left(self) -> int:
        """How many concepts may still be looked at."""
        return MAX_LOOKED_AT - self.looked_at

    def look_at(self, number: int) -> None:
        """Count concepts that are looked at.

        Raises:
            TooCostly: they are too many.
        """
        self.looked_at += number
        if self.left < 0:
            raise TooCostly(
                f"The value set has to be put together from more than {MAX_LOOKED_AT} concepts: "
                "narrow it by a filter, or ask for fewer."
            )


class Included:
    """Answers for one request, each of which is found once."""

    def __init__(self, systems: OpenedSystems, work: Work, versions_match: bool | None) -> None:
        self._systems, self._work, self._versions_match = systems, work, versions_match
        self._answers: dict[tuple[int, str, str], bool] = {}
        self._expansions: dict[int, Set[tuple[str, str]]] = {}  # by value set
        self._sets: dict[int, Set[str]] = {}  # codes, by the part of an include that they are of
        self._asked: Counter[int] = Counter()
        self._versions_told: dict[tuple[int, str], bool] = {}  # by value set and code system
        self.merged = versions_match is True  # versions have been taken for the same

    async def is_narrow(self, include: Include) -> bool:
        """Whether the filters of an include let few codes through."""
        if not include.filters:
            return False
        opened = await self._systems.open(include.system or "", include.version)
        with suppress(TooCostly, NotSupported):
            counted = await select(include, opened, Selection(include.filters, limit=0), self._work.effort)
            return counted.total is not None and counted.total <= _FEW
        return False

    async def is_in(self, composed: Composed, member: Member) -> bool:
        """Whether a value set has this code, in whichever version."""
        key = (id(composed), member.system, member.concept.code)
        if key not in self._answers:
            self._answers[key] = await self._find_in(composed, member)
        return self._answers[key]

    async def _find_in(self, composed: Composed, member: Member) -> bool:
        self._work.look_at(1)
        value_set = composed.value_set
        await self._work.effort.take(len(value_set.include))
        if not value_set.composed:
            if (known := self._expansions.get(id(composed))) is None:
                known = {(each.system, each.concept.code) for each in expanded(value_set)}
                self._expansions[id(composed)] = known
            return (member.system, member.concept.code) in known
        if value_set.inactive is False and member.concept.inactive:
            return False
        for include in value_set.include:
            if await self.holds(include, composed, member):
                return not await self.is_excluded(member, composed)
        return False

    async def is_excluded(self, member: Member, composed: Composed) -> bool:
        """Whether an exclude of a value set has a code."""
        await self._work.effort.take(len(composed.value_set.exclude))
        for exclude in composed.value_set.exclude:
            exact = exclude.system == member.system and await self._tells_versions(member.system, composed)
            if await self.holds(exclude, composed, member, exact=exact):
                return True
        return False

    async def _tells_versions(self, system: str, composed: Composed) -> bool:
        """Whether an exclusion is of one version only: so it is where several are included."""
        if self._versions_match is not None:
            return not self._versions_match
        key = (id(composed), system)
        if (known := self._versions_told.get(key)) is None:
            stated = {each.version for each in composed.value_set.include if each.system == system}
            opened = [] if len(stated) < 2 else [await self._systems.open(system, each) for each in stated]
            known = self._versions_told[key] = len({each.edition.version for each in opened}) > 1
        return known

    async def holds(
        self, include: Include, composed: Composed, member: Member, *, exact: bool = False
    ) -> bool:
        """Whether an include has a code; `exact`: of the same version of the code system only."""
        if include.system is not None:
            if include.system != member.system:
                return False
            opened = await self._systems.open(include.system, include.version)
            other = opened.edition.version != member.version
            if (exact and other) or not await self._has(include, opened, member):
                return False
            self.merged = self.merged or (other and member.opened is not None)
        return await self.is_in_imports(include, composed, member)

    async def is_in_imports(self, include: Include, composed: Composed, member: Member) -> bool:
        """Whether each value set that an include imports has a code."""
        for each in include.value_sets:
            if not await self.is_in(composed.imports[each], member):
                return False
        return True

    async def _has(self, include: Include, opened: Opened, member: Member) -> bool:
        """Whether the part of an include that is about its code system has a code."""
        code = member.concept.code
        if include.concepts and not self._names(include, code, opened):
            return False
        if include.filters:
            return await self._let_through(include, opened, code)
        same = member.opened is not None and opened.edition.version == member.version
        return bool(include.concepts) or same or await opened.system.locate(code) is not None

    def _names(self, include: Include, code: str, opened: Opened) -> bool:
        if code in include.concepts:
            return True
        if opened.header.case_sensitive:
            return False
        folded = self._sets.get(id(include.concepts))
        if folded is None:
            folded = self._sets[id(include.concepts)] = {each.casefold() for each in include.concepts}
        return code.casefold() in folded

    async def _let_through(self, include: Include, opened: Opened, code: str) -> bool:
        """Whether filters let a code through; asked again and again, all that they let through is found."""
        key = id(include.filters)
        if (known := self._sets.get(key)) is not None:
            return code in known
        self._work.look_at(_COST_OF_ASKING)
        await self._work.effort.take(cost_of_asking(opened.system, include.filters))
        self._asked[key] += 1
        if self._asked[key] == _OFTEN:
            with suppress(TooCostly, NotSupported):  # one can be asked that has no list
                wanted = Selection(include.filters, limit=_FEW + 1)
                few = await select(include, opened, wanted, self._work.effort)
                if len(few.concepts) <= _FEW:
                    self._sets[key] = {each.code for each in few.concepts}
        return await self._work.effort.timed(opened.system.lets_through(code, include.filters))


async def select(include: Include, opened: Opened, asked: Selection, effort: Effort) -> Selected:
    """What a code system selects for an include; a fault tells the place."""
    try:
        await effort.take(_cost_of_selecting(opened.system, asked))
        return await effort.timed(opened.system.select(asked))
    except InvalidFilter as fault:
        raise InvalidFilter(str(fault), expression=fault.issues[0].expression or include.path) from None


def cost_of_asking(system: CodeSystem, filters: Sequence[Filter]) -> int:
    """The steps that it takes to hold a concept against filters.

    Raises:
        InvalidFilter: one is no pattern.
    """
    parts, cost = _in_memory(system), len(filters)
    for each in _patterns(filters):
        cost += steps_of(each, max((part.lengths(each.property).most for part in parts), default=_LONGEST))
    return cost


def _cost_of_selecting(system: CodeSystem, asked: Selection) -> int:
    parts = _in_memory(system)
    cost = _COST_OF_SELECTING if getattr(system, "hierarchy", None) is None else 0
    if asked.filters or asked.text:
        cost += sum(len(part.entries) for part in parts) * (1 + len(asked.filters))
    for each in _patterns(asked.filters):
        cost += steps_of(each, sum(part.lengths(each.property).all for part in parts) or _CHARACTERS)
    return cost


def _patterns(filters: Sequence[Filter]) -> Sequence[Filter]:
    return [each for each in filters if each.operator is FilterOperator.REGEX]


def _in_memory(system: CodeSystem) -> Sequence[Hierarchy]:
    """What of a code system, and of supplements, lies in memory; none: it has tables, or a grammar."""
    parts = (system, *getattr(system, "supplements", ()))
    found = (getattr(each, "hierarchy", None) for each in parts)
    return [each for each in found if each is not None]


def expanded(value_set: ValueSet) -> Iterator[Member]:
    """The members of a value set that is an expansion (ValueSet.expansion.contains), however deep."""
    waiting = list(reversed((value_set.resource.get("expansion") or {}).get("contains", ())))
    while waiting:
        entry = waiting.pop()
        waiting += reversed(entry.get("contains", ()))
        if "code" in entry:
            yield Member(entry.get("system", ""), entry.get("version"), read_entry(entry))


def read_entry(entry: Json) -> Concept:
    """One entry with a code of ValueSet.expansion.contains."""
    return Concept(
        code=entry["code"],
        display=entry.get("display"),
        designations=tuple(read_designation(each) for each in entry.get("designation", ())),
        abstract=entry.get("abstract", False),
        inactive=entry.get("inactive", False),
        extensions=tuple(entry.get("extension", ())),
    )
