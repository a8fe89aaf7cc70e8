"""What a walk has found so far, with a limit on how much one answer says, and the resource it is in."""

from dataclasses import dataclass, field
from typing import Any

from fhir.model.validation.issue import Issue, IssueType, Severity
from fhir.model.validation.path import Path, expression

MAX_ISSUES = 100  # of one resource; enough for a person to work through, and a bound for a hostile Bundle


class Enough(Exception):
    """`MAX_ISSUES` are reported."""


@dataclass(slots=True)
class Within:
    """A resource that the walk is in, the element whose value it is, and what is around that."""

    resource: dict[str, Any]
    name: str
    outer: "Within | None" = None
    item: Any = None  # as FHIRPath sees it, once an invariant asked
    contained_ids: frozenset[str] | None = None  # once a reference asked


@dataclass(slots=True)
class Report:
    """The issues of one walk, in the order of the resource; `within` is the nearest resource around it."""

    issues: list[Issue] = field(default_factory=list)
    with_warnings: bool = False
    within: Within | None = None

    def error(
        self, code: IssueType, text: str, path: Path, name: str | None = None, index: int | None = None
    ) -> None:
        """Note a broken rule at an element of `path`, or at `path` itself.

        Raises:
            Enough: the report is full.
        """
        self._note(Issue(Severity.ERROR, code, text, expression(path, name, index)))

    def add(self, severity: Severity, code: IssueType, text: str, path: Path) -> None:
        """Note something at `path` that may be less than an error.

        Raises:
            Enough: the report is full.
        """
        self._note(Issue(severity, code, text, expression(path)))

    def _note(self, issue: Issue) -> None:
        self.issues.append(issue)
        if len(self.issues) >= MAX_ISSUES:
            raise Enough
