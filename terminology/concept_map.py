"""A ConceptMap as `$translate` reads it, by its codes in both directions (FHIR R4 conceptmap.html).

What differs in FHIR R5 is read too: `relationship`, `sourceScope…`, `targetScope…`, `otherMap`, `noMap`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from terminology.canonical import Canonical, parse_canonical
from terminology.read_before import ReadBefore

Json = Any

UNMATCHED, DISJOINT = "unmatched", "disjoint"

# ConceptMapEquivalence, of the target as compared with the source: (the other way round, R5's relationship)
EQUIVALENCES: Mapping[str, tuple[str, str | None]] = {
    "relatedto": ("relatedto", "related-to"),
    "equivalent": ("equivalent", "equivalent"),
    "equal": ("equal", "equivalent"),
    "wider": ("narrower", "source-is-narrower-than-target"),
    "subsumes": ("specializes", "source-is-narrower-than-target"),
    "narrower": ("wider", "source-is-broader-than-target"),
    "specializes": ("subsumes", "source-is-broader-than-target"),
    "inexact": ("inexact", "related-to"),
    UNMATCHED: (UNMATCHED, None),
    DISJOINT: (DISJOINT, "not-related-to"),
}
_OF_RELATIONSHIP: Mapping[str, str] = {
    "related-to": "relatedto",
    "equivalent": "equivalent",
    "source-is-narrower-than-target": "wider",
    "source-is-broader-than-target": "narrower",
    "not-related-to": DISJOINT,
}


@dataclass(frozen=True, slots=True)
class Related:
    """A value of another element that a mapping depends on, or has as a product (`dependsOn`, `product`)."""

    element: str
    value: str
    system: str | None = None
    display: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """One code, and what it is on the other side; `target` None: there is nothing like it."""

    source: str
    source_display: str | None
    target: str | None
    target_display: str | None
    equivalence: str
    depends_on: Sequence[Related] = ()
    products: Sequence[Related] = ()
    advice: str | None = None  # for whoever chooses among several


@dataclass(frozen=True, slots=True)
class Unmapped:
    """What stands for codes that have no mapping (ConceptMap.group.unmapped)."""

    mode: str  # provided, fixed, other-map
    code: str | None = None
    display: str | None = None
    equivalence: str = "relatedto"
    other_map: Canonical | None = None


class Mappings(Protocol):
    """The mappings from one code system to another, wherever they lie."""

    @property
    def source(self) -> Canonical | None:
        """The code system that they are from."""

    @property
    def target(self) -> Canonical | None:
        """The code system that they lead to."""

    @property
    def unmapped(self) -> Unmapped | None:
        """What stands for codes that have none."""

    async def links_from(self, code: str) -> Iterable[Link]:
        """The mappings of a code of the source."""

    async def links_to(self, code: str) -> Iterable[Link]:
        """The mappings to a code of the target."""


@dataclass(frozen=True, slots=True)
class Group:
    """The mappings that one group of a ConceptMap resource has."""

    source: Canonical | None
    target: Canonical | None
    by_source: Mapping[str, Sequence[Json]] = field(default_factory=dict)  # elements by their codes
    by_target: Mapping[str, Sequence[Json]] = field(default_factory=dict)  # by the codes of their targets
    unmapped: Unmapped | None = None

    async def links_from(self, code: str) -> Iterable[Link]:
        """The mappings of a code of the source."""
        return (link for element in self.by_source.get(code, ()) for link in _links(element))

    async def links_to(self, code: str) -> Iterable[Link]:
        """The mappings to a code of the target."""
        elements = self.by_target.get(code, ())
        return (link for element in elements for link in _links(element) if link.target == code)


@dataclass(frozen=True, slots=True)
class ConceptMap:
    """What a ConceptMap says."""

    canonical: Canonical
    status: str | None
    source_scope: str | None  # canonical URL of the value set that it maps from
    target_scope: str | None
    groups: Sequence[Mappings]


def parse_concept_map(resource: Json) -> ConceptMap:
    """Read a ConceptMap; the one that was read before, where it is the same object (nobody changes it).

    One that lies in tables comes as a `ConceptMap`, and stays what it is.
    """
    return resource if isinstance(resource, ConceptMap) else _READ.get(resource)


def read_concept_map(resource: Json) -> ConceptMap:
    """What a ConceptMap says."""
    return ConceptMap(
        Canonical(resource.get("url", ""), resource.get("version")),
        resource.get("status"),
        _scope(resource, "source"),
        _scope(resource, "target"),
        tuple(_group(each) for each in resource.get("group", ())),
    )


def _scope(resource: Json, side: str) -> str | None:
    names = (f"{side}Canonical", f"{side}Uri", f"{side}ScopeCanonical", f"{side}ScopeUri")
    found = next((resource[name] for name in names if name in resource), None)
    return parse_canonical(found).url if found else None


def _group(entry: Json) -> Group:
    by_source: dict[str, list[Json]] = {}
    by_target: dict[str, list[Json]] = {}
    for element in entry.get("element", ()):
        if "code" in element:
            by_source.setdefault(element["code"], []).append(element)
            for code in {each.get("code") for each in element.get("target", ())} - {None}:
                by_target.setdefault(code, []).append(element)
    unmapped = entry.get("unmapped")
    return Group(
        _system(entry, "source"),
        _system(entry, "target"),
        by_source,
        by_target,
        _unmapped(unmapped) if unmapped else None,
    )


def _system(entry: Json, side: str) -> Canonical | None:
    if side not in entry:
        return None
    url, version = parse_canonical(entry[side])
    return Canonical(url, version or entry.get(f"{side}Version"))


def _links(element: Json) -> Iterator[Link]:
    code, display = element["code"], element.get("display")
    if element.get("noMap"):
        yield Link(code, display, None, None, UNMATCHED)
    for target in element.get("target", ()):
        equivalence = equivalence_of(target)
        yield Link(
            code,
            display,
            target.get("code"),
            target.get("display"),
            UNMATCHED if "code" not in target else equivalence,
            tuple(_related(each) for each in target.get("dependsOn", ())),
            tuple(_related(each) for each in target.get("product", ())),
        )


def equivalence_of(entry: Json, otherwise: str = "equivalent") -> str:
    """The equivalence of a mapping, whether R4 or R5 wrote it."""
    stated = entry.get("equivalence") or _OF_RELATIONSHIP.get(entry.get("relationship", ""))
    return str(stated) if stated in EQUIVALENCES else otherwise


def _related(entry: Json) -> Related:
    coding = entry.get("valueCoding") or {}
    value = entry.get("value") or coding.get("code") or entry.get("valueCode") or entry.get("valueString")
    return Related(
        entry.get("property") or entry.get("attribute") or "",
        str(value or ""),
        entry.get("system") or coding.get("system"),
        entry.get("display") or coding.get("display"),
    )


def _unmapped(entry: Json) -> Unmapped:
    other = entry.get("url") or entry.get("otherMap")
    return Unmapped(
        {"use-source-code": "provided"}.get(entry.get("mode", ""), entry.get("mode", "")),
        entry.get("code"),
        entry.get("display"),
        equivalence_of(entry, "equivalent" if entry.get("mode") != "fixed" else "relatedto"),
        parse_canonical(other) if other else None,
    )


_READ = ReadBefore(read_concept_map)
