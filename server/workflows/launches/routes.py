"""Launches below `/admin/api`: what an EHR calls when its user opens an app (SMART 2.2, EHR launch)."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from server.auth.launches import LAUNCH_US, require_launcher
from server.kernel.access import access_of
from server.kernel.clock import SECOND_US
from server.kernel.services import Services
from server.workflows.launches.prepare import prepare
from server.workflows.launches.requests import read_launch


def build_router(services: Services) -> APIRouter:
    """The route of launches; it needs an administrator, or a client that may launch."""
    router = APIRouter(tags=["administration"])

    @router.post("/launches", status_code=201)
    async def launches(request: Request) -> Response:
        """Prepare a launch; the answer has what the app's launch URL gets, good for one use."""
        by = await require_launcher(services.database, access_of(request.scope))
        handle = await prepare(services.database, read_launch(await request.body()), by)
        told = {
            "iss": f"{services.public_base}/fhir",
            "launch": handle,
            "expires_in": LAUNCH_US // SECOND_US,
        }
        return JSONResponse(told, 201, {"Cache-Control": "no-store"})

    return router
