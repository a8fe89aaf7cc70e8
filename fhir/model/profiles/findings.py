"""What a check of profiles has found, with a limit on how much is said."""

from dataclasses import dataclass, field

from fhir.model.validation.issue import Issue, IssueType, Severity
from fhir.model.validation.report import MAX_ISSUES


@dataclass(slots=True)
class Findings:
    """Issues in the order of the check; what is found twice is said once."""

    issues: list[Issue] = field(default_factory=list)
    has_errors: bool = False

    def error(self, code: IssueType, text: str, place: str) -> None:
        """Note a broken rule."""
        self.add(Severity.ERROR, code, text, place)

    def add(self, severity: Severity, code: IssueType, text: str, place: str) -> None:
        """Note something, unless enough is said."""
        self.has_errors = self.has_errors or severity is Severity.ERROR
        issue = Issue(severity, code, text, place)
        if len(self.issues) < MAX_ISSUES and issue not in self.issues:
            self.issues.append(issue)
