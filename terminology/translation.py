"""Which mappings of a ConceptMap hold for codes (FHIR R4 conceptmap.html#unmapped, `dependsOn`)."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from terminology.canonical import Canonical, accepts
from terminology.coded import Coded
from terminology.concept_map import EQUIVALENCES, ConceptMap, Link, Mappings, Related
from terminology.issues import InvalidDefinition

Json = Any

MAX_MATCHES = 1_000  # that are told
MAX_OTHER_MAPS = 10  # one after the other, by `unmapped`

Named = Callable[[Canonical], Awaitable[ConceptMap]]  # the map of that URL; raises NotKnown


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be translated: codes on one side of a map; and what is wanted of the map."""

    codes: Sequence[Coded]
    reverse: bool = False  # the codes are those of the map's targets
    is_r5: bool = False  # asked and answered as FHIR R5 has it
    source_scope: str | None = None
    target_scope: str | None = None
    wanted_system: str | None = None  # of the codes that are found
    given: Sequence[Related] = ()  # values of other elements


@dataclass(frozen=True, slots=True)
class Match:
    """A translation: `concept` is a Coding, None: there is nothing like it. `source`: see `Translation`."""

    concept: Json
    equivalence: str
    origin: Canonical
    source: Json = None
    products: Sequence[Related] = ()
    advice: str | None = None


@dataclass(slots=True)
class Translation:
    """Gathers what maps say of codes.

    A reversed match tells what was found, and how that compares with what was given; as R5 has it, it tells
    the mapping as it stands, with its `source` beside.
    """

    asked: Asked
    named: Named
    matches: list[Match] = field(default_factory=list)
    depending: int = 0  # mappings passed over, since what they depend on was not given
    _led_to: set[tuple[Coded, Canonical]] = field(default_factory=set)  # maps that were asked by `unmapped`

    async def add(self, concept_map: ConceptMap, seen: tuple[Canonical, ...] = ()) -> None:
        """Add what a map says; `seen` are the maps that led to it.

        Raises:
            InvalidDefinition: maps lead to one another without end.
        """
        for coded in self.asked.codes:
            await self._add(concept_map, coded, seen)

    async def _add(self, concept_map: ConceptMap, coded: Coded, seen: tuple[Canonical, ...]) -> None:
        for group in concept_map.groups:
            if len(self.matches) > MAX_MATCHES or not _is_of_group(self.asked, group, coded):
                continue
            asked = group.links_to if self.asked.reverse else group.links_from
            there = await asked(coded.code)
            links = list(islice(there, MAX_MATCHES + 1 - len(self.matches)))
            holding = [link for link in links if _holds(link, self.asked.given)]
            self.depending += len(links) - len(holding)
            self.matches += [self._match(concept_map, group, link) for link in holding]
            if not links and not self.asked.reverse:
                await self._add_unmapped(concept_map, group, coded, seen)

    async def _add_unmapped(
        self, concept_map: ConceptMap, group: Mappings, coded: Coded, seen: tuple[Canonical, ...]
    ) -> None:
        unmapped = group.unmapped
        if unmapped is None:
            return
        if unmapped.other_map is not None:
            if unmapped.other_map in seen or len(seen) >= MAX_OTHER_MAPS:
                raise InvalidDefinition("The concept maps lead to one another without end.")
            if (
                coded,
                unmapped.other_map,
            ) not in self._led_to:  # whichever groups lead to it: it says it once
                self._led_to.add((coded, unmapped.other_map))
                other = await self.named(unmapped.other_map)
                await self._add(other, coded, (*seen, unmapped.other_map))
            return
        code = coded.code if unmapped.mode == "provided" else unmapped.code
        if code is not None:
            concept = coding_of(group.target, code, unmapped.display)
            self.matches.append(Match(concept, unmapped.equivalence, concept_map.canonical))

    def _match(self, concept_map: ConceptMap, group: Mappings, link: Link) -> Match:
        target = None if link.target is None else coding_of(group.target, link.target, link.target_display)
        match = Match(target, link.equivalence, concept_map.canonical, None, link.products, link.advice)
        if not self.asked.reverse:
            return match
        source = coding_of(group.source, link.source, link.source_display)
        if self.asked.is_r5:
            return replace(match, source=source)
        turned = EQUIVALENCES[link.equivalence][0]
        return Match(source, turned, concept_map.canonical, advice=link.advice)


def is_in_scope(asked: Asked, concept_map: ConceptMap) -> bool:
    """Whether a map is from and to the value sets that are wanted, and has the code systems."""
    systems = {coded.system for coded in asked.codes}
    return (
        asked.source_scope in (None, concept_map.source_scope)
        and asked.target_scope in (None, concept_map.target_scope)
        and any(side is not None and side.url in systems for side in _given_sides(asked, concept_map))
    )


def _given_sides(asked: Asked, concept_map: ConceptMap) -> Iterator[Canonical | None]:
    return (group.target if asked.reverse else group.source for group in concept_map.groups)


def _is_of_group(asked: Asked, group: Mappings, coded: Coded) -> bool:
    given, other = (group.target, group.source) if asked.reverse else (group.source, group.target)
    if given is None or given.url != coded.system:
        return False
    if given.version and coded.version and not accepts(coded.version, given.version):
        return False
    return asked.wanted_system is None or (other is not None and other.url == asked.wanted_system)


def _holds(link: Link, given: Sequence[Related]) -> bool:
    """Whether all that a mapping depends on is given."""
    return all(any(_is_same(each, value) for value in given) for each in link.depends_on)


def _is_same(wanted: Related, given: Related) -> bool:
    if (wanted.element, wanted.value) != (given.element, given.value):
        return False
    return wanted.system is None or given.system in (None, wanted.system)


def coding_of(system: Canonical | None, code: str, display: str | None) -> Json:
    """A Coding."""
    coding: dict[str, Json] = {}
    if system is not None:
        coding["system"] = system.url
        if system.version:
            coding["version"] = system.version
    coding["code"] = code
    if display:
        coding["display"] = display
    return coding
