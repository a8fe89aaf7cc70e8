"""Which codes a value set has (FHIR R4 valueset.html#compositions).

Members come in the order of the includes, and within each in that of its value set or code system. Whether a
code is excluded, or in a further value set of an include, is asked code by code: a value set is not expanded
for that. Work is bounded by the concepts looked at.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from terminology.canonical import Canonical, accepts, order_of
from terminology.code_system import CodeSystem, Content, Selection
from terminology.concept import Concept
from terminology.imports import Composed
from terminology.included import (
    MAX_LOOKED_AT,
    Included,
    Member,
    Work,
    cost_of_asking,
    expanded,
    select,
)
from terminology.issues import TooCostly
from terminology.listed import ListedCodeSystem, terms_of
from terminology.opened import Opened, OpenedSystems
from terminology.text import MAX_WORDS, matches, words_of
from terminology.value_set import Include, NamedConcept

Json = Any

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
        self._work = Work()
        self._included = Included(systems, self._work, wanted.versions_match)
        self._needed = 1  # members, when the total is not told
        self._endless = False  # there is more than is looked at

    @property
    def merged(self) -> bool:
        """Whether versions of a code system have been taken for the same."""
        return self._included.merged

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
        active_only = leaf.active_only or self._wanted.active_only
        asked = Selection(leaf.include.filters, self._wanted.text, active_only, offset, count)
        found = await select(leaf.include, opened, asked, self._work.effort)
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

    async def _members(self, composed: Composed) -> AsyncIterator[Member]:
        value_set = composed.value_set
        if not value_set.composed:
            for member in expanded(value_set):
                self._work.look_at(1)
                await self._work.effort.take()
                if self._is_wanted(member):
                    yield member
            return
        for include in value_set.include:
            await self._work.effort.take()
            async for member in self._of_include(include, composed):
                await self._work.effort.take()
                if value_set.inactive is False and member.concept.inactive:
                    continue
                if self._is_wanted(member) and not await self._included.is_excluded(member, composed):
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

    async def _of_include(self, include: Include, composed: Composed) -> AsyncIterator[Member]:
        if include.value_sets and not include.concepts and not await self._included.is_narrow(include):
            source = min(include.value_sets, key=lambda each: not _is_listed(composed.imports[each]))
            rest = replace(include, value_sets=tuple(each for each in include.value_sets if each != source))
            async for member in self._members(composed.imports[source]):
                if await self._included.holds(rest, composed, member):
                    yield member
            return
        active_only = self._wanted.active_only or composed.value_set.inactive is False
        async for member in self._of_system(include, active_only):
            if await self._included.is_in_imports(include, composed, member):
                yield member

    async def _of_system(self, include: Include, active_only: bool) -> AsyncIterator[Member]:
        opened = await self._systems.open(include.system or "", include.version)
        if include.concepts:
            for member in await self._named(include, opened):
                yield member
            return
        first = min(max(self._needed, _FIRST), MAX_LOOKED_AT)
        asked = Selection(include.filters, self._wanted.text, active_only, 0, first)
        async for concept in self._selected(include, opened, asked):
            yield _member(opened, concept)

    async def _named(self, include: Include, opened: Opened) -> Sequence[Member]:
        """The concepts that an include names, as far as its filters let them through."""
        self._work.look_at(len(include.concepts))
        cost = cost_of_asking(opened.system, include.filters) if include.filters else 0
        codes = self._matching(include.concepts, opened.system) if self._words else list(include.concepts)
        located = await opened.system.locate_all(codes)
        found = []
        for code in codes:
            await self._work.effort.take(cost)
            named = include.concepts[code]
            concept = located.get(code)
            if concept is None and opened.header.content is Content.FRAGMENT:
                concept = Concept(code)  # what a fragment lacks may well be there
            if concept is not None and (
                not include.filters
                or await self._work.effort.timed(opened.system.lets_through(concept.code, include.filters))
            ):
                found.append(_member(opened, concept, named))
        return found

    def _matching(self, named: Mapping[str, NamedConcept], system: CodeSystem) -> list[str]:
        """The codes whose names may have the words that are wanted: told without reading their concepts."""
        if not isinstance(system, ListedCodeSystem):
            return list(named)
        found = []
        for code, each in named.items():
            index, own = system.index_of(code), "\n".join((code, *_names(each)))
            if not own.isascii() or all(f"\n{w}" in index or w in own.lower() for w in self._words):
                found.append(code)
        return found

    async def _selected(self, include: Include, opened: Opened, asked: Selection) -> AsyncIterator[Concept]:
        """All that a code system selects, in growing parts: the first are often enough."""
        while True:
            assert asked.limit is not None
            found = await select(include, opened, asked, self._work.effort)
            self._work.look_at(len(found.concepts))
            told, left = asked.offset + len(found.concepts), self._work.left
            is_last = len(found.concepts) < asked.limit or told == found.total
            if not is_last and (found.total is None or found.total - told > left):
                self._endless = True
            for concept in found.concepts:
                yield concept
            if is_last:
                return
            asked = replace(asked, offset=told, limit=min(asked.limit * _GROWTH, left + 1))


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


def _is_listed(composed: Composed) -> bool:
    """Whether the codes of a value set are written down in it."""
    return all(each.concepts for each in composed.value_set.include)


def _member(opened: Opened, concept: Concept, named: NamedConcept | None = None) -> Member:
    return Member(opened.edition.url, opened.edition.version, concept, opened, named)


def _terms(member: Member) -> Iterator[str]:
    yield from terms_of(member.concept)
    if member.named is not None:
        yield from _names(member.named)


def _names(named: NamedConcept) -> Iterator[str]:
    if named.display:
        yield named.display
    yield from (each.value for each in named.designations)
