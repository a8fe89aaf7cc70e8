"""What terminology operations say of codes, systems and value sets: every sentence in one table.

Severities and codes are those of the terminology ecosystem's test cases, whose validators read them; the
sentences name what they name, and where a case fixes a wording they keep to it (HL7 terminology ecosystem
guide; FHIR R4 codesystem-issue-type.html).
"""

from typing import NamedTuple

from terminology.issues import Issue, Severity, TxType


class Message(NamedTuple):
    """One kind of thing that is said; `text` has the names of what it speaks of in braces."""

    severity: Severity
    code: str  # IssueType
    tx: TxType | None
    text: str

    def issue(self, expression: str | None = None, **values: str) -> Issue:
        """The issue that says it of these values."""
        return Issue(self.severity, self.code, self.text.format(**values), self.tx, expression)


def _error(code: str, tx: TxType | None, text: str) -> Message:
    return Message(Severity.ERROR, code, tx, text)


def _warning(code: str, tx: TxType | None, text: str) -> Message:
    return Message(Severity.WARNING, code, tx, text)


def _information(code: str, tx: TxType | None, text: str) -> Message:
    return Message(Severity.INFORMATION, code, tx, text)


VALIDATED = "so the code cannot be validated"
EXPANDED = "so the value set cannot be expanded"

# Systems and versions; `consequence`: VALIDATED, EXPANDED
UNKNOWN_SYSTEM = _error(
    "not-found", TxType.NOT_FOUND, "A definition for CodeSystem '{system}' could not be found, {consequence}"
)
UNKNOWN_VERSION = _error(
    "not-found",
    TxType.NOT_FOUND,
    "A definition for CodeSystem '{system}' version '{version}' could not be found, {consequence}. "
    "Valid versions: {versions}",
)
UNKNOWN_SYSTEM_OF_VERSION = _error(
    "not-found",
    TxType.NOT_FOUND,
    "A definition for CodeSystem '{system}' version '{version}' could not be found, {consequence}. "
    "No versions of this code system are known",
)
UNKNOWN_VALUE_SET = _error(
    "not-found", TxType.NOT_FOUND, "A definition for the value Set '{value_set}' could not be found"
)
VERSION_NOT_ALLOWED = _error(
    "exception",
    TxType.VERSION_ERROR,
    "The version '{version}' is not allowed for system '{system}': required to be '{required}' by a "
    "version-check parameter",
)
