"""An application on the HTTP floor, with the doors' answers."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import JSONResponse, Response

from server.http.body_limit import BodyLimits
from server.http.floor import HttpFloor, build_middleware
from server.http.health import Readiness, build_router
from server.http.metrics import Metrics
from server.http.problem import answer_by_door
from server.kernel.faults import Busy, Fault, NotFound, TooLarge

UID = "1.2.840.99999.4711"


def fhir_answer(fault: Fault) -> Response:
    return JSONResponse({"resourceType": "OperationOutcome"}, status_code=int(fault.status))


async def echo(request: Request) -> Response:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return Response(str(size))


async def read_wrongly(request: Request) -> Response:
    """Swallows what `receive` raises."""
    try:
        await request.body()
    except TooLarge:
        return Response("took it")
    return Response("fits")


async def boom() -> Response:
    raise ValueError("Doe^John 1970-01-01")


async def missing() -> Response:
    raise NotFound("Nothing by that name.")


async def busy() -> Response:
    raise Busy("Later.")


def make_app(floor: HttpFloor) -> FastAPI:
    app = FastAPI(middleware=build_middleware(floor))
    app.include_router(build_router(Readiness([]), Metrics()))
    dicom_web = APIRouter()
    dicom_web.add_api_route("/studies/{study}", echo, methods=["GET", "POST"])
    app.include_router(dicom_web, prefix="/dicom-web")
    app.add_api_route("/fhir/Patient", read_wrongly, methods=["POST"])
    app.add_api_route("/fhir/boom", boom)
    app.add_api_route("/boom", boom)
    app.add_api_route("/missing", missing)
    app.add_api_route("/busy", busy)
    return app


@pytest.fixture
def floor() -> HttpFloor:
    limits = BodyLimits({"/dicom-web": 1000, "/dicom-web/studies": 2000, "/fhir": 10}, elsewhere=100)
    return HttpFloor(answer_by_door({"/fhir": fhir_answer}), {"testserver"}, limits, https=False)


Client = Callable[..., Any]


@pytest.fixture
async def client(floor: HttpFloor) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(make_app(floor)) as http:
        yield http


@asynccontextmanager
async def connect(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
        yield http
