"""Where a search looks: one type, every type, or a compartment (FHIR R4 http.html#search, #vsearch)."""

from collections.abc import Sequence
from dataclasses import dataclass

from fhir.search.conditions import InCompartment
from fhir.search.definitions import (
    EVERY_RESOURCE,
    compartment_members,
    parameters_of,
    stored_types,
)
from fhir.search.value import UnsupportedSearch

EVERY_TYPE = "*"


@dataclass(frozen=True, slots=True)
class Place:
    """What a URL says of a search before its parameters."""

    path: str  # below the base
    resource_type: str  # whose parameters apply
    types: Sequence[str]  # that may be found there
    interaction: str  # as CapabilityStatement and audit name it
    compartment: InCompartment | None = None

    @property
    def is_of_one_type(self) -> bool:
        """Whether the URL names the one type that is searched."""
        return self.resource_type != EVERY_RESOURCE


def type_place(resource_type: str) -> Place:
    """`/Type`."""
    return Place(resource_type, resource_type, (resource_type,), "search-type")


def system_place() -> Place:
    """The base itself: parameters of every resource only."""
    return Place("", EVERY_RESOURCE, tuple(sorted(stored_types())), "search-system")


def compartment_place(compartment_type: str, compartment_id: str, searched: str) -> Place:
    """`/Type/id/OtherType`, or `/Type/id/*`; `compartment_type` is one of R4's.

    Raises:
        UnsupportedSearch: no resource of that type is ever in such a compartment.
    """
    members = compartment_members(compartment_type)
    types = tuple(sorted(members)) if searched == EVERY_TYPE else (searched,)
    if not set(types) <= set(members):
        raise UnsupportedSearch(f"{searched} is never in the compartment of a {compartment_type}.")
    parameters = [
        parameter
        for name in types
        for code in members[name]
        if (parameter := parameters_of(name).get(code)) is not None
    ]
    itself = compartment_type in types  # R4 names it "{def}", or with a parameter of its own
    within = InCompartment(compartment_type, compartment_id, tuple(parameters), itself)
    own = EVERY_RESOURCE if searched == EVERY_TYPE else searched
    return Place(f"{compartment_type}/{compartment_id}/{searched}", own, types, "search-compartment", within)
