"""The short way: a router's plain routes answer before the router, in the same words as it would."""

from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server.http.doors import include_behind
from server.http.head import HeadAsGet
from server.http.problem import problem_response
from server.http.short_way import ShortWay, take_plain_routes
from server.http.unrouted import answer_unrouted
from server.kernel.faults import NotFound


async def read(request: Request) -> Response:
    """Answers with what it was given; "none" is not there."""
    if request.path_params["id"] == "none":
        raise NotFound("There is no such resource.")
    return JSONResponse([request.path_params["id"], request.scope["route"].path])


async def anything(path: str) -> str:
    """The router's own route."""
    return f"router: {path}"


def make_app() -> FastAPI:
    def answer(_scope: Any, fault: Any) -> Response:
        return problem_response(fault)

    router = APIRouter()
    router.routes.append(Route("/Patient/{id:int}", read, methods=["GET"]))
    router.routes.append(Route("/Patient/{id}", read, methods=["GET"]))
    router.add_api_route("/{path:path}", anything, methods=["GET", "POST"])
    plain = take_plain_routes(router, "/fhir")
    app = FastAPI(middleware=[Middleware(HeadAsGet), Middleware(ShortWay, plain, answer)])
    include_behind(app, "/fhir", router)
    answer_unrouted(app, answer)
    return app


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/fhir/Patient/7", 200, ["7", "/fhir/Patient/{id}"]),
        ("GET", "/fhir/Patient/seven", 200, ["seven", "/fhir/Patient/{id}"]),
        ("HEAD", "/fhir/Patient/7", 200, None),
        ("POST", "/fhir/Patient/7", 200, "router: Patient/7"),
        ("GET", "/fhir/Patient/7/more", 200, "router: Patient/7/more"),
        ("GET", "/elsewhere/Patient/7", 404, "There is no such resource."),
        ("GET", "/fhir/Patient/none", 404, "There is no such resource."),
        ("HEAD", "/fhir/Patient/none", 404, None),
    ],
)
async def test_who_answers(method: str, path: str, status: int, body: Any) -> None:
    transport = httpx.ASGITransport(make_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        response = await client.request(method, path)
    assert response.status_code == status
    told = response.json() if response.content else None
    assert (told["detail"] if status == 404 and told else told) == body
