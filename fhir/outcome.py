"""Every answer that is no resource: OperationOutcome, and how a Fault becomes one (FHIR R4 http.html#ops).

This is the one place where the FHIR door formats faults; the HTTP status is `Fault.status`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from fhir.model.validation.issue import InvalidResource, Issue, IssueType, Severity, error
from server.kernel.faults import Fault, FaultKind
from terminology.issues import TerminologyFault, outcome_json

FHIR_JSON = "application/fhir+json"
FHIR_JSON_UTF8 = "application/fhir+json; charset=utf-8"  # Content-Type of every FHIR answer
JSON_PATCH = "application/json-patch+json"
FORM_URLENCODED = "application/x-www-form-urlencoded"
READS_AS_FHIR_JSON = frozenset({FHIR_JSON, "application/json", "text/json", "application/json+fhir"})


class FhirFault(Fault):
    """A fault whose kind alone does not tell the issue code; subclasses state both."""

    issue_type: ClassVar[IssueType]


ISSUE_TYPE_OF: Mapping[FaultKind, IssueType] = {
    FaultKind.INVALID: IssueType.INVALID,
    FaultKind.UNAUTHENTICATED: IssueType.LOGIN,
    FaultKind.FORBIDDEN: IssueType.FORBIDDEN,
    FaultKind.NOT_FOUND: IssueType.NOT_FOUND,
    FaultKind.GONE: IssueType.DELETED,
    FaultKind.CONFLICT: IssueType.CONFLICT,
    FaultKind.PRECONDITION_FAILED: IssueType.CONFLICT,
    FaultKind.UNPROCESSABLE: IssueType.PROCESSING,
    FaultKind.NOT_ACCEPTABLE: IssueType.NOT_SUPPORTED,
    FaultKind.UNSUPPORTED_MEDIA_TYPE: IssueType.NOT_SUPPORTED,
    FaultKind.METHOD_NOT_ALLOWED: IssueType.NOT_SUPPORTED,
    FaultKind.TOO_LARGE: IssueType.TOO_LONG,
    FaultKind.TOO_MANY_REQUESTS: IssueType.THROTTLED,
    FaultKind.NOT_IMPLEMENTED: IssueType.NOT_SUPPORTED,
    FaultKind.BUSY: IssueType.TRANSIENT,
    FaultKind.INTERNAL: IssueType.EXCEPTION,
}


def operation_outcome(issues: Iterable[Issue]) -> dict[str, Any]:
    """The OperationOutcome with these issues, in order; at least one is required."""
    entries = [_entry(issue) for issue in issues]
    return {"resourceType": "OperationOutcome", "issue": entries}


def outcome_of(fault: Fault) -> dict[str, Any]:
    """The OperationOutcome that tells a client of this fault."""
    if isinstance(fault, TerminologyFault):
        outcome: dict[str, Any] = outcome_json(fault.issues)
        return outcome
    return operation_outcome(issues_of(fault))


def issues_of(fault: Fault) -> tuple[Issue, ...]:
    """What a fault says, as issues: a resource that failed validation has one per broken rule."""
    if isinstance(fault, InvalidResource):
        return fault.issues
    if isinstance(fault, TerminologyFault):
        return tuple(
            Issue(Severity(each.severity.value), IssueType(each.code), each.text, each.expression)
            for each in fault.issues
        )
    code = fault.issue_type if isinstance(fault, FhirFault) else ISSUE_TYPE_OF[fault.kind]
    return (error(code, str(fault) or fault.status.phrase),)


def _entry(issue: Issue) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "severity": issue.severity.value,
        "code": issue.code.value,
        "details": {"text": issue.text},
        "diagnostics": issue.text,  # clients show one or the other
    }
    if issue.expression is not None:
        entry["expression"] = [issue.expression]
    return entry
