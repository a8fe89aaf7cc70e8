"""What a validation has to say, gathered: issues, their summary, and systems that are not known."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from terminology.issues import Issue, Severity, TxType
from terminology.messages import NOT_CHECKED, Message


@dataclass(slots=True)
class Findings:
    """Each issue once, in order."""

    issues: list[Issue] = field(default_factory=list)
    unknown: dict[str, None] = field(default_factory=dict)  # systems, with the version that is missing
    _summary: dict[str, None] = field(default_factory=dict)

    def say(self, message: Message, expression: str | None = None, **values: str) -> None:
        """One thing more."""
        self.add(message.issue(expression, **values), in_summary=message.in_summary)

    def add(self, issue: Issue, *, in_summary: bool = False) -> None:
        """One issue more."""
        if issue not in self.issues:
            self.issues.append(issue)
        if in_summary or issue.severity is Severity.ERROR:
            self._summary[issue.text] = None

    def miss(self, issue: Issue, canonical: str) -> None:
        """A code system that is not known is said once."""
        if canonical not in self.unknown:
            self.unknown[canonical] = None
            self.add(issue)

    def merge(self, other: "Findings") -> None:
        """All that another has."""
        if other.issues:
            self.issues += [each for each in other.issues if each not in self.issues]
            self.unknown |= other.unknown
            self._summary |= other._summary

    @property
    def failed(self) -> bool:
        """Whether one of the issues is an error."""
        return any(each.severity is Severity.ERROR for each in self.issues)

    @property
    def summary(self) -> str | None:
        """All that matters, in one string; None: nothing does."""
        return "; ".join(sorted(self._summary)) or None

    def excuse(self, systems: Sequence[tuple[str, str]]) -> None:
        """Systems that are not known are no errors where another coding was right: (path, system)."""
        names = dict(systems)
        for at, issue in enumerate(self.issues):
            if (
                issue.tx is TxType.NOT_FOUND
                and issue.severity is Severity.ERROR
                and issue.expression in names
            ):
                self._summary.pop(issue.text, None)
                excused = NOT_CHECKED.issue(issue.expression, system=names[issue.expression])
                self.issues[at] = excused
                self._summary[excused.text] = None
