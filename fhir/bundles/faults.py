"""What is wrong with a Bundle, and with which entry: `Bundle.entry[n]` in the expression of every issue."""

from collections.abc import Iterable

from fhir.model.validation.issue import InvalidResource, Issue, IssueType, error
from fhir.outcome import issues_of
from server.kernel.faults import Fault, FaultKind

_ROOT = "Bundle.entry"


class EntryFailed(InvalidResource):
    """An entry cannot be processed; it has the status that the entry alone would have."""

    kind: FaultKind  # type: ignore[misc]  # of what failed

    def __init__(self, kind: FaultKind, issues: Iterable[Issue]) -> None:
        super().__init__(tuple(issues))
        self.kind = kind


def place_of(number: int, below: str = "") -> str:
    """The FHIRPath of an entry (index base 0), or of an element in it."""
    return f"{_ROOT}[{number}].{below}" if below else f"{_ROOT}[{number}]"


def invalid_entry(
    number: int, text: str, below: str = "", code: IssueType = IssueType.INVALID
) -> EntryFailed:
    """A mistake in an entry: 400."""
    return EntryFailed(FaultKind.INVALID, [error(code, text, place_of(number, below))])


def at_entry(number: int, fault: Fault, resource_type: str | None = None) -> EntryFailed:
    """The fault of an entry's interaction, its expressions read from the Bundle on."""
    if isinstance(fault, EntryFailed):
        return fault
    issues = [
        Issue(each.severity, each.code, each.text, _moved(number, each.expression, resource_type))
        for each in issues_of(fault)
    ]
    return EntryFailed(fault.kind, issues)


def _moved(number: int, expression: str | None, resource_type: str | None) -> str:
    if expression is None or resource_type is None:
        return place_of(number)
    first, dot, rest = expression.partition(".")
    below = f"resource{dot}{rest}" if first == resource_type else f"resource.{expression}"
    return place_of(number, below)
