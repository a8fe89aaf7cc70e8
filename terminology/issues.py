"""What terminology operations have to say, coded as the terminology ecosystem codes it.

An operation answers with an OperationOutcome among its output (`$validate-code`), or fails with one; both
are made of `Issue`. Texts name codes, systems and value sets, nothing of a patient (FHIR R4
operationoutcome.html; HL7 terminology ecosystem guide, code system tx-issue-type).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from server.kernel.faults import Fault, FaultKind

Json = Any

MESSAGE_ID = "http://hl7.org/fhir/StructureDefinition/operationoutcome-message-id"
TX_ISSUE_TYPE = "http://hl7.org/fhir/tools/CodeSystem/tx-issue-type"


class Severity(StrEnum):
    """OperationOutcome.issue.severity."""

    ERROR = "error"
    WARNING = "warning"
    INFORMATION = "information"


class TxType(StrEnum):
    """Codes of tx-issue-type that are used here."""

    NOT_FOUND = "not-found"
    NOT_IN_VS = "not-in-vs"
    THIS_CODE_NOT_IN_VS = "this-code-not-in-vs"
    INVALID_CODE = "invalid-code"
    INVALID_DISPLAY = "invalid-display"
    DISPLAY_COMMENT = "display-comment"
    CODE_COMMENT = "code-comment"
    CODE_RULE = "code-rule"
    VS_INVALID = "vs-invalid"
    STATUS_CHECK = "status-check"
    VERSION_ERROR = "version-error"
    CANNOT_INFER = "cannot-infer"
    INVALID_DATA = "invalid-data"
    MESSAGE = "msg"
    PROCESSING_NOTE = "process-note"


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue; `code` is of IssueType (`code-invalid`, `not-found`, `invalid`, `business-rule`, …)."""

    severity: Severity
    code: str
    text: str
    tx: TxType | None = None
    expression: str | None = None
    message_id: str | None = None


def issue_json(issue: Issue) -> Json:
    """OperationOutcome.issue."""
    details: dict[str, Json] = {}
    if issue.tx is not None:
        details["coding"] = [{"system": TX_ISSUE_TYPE, "code": issue.tx.value}]
    details["text"] = issue.text
    entry: dict[str, Json] = {"severity": issue.severity.value, "code": issue.code, "details": details}
    if issue.message_id is not None:
        entry["extension"] = [{"url": MESSAGE_ID, "valueString": issue.message_id}]
    if issue.expression is not None:
        entry |= {"location": [issue.expression], "expression": [issue.expression]}
    return entry


def outcome_json(issues: Iterable[Issue]) -> Json:
    """The OperationOutcome with these issues; at least one is required."""
    return {"resourceType": "OperationOutcome", "issue": [issue_json(issue) for issue in issues]}


class TerminologyFault(Fault):
    """An operation that cannot be performed; `issues` say why."""

    kind = FaultKind.UNPROCESSABLE
    code = "processing"
    tx: TxType | None = None

    def __init__(self, text: str, *, expression: str | None = None) -> None:
        super().__init__(text)
        self.issues: Sequence[Issue] = (Issue(Severity.ERROR, self.code, text, self.tx, expression),)

    @classmethod
    def of(cls, issue: Issue) -> Self:
        """The fault that this issue is."""
        fault = cls(issue.text, expression=issue.expression)
        fault.issues = (issue,)
        return fault


class InvalidInput(TerminologyFault):
    """A parameter of the operation is missing or makes no sense; the text names it."""

    kind = FaultKind.INVALID
    code = "invalid"


class NotKnown(TerminologyFault):
    """A code system, value set, concept map or code that is not known here."""

    kind = FaultKind.NOT_FOUND
    code = "not-found"
    tx = TxType.NOT_FOUND


class InvalidFilter(TerminologyFault):
    """A filter of a value set that makes no sense, or is not understood for this code system."""

    code = "invalid"
    tx = TxType.VS_INVALID


class InvalidDefinition(TerminologyFault):
    """A value set, code system or concept map that cannot be worked with: imports itself, has a cycle."""

    code = "invalid"
    tx = TxType.VS_INVALID


class TooCostly(TerminologyFault):
    """More codes than are told at once, or more work than is done for one request."""

    code = "too-costly"


class NotSupported(TerminologyFault):
    """What the standard has and this server does not do."""

    code = "not-supported"


class VersionConflict(TerminologyFault):
    """Parameters that ask for two versions of the same thing, or a version that another forbids."""

    code = "exception"
    tx = TxType.VERSION_ERROR
