"""The group of a request, by which latency, traffic, errors and saturation are watched.

Told from method and path before any route is looked up, so that requests under way are counted by it too.
Closed set: nothing of the path gets out.
"""

from collections.abc import Mapping
from enum import Enum

from starlette.types import Scope


class RouteGroup(Enum):
    """What a request is about."""

    STOW = "stow"
    QIDO = "qido"
    WADO = "wado"
    UPS = "ups"
    FHIR_READ = "fhir-read"
    FHIR_SEARCH = "fhir-search"
    FHIR_WRITE = "fhir-write"
    FHIR_OPERATION = "fhir-operation"  # $everything and its kin
    AUTH = "auth"
    ADMIN = "admin"
    HEALTH = "health"
    OTHER = "other"  # pages, descriptions, what no door knows


_DOORS: Mapping[str, RouteGroup] = {
    "auth": RouteGroup.AUTH,
    ".well-known": RouteGroup.AUTH,
    "admin": RouteGroup.ADMIN,
    "livez": RouteGroup.HEALTH,
    "readyz": RouteGroup.HEALTH,
    "metrics": RouteGroup.HEALTH,
}
_LISTS = frozenset({"studies", "series", "instances"})  # last segments of a search (PS3.18 Table 10.6.1-1)
_READS = frozenset({"GET", "HEAD"})


def route_group(scope: Scope) -> RouteGroup:
    """The group of a request."""
    door, _, rest = scope["path"].lstrip("/").partition("/")
    if door == "dicom-web":
        return _dicomweb(scope["method"], rest)
    if door == "fhir":
        return _fhir(scope["method"], rest)
    return _DOORS.get(door, RouteGroup.OTHER)


def _dicomweb(method: str, rest: str) -> RouteGroup:
    if method == "OPTIONS":
        return RouteGroup.OTHER
    if rest.startswith("workitems"):
        return RouteGroup.UPS
    if method not in _READS:
        return RouteGroup.STOW
    return RouteGroup.QIDO if rest.rpartition("/")[2] in _LISTS else RouteGroup.WADO


def _fhir(method: str, rest: str) -> RouteGroup:
    if "$" in rest:
        return RouteGroup.FHIR_OPERATION
    if rest.startswith(".well-known"):
        return RouteGroup.AUTH
    if method not in _READS:
        return RouteGroup.FHIR_SEARCH if rest.endswith("_search") else RouteGroup.FHIR_WRITE
    is_of_compartment = rest.count("/") == 2 and "/_history" not in rest  # Patient/1/Observation
    is_read = ("/" in rest and not is_of_compartment) or rest == "metadata"
    return RouteGroup.FHIR_READ if is_read else RouteGroup.FHIR_SEARCH
