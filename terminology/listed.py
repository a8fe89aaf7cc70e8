"""A code system whose concepts lie in memory, read from a CodeSystem resource (FHIR R4 codesystem.html).

Concepts keep the order of the resource. What lies below what is said by nesting, and by the properties
`parent` and `child`. A concept becomes a `Concept` when it is asked for.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from terminology.canonical import parse_canonical
from terminology.code_system import (
    Content,
    Filter,
    FilterOperator,
    Header,
    PropertyDefinition,
    Selected,
    Selection,
)
from terminology.concept import INACTIVE_STATUSES, STANDARDS_STATUS, Concept, Designation, Property
from terminology.filters import codes_above_or_below, holds, with_codes
from terminology.hierarchy import Hierarchy
from terminology.issues import InvalidDefinition
from terminology.text import MAX_WORDS, begin_words, indexed, words_of

Json = Any

_AT_ONCE = 500  # concepts held against filters, some 10 ms
_PATTERNS_AT_ONCE = 20  # where one is a regular expression
CONCEPT_PROPERTIES = "http://hl7.org/fhir/concept-properties#"


class ListedCodeSystem:
    """A `CodeSystem` in memory.

    Raises:
        InvalidDefinition: two concepts have the same code.
    """

    def __init__(self, resource: Json) -> None:
        self.header = read_header(resource)
        self._meanings = meanings_of(self.header)
        self.hierarchy = read_hierarchy(resource, self.header)
        self._indexes: dict[str, str] = {}  # by code, as far as they have been asked for

    async def locate(self, code: str) -> Concept | None:
        """The concept of a code."""
        entry = self.hierarchy.find(code)
        return None if entry is None else self._concept(entry)

    async def locate_all(self, codes: Sequence[str]) -> Mapping[str, Concept]:
        """The concepts of those codes that there are."""
        found = ((code, self.hierarchy.find(code)) for code in codes)
        return {code: self._concept(entry) for code, entry in found if entry is not None}

    async def subsumes(self, ancestor: str, descendant: str) -> bool:
        """Whether the first is the second, or above it."""
        above, below = self.hierarchy.written(ancestor), self.hierarchy.written(descendant)
        return above == below or above in self.hierarchy.above(below)

    async def parents(self, code: str) -> Sequence[str]:
        """The codes right above one."""
        return tuple(self.hierarchy.parents.get(self.hierarchy.written(code), ()))

    async def children(self, code: str | None) -> Sequence[str]:
        """The codes right below one; None: those with none above them."""
        if code is None:
            return [each for each in self.hierarchy.entries if not self.hierarchy.parents.get(each)]
        return tuple(self.hierarchy.children.get(self.hierarchy.written(code), ()))

    async def lets_through(self, code: str, filters: Sequence[Filter]) -> bool:
        """Whether all filters let a code through."""
        entry = self.hierarchy.find(code)
        return entry is not None and all(
            holds(each, self._concept(entry), self.hierarchy) for each in self._written(filters)
        )

    async def select(self, selection: Selection) -> Selected:
        """The concepts that are wanted."""
        codes, filters = self._narrowed(self._written(selection.filters))
        if words := words_of(selection.text or "")[:MAX_WORDS]:
            codes = await self._with_words(words, codes)
        end = None if selection.limit is None else selection.offset + selection.limit
        if not filters and not selection.active_only:
            return Selected([self._of(code) for code in codes[selection.offset : end]], len(codes))
        asked = replace(selection, filters=filters)
        found = []
        has_pattern = any(each.operator is FilterOperator.REGEX for each in filters)
        at_once = _PATTERNS_AT_ONCE if has_pattern else _AT_ONCE
        for at, code in enumerate(codes):
            if at % at_once == 0:
                await asyncio.sleep(0)  # others have their turn
            if self._is_wanted(concept := self._of(code), asked):
                found.append(concept)
        return Selected(found[selection.offset : end], len(found))

    def index_of(self, code: str) -> str:
        """The words of a concept, as `text.begin_words` looks through them; none: there is none."""
        entry = self.hierarchy.find(code)
        return "" if entry is None else self._index(entry["code"])

    async def _with_words(self, words: Sequence[str], codes: Sequence[str]) -> Sequence[str]:
        """Those of the codes whose concepts have all words."""
        found: list[str] = []
        for at in range(0, len(codes), _AT_ONCE):
            if at:
                await asyncio.sleep(0)
            found += [code for code in codes[at : at + _AT_ONCE] if begin_words(words, self._index(code))]
        return found

    def _index(self, code: str) -> str:
        """The words of a concept, cut out once."""
        known = self._indexes.get(code)
        if known is None:
            known = self._indexes[code] = indexed(_terms(self.hierarchy.entries[code]))
        return known

    def _written(self, filters: Sequence[Filter]) -> Sequence[Filter]:
        """Filters with the codes that they name as the code system writes them."""
        if self.hierarchy.folded is None:
            return filters
        return [with_codes(each, self.hierarchy.written) for each in filters]

    def _narrowed(self, filters: Sequence[Filter]) -> tuple[Sequence[str], Sequence[Filter]]:
        """The codes that the filters over the hierarchy let through, in order, and the other filters."""
        codes, others = list(self.hierarchy.entries), []
        for each in filters:
            if (found := codes_above_or_below(each, self.hierarchy)) is None:
                others.append(each)
            else:
                codes = [code for code in codes if code in found]
        return codes, others

    def _is_wanted(self, concept: Concept, asked: Selection) -> bool:
        if asked.active_only and concept.inactive:
            return False
        return all(holds(each, concept, self.hierarchy) for each in asked.filters)

    def _of(self, code: str) -> Concept:
        return self._concept(self.hierarchy.entries[code])

    def _concept(self, entry: Json) -> Concept:
        return read_concept(entry, self.header, self._meanings)


def terms_of(concept: Concept) -> Iterator[str]:
    """What a text filter looks at."""
    yield concept.code
    if concept.display:
        yield concept.display
    yield from (each.value for each in concept.designations)


def _terms(entry: Json) -> Iterator[str]:
    """What a text filter looks at, of a concept that nobody has read yet."""
    yield entry["code"]
    if display := entry.get("display"):
        yield display
    yield from (each.get("value", "") for each in entry.get("designation", ()))


def read_hierarchy(resource: Json, header: Header) -> Hierarchy:
    """The concepts of a CodeSystem.

    Raises:
        InvalidDefinition: two of them have the same code.
    """
    hierarchy = Hierarchy(folded=None if header.case_sensitive else {})
    parent_names = {"parent", *_codes_of(header, "parent")}
    child_names = {"child", *_codes_of(header, "child")}
    links: list[tuple[str, str]] = []
    waiting: list[tuple[str | None, Json]] = [(None, each) for each in reversed(resource.get("concept", ()))]
    while waiting:
        parent, entry = waiting.pop()
        code = entry["code"]
        if code in hierarchy.entries:
            raise InvalidDefinition(f"The code system '{header.url}' has the code '{code}' twice.")
        hierarchy.entries[code] = entry
        if hierarchy.folded is not None:
            hierarchy.folded[code.casefold()] = code
        if parent is not None:
            links.append((parent, code))
        for each in entry.get("property", ()):
            if each.get("code") in parent_names:
                links.append((str(each.get("valueCode")), code))
            elif each.get("code") in child_names:
                links.append((code, str(each.get("valueCode"))))
        waiting += [(code, child) for child in reversed(entry.get("concept", ()))]
    for parent, child in links:  # all codes are known by now
        hierarchy.link(hierarchy.written(parent), hierarchy.written(child))
    return hierarchy


def _codes_of(header: Header, name: str) -> Iterator[str]:
    """The codes of the properties that mean one of FHIR's own (concept-properties)."""
    return (code for code, each in header.properties.items() if each.uri == CONCEPT_PROPERTIES + name)


def read_header(resource: Json) -> Header:
    """What a CodeSystem says of itself."""
    supplements = resource.get("supplements")
    return Header(
        url=resource.get("url", ""),
        version=resource.get("version"),
        name=resource.get("name"),
        title=resource.get("title"),
        status=resource.get("status"),
        standards_status=extension_text(resource, STANDARDS_STATUS),
        experimental=resource.get("experimental", False),
        language=resource.get("language"),
        content=Content(resource.get("content", "complete")),
        case_sensitive=resource.get("caseSensitive", True),
        compositional=resource.get("compositional", False),
        version_needed=resource.get("versionNeeded", False),
        hierarchy_meaning=resource.get("hierarchyMeaning"),
        supplements=parse_canonical(supplements) if supplements else None,
        value_set=resource.get("valueSet"),
        properties={
            each["code"]: PropertyDefinition(each["code"], each.get("uri"), each.get("type", "string"))
            for each in resource.get("property", ())
        },
        extensions=tuple(resource.get("extension", ())),
    )


def extension_value(element: Json, url: str) -> Any:
    """The value of an extension; None: there is none."""
    for each in element.get("extension", ()):
        if each.get("url") == url:
            return next((value for name, value in each.items() if name.startswith("value")), None)
    return None


def extension_text(element: Json, url: str) -> str | None:
    """The value of an extension whose value is text; None: there is none."""
    value = extension_value(element, url)
    return value if isinstance(value, str) else None


@dataclass(frozen=True)
class Meanings:
    """The codes of the properties that mean some of FHIR's own (concept-properties)."""

    status: frozenset[str]
    inactive: frozenset[str]
    abstract: Sequence[frozenset[str]]  # any of them says so

    @cached_property
    def all(self) -> frozenset[str]:
        """All of these codes."""
        return self.status.union(self.inactive, *self.abstract)


def meanings_of(header: Header) -> Meanings:
    """Known by their URI, or else by their code."""

    def codes(name: str) -> frozenset[str]:
        return frozenset(_codes_of(header, name)) or frozenset({name})

    # R4's referencerange-meaning and questionnaire-item-control call it `abstract`.
    return Meanings(codes("status"), codes("inactive"), (codes("notSelectable"), codes("abstract")))


def read_concept(entry: Json, header: Header, meanings: Meanings | None = None) -> Concept:
    """One entry of CodeSystem.concept; `meanings` are those of the header, for whoever reads many."""
    meant = meanings or meanings_of(header)
    properties = tuple(properties_of(entry))
    telling = [each for each in properties if each.code in meant.all]
    status = _said(telling, meant.status)
    if not status and "extension" in entry:
        status = extension_text(entry, STANDARDS_STATUS)
    inactive = _said(telling, meant.inactive) in ("true", True) or status in INACTIVE_STATUSES
    return Concept(
        code=entry["code"],
        display=entry.get("display"),
        definition=entry.get("definition"),
        designations=tuple([read_designation(each) for each in entry.get("designation", ())]),
        properties=properties,
        abstract=bool(telling) and any(_said(telling, codes) == "true" for codes in meant.abstract),
        inactive=inactive,
        status=status,
        extensions=tuple(entry.get("extension", ())),
    )


def read_designation(entry: Json) -> Designation:
    """One entry of CodeSystem.concept.designation, or ValueSet's."""
    return Designation(
        entry.get("value", ""), entry.get("language"), entry.get("use"), tuple(entry.get("extension", ()))
    )


def properties_of(entry: Json) -> Sequence[Property]:
    """The entries of CodeSystem.concept.property."""
    return [
        Property(each.get("code", ""), _kind_of(name), value)
        for each in entry.get("property", ())
        for name, value in each.items()
        if name[:5] == "value" and name != "value"
    ]


@lru_cache(64)
def _kind_of(name: str) -> str:
    """The type behind `value[x]`."""
    kind = name.removeprefix("value")
    return kind if kind == "Coding" else kind[0].lower() + kind[1:]


def _said(properties: Sequence[Property], codes: frozenset[str]) -> str | None:
    """The value of the first property with one of these codes."""
    for each in properties:
        if each.code in codes:
            return each.text
    return None
