"""What a version of a code system can be asked, whatever it is kept in (FHIR R4 codesystem.html).

The operations are written once against `CodeSystem`. There are those that lie in memory (`listed`), in the
tables of the database (`releases`), and in no list at all, since a grammar says what their codes are
(`code_systems`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from terminology.canonical import Canonical
from terminology.concept import Concept

Json = Any


class Content(StrEnum):
    """How much of a code system is here (CodeSystemContentMode)."""

    NOT_PRESENT = "not-present"
    EXAMPLE = "example"
    FRAGMENT = "fragment"
    COMPLETE = "complete"
    SUPPLEMENT = "supplement"


class FilterOperator(StrEnum):
    """ValueSet.compose.include.filter.op (FilterOperator of R4, and what R5 added)."""

    EQUALS = "="
    IS_A = "is-a"
    DESCENDENT_OF = "descendent-of"
    IS_NOT_A = "is-not-a"
    REGEX = "regex"
    IN = "in"
    NOT_IN = "not-in"
    GENERALIZES = "generalizes"
    CHILD_OF = "child-of"
    DESCENDENT_LEAF = "descendent-leaf"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter of an include: `property` `operator` `value`, as the value set writes it."""

    property: str
    operator: FilterOperator
    value: str


@dataclass(frozen=True, slots=True)
class PropertyDefinition:
    """CodeSystem.property."""

    code: str
    uri: str | None = None
    kind: str = "string"


@dataclass(frozen=True, slots=True)
class Header:
    """What is said of the code system as a whole."""

    url: str
    version: str | None = None
    name: str | None = None
    title: str | None = None
    status: str | None = None  # draft, active, retired, unknown
    standards_status: str | None = (
        None  # of the extension: draft, trial-use, normative, deprecated, withdrawn…
    )
    experimental: bool = False
    language: str | None = None  # of displays, where they state none
    content: Content = Content.COMPLETE
    case_sensitive: bool = True
    compositional: bool = False  # codes may be expressions of a grammar
    version_needed: bool = False
    hierarchy_meaning: str | None = None
    supplements: Canonical | None = None
    value_set: str | None = None  # canonical URL of the value set of all its codes
    properties: Mapping[str, PropertyDefinition] = field(default_factory=dict)  # by code
    extensions: Sequence[Json] = ()

    @property
    def canonical(self) -> Canonical:
        """URL and version."""
        return Canonical(self.url, self.version)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which concepts are wanted: those that all filters let through and in which all words occur."""

    filters: Sequence[Filter] = ()
    text: str | None = None  # what a user has typed so far; see `text.matches`
    active_only: bool = False
    offset: int = 0
    limit: int | None = None  # None: all


@dataclass(frozen=True, slots=True)
class Selected:
    """Concepts in the code system's order (with text: the nearest first), and how many there are in all."""

    concepts: Sequence[Concept]
    total: int | None  # None: more than are counted; there may be more than the ones that are here


class CodeSystem(Protocol):
    """One version of a code system."""

    @property
    def header(self) -> Header:
        """What is said of it as a whole."""

    async def locate(self, code: str) -> Concept | None:
        """The concept of a code; its case counts only where the code system says so. None: there is none."""

    async def locate_all(self, codes: Sequence[str]) -> Mapping[str, Concept]:
        """The concepts of those codes that there are, by the code as it was asked for."""

    async def subsumes(self, ancestor: str, descendant: str) -> bool:
        """Whether the first is the second, or above it; both are codes as the code system writes them."""

    async def parents(self, code: str) -> Sequence[str]:
        """The codes right above one."""

    async def children(self, code: str | None) -> Sequence[str]:
        """The codes right below one, in order; None: those with none above them."""

    async def lets_through(self, code: str, filters: Sequence[Filter]) -> bool:
        """Whether all filters let a code through, as the code system writes it.

        Raises:
            InvalidFilter: a filter is not understood here.
        """

    async def select(self, selection: Selection) -> Selected:
        """The concepts that are wanted.

        Raises:
            InvalidFilter: a filter is not understood here.
            TooCostly: there are too many, or it takes too long to tell (also: a grammar has no list).
        """
