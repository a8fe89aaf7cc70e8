"""What a walk has found so far, with a limit on how much one answer says."""

from dataclasses import dataclass, field

from fhir.model.validation.issue import Issue, IssueType, error
from fhir.model.validation.path import Path, expression

MAX_ISSUES = 100  # of one resource; enough for a person to work through, and a bound for a hostile Bundle


class Enough(Exception):
    """`MAX_ISSUES` are reported."""


@dataclass(slots=True)
class Report:
    """The issues of one walk, in the order of the resource."""

    issues: list[Issue] = field(default_factory=list)

    def error(
        self, code: IssueType, text: str, path: Path, name: str | None = None, index: int | None = None
    ) -> None:
        """Note a broken rule at an element of `path`, or at `path` itself.

        Raises:
            Enough: the report is full.
        """
        self.issues.append(error(code, text, expression(path, name, index)))
        if len(self.issues) >= MAX_ISSUES:
            raise Enough
