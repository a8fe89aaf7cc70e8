"""What is said of a Consent that is not enforced, to who writes it or asks for it to be validated."""

from collections.abc import Sequence
from typing import Any

from fhir.consents.compile import compile_consent
from fhir.consents.keep import CONSENT
from fhir.model.validation.issue import Issue, IssueType, Severity
from fhir.search.value import Surroundings


def issues_of_consent(resource: Any, around: Surroundings) -> Sequence[Issue]:
    """A warning for each reason; of a valid resource of any type."""
    if resource.get("resourceType") != CONSENT:
        return ()
    return [
        Issue(Severity.WARNING, IssueType.NOT_SUPPORTED, f"This Consent is not enforced: {text}", element)
        for element, text in compile_consent(resource, around).reasons
    ]
