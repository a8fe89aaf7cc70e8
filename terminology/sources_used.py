"""What an expansion is made from, and what is told of that (HL7 terminology ecosystem, `used-…`)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from terminology.canonical import Canonical
from terminology.code_system import Header
from terminology.imports import Composed, find_imports
from terminology.library import Library
from terminology.opened import OpenedSystems
from terminology.supplements import open_supplements
from terminology.value_set import ValueSet
from terminology.versions import DEFAULT_VALUE_SET_VERSION, VersionRules

Json = Any

_UNCLOSED = "http://hl7.org/fhir/StructureDefinition/valueset-unclosed"
_TOO_COSTLY = "http://hl7.org/fhir/StructureDefinition/valueset-toocostly"
_UNCLOSED_REASON = "http://hl7.org/fhir/StructureDefinition/valueset-unclosed-reason"


@dataclass(frozen=True, slots=True)
class Sources:
    """A value set with its imports, and the code systems of its includes."""

    root: Composed
    systems: OpenedSystems
    rules: VersionRules

    def used(self, *, merged: bool) -> Iterator[Json]:
        """What has been used, and which rules chose the versions, as ValueSet.expansion.parameter.

        `merged`: versions of a code system have been taken for the same.
        """
        for name, canonical in self.systems.rules_used:
            yield _parameter(name, canonical)
        named = dict.fromkeys(each for one in self._all() for each in one.imports if each.version is None)
        for each in named:
            if version := self.rules.defaults.get(each.url):
                yield _parameter(DEFAULT_VALUE_SET_VERSION, Canonical(each.url, version))
        for used in self.systems.used:
            yield _parameter("used-codesystem", used.edition.canonical)
        for canonical in self.systems.fragments_used:
            yield _parameter("used-fragment", canonical)
        for canonical in self.systems.supplements_used:
            yield _parameter("used-supplement", canonical)
        for one in self.root.all_imports():
            if one.named:
                yield _parameter("used-valueset", one.value_set.canonical)
        if merged:
            yield {"name": "versionsMatch", "valueBoolean": True}

    def warnings(self) -> Iterator[Json]:
        """What is to be said of the status of what has been used, as ValueSet.expansion.parameter."""
        own = self.root.value_set
        for one in self._all():
            if one.named and (warning := _warning(one.value_set, own)):
                yield _parameter(warning, one.value_set.canonical)
        for used in self.systems.used:
            if warning := _warning(used.header, own):
                yield _parameter(warning, used.edition.canonical)

    def reservations(self, *, too_many: bool) -> Iterator[Json]:
        """That there are more codes than are here, or are told, as extensions of ValueSet.expansion."""
        for canonical in self.systems.fragments_used:
            yield {"url": _UNCLOSED, "valueBoolean": True}
            yield {
                "url": _UNCLOSED_REASON,
                "valueString": f"This extension is based on a fragment of the code system {canonical.url}",
            }
        if too_many:
            yield {"url": _TOO_COSTLY, "valueBoolean": True}

    def _all(self) -> Iterator[Composed]:
        yield self.root
        yield from self.root.all_imports()


async def find_sources(
    value_set: ValueSet, library: Library, rules: VersionRules, supplements: Iterable[Canonical]
) -> Sources:
    """What the value set is made from; `supplements`: those that the request asks for.

    Raises:
        NotKnown: a value set or a supplement is not here.
        CircularImport, TooCostly: the imports.
    """
    root = await find_imports(value_set, library, rules, expanding=True)
    asked = [each for one in (root, *root.all_imports()) for each in one.value_set.supplements]
    opened = await open_supplements(library, [*asked, *supplements])
    return Sources(root, OpenedSystems(library, rules, opened), rules)


def _parameter(name: str, canonical: Canonical) -> Json:
    return {"name": name, "valueUri": str(canonical)}


def _warning(used: ValueSet | Header, own: ValueSet) -> str | None:
    """The warning about a definition: a draft may use drafts, what is experimental the experimental."""
    if used.standards_status in ("deprecated", "withdrawn"):
        return f"warning-{used.standards_status}"
    if used.status == "retired":
        return "warning-retired"
    if used.experimental and not own.experimental:
        return "warning-experimental"
    if "draft" in (used.status, used.standards_status) and "draft" not in (own.status, own.standards_status):
        return "warning-draft"
    return None
