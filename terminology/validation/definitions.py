"""The definitions that one request uses, each found and opened once."""

from collections.abc import Sequence

from terminology.canonical import Canonical
from terminology.code_system import CodeSystem
from terminology.imports import Composed, find_imports
from terminology.issues import NotKnown
from terminology.library import Edition, Kind, Library
from terminology.messages import UNKNOWN_VALUE_SET
from terminology.supplements import apply_supplements
from terminology.value_set import ValueSet, parse_value_set
from terminology.versions import NO_RULES, VersionRules, choose, code_systems, find_value_set


class Definitions:
    """A library as one request sees it: by its version rules, with the supplements it uses."""

    def __init__(
        self, library: Library, rules: VersionRules = NO_RULES, supplements: Sequence[CodeSystem] = ()
    ) -> None:
        self.library = library
        self.rules = rules
        self.supplements = supplements
        self._editions: dict[str, Sequence[Edition]] = {}
        self._systems: dict[Canonical, CodeSystem] = {}

    async def editions(self, system: str) -> Sequence[Edition]:
        """The versions of a code system whose codes can be told, the newest first."""
        if (known := self._editions.get(system)) is None:
            known = self._editions[system] = await code_systems(self.library, system)
        return known

    async def edition(self, system: str, version: str | None) -> Edition | None:
        """The code system that is meant where a version is stated, or none is; None: it is not known."""
        return choose(await self.editions(system), self.rules.wanted(system, version))

    async def code_system(self, edition: Edition) -> CodeSystem:
        """A code system, with the supplements."""
        if (known := self._systems.get(edition.canonical)) is None:
            opened: CodeSystem = await edition.open()
            known = apply_supplements(opened, self.supplements) if self.supplements else opened
            self._systems[edition.canonical] = known
        return known

    async def value_set(self, wanted: Canonical) -> ValueSet:
        """A value set.

        Raises:
            NotKnown: it is not here.
            InvalidFilter, InvalidDefinition: it makes no sense.
        """
        edition = await find_value_set(self.library, self.rules, wanted)
        if edition is None:
            version = self.rules.wanted(wanted.url, wanted.version)
            raise NotKnown.of(UNKNOWN_VALUE_SET.issue(value_set=str(Canonical(wanted.url, version))))
        return parse_value_set(await edition.open())

    async def composed(self, value_set: ValueSet) -> Composed:
        """A value set with all that it imports.

        Raises:
            NotKnown: one of them is not here.
            InvalidDefinition: one imports itself, or makes no sense.
            TooCostly: there are too many.
        """
        return await find_imports(value_set, self.library, self.rules)

    async def is_value_set(self, url: str) -> bool:
        """Whether a URL is that of a value set."""
        return bool(await self.library.editions(Kind.VALUE_SET, url))

    async def supplement(self, url: str) -> Edition | None:
        """The supplement of a URL; None: there is none."""
        editions = await self.library.editions(Kind.CODE_SYSTEM, url)
        return next((each for each in editions if each.supplements is not None), None)
