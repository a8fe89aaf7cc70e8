"""Where definitions are found, and which version is meant (FHIR R4 references.html#canonical).

A source knows code systems, value sets and concept maps by canonical URL. What a request brings along goes
before what is here, whatever its version; of the same version, what is stored goes before what ships.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from terminology.canonical import Canonical, accepts, order_of

Json = Any


class Kind(StrEnum):
    """What is defined."""

    CODE_SYSTEM = "CodeSystem"
    VALUE_SET = "ValueSet"
    CONCEPT_MAP = "ConceptMap"


@dataclass(frozen=True, slots=True)
class Edition:
    """One version of a definition; `open` gives a `CodeSystem`, or the JSON of a ValueSet or ConceptMap.

    A ConceptMap that lies in tables it gives as `concept_map.ConceptMap`.
    """

    kind: Kind
    url: str
    version: str | None
    open: Callable[[], Awaitable[Any]]
    content: str | None = None  # of a CodeSystem
    supplements: Canonical | None = None  # the code system that this CodeSystem says more of
    given: bool = False  # a request has brought it along

    @property
    def canonical(self) -> Canonical:
        """URL and version."""
        return Canonical(self.url, self.version)


class Source(Protocol):
    """One place where definitions are kept."""

    async def editions(self, kind: Kind, url: str) -> Sequence[Edition]:
        """All versions of a definition; supplements are among the code systems of their own URL."""

    async def supplements(self, system_url: str) -> Sequence[Edition]:
        """The supplements of any version of a code system."""

    async def listing(self, kind: Kind) -> Sequence[Edition]:
        """Everything of a kind."""


class Library:
    """Sources, the first of which goes before the others."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    def after(self, source: Source) -> "Library":
        """This library, with a source that goes before all others."""
        return Library([source, self])

    async def editions(self, kind: Kind, url: str) -> Sequence[Edition]:
        """All versions of a definition: those that the request brought along, then the newest first."""
        return _ordered([each for source in self._sources for each in await source.editions(kind, url)])

    async def find(self, kind: Kind, wanted: Canonical) -> Edition | None:
        """The newest version of those that are meant; None: it is not known here."""
        fitting = (
            each for each in await self.editions(kind, wanted.url) if accepts(wanted.version, each.version)
        )
        return next(fitting, None)

    async def supplements(self, system_url: str) -> Sequence[Edition]:
        """The supplements of any version of a code system."""
        return _ordered([each for source in self._sources for each in await source.supplements(system_url)])

    async def listing(self, kind: Kind) -> Sequence[Edition]:
        """Everything of a kind, by URL, the newest first."""
        found = _ordered([each for source in self._sources for each in await source.listing(kind)])
        return sorted(found, key=lambda each: each.url)


def _ordered(editions: Sequence[Edition]) -> Sequence[Edition]:
    """Those of the request, then the newest first; of the same version that of the first source."""
    if len(editions) < 2:
        return editions
    kept: dict[tuple[str, str | None], Edition] = {}
    for each in editions:
        kept.setdefault((each.url, each.version), each)
    return sorted(kept.values(), key=lambda each: (each.given, order_of(each.version)), reverse=True)
