"""Reference.reference: its forms, and the types it may name (FHIR R4 references.html#literal)."""

import re
from collections.abc import Callable
from typing import Any

from fhir.model.validation.definitions import resource_types
from fhir.model.validation.issue import IssueType
from fhir.model.validation.path import Path
from fhir.model.validation.report import Report

# Type/id, Type/id/_history/version, and the conditional Type?criteria of a transaction
_RELATIVE = re.compile(
    r"([A-Z][A-Za-z]+)(?:/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?(?:#.*)?|\?.+)"
)
_ABSOLUTE = re.compile(r"#|[A-Za-z][A-Za-z0-9+.\-]*:")  # a fragment, or a URI with its scheme


def checked_reference(targets: tuple[str, ...]) -> Callable[[dict[str, Any], Path, Report], None]:
    """The check of a Reference to these types (empty: any).

    What lies behind an absolute URL, a urn: or a fragment cannot be told from the text, and passes.
    """
    allowed = frozenset(targets) or resource_types()

    def check(reference: dict[str, Any], path: Path, report: Report) -> None:
        literal = reference.get("reference")
        if type(literal) is not str:
            return
        relative = _RELATIVE.fullmatch(literal)
        if relative is None:
            if _ABSOLUTE.match(literal) is None:
                text = "A reference is Type/id, an absolute URI or #id."
                report.error(IssueType.VALUE, text, path, "reference")
        elif relative[1] not in allowed:
            text = "This type of resource does not exist or is not allowed here."
            report.error(IssueType.VALUE, text, path, "reference")

    return check
