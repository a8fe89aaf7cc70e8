"""A concept as every code system tells it (FHIR R4 codesystem.html#CodeSystem.concept).

Of names and properties an expansion makes some thousand: tuples are made in a third of the time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

Json = Any

INACTIVE_STATUSES = frozenset({"retired", "withdrawn", "inactive"})  # what is deprecated may still be used
STANDARDS_STATUS = "http://hl7.org/fhir/StructureDefinition/structuredefinition-standards-status"


class Designation(NamedTuple):
    """One more name of a concept."""

    value: str
    language: str | None = None  # BCP 47; None: not stated
    use: Json = None  # a Coding
    extensions: Sequence[Json] = ()


class Property(NamedTuple):
    """What a code system says of a concept."""

    code: str
    kind: str  # the choice of `value[x]`: "code", "Coding", "string", "integer", "boolean", "dateTime"…
    value: Json

    @property
    def text(self) -> str:
        """The value as a filter compares it."""
        value = self.value.get("code", "") if isinstance(self.value, dict) else self.value
        return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class Concept:
    """One concept of one version of a code system; `code` as the code system writes it."""

    code: str
    display: str | None = None
    definition: str | None = None
    designations: Sequence[Designation] = ()
    properties: Sequence[Property] = ()
    abstract: bool = False  # not to be chosen by a user
    inactive: bool = False
    status: str | None = None  # as the code system states it
    extensions: Sequence[Json] = ()
