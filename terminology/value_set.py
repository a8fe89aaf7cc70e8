"""A ValueSet as the operations read it (FHIR R4 valueset.html#compositions).

What a value set says is checked once here: a filter without a value or with an unknown operator, an include
that names nothing. What it says stays a value; what its codes are is told by expansion and validation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from terminology.canonical import Canonical, parse_canonical
from terminology.code_system import Filter, FilterOperator
from terminology.concept import STANDARDS_STATUS, Designation
from terminology.issues import InvalidDefinition, InvalidFilter, TooCostly
from terminology.listed import extension_text, extension_value, read_designation
from terminology.read_before import ReadBefore

Json = Any

MAX_FILTERS = 100  # of one include

SUPPLEMENT = "http://hl7.org/fhir/StructureDefinition/valueset-supplement"
EXPANSION_PARAMETERS = (
    "http://hl7.org/fhir/StructureDefinition/valueset-expansion-parameter",
    "http://hl7.org/fhir/tools/StructureDefinition/valueset-expansion-parameter",
)


@dataclass(frozen=True, slots=True)
class NamedConcept:
    """ValueSet.compose.include.concept."""

    code: str
    display: str | None = None
    designations: Sequence[Designation] = ()
    extensions: Sequence[Json] = ()


class NamedConcepts(Mapping[str, NamedConcept]):
    """The concepts of an include by code, each read when it is asked for: there may be 100,000."""

    __slots__ = ("_entries", "_read")

    def __init__(self, entries: Sequence[Json]) -> None:
        self._entries = {each["code"]: each for each in entries if "code" in each}
        self._read: dict[str, NamedConcept] = {}

    def __getitem__(self, code: str) -> NamedConcept:
        found = self._read.get(code)
        if found is None:
            found = self._read[code] = _named(self._entries[code])
        return found

    def __contains__(self, code: object) -> bool:
        return code in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


@dataclass(frozen=True, slots=True)
class Include:
    """One include or exclude: what all of its parts have in common (ValueSet.compose.include)."""

    path: str  # "ValueSet.compose.include[0]"
    system: str | None = None
    version: str | None = None
    concepts: Mapping[str, NamedConcept] = field(default_factory=dict)  # by code; empty: none is named
    filters: Sequence[Filter] = ()
    value_sets: Sequence[Canonical] = ()  # `#id`: a contained one


@dataclass(frozen=True, slots=True)
class ValueSet:
    """What a ValueSet says; `resource` is the resource itself."""

    resource: Json
    url: str | None = None
    version: str | None = None
    status: str | None = None  # draft, active, retired, unknown
    standards_status: str | None = None
    experimental: bool = False
    language: str | None = None
    include: Sequence[Include] = ()
    exclude: Sequence[Include] = ()
    composed: bool = False  # it has a `compose`; otherwise its `expansion` says which codes it has
    expanded: Mapping[tuple[str | None, str], Sequence[Json]] = field(
        default_factory=dict
    )  # where nothing is composed: what the expansion contains, by system and code, without headings
    inactive: bool | None = None  # whether inactive codes belong to it; None: it says nothing of them
    locked_date: str | None = None
    contained: Mapping[str, Json] = field(default_factory=dict)  # contained value sets by id
    supplements: Sequence[Canonical] = ()  # which it asks for
    parameters: Mapping[str, Sequence[Json]] = field(
        default_factory=dict
    )  # with which it asks to be expanded

    @property
    def canonical(self) -> Canonical:
        """URL and version; the URL of a value set without one is empty."""
        return Canonical(self.url or "", self.version)


def parse_value_set(resource: Json) -> ValueSet:
    """Read a ValueSet; the one that was read before, where it is the same object (nobody changes it).

    Raises:
        InvalidFilter: a filter has no value, or an operator that is not known.
        InvalidDefinition: an include names neither a system nor a value set.
    """
    return _READ.get(resource)


def read_value_set(resource: Json) -> ValueSet:
    """Read a ValueSet.

    Raises:
        InvalidFilter, InvalidDefinition: as `parse_value_set`.
    """
    compose = resource.get("compose") or {}
    return ValueSet(
        resource=resource,
        url=resource.get("url"),
        version=resource.get("version"),
        status=resource.get("status"),
        standards_status=extension_text(resource, STANDARDS_STATUS),
        experimental=resource.get("experimental", False),
        language=resource.get("language"),
        include=tuple(_includes(compose, "include")),
        exclude=tuple(_includes(compose, "exclude")),
        composed="compose" in resource,
        expanded={} if "compose" in resource else _expanded(resource),
        inactive=compose.get("inactive"),
        locked_date=compose.get("lockedDate"),
        contained={
            each["id"]: each
            for each in resource.get("contained", ())
            if each.get("resourceType") == "ValueSet" and "id" in each
        },
        supplements=tuple(_supplements(resource)),
        parameters=_parameters([*resource.get("extension", ()), *compose.get("extension", ())]),
    )


def _expanded(resource: Json) -> Mapping[tuple[str | None, str], Sequence[Json]]:
    """The codes of ValueSet.expansion.contains, at whatever depth."""
    found: dict[tuple[str | None, str], list[Json]] = {}
    waiting = list((resource.get("expansion") or {}).get("contains", ()))
    while waiting:
        entry = waiting.pop()
        if entry.get("code"):
            found.setdefault((entry.get("system"), entry["code"]), []).append(entry)
        waiting += entry.get("contains", ())
    return found


def _includes(compose: Json, name: str) -> Iterator[Include]:
    for at, each in enumerate(compose.get(name, ())):
        yield _include(each, f"ValueSet.compose.{name}[{at}]")


def _include(entry: Json, path: str) -> Include:
    system = entry.get("system")
    if system is None and not entry.get("valueSet"):
        raise InvalidDefinition("An include names a system or a value set.", expression=path)
    if system is None and (entry.get("concept") or entry.get("filter")):
        raise InvalidDefinition("Concepts and filters of an include need a system.", expression=path)
    if len(entry.get("filter", ())) > MAX_FILTERS:
        raise TooCostly(f"An include has up to {MAX_FILTERS} filters.", expression=path)
    return Include(
        path,
        system,
        entry.get("version"),
        NamedConcepts(entry.get("concept", ())),
        tuple(
            _filter(each, system, f"{path}.filter[{at}]") for at, each in enumerate(entry.get("filter", ()))
        ),
        tuple(parse_canonical(each) for each in entry.get("valueSet", ())),
    )


def _named(entry: Json) -> NamedConcept:
    return NamedConcept(
        entry["code"],
        entry.get("display"),
        tuple(read_designation(each) for each in entry.get("designation", ())),
        tuple(entry.get("extension", ())),
    )


def _filter(entry: Json, system: str, path: str) -> Filter:
    name, operator, value = entry.get("property", ""), entry.get("op", ""), entry.get("value")
    if value is None or value == "":
        raise InvalidFilter(
            f"The system {system} filter with property = {name}, op = {operator} has no value",
            expression=path,
        )
    try:
        return Filter(name, FilterOperator(operator), value)
    except ValueError:
        raise InvalidFilter(
            f"The filter operator '{operator}' is not understood.", expression=f"{path}.op"
        ) from None


def _supplements(resource: Json) -> Iterator[Canonical]:
    for each in resource.get("extension", ()):
        if each.get("url") == SUPPLEMENT and isinstance(each.get("valueCanonical"), str):
            yield parse_canonical(each["valueCanonical"])


def _parameters(extensions: Sequence[Json]) -> Mapping[str, Sequence[Json]]:
    """What the extension valueset-expansion-parameter says, by name."""
    found: dict[str, list[Json]] = {}
    for each in extensions:
        if each.get("url") in EXPANSION_PARAMETERS:
            name, value = extension_text(each, "name"), extension_value(each, "value")
            if name is not None and value is not None:
                found.setdefault(name, []).append(value)
    return found


_READ = ReadBefore(read_value_set)
