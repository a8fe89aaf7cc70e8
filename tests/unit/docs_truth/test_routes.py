"""Every route stands in docs/ as `METHOD /path`, and no such route is documented that is not there."""

import asyncio
import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from starlette.routing import Route

from server.app import build_app, build_services, close_services
from server.settings import Settings

METHODS = "GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS"
WRITTEN = re.compile(rf"`({METHODS}) (/[^`\s?]*)`")


def routes_of(app: FastAPI) -> Iterator[str]:
    """The API by its own description, and what FastAPI adds beside it."""
    for path, operations in app.openapi()["paths"].items():
        yield from (f"{method.upper()} {path}" for method in operations)
    for route in app.routes:
        if isinstance(route, Route):
            yield from (f"{method} {route.path}" for method in (route.methods or ()) if method != "HEAD")


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    settings = Settings(data=tmp_path_factory.mktemp("data"), worker=False)
    services = build_services(settings)
    found = set(routes_of(build_app(settings, services)))
    asyncio.run(close_services(services))
    return found


def test_every_route_stands_in_docs(routes: set[str], reference: dict[str, str]) -> None:
    told = {f"{method} {path}" for text in reference.values() for method, path in WRITTEN.findall(text)}
    assert sorted(routes - told) == []


def test_no_route_is_documented_that_is_not_there(routes: set[str], reference: dict[str, str]) -> None:
    templates = {re.sub(r"\{\w+\}", "{}", route) for route in routes}
    roots = {route.split("/")[1] for route in routes}
    for name, text in reference.items():
        for method, path in WRITTEN.findall(text):
            if path.split("/")[1] in roots:  # others are relative to a root that the document names
                assert re.sub(r"\{\w+\}", "{}", f"{method} {path}") in templates, f"{name}: {method} {path}"


def test_there_are_routes_to_look_for(routes: set[str]) -> None:
    assert {"POST /dicom-web/studies", "GET /fhir/{resource_type}", "GET /livez", "GET /docs"} <= routes
