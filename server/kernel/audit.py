"""What an audit entry says (IHE ATNA; FHIR R4 AuditEvent), as a value of the floor.

Writes carry their entry in their own transaction (`UnitOfWork.audit`); reads go through `ReadAudit`.
Entries name resources and patients by id only, never by demographics.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from server.kernel.access import Principal
from server.kernel.request import current_address, current_request_id


class Action(Enum):
    """AuditEvent.action (FHIR R4 valueset-audit-event-action)."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


class Outcome(Enum):
    """AuditEvent.outcome (FHIR R4 valueset-audit-event-outcome)."""

    SUCCESS = "0"
    MINOR_FAILURE = "4"
    SERIOUS_FAILURE = "8"
    MAJOR_FAILURE = "12"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One audited act on one resource."""

    principal: Principal
    action: Action
    interaction: str  # "stow", "qido", "wado", "read", "search-type", "create", "token", …
    resource_type: str
    resource_id: str | None = None
    patient_id: str | None = None
    outcome: Outcome = Outcome.SUCCESS
    occurrences: int = 1
    # Of the request in which the entry is made, whoever writes it later.
    request_id: str | None = field(default_factory=current_request_id, compare=False)
    address: str | None = field(default_factory=current_address, compare=False)

    def as_row(self, recorded_us: int) -> dict[str, Any]:
        """The columns of `AuditRow`."""
        return {
            "recorded_us": recorded_us,
            "principal": self.principal.id,
            "client": self.principal.client,
            "token": self.principal.token,
            "purpose": self.principal.purpose,
            "action": self.action.value,
            "outcome": self.outcome.value,
            "interaction": self.interaction,
            "resource_type": self.resource_type,
            "resource_id": self.resource_id,
            "patient_id": self.patient_id,
            "request_id": self.request_id,
            "address": self.address,
            "occurrences": self.occurrences,
        }
