"""Does a resource obey FHIR R4? A walker compiled from its StructureDefinitions (FHIR R4 validation.html)."""

from fhir.model.validation.issue import InvalidResource, Issue, IssueType, Severity
from fhir.model.validation.walker import require_valid, validate

__all__ = ["InvalidResource", "Issue", "IssueType", "Severity", "require_valid", "validate"]
