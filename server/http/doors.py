"""Routers behind a path prefix that are passed by when a request is not for them.

FastAPI tries every route of every included router in turn, at some microseconds each, whatever the prefix:
a FHIR read would be compared with every DICOMweb route before its own.
"""

from fastapi import APIRouter, FastAPI
from starlette.routing import Match
from starlette.types import Scope


def include_behind(app: FastAPI, prefix: str, *routers: APIRouter) -> None:
    """Include routers whose routes all begin with `prefix`."""
    for router in routers:
        _pass_by(router, f"{prefix}/")
        app.include_router(router, prefix=prefix)


def _pass_by(router: APIRouter, door: str) -> None:
    """Answer for all routes at once when the path leads elsewhere."""
    ask_routes = router.matches

    def matches(scope: Scope) -> tuple[Match, Scope]:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path.startswith(door) or path == door[:-1]:
            return ask_routes(scope)
        return Match.NONE, {}

    router.matches = matches  # type: ignore[method-assign]
