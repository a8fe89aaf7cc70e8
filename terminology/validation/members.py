"""Whether a coding belongs to a value set, told without expanding it (FHIR R4 valueset.html#compositions).

A code belongs to it where an include says so and no exclude does. An include says so where all of its parts
do: the code system in the version that is meant, its concepts or filters, and each value set it imports.
Where a code system is not here, codes are told only by enumeration, and only when nothing else is asked.
"""

from collections.abc import Awaitable, Sequence
from typing import Any

from terminology.canonical import Canonical, accepts, order_of
from terminology.effort import Effort
from terminology.imports import Composed
from terminology.included import cost_of_asking, read_entry
from terminology.library import Edition
from terminology.messages import VALIDATED
from terminology.validation.coded import Coding
from terminology.validation.coding_version import Agreed, agree_on_version
from terminology.validation.concepts import (
    Options,
    comment_on_code_system,
    comment_on_member,
    comment_on_value_set,
    may_be_used,
    say_unknown_code,
)
from terminology.validation.definitions import Definitions
from terminology.validation.displays import is_display_of
from terminology.validation.findings import Findings
from terminology.validation.located import Found, Located
from terminology.value_set import Include, NamedConcept, ValueSet
from terminology.versions import unknown_code_system

Json = Any

_COST_OF_ASKING = 20  # steps, that looking for a code in the code system of an include counts for
QUIET = Options(membership_only=True)


class MembershipCheck:
    """Asks of the codings of one request whether they belong to value sets; the findings say why not."""

    def __init__(
        self, definitions: Definitions, options: Options, findings: Findings, effort: Effort
    ) -> None:
        self.definitions = definitions
        self.options = options
        self.findings = findings
        self._answers: dict[tuple[int, Coding], tuple[bool | None, Found, Findings]] = {}
        self._quietly: MembershipCheck | None = None
        self._effort = effort

    async def is_member(self, composed: Composed, located: Located) -> bool | None:
        """Whether a coding belongs to a value set; None: that cannot be told. Asked once of each."""
        question = (id(composed), located.coding)
        if (known := self._answers.get(question)) is None:
            answer, said = await self._apart(self._find(composed, located))
            known = self._answers[question] = answer, located.found, said
        located.found = known[1]
        self.findings.merge(known[2])
        return known[0]

    async def _apart(self, asked: Awaitable[bool | None]) -> tuple[bool | None, Findings]:
        """An answer, and what was said on the way to it."""
        outer, self.findings = self.findings, Findings()
        try:
            return await asked, self.findings
        finally:
            self.findings = outer

    async def _find(self, composed: Composed, located: Located) -> bool | None:
        value_set = composed.value_set
        if not value_set.composed:
            return await self._is_in_expansion(value_set, located)
        picked = await self._pick_version(value_set, located.coding)
        answer: bool | None = False
        failed: list[Findings] = []  # what keeps a code out of one include is no matter where another has it
        for include in _newest_first(value_set.include):
            if picked is not None and include.system == located.coding.system and include.version != picked:
                continue
            found, said = await self._apart(self._is_included(composed, include, located))
            if found:
                self.findings.merge(said)
                usable = may_be_used(located, value_set, self.options, self.findings)
                return usable and await self._is_kept(composed, located)
            answer = None if found is None else answer
            failed.append(said)
        for each in failed:
            self.findings.merge(each)
        return answer

    async def _is_included(self, composed: Composed, include: Include, located: Located) -> bool | None:
        value_set = composed.value_set
        await self._effort.take()
        if include.system is not None:
            if include.system != located.coding.system or not _is_of_version(
                value_set, include, located.coding
            ):
                return False
            found = await self._is_in_system(value_set, include, located)
            if not found:
                return found
        for canonical in include.value_sets:
            other = composed.imports[canonical]
            comment_on_value_set(other.value_set, value_set, self.findings)
            found = await self.is_member(other, located)
            if not found:
                return found
        return True

    async def _is_in_system(self, value_set: ValueSet, include: Include, located: Located) -> bool | None:
        await self._effort.take(_COST_OF_ASKING)
        editions = await self.definitions.editions(include.system or "")
        agreed = agree_on_version(include, located.coding, editions, self.definitions.rules, self.findings)
        if agreed.edition is None:
            return self._is_named(include, located, agreed, editions)
        objection = self.definitions.rules.objection(agreed.edition, located.coding.at("version"))
        if objection is not None:
            self.findings.add(objection)
        system = await self.definitions.code_system(agreed.edition)
        comment_on_code_system(system.header, value_set, self.findings)
        concept = await located.locate(system)
        if concept is None:
            return self._is_let_pass(include, located)
        located.named = _named(include, located.coding.code, concept.code)
        if located.named is None and not system.header.case_sensitive:
            located.named = _named_in_any_case(include, concept.code)
        if include.concepts and located.named is None:
            return False
        if include.filters:
            await self._effort.take(cost_of_asking(system, include.filters))
            if not await self._effort.timed(system.lets_through(concept.code, include.filters)):
                return False
        if not self.options.membership_only and may_be_used(located, value_set, self.options, self.findings):
            comment_on_member(located, value_set, self.findings)
        return True

    def _is_named(
        self, include: Include, located: Located, agreed: Agreed, editions: Sequence[Edition]
    ) -> bool | None:
        """Without the code system: only enumeration tells, and only what belongs to the value set."""
        if self.options.membership_only:
            if include.concepts:
                located.named = include.concepts.get(located.coding.code or "")
                return located.named is not None
            return None
        say_unknown_system(self.findings, editions, located.coding, agreed.wanted)
        return None

    def _is_let_pass(self, include: Include, located: Located) -> bool:
        """Where the code system has no such code: a fragment may lack it."""
        located.named = _named(include, located.coding.code)
        if include.filters or (include.concepts and located.named is None):
            return False
        if self.options.membership_only:
            return located.is_fragment
        return not say_unknown_code(located, self.findings)

    async def _is_kept(self, composed: Composed, located: Located) -> bool | None:
        """Whether no exclude says that a code does not belong, whatever its state and its version."""
        coding = located.coding
        for exclude in composed.value_set.exclude:
            anywhere = Located(Coding(coding.system, coding.code))
            excluded = await self._quiet()._is_included(composed, exclude, anywhere)
            if excluded is None and not self.options.membership_only:
                editions = await self.definitions.editions(coding.system or "")
                say_unknown_system(self.findings, editions, coding, exclude.version)
            if excluded is not False:
                return False if excluded else None
        return True

    def _quiet(self) -> "MembershipCheck":
        """A check of the same definitions of which nobody hears, and that takes any code."""
        if self._quietly is None:
            self._quietly = MembershipCheck(self.definitions, QUIET, Findings(), self._effort)
            self._quietly._quietly = self._quietly
        return self._quietly

    async def _is_in_expansion(self, value_set: ValueSet, located: Located) -> bool:
        """A value set of which only an expansion is known has the codes of that expansion."""
        coding = located.coding
        entries = value_set.expanded.get((coding.system, coding.code or ""), ())
        entry = next((each for each in entries if _is_of_this_version(each, coding)), None)
        if entry is None:
            return False
        edition = await self.definitions.edition(coding.system or "", entry.get("version") or coding.version)
        if edition is not None:
            system = await self.definitions.code_system(edition)
            comment_on_code_system(system.header, value_set, self.findings)
            await located.locate(system)
        located.named = NamedConcept(coding.code or "", entry.get("display"))
        return may_be_used(located, value_set, self.options, self.findings, read_entry(entry))

    async def _pick_version(self, value_set: ValueSet, coding: Coding) -> str | None:
        """Which of the versions that a value set includes is meant where the coding does not say.

        None: all of them. Otherwise the newest in which the code is, with this display if it has one; where
        it is in none of them, the newest.
        """
        versions = {each.version for each in value_set.include if each.system == coding.system}
        named = sorted((each for each in versions if each), key=order_of, reverse=True)
        if coding.version is not None or len(named) < 2:
            return None
        fitting = [each for each in named if await self._fits(coding, each)]
        if len(fitting) == len(named):
            return None
        return (fitting or named)[0]

    async def _fits(self, coding: Coding, version: str) -> bool:
        edition = await self.definitions.edition(coding.system or "", version)
        if edition is None:
            return False
        system = await self.definitions.code_system(edition)
        concept = await system.locate(coding.code or "")
        return concept is not None and (
            coding.display is None or is_display_of(system, concept, coding.display)
        )

    async def has(self, composed: Composed, coding: Coding, system: str) -> bool | None:
        """Whether a value set has a code of this system (`inferSystem`); None: that cannot be told."""
        return await self._quiet().is_member(composed, Located(Coding(system, coding.code)))


def systems_of(composed: Composed) -> Sequence[str]:
    """The code systems of which a value set may have codes, with those of what it imports."""
    found: dict[str, None] = {}
    for value_set in (composed.value_set, *(each.value_set for each in composed.all_imports())):
        found |= {each.system: None for each in value_set.include if each.system is not None}
        found |= {system: None for system, _ in value_set.expanded if system is not None}
    return list(found)


def say_unknown_system(
    findings: Findings, editions: Sequence[Edition], coding: Coding, wanted: str | None
) -> None:
    """That the code system of a coding is not known, or not in this version; `editions`: those that are."""
    canonical = Canonical(coding.system or "", wanted)
    issue = unknown_code_system(editions, canonical, VALIDATED, coding.at("system"))
    has_versions = any(each.version is not None for each in editions)
    findings.miss(issue, str(canonical) if has_versions else canonical.url)


def _newest_first(includes: Sequence[Include]) -> Sequence[Include]:
    """Of several versions of one code system the newest goes first; otherwise as written."""
    if len({each.system for each in includes}) == len(includes):
        return includes
    return sorted(includes, key=lambda each: order_of(each.version), reverse=True)


def _is_of_version(value_set: ValueSet, include: Include, coding: Coding) -> bool:
    """Whether an include is for the version of a coding: the one that names it, or each where none does."""
    if coding.version is None or include.version == coding.version:
        return True
    return not any(
        each.version == coding.version and each.system == coding.system for each in value_set.include
    )


def _named(include: Include, *codes: str | None) -> NamedConcept | None:
    """How an include names a concept, by one of the ways to write its code."""
    return next((include.concepts[code] for code in codes if code and code in include.concepts), None)


def _named_in_any_case(include: Include, code: str) -> NamedConcept | None:
    """How an include names a concept of a code system where case does not count."""
    folded = code.casefold()
    return next((include.concepts[name] for name in include.concepts if name.casefold() == folded), None)


def _is_of_this_version(entry: Json, coding: Coding) -> bool:
    """Whether what an expansion contains may be what a coding means."""
    version = entry.get("version")
    return not coding.version or not version or accepts(version, coding.version)
