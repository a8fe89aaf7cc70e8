"""One walk over a resource: structure, cardinality, types, codes, choices, references, narrative, invariants
(FHIR R4 validation.html).
"""

from typing import Any

from fhir.model.validation.definitions import resource_types
from fhir.model.validation.issue import InvalidResource, Issue, IssueType, error
from fhir.model.validation.report import Enough, Report, Within
from fhir.model.validation.rules import check_object, node_of


def validate(resource: dict[str, Any], *, with_warnings: bool = False) -> list[Issue]:
    """Every broken rule of a resource as the JSON reader gives it, up to `MAX_ISSUES`; empty: it is valid.

    With `with_warnings` also what R4 only advises against.
    """
    type_name = resource.get("resourceType")
    if type(type_name) is not str or type_name not in resource_types():
        return [error(IssueType.STRUCTURE, "resourceType names no resource of FHIR R4.")]
    report = Report(with_warnings=with_warnings, within=Within(resource, type_name))
    try:
        check_object(resource, node_of(type_name), (None, type_name, None, 1), report)
    except Enough:
        report.issues.append(error(IssueType.INCOMPLETE, "There are more mistakes than this answer lists."))
    return report.issues


def require_valid(resource: dict[str, Any]) -> None:
    """Let a valid resource pass.

    Raises:
        InvalidResource: with every issue.
    """
    issues = validate(resource)
    if issues:
        raise InvalidResource(issues)
