"""Code systems with what supplements say more of their concepts (FHIR R4 codesystem.html#supplements).

A supplement adds names, properties and extensions; it neither adds concepts nor changes what lies below what.
It is used where a value set or a request asks for it (ecosystem, valueset-supplement and `useSupplement`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from terminology.canonical import Canonical, accepts
from terminology.code_system import (
    CodeSystem,
    Filter,
    FilterOperator,
    Header,
    Selected,
    Selection,
)
from terminology.concept import Concept, Designation
from terminology.filters import holds
from terminology.hierarchy import Hierarchy
from terminology.issues import NotKnown, TooCostly
from terminology.library import Kind, Library
from terminology.listed import terms_of
from terminology.text import MAX_WORDS, matches, words_of

Json = Any

MAX_COMPARED = 10_000  # concepts that a filter on a supplement's property looks at
_ABSENT = frozenset({FilterOperator.NOT_IN, FilterOperator.EXISTS})  # may let through what says nothing


async def open_supplements(library: Library, wanted: Iterable[Canonical]) -> Sequence[CodeSystem]:
    """The supplements that are asked for, each once.

    Raises:
        NotKnown: one of them is not here.
    """
    found: dict[Canonical, CodeSystem] = {}
    for each in wanted:
        edition = await library.find(Kind.CODE_SYSTEM, each)
        if edition is None or edition.supplements is None:
            raise NotKnown(f"Required supplement not found: {each}")
        if edition.canonical not in found:
            found[edition.canonical] = await edition.open()
    return tuple(found.values())


def apply_supplements(system: CodeSystem, supplements: Sequence[CodeSystem]) -> CodeSystem:
    """The code system with what those of the supplements say that are about this version of it."""
    about = [each for each in supplements if is_about(each.header, system.header)]
    return SupplementedCodeSystem(system, about) if about else system


def is_about(supplement: Header, system: Header) -> bool:
    """Whether a supplement is one of this version of a code system."""
    target = supplement.supplements
    return target is not None and target.url == system.url and accepts(target.version, system.version)


class SupplementedCodeSystem:
    """A `CodeSystem` with its supplements, which lie in memory."""

    def __init__(self, system: CodeSystem, supplements: Sequence[CodeSystem]) -> None:
        self._system = system
        self.supplements = supplements
        properties = dict(system.header.properties)
        for each in supplements:
            properties |= {
                code: what for code, what in each.header.properties.items() if code not in properties
            }
        self.header = replace(system.header, properties=properties)
        self._added = properties.keys() - system.header.properties.keys()

    async def locate(self, code: str) -> Concept | None:
        """The concept of a code."""
        concept = await self._system.locate(code)
        return None if concept is None else await self._supplemented(concept)

    async def locate_all(self, codes: Sequence[str]) -> Mapping[str, Concept]:
        """The concepts of those codes that there are."""
        found = await self._system.locate_all(codes)
        return {code: await self._supplemented(concept) for code, concept in found.items()}

    async def subsumes(self, ancestor: str, descendant: str) -> bool:
        """Whether the first is the second, or above it."""
        return await self._system.subsumes(ancestor, descendant)

    async def parents(self, code: str) -> Sequence[str]:
        """The codes right above one."""
        return await self._system.parents(code)

    async def children(self, code: str | None) -> Sequence[str]:
        """The codes right below one."""
        return await self._system.children(code)

    async def lets_through(self, code: str, filters: Sequence[Filter]) -> bool:
        """Whether all filters let a code through."""
        own, added = self._split(filters)
        if not await self._system.lets_through(code, own):
            return False
        concept = await self.locate(code) if added else None
        return not added or (concept is not None and all(holds(each, concept, _FLAT) for each in added))

    async def select(self, selection: Selection) -> Selected:
        """The concepts that are wanted; those that only a supplement's name makes match come last."""
        own, added = self._split(selection.filters)
        if added:
            return await self._compare(selection, own, added)
        found = await self._system.select(selection)
        if found.total is None:  # what only a supplement's name makes match comes after more than are counted
            return Selected([await self._supplemented(each) for each in found.concepts], None)
        more = await self._matched_by_supplements(selection) if selection.text else []
        room = None if selection.limit is None else selection.limit - len(found.concepts)
        after = max(selection.offset - found.total, 0)
        extra = more[after : None if room is None else after + room]
        concepts = [await self._supplemented(each) for each in found.concepts]
        return Selected([*concepts, *extra], found.total + len(more))

    @property
    def hierarchy(self) -> Hierarchy | None:
        """What lies below what, where the code system lies in memory."""
        return getattr(self._system, "hierarchy", None)

    def _split(self, filters: Sequence[Filter]) -> tuple[Sequence[Filter], Sequence[Filter]]:
        """The filters that the code system understands, and those on what supplements add."""
        return (
            [each for each in filters if each.property not in self._added],
            [each for each in filters if each.property in self._added],
        )

    async def _compare(
        self, selection: Selection, own: Sequence[Filter], added: Sequence[Filter]
    ) -> Selected:
        """Look at each concept that may satisfy filters on what supplements add."""
        if all(each.operator in _ABSENT for each in added):
            found = await self.select(replace(selection, filters=own, offset=0, limit=MAX_COMPARED + 1))
            candidates = found.concepts
        else:
            told = [each for each in await self._told() if await self._system.lets_through(each.code, own)]
            words = words_of(selection.text or "")[:MAX_WORDS]
            candidates = [
                each
                for each in told
                if matches(words, terms_of(each)) and not (selection.active_only and each.inactive)
            ]
        if len(candidates) > MAX_COMPARED:
            raise TooCostly(f"A filter on a property of a supplement looks at up to {MAX_COMPARED} concepts.")
        wanted = [each for each in candidates if all(holds(asked, each, _FLAT) for asked in added)]
        end = None if selection.limit is None else selection.offset + selection.limit
        return Selected(wanted[selection.offset : end], len(wanted))

    async def _told(self) -> Sequence[Concept]:
        """The concepts of which supplements say more."""
        codes: dict[str, None] = {}
        for each in self.supplements:
            codes |= {concept.code: None for concept in (await each.select(Selection())).concepts}
        return list((await self.locate_all(list(codes))).values())

    async def _matched_by_supplements(self, selection: Selection) -> Sequence[Concept]:
        """The concepts whose words a text filter finds only with the names that supplements add."""
        words = words_of(selection.text or "")[:MAX_WORDS]
        found = []
        for concept in await self._told():
            if (selection.active_only and concept.inactive) or not matches(words, terms_of(concept)):
                continue
            bare = await self._system.locate(concept.code)
            if bare is not None and matches(words, terms_of(bare)):
                continue
            if await self._system.lets_through(concept.code, selection.filters):
                found.append(concept)
        return found

    async def _supplemented(self, concept: Concept) -> Concept:
        for each in self.supplements:
            if (more := await each.locate(concept.code)) is not None:
                concept = merge(concept, more, each.header.language)
        return concept


_FLAT = Hierarchy()


def merge(concept: Concept, more: Concept, language: str | None) -> Concept:
    """A concept with what a supplement says of it; its display is one more name, in its language."""
    names = [*more.designations]
    if more.display and more.display != concept.display:
        names.insert(0, Designation(more.display, language))
    urls = {each.get("url") for each in more.extensions}
    return replace(
        concept,
        definition=concept.definition or more.definition,
        designations=(*concept.designations, *names),
        properties=(*concept.properties, *more.properties),
        extensions=(*(each for each in concept.extensions if each.get("url") not in urls), *more.extensions),
        inactive=concept.inactive or more.inactive,
        status=more.status or concept.status,
    )
