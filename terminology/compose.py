"""Which codes a value set has (FHIR R4 valueset.html#compositions).

Members come in the order of the includes, and within each in that of its value set or code system. Whether a
code is excluded, or in a further value set of an include, is asked code by code: a value set is not expanded
for that. Work is bounded by the concepts looked at.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from terminology.canonical import Canonical, accepts, order_of
from terminology.code_system import Content, Selection
from terminology.concept import Concept
from terminology.imports import Composed
from terminology.issues import TooCostly
from terminology.listed import read_designation, terms_of
from terminology.opened import Opened, OpenedSystems
from terminology.text import MAX_WORDS, matches, words_of
from terminology.value_set import Include, NamedConcept, ValueSet

Json = Any

MAX_LOOKED_AT = 20_000  # concepts for one expansion that cannot be left to one code system
_FIRST = 1_000  # that are asked of a code system at once at first
_GROWTH = 4  # by which each part that is asked of a code system is larger than the one before


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which members of a value set are wanted."""

    text: str | None = None
    active_only: bool = False
    selectable_only: bool = False
    without: Sequence[Canonical] = ()  # code systems of which none is wanted
    versions_match: bool | None = None  # codes of several versions of a code system are the same


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A code of a value set."""

    system: str
    version: str | None  # of the code system
    concept: Concept
    opened: Opened | None = None  # None: the value set is an expansion
    named: NamedConcept | None = None  # as the include names it


@dataclass(frozen=True, slots=True)
class Page:
    """Some members; `total` None: it would be too costly to tell."""

    members: Sequence[Member]
    total: int | None
    whole: Opened | None = None  # the code system to which everything was left


class Composition:
    """The members of a value set, for one request."""

    def __init__(self, root: Composed, systems: OpenedSystems, wanted: Wanted) -> None:
        self._root, self._systems, self._wanted = root, systems, wanted
        self._words = words_of(wanted.text or "")[:MAX_WORDS]
        self._looked_at = 0
        self._needed = 1  # members, when the total is not told
        self._endless = False  # there is more than is looked at
        self._answers: dict[tuple[int, str, str], bool] = {}
        self.merged = wanted.versions_match is True  # versions have been taken for the same

    async def page(self, offset: int, count: int) -> Page:
        """`count` members from the `offset`-th.

        Raises:
            TooCostly: too many concepts would have to be looked at.
            NotKnown, VersionConflict, InvalidFilter: an include.
        """
        self._needed = max(offset + count, 1)
        leaf = None if self._wanted.selectable_only or self._wanted.without else _single(self._root)
        if leaf is not None:
            return await self._left_to_code_system(leaf, offset, count)
        found: dict[tuple[str, ...], Member] = {}
        total: int | None = None
        try:
            async for member in self._members(self._root):
                self._add(found, member)
                if self._endless and len(found) >= self._needed:
                    break
            else:
                total = len(found)
        except TooCostly:
            if len(found) < self._needed:
                raise
        return Page(list(found.values())[offset : offset + count], total)

    async def _left_to_code_system(self, leaf: "_Leaf", offset: int, count: int) -> Page:
        opened = await self._systems.open(leaf.include.system or "", leaf.include.version)
        found = await opened.system.select(
            Selection(
                leaf.include.filters,
                self._wanted.text,
                leaf.active_only or self._wanted.active_only,
                offset,
                count,
            )
        )
        return Page([_member(opened, each) for each in found.concepts], found.total, opened)

    def _add(self, found: dict[tuple[str, ...], Member], member: Member) -> None:
        """Each code once; of versions that count as one the newest."""
        if not self._wanted.versions_match:
            found.setdefault((member.system, member.version or "", member.concept.code), member)
            return
        key = (member.system, member.concept.code)
        known = found.get(key)
        if known is None or order_of(known.version) < order_of(member.version):
            found[key] = member

    def _look_at(self, number: int) -> None:
        self._looked_at += number
        if self._looked_at > MAX_LOOKED_AT:
            raise TooCostly(
                f"The value set has to be put together from more than {MAX_LOOKED_AT} concepts: "
                "narrow it by a filter, or ask for fewer."
            )

    async def _members(self, composed: Composed) -> AsyncIterator[Member]:
        value_set = composed.value_set
        if not value_set.composed:
            for member in expanded(value_set):
                self._look_at(1)
                if self._is_wanted(member):
                    yield member
            return
        for include in value_set.include:
            async for member in self._included(include, composed):
                if value_set.inactive is False and member.concept.inactive:
                    continue
                if self._is_wanted(member) and not await self._is_excluded(member, composed):
                    yield member

    def _is_wanted(self, member: Member) -> bool:
        concept, wanted = member.concept, self._wanted
        if (wanted.active_only and concept.inactive) or (wanted.selectable_only and concept.abstract):
            return False
        if any(
            each.url == member.system and accepts(each.version, member.version) for each in wanted.without
        ):
            return False
        return not self._words or matches(self._words, _terms(member))

    async def _included(self, include: Include, composed: Composed) -> AsyncIterator[Member]:
        if include.value_sets and not include.concepts:
            first, *others = include.value_sets
            rest = replace(include, value_sets=tuple(others))
            async for member in self._members(composed.imports[first]):
                if await self._holds(rest, composed, member):
                    yield member
            return
        async for member in self._of_system(include):
            if all([await self._is_in(composed.imports[each], member) for each in include.value_sets]):
                yield member

    async def _of_system(self, include: Include) -> AsyncIterator[Member]:
        opened = await self._systems.open(include.system or "", include.version)
        if include.concepts:
            self._look_at(len(include.concepts))
            found = await opened.system.locate_all(list(include.concepts))
            for code, named in include.concepts.items():
                concept = found.get(code)
                if concept is None and opened.header.content is Content.FRAGMENT:
                    concept = Concept(code)  # what a fragment lacks may well be there
                if concept is not None and (
                    not include.filters or await opened.system.lets_through(concept.code, include.filters)
                ):
                    yield _member(opened, concept, named)
            return
        first = min(max(self._needed, _FIRST), MAX_LOOKED_AT)
        asked = Selection(include.filters, self._wanted.text, self._wanted.active_only, 0, first)
        async for concept in self._selected(opened, asked):
            yield _member(opened, concept)

    async def _selected(self, opened: Opened, asked: Selection) -> AsyncIterator[Concept]:
        """All that a code system selects, in growing parts: the first are often enough."""
        while True:
            assert asked.limit is not None
            found = await opened.system.select(asked)
            self._look_at(len(found.concepts))
            for concept in found.concepts:
                yield concept
            told = asked.offset + len(found.concepts)
            if len(found.concepts) < asked.limit or told == found.total:
                return
            left = MAX_LOOKED_AT - self._looked_at
            self._endless = self._endless or found.total is None or found.total - told > left
            asked = replace(asked, offset=told, limit=min(asked.limit * _GROWTH, left + 1))

    async def _is_in(self, composed: Composed, member: Member) -> bool:
        """Whether a value set has this code, in whichever version."""
        key = (id(composed), member.system, member.concept.code)
        if key not in self._answers:
            self._answers[key] = await self._find_in(composed, member)
        return self._answers[key]

    async def _find_in(self, composed: Composed, member: Member) -> bool:
        self._look_at(1)
        value_set = composed.value_set
        if not value_set.composed:
            return any(
                each.system == member.system and each.concept.code == member.concept.code
                for each in expanded(value_set)
            )
        if value_set.inactive is False and member.concept.inactive:
            return False
        for include in value_set.include:
            if await self._holds(include, composed, member):
                return not await self._is_excluded(member, composed)
        return False

    async def _is_excluded(self, member: Member, composed: Composed) -> bool:
        for exclude in composed.value_set.exclude:
            exact = exclude.system == member.system and await self._tells_versions(member.system, composed)
            if await self._holds(exclude, composed, member, exact=exact):
                return True
        return False

    async def _tells_versions(self, system: str, composed: Composed) -> bool:
        """Whether an exclusion is of one version only: so it is where several are included."""
        if self._wanted.versions_match is not None:
            return not self._wanted.versions_match
        stated = {each.version for each in composed.value_set.include if each.system == system}
        if len(stated) < 2:
            return False
        return len({(await self._systems.open(system, each)).edition.version for each in stated}) > 1

    async def _holds(
        self, include: Include, composed: Composed, member: Member, *, exact: bool = False
    ) -> bool:
        """Whether an include has a code; `exact`: of the same version of the code system only."""
        if include.system is not None:
            if include.system != member.system:
                return False
            opened = await self._systems.open(include.system, include.version)
            other = opened.edition.version != member.version
            if (exact and other) or not await _has(include, opened, member):
                return False
            self.merged = self.merged or (other and member.opened is not None)
        return all([await self._is_in(composed.imports[each], member) for each in include.value_sets])


@dataclass(frozen=True, slots=True)
class _Leaf:
    """The one include that a value set comes down to."""

    include: Include
    active_only: bool


def _single(composed: Composed, active_only: bool = False) -> _Leaf | None:
    """The filters over one code system that a value set is; None: it is more."""
    value_set = composed.value_set
    if len(value_set.include) != 1 or value_set.exclude:
        return None
    (include,) = value_set.include
    active_only = active_only or value_set.inactive is False
    if include.system is None and len(include.value_sets) == 1:
        return _single(composed.imports[include.value_sets[0]], active_only)
    if include.system is None or include.value_sets or include.concepts:
        return None
    return _Leaf(include, active_only)


async def _has(include: Include, opened: Opened, member: Member) -> bool:
    """Whether the part of an include that is about its code system has a code."""
    code = member.concept.code
    if include.concepts and not _names(include, code, opened):
        return False
    if include.filters:
        return await opened.system.lets_through(code, include.filters)
    same = member.opened is not None and opened.edition.version == member.version
    return bool(include.concepts) or same or await opened.system.locate(code) is not None


def _names(include: Include, code: str, opened: Opened) -> bool:
    if code in include.concepts:
        return True
    return not opened.header.case_sensitive and code.casefold() in {
        each.casefold() for each in include.concepts
    }


def _member(opened: Opened, concept: Concept, named: NamedConcept | None = None) -> Member:
    return Member(opened.edition.url, opened.edition.version, concept, opened, named)


def _terms(member: Member) -> Iterator[str]:
    yield from terms_of(member.concept)
    if (named := member.named) is not None:
        if named.display:
            yield named.display
        yield from (each.value for each in named.designations)


def expanded(value_set: ValueSet) -> Iterator[Member]:
    """The members of a value set that is an expansion (ValueSet.expansion.contains), however deep."""
    waiting = list(reversed((value_set.resource.get("expansion") or {}).get("contains", ())))
    while waiting:
        entry = waiting.pop()
        waiting += reversed(entry.get("contains", ()))
        if "code" in entry:
            concept = Concept(
                code=entry["code"],
                display=entry.get("display"),
                designations=tuple(read_designation(each) for each in entry.get("designation", ())),
                abstract=entry.get("abstract", False),
                inactive=entry.get("inactive", False),
                extensions=tuple(entry.get("extension", ())),
            )
            yield Member(entry.get("system", ""), entry.get("version"), concept)
