"""The route of a request, as logs and metrics may name it.

A path holds identifiers of patients and studies; its template (`/dicom-web/studies/{study}`) does not.
"""

from starlette.types import Scope

UNMATCHED = "unmatched"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def route_template(scope: Scope) -> str:
    """The template of the route that took the request; "unmatched" when none did."""
    # Newer FastAPI versions keep an included route as its router made it, and the whole path beside it.
    included = scope.get("fastapi", {}).get("effective_route_context")
    for route in (included, scope.get("route")):
        path = getattr(route, "path", None)
        if isinstance(path, str):
            return path
    return UNMATCHED


def method_label(scope: Scope) -> str:
    """The method, or OTHER: a client cannot make up label values."""
    method = scope.get("method", "")
    return method if method in METHODS else "OTHER"
