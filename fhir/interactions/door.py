"""What the interactions of the FHIR door share: services, base URL, policy."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from zoneinfo import ZoneInfo

from fhir.interactions.grouped import GroupedWrites
from fhir.interactions.stored_definitions import StoredDefinitions
from fhir.model.validation.issue import IssueType
from fhir.outcome import FhirFault
from fhir.search.value import Surroundings
from server.kernel.database import UnitOfWork
from server.kernel.faults import FaultKind
from server.kernel.services import Services
from terminology.context import MAX_EXPANSION
from terminology.library import Source

MOUNTED_AT = "/fhir"

# For resources that this server authors: their references are relative, their instants state a zone.
AUTHORED = Surroundings(zone=UTC, base_url="", now_us=0)


class UnknownType(FhirFault):
    """The URL names no resource type of R4."""

    kind = FaultKind.NOT_FOUND
    issue_type = IssueType.NOT_SUPPORTED


# Refuses, with a Fault, to delete the resource of this id: something else of the server rests on it.
DeletionGuard = Callable[[UnitOfWork, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Policy:
    """What R4 leaves to the server."""

    create_on_update: bool = True  # whether PUT to an unknown id creates (FHIR R4 http.html#upsert)
    delete_multiple: bool = False  # whether a conditional delete takes all that match (http.html#3.1.0.7.1)
    require_references: bool = False  # whether references to resources of this server must lead to one
    require_profiles: bool = False  # whether a resource must obey the profiles that it claims and we know
    max_expansion: int = (
        MAX_EXPANSION  # codes of one that nobody pages through (operation-expand, too-costly)
    )


DEFAULT_POLICY = Policy()


@dataclass(frozen=True, slots=True)
class Definitions:
    """Where definitions of terminology are found beside what is stored; the first goes before the others."""

    before: Sequence[Source] = ()  # what is stored
    after: Sequence[Source] = ()


NO_DEFINITIONS = Definitions()


@dataclass(frozen=True, slots=True)
class Door:
    """The FHIR door of one server."""

    services: Services
    page_secret: bytes
    policy: Policy = DEFAULT_POLICY
    deletion_guards: Mapping[str, DeletionGuard] = field(default_factory=dict)  # by resource type
    definitions: Definitions = NO_DEFINITIONS
    writes: GroupedWrites = field(init=False, compare=False)
    stored: StoredDefinitions = field(init=False, compare=False)
    sources: Sequence[Source] = field(init=False, compare=False)  # of definitions

    def __post_init__(self) -> None:
        object.__setattr__(self, "writes", GroupedWrites(self.services.database))
        stored = StoredDefinitions(self.services.database)
        sources = (*self.definitions.before, stored, *self.definitions.after)
        object.__setattr__(self, "stored", stored)
        object.__setattr__(self, "sources", sources)

    @property
    def base_url(self) -> str:
        """The service base URL, without a final slash."""
        return self.services.public_base + MOUNTED_AT

    def surroundings(self) -> Surroundings:
        """What dates and references mean here and now."""
        return surroundings_of(self.services)


def surroundings_of(services: Services) -> Surroundings:
    """What the values of a resource that a client sent mean on this server."""
    zone = services.site.timezone
    base_url = services.public_base + MOUNTED_AT
    return Surroundings(ZoneInfo(zone) if zone else UTC, base_url, services.clock())
