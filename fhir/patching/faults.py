"""What can be wrong with a patch."""

from fhir.model.validation.issue import IssueType
from fhir.outcome import FhirFault
from server.kernel.faults import FaultKind


class InvalidPatch(FhirFault):
    """The patch itself is not well-formed; the message names the operation, never a value."""

    kind = FaultKind.INVALID
    issue_type = IssueType.INVALID


class PatchFailed(FhirFault):
    """The patch cannot be applied to the resource as it is (RFC 5789 §2.2)."""

    kind = FaultKind.UNPROCESSABLE
    issue_type = IssueType.PROCESSING
