"""Resource types that are not stored as resources: what they are made from is kept elsewhere, and only read.

The seam is one table: an interaction on such a type is answered by the function that stands there, and every
other is refused. CapabilityStatement says the same of it (`fhir/offer.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fhir.exchange import Interaction
from fhir.model.validation.issue import IssueType
from fhir.outcome import FhirFault
from server.kernel.faults import FaultKind


class ReadOnlyType(FhirFault):
    """What is of this type is made by the server, and not written."""

    kind = FaultKind.METHOD_NOT_ALLOWED
    issue_type = IssueType.NOT_SUPPORTED


@dataclass(frozen=True, slots=True)
class ServedType:
    """How a type is served; `parameters` are those that its search takes."""

    read: Interaction
    search: Interaction
    parameters: Sequence[str]


READ_ONLY = frozenset({"AuditEvent"})
WRITTEN_WHOLE = frozenset({"Binary"})  # its content is no element of what is stored


def require_written_type(resource_type: str) -> None:
    """Let pass a type that clients write.

    Raises:
        ReadOnlyType: this server makes what is of it.
    """
    if resource_type in READ_ONLY:
        raise ReadOnlyType(f"{resource_type} is made by this server, and can only be read and searched.")


def require_changeable_type(resource_type: str) -> None:
    """Let pass a type whose resources are changed element by element.

    Raises:
        ReadOnlyType: it is written whole, or not at all.
    """
    require_written_type(resource_type)
    if resource_type in WRITTEN_WHOLE:
        raise ReadOnlyType(f"{resource_type} is written whole.")


Served = Mapping[str, ServedType]
