"""Routers become part of a test's application, as if it had declared their routes itself.

FastAPI's `include_router` keeps a router as it is, and analyses each route a second time when the first
request comes: 40 ms for the DICOMweb studies service, of which a test makes one request or two.
"""

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute
from fastapi.utils import generate_unique_id
from starlette.routing import Route, compile_path


def add_router(app: FastAPI, router: APIRouter, prefix: str = "") -> None:
    """Move the routes of a router into the application, below a prefix; its lifespan goes with them."""
    routes, router.routes[:] = list(router.routes), []
    app.include_router(router)  # for its lifespan
    for route in routes:
        if not isinstance(route, APIRoute | APIWebSocketRoute | Route):
            raise TypeError(f"a {type(route).__name__} among the routes")
        route.path = prefix + route.path
        route.path_regex, route.path_format, route.param_convertors = compile_path(route.path)
        if isinstance(route, APIRoute):
            route.unique_id = generate_unique_id(route)
        app.router.routes.append(route)
