"""One thing to say about a resource or a request: OperationOutcome.issue as a value (FHIR R4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from server.kernel.faults import Fault, FaultKind


class Severity(Enum):
    """OperationOutcome.issue.severity (FHIR R4 valueset-issue-severity)."""

    FATAL = "fatal"
    ERROR = "error"
    WARNING = "warning"
    INFORMATION = "information"


class IssueType(Enum):
    """OperationOutcome.issue.code (FHIR R4 valueset-issue-type), all of its codes."""

    INVALID = "invalid"
    STRUCTURE = "structure"
    REQUIRED = "required"
    VALUE = "value"
    INVARIANT = "invariant"
    SECURITY = "security"
    LOGIN = "login"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    FORBIDDEN = "forbidden"
    SUPPRESSED = "suppressed"
    PROCESSING = "processing"
    NOT_SUPPORTED = "not-supported"
    DUPLICATE = "duplicate"
    MULTIPLE_MATCHES = "multiple-matches"
    NOT_FOUND = "not-found"
    DELETED = "deleted"
    TOO_LONG = "too-long"
    CODE_INVALID = "code-invalid"
    EXTENSION = "extension"
    TOO_COSTLY = "too-costly"
    BUSINESS_RULE = "business-rule"
    CONFLICT = "conflict"
    TRANSIENT = "transient"
    LOCK_ERROR = "lock-error"
    NO_STORE = "no-store"
    EXCEPTION = "exception"
    TIMEOUT = "timeout"
    INCOMPLETE = "incomplete"
    THROTTLED = "throttled"
    INFORMATIONAL = "informational"


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue. `text` contains no value of the resource; `expression` is a FHIRPath, None for the whole."""

    severity: Severity
    code: IssueType
    text: str
    expression: str | None = None


def error(code: IssueType, text: str, expression: str | None = None) -> Issue:
    """An issue of severity error."""
    return Issue(Severity.ERROR, code, text, expression)


class InvalidResource(Fault):
    """A resource breaks the rules of FHIR R4; `issues` says where and how."""

    kind = FaultKind.INVALID

    def __init__(self, issues: Sequence[Issue]) -> None:
        super().__init__("; ".join(f"{i.expression or 'resource'}: {i.text}" for i in issues))
        self.issues = tuple(issues)
