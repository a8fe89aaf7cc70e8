"""Which codes a ValueSet has, and which lie below one another (FHIR R4 valueset.html#expansion).

Pure: ValueSets and CodeSystems come as JSON. What else is needed is told by `Missing`, to be asked again with
it. Whole code systems, listed concepts, other value sets, exclusions and filters over hierarchy and
properties are understood; more is the terminology server's (`TooCostly`, `NotUnderstood`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Json = Any

MAX_CODES = 1_000  # of one expansion, as a search compares each
MAX_IMPORTS = 20  # value sets within one another


class Code(NamedTuple):
    """A code in its system."""

    system: str
    code: str


class Needed(NamedTuple):
    """A ValueSet or CodeSystem by its canonical URL."""

    resource_type: str
    url: str


class Missing(Exception):
    """This definition is needed too."""

    def __init__(self, needed: Needed) -> None:
        super().__init__(needed.resource_type)
        self.needed = needed


class NotUnderstood(Exception):
    """The definition says something that is not expanded here; the text says what."""


class TooCostly(Exception):
    """The expansion has more than `MAX_CODES` codes."""


Known = Mapping[Needed, Json]


def expand(value_set: Json, known: Known) -> frozenset[Code]:
    """The codes of a ValueSet.

    Raises:
        Missing: another definition is needed.
        NotUnderstood, TooCostly: it cannot be told here.
    """
    return _expand(value_set, known, ())


def below(system: str, code: str, known: Known) -> frozenset[Code]:
    """The code and all that it subsumes."""
    return frozenset(Code(system, each) for each in _hierarchy(system, known).descendants(code))


def above(system: str, code: str, known: Known) -> frozenset[Code]:
    """The code and all that subsume it."""
    return frozenset(Code(system, each) for each in _hierarchy(system, known).ancestors(code))


def _expand(value_set: Json, known: Known, within: tuple[str, ...]) -> frozenset[Code]:
    compose = value_set.get("compose")
    if compose is None:
        return _bounded(_contained(value_set.get("expansion") or {}))
    found: set[Code] = set()
    for include in compose.get("include", ()):
        found |= _included(include, known, within)
        if len(found) > MAX_CODES:
            raise TooCostly
    for exclude in compose.get("exclude", ()):
        found -= _included(exclude, known, within)
    return frozenset(found)


def _bounded(codes: Iterator[Code]) -> frozenset[Code]:
    found = set()
    for code in codes:
        found.add(code)
        if len(found) > MAX_CODES:
            raise TooCostly
    return frozenset(found)


def _contained(expansion: Json) -> Iterator[Code]:
    for entry in expansion.get("contains", ()):
        if entry.get("code"):
            yield Code(entry.get("system") or "", entry["code"])
        yield from _contained(entry)


def _included(include: Json, known: Known, within: tuple[str, ...]) -> frozenset[Code]:
    """One include or exclude: what all of its parts have in common (ValueSet.compose.include)."""
    parts = [_imported(url, known, within) for url in include.get("valueSet", ())]
    if "system" in include:
        parts.append(_of_system(include, known))
    return frozenset.intersection(*parts) if parts else frozenset()


def _imported(canonical: str, known: Known, within: tuple[str, ...]) -> frozenset[Code]:
    url = canonical.partition("|")[0]
    if url in within or len(within) >= MAX_IMPORTS:
        raise NotUnderstood("value sets import one another without end")
    return _expand(_get(Needed("ValueSet", url), known), known, (*within, url))


def _get(needed: Needed, known: Known) -> Json:
    if needed not in known:
        raise Missing(needed)
    return known[needed]


def _of_system(include: Json, known: Known) -> frozenset[Code]:
    system = include["system"]
    if "concept" in include:
        return _bounded(Code(system, concept["code"]) for concept in include["concept"])
    hierarchy = _hierarchy(system, known)
    codes = set(hierarchy.concepts)
    for asked in include.get("filter", ()):
        codes &= _filtered(hierarchy, asked)
    return _bounded(Code(system, code) for code in codes)


@dataclass(slots=True)
class _Hierarchy:
    """The concepts of a CodeSystem with their properties, and which lie directly below which."""

    concepts: dict[str, Json] = field(default_factory=dict)
    children: dict[str, set[str]] = field(default_factory=dict)
    parents: dict[str, set[str]] = field(default_factory=dict)

    def descendants(self, code: str) -> set[str]:
        """The code itself and all below it."""
        return self._closure(code, self.children)

    def ancestors(self, code: str) -> set[str]:
        """The code itself and all above it."""
        return self._closure(code, self.parents)

    def link(self, parent: str, child: str) -> None:
        """The second lies below the first."""
        self.children.setdefault(parent, set()).add(child)
        self.parents.setdefault(child, set()).add(parent)

    def _closure(self, code: str, further: Mapping[str, set[str]]) -> set[str]:
        found, waiting = {code}, [code]
        while waiting:
            new = further.get(waiting.pop(), set()) - found
            found |= new
            waiting += new
        return found


def _hierarchy(system: str, known: Known) -> _Hierarchy:
    code_system = _get(Needed("CodeSystem", system), known)
    if code_system.get("content") != "complete":
        raise NotUnderstood("a code system whose content is not here")
    hierarchy = _Hierarchy()
    waiting: list[tuple[str | None, Json]] = [(None, each) for each in code_system.get("concept", ())]
    while waiting:
        parent, concept = waiting.pop()
        code = concept["code"]
        hierarchy.concepts[code] = concept
        if parent is not None:
            hierarchy.link(parent, code)
        for name, value in _properties(concept):
            if name == "parent":
                hierarchy.link(value, code)
            elif name == "child":
                hierarchy.link(code, value)
        waiting += [(code, child) for child in concept.get("concept", ())]
    return hierarchy


def _properties(concept: Json) -> Iterator[tuple[str, str]]:
    for each in concept.get("property", ()):
        for name, value in each.items():
            if name.startswith("value"):
                text = value.get("code", "") if isinstance(value, dict) else value
                yield each.get("code", ""), str(text).lower() if isinstance(text, bool) else str(text)


def _filtered(hierarchy: _Hierarchy, asked: Json) -> set[str]:
    operator = _OPERATORS.get(asked.get("op", ""))
    if operator is None:
        raise NotUnderstood("a filter of a value set")
    return operator(hierarchy, asked.get("property", ""), asked.get("value", ""))


def _with_property(hierarchy: _Hierarchy, name: str, values: frozenset[str]) -> set[str]:
    if name == "code":
        return set(hierarchy.concepts) & values
    return {
        code
        for code, concept in hierarchy.concepts.items()
        if any(n == name and v in values for n, v in _properties(concept))
    }


_OPERATORS: Mapping[str, Callable[[_Hierarchy, str, str], set[str]]] = {
    "=": lambda h, name, value: _with_property(h, name, frozenset({value})),
    "in": lambda h, name, value: _with_property(h, name, frozenset(value.split(","))),
    "is-a": lambda h, _, value: h.descendants(value),
    "descendent-of": lambda h, _, value: h.descendants(value) - {value},
    "is-not-a": lambda h, _, value: set(h.concepts) - h.descendants(value),
    "generalizes": lambda h, _, value: h.ancestors(value),
}
