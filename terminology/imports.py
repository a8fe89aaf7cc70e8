"""Value sets with all that they import, one within another (FHIR R4 valueset.html, compose.include.valueSet).

Everything is found before anything is expanded, so a value set that imports itself is refused whatever its
codes are, and later work knows that it ends.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from terminology.canonical import Canonical
from terminology.issues import InvalidDefinition, NotKnown, TooCostly
from terminology.library import Library
from terminology.messages import UNKNOWN_IMPORT, UNKNOWN_PINNED_IMPORT, UNKNOWN_VALUE_SET, Message
from terminology.value_set import Include, ValueSet, parse_value_set
from terminology.versions import VersionRules, find_value_set

Json = Any

MAX_IMPORTS = 200  # value sets that one imports, directly and through others
MAX_DEPTH = 20  # value sets within one another


class CircularImport(InvalidDefinition):
    """A value set that imports itself, perhaps through others."""

    code = "processing"


@dataclass(frozen=True, slots=True, eq=False)
class Composed:
    """A value set and those that it imports, by the canonical with which it names them."""

    value_set: ValueSet
    imports: Mapping[Canonical, "Composed"] = field(default_factory=dict)
    named: bool = True  # it has been found by its URL; otherwise it came with the one that names it

    @property
    def includes(self) -> Sequence[Include]:
        """Its includes and excludes."""
        return (*self.value_set.include, *self.value_set.exclude)

    def all_imports(self) -> Iterator["Composed"]:
        """All that it imports, directly and through others, each once."""
        seen: set[int] = set()
        waiting = list(self.imports.values())
        while waiting:
            each = waiting.pop()
            if id(each) not in seen:
                seen.add(id(each))
                yield each
                waiting += each.imports.values()


async def find_imports(
    value_set: ValueSet, library: Library, rules: VersionRules, *, expanding: bool = False
) -> Composed:
    """The value set with all that it imports; `expanding`: what is not known is said as expansions say it.

    Raises:
        NotKnown: one of them is not here.
        CircularImport: one imports itself.
        TooCostly: there are too many.
    """
    if not any(each.value_sets for each in (*value_set.include, *value_set.exclude)):
        return Composed(value_set)
    return await _Finder(library, rules, expanding).find(value_set, _Place(value_set))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an import is named: in this value set (whose contained ones may be meant), within those."""

    owner: ValueSet
    within: tuple[Canonical | int, ...] = ()
    named: bool = True

    def key(self, value_set: ValueSet) -> Canonical | int:
        """What tells a value set from others."""
        return value_set.canonical if self.named and value_set.url else id(value_set.resource)


class _Finder:
    def __init__(self, library: Library, rules: VersionRules, expanding: bool) -> None:
        self._library, self._rules, self._expanding = library, rules, expanding
        self._found: dict[Canonical | int, Composed] = {}

    async def find(self, value_set: ValueSet, place: _Place) -> Composed:
        key = place.key(value_set)
        if key in place.within:
            raise CircularImport(f"The value set '{value_set.canonical}' imports itself.")
        if (known := self._found.get(key)) is not None:
            return known
        if len(self._found) >= MAX_IMPORTS or len(place.within) >= MAX_DEPTH:
            raise TooCostly(
                f"A value set imports up to {MAX_IMPORTS} others, up to {MAX_DEPTH} within one another."
            )
        imports: dict[Canonical, Composed] = {}
        within = (*place.within, key)
        for wanted in dict.fromkeys(
            each for include in (*value_set.include, *value_set.exclude) for each in include.value_sets
        ):
            imports[wanted] = await self._import(wanted, place.owner, within)
        self._found[key] = Composed(value_set, imports, place.named)
        return self._found[key]

    async def _import(
        self, wanted: Canonical, owner: ValueSet, within: tuple[Canonical | int, ...]
    ) -> Composed:
        if wanted.url.startswith("#"):
            if (contained := owner.contained.get(wanted.url[1:])) is None:
                raise NotKnown.of(UNKNOWN_VALUE_SET.issue(value_set=str(wanted)))
            return await self.find(parse_value_set(contained), _Place(owner, within, named=False))
        edition = await find_value_set(self._library, self._rules, wanted)
        if edition is None:
            version = self._rules.wanted(wanted.url, wanted.version)
            raise NotKnown.of(
                self._unknown(wanted, version).issue(value_set=f"{Canonical(wanted.url, version)}")
            )
        value_set = parse_value_set(await edition.open())
        return await self.find(value_set, _Place(value_set, within))

    def _unknown(self, wanted: Canonical, version: str | None) -> Message:
        if not self._expanding:
            return UNKNOWN_VALUE_SET
        return UNKNOWN_IMPORT if version == wanted.version else UNKNOWN_PINNED_IMPORT
