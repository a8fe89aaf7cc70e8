"""The code systems of one request: which version each include means, opened once, with supplements.

What was used is remembered: an answer tells it (HL7 terminology ecosystem, `used-codesystem` and its like).
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from terminology.canonical import Canonical
from terminology.code_system import CodeSystem, Content, Header
from terminology.issues import NotKnown, VersionConflict
from terminology.library import Edition, Library
from terminology.messages import EXPANDED, IDS_IN_EXPANSIONS
from terminology.supplements import SupplementedCodeSystem, apply_supplements
from terminology.versions import (
    CHECK_SYSTEM_VERSION,
    FORCE_SYSTEM_VERSION,
    SYSTEM_VERSION,
    VersionRules,
    choose,
    code_systems,
    unknown_code_system,
)

Json = Any


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A version of a code system, ready to be asked."""

    edition: Edition
    system: CodeSystem

    @property
    def header(self) -> Header:
        """What is said of it as a whole."""
        return self.system.header


class OpenedSystems:
    """The code systems that a request uses."""

    def __init__(self, library: Library, rules: VersionRules, supplements: Sequence[CodeSystem] = ()) -> None:
        self._library, self._rules, self._supplements = library, rules, supplements
        self._by_stated: dict[Canonical, Opened] = {}
        self._by_edition: dict[Canonical, Opened] = {}
        self.rules_used: dict[tuple[str, Canonical], None] = {}  # the parameters that chose versions

    @property
    def used(self) -> Sequence[Opened]:
        """Those that have been opened."""
        return list(self._by_edition.values())

    @property
    def supplements_used(self) -> Sequence[Canonical]:
        """The supplements that say more of one of them."""
        return list(
            dict.fromkeys(
                supplement.header.canonical
                for each in self.used
                if isinstance(each.system, SupplementedCodeSystem)
                for supplement in each.system.supplements
            )
        )

    @property
    def fragments_used(self) -> Sequence[Canonical]:
        """Those of which only a part is here."""
        return [each.edition.canonical for each in self.used if each.header.content is Content.FRAGMENT]

    @property
    def systems_with_versions(self) -> Collection[str]:
        """Those whose codes are told with a version: more than one was asked for, or none beside one."""
        asked = Counter(each.url for each in self._by_stated)
        return {url for url, count in asked.items() if count > 1}

    async def open(self, system: str, version: str | None) -> Opened:
        """The code system that an include means.

        Raises:
            NotKnown: it is not here, or not in this version.
            VersionConflict: `check-system-version` forbids the version.
        """
        stated = Canonical(system, version)
        if (known := self._by_stated.get(stated)) is None:
            known = self._by_stated[stated] = await self._open(stated)
        return known

    async def _open(self, stated: Canonical) -> Opened:
        editions = await code_systems(self._library, stated.url)
        wanted = self._rules.wanted(stated.url, stated.version)
        edition = choose(editions, wanted)
        if edition is None:
            unknown = unknown_code_system(editions, Canonical(stated.url, wanted), EXPANDED)
            raise NotKnown.of(replace(unknown, message_id=IDS_IN_EXPANSIONS.get(unknown.message_id or "")))
        if (objection := self._rules.objection(edition)) is not None:
            raise VersionConflict.of(objection)
        self._note_rule(stated)
        if edition.canonical not in self._by_edition:
            system = apply_supplements(await edition.open(), self._supplements)
            self._by_edition[edition.canonical] = Opened(edition, system)
        return self._by_edition[edition.canonical]

    def _note_rule(self, stated: Canonical) -> None:
        """Remember the parameter that has chosen the version."""
        url, rules = stated.url, self._rules
        if version := rules.forced.get(url):
            self.rules_used[FORCE_SYSTEM_VERSION, Canonical(url, version)] = None
        elif stated.version is None and (version := rules.defaults.get(url)):
            self.rules_used[SYSTEM_VERSION, Canonical(url, version)] = None
        elif stated.version is None and (version := rules.checks.get(url)):
            self.rules_used[CHECK_SYSTEM_VERSION, Canonical(url, version)] = None
