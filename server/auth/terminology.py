"""What a request without a token may do where the terminology service is open (setting `open_terminology`).

To read and search CodeSystem, ValueSet and ConceptMap, but for those that name a patient, and to invoke the
operations of the terminology service (FHIR R4 terminology-service.html). All else asks for a token as ever.
"""

import re

from starlette.types import Scope

from server.kernel.access import Access, Context, Grant, Permission, Principal

TYPES = ("CodeSystem", "ValueSet", "ConceptMap")
OPERATIONS = ("lookup", "validate-code", "subsumes", "expand", "translate", "batch-validate-code")

_READS = frozenset({Permission.READ, Permission.SEARCH})
# Confined to no patient at all: what names one is out of its reach.
VISITOR = Access(
    Principal("visitor", "visitor of the terminology service"),
    tuple(Grant(Context.SYSTEM, each, _READS) for each in TYPES),
    patient_ids=frozenset(),
)

_TYPE = f"/fhir/(?:{'|'.join(TYPES)})"
_OPERATION = f"[$](?:{'|'.join(OPERATIONS)})"
_ASKED = re.compile(f"(?:{_TYPE}(?:/[^/]+)?|/fhir)/{_OPERATION}")
_READ = re.compile(rf"{_TYPE}(?:/[A-Za-z0-9\-.]{{1,64}}(?:/_history(?:/[^/]+)?)?|/_history)?")
_SEARCHED = re.compile(f"{_TYPE}/_search")


def is_of_terminology(scope: Scope) -> bool:
    """Whether a request is one that needs no token then."""
    if scope["type"] != "http":
        return False
    path, method = scope["path"], scope["method"]
    if _ASKED.fullmatch(path) is not None:
        return method in ("GET", "HEAD", "POST")
    if method == "POST":
        return _SEARCHED.fullmatch(path) is not None
    return method in ("GET", "HEAD") and _READ.fullmatch(path) is not None
