"""Faults become OperationOutcomes, every kind of them."""

import pytest

from fhir.model.validation.issue import InvalidResource, Issue, IssueType, Severity, error
from fhir.outcome import ISSUE_TYPE_OF, FhirFault, operation_outcome, outcome_of
from server.kernel.faults import Busy, Fault, FaultKind, NotFound


def test_every_kind_of_fault_has_an_issue_code() -> None:
    assert set(ISSUE_TYPE_OF) == set(FaultKind)


@pytest.mark.parametrize(
    ("fault", "code"), [(NotFound("gone fishing"), "not-found"), (Busy("later"), "transient")]
)
def test_a_fault_says_its_kind_and_text(fault: Fault, code: str) -> None:
    (issue,) = outcome_of(fault)["issue"]
    assert (issue["severity"], issue["code"], issue["details"]["text"]) == ("error", code, str(fault))


def test_a_fault_without_text_says_its_status() -> None:
    assert outcome_of(NotFound())["issue"][0]["details"]["text"] == "Not Found"


def test_a_fhir_fault_states_its_own_code() -> None:
    class SeveralMatch(FhirFault):
        kind = FaultKind.PRECONDITION_FAILED
        issue_type = IssueType.MULTIPLE_MATCHES

    assert outcome_of(SeveralMatch("two match"))["issue"][0]["code"] == "multiple-matches"


def test_an_invalid_resource_lists_every_broken_rule() -> None:
    issues = [error(IssueType.VALUE, "no date", "Patient.birthDate"), error(IssueType.REQUIRED, "missing")]
    outcome = outcome_of(InvalidResource(issues))
    assert [i.get("expression") for i in outcome["issue"]] == [["Patient.birthDate"], None]


def test_a_warning_keeps_its_severity() -> None:
    outcome = operation_outcome([Issue(Severity.WARNING, IssueType.BUSINESS_RULE, "odd")])
    assert outcome["issue"][0]["severity"] == "warning"
