"""Retrieve Capabilities: OPTIONS of the service root and of every resource below it (PS3.18 §8.9).

What is described is what the routers route, so nothing is promised that is not there. Any token that is valid
may ask.
"""

from collections.abc import Iterator, Sequence

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from dicomweb.capabilities.description import (
    JSON,
    WADL,
    Method,
    ResourceDescription,
    to_json,
    to_wadl,
)
from dicomweb.urls import ROOT
from dicomweb.wire.faults import NotAcceptable
from dicomweb.wire.media_types import MediaRange, parse_accept
from server.kernel.access import access_of

_WRITERS = {WADL: to_wadl, JSON: to_json, "application/dicom+json": to_json}


def build_router(public_base: str, routers: Sequence[APIRouter]) -> APIRouter:
    """OPTIONS for every path of these routers, and for the root that they are mounted at."""
    router = APIRouter(tags=["DICOMweb"])
    resources = describe(routers)
    base = f"{public_base}{ROOT}/"
    root = ResourceDescription("", ())
    for path in ("", "/"):
        _add(router, path, base, (root, *resources), root)
    for resource in resources:
        _add(router, f"/{resource.path}", base, (resource,), resource)
    return router


def describe(routers: Sequence[APIRouter]) -> list[ResourceDescription]:
    """The resources of routers, in the order of their paths."""
    methods: dict[str, list[Method]] = {}
    for route in (each for router in routers for each in _routes(router.routes)):
        text = (route.endpoint.__doc__ or "").strip().partition("\n")[0]
        for name in sorted(route.methods or ()):
            methods.setdefault(route.path.removeprefix("/"), []).append(Method(name, route.name, text))
    return [ResourceDescription(path, tuple(methods[path])) for path in sorted(methods)]


def _routes(routes: Sequence[BaseRoute]) -> Iterator[APIRoute]:
    """The routes themselves; a router may hold others."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        elif inner := getattr(getattr(route, "original_router", route), "routes", None):
            yield from _routes(inner)


def _add(
    router: APIRouter,
    path: str,
    base: str,
    resources: Sequence[ResourceDescription],
    target: ResourceDescription,
) -> None:
    async def retrieve_capabilities(request: Request) -> Response:
        """Retrieve Capabilities (PS3.18 §8.9)."""
        access_of(request.scope)  # who may do nothing may still ask what could be done
        accept = parse_accept(request.headers.getlist("accept"), request.query_params.get("accept"))
        media_type = _select(accept)
        body = _WRITERS[media_type](base, resources)
        headers = {"Allow": target.allow, "Vary": "Accept, Authorization", "Cache-Control": "private"}
        return Response(body, headers=headers, media_type=media_type)

    router.add_api_route(path, retrieve_capabilities, methods=["OPTIONS"], include_in_schema=False)


def _select(accept: Sequence[MediaRange]) -> str:
    """The media type of the answer; WADL when anything will do (PS3.18 8.9.1).

    Raises:
        NotAcceptable: none of those that there are.
    """
    for each in accept:
        for media_type in _WRITERS:
            family = f"{media_type.partition('/')[0]}/*"
            if each.quality > 0 and each.name in (media_type, family, "*/*"):
                return media_type
    raise NotAcceptable(f"capabilities are had as {', '.join(_WRITERS)}")
