"""The route of a request, as logs and metrics may name it.

A path holds identifiers of patients and studies; its template (`/dicom-web/studies/{study}`) does not.
"""

from starlette.types import Scope

UNMATCHED = "unmatched"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def route_template(scope: Scope) -> str:
    """The template of the route that took the request; "unmatched" when none did."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else UNMATCHED


def method_label(scope: Scope) -> str:
    """The method, or OTHER: a client cannot make up label values."""
    method = scope.get("method", "")
    return method if method in METHODS else "OTHER"
