"""`/admin/api/subscriptions`: how the Subscriptions stand."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from server.kernel.access import access_of
from server.kernel.audit import Action, AuditEntry
from server.kernel.services import Services
from server.workflows.subscriptions.overview import list_subscriptions

After = Annotated[int, Query(ge=0, lt=2**63)]  # a key of the database


def build_router(services: Services) -> APIRouter:
    """The list, for administrators: it tells of Subscriptions of every client."""
    router = APIRouter(tags=["administration"])

    @router.get("/subscriptions")
    async def subscriptions(request: Request, after: After = 0) -> Response:
        """Subscriptions with status, last error and what waits; a PUT of `requested` starts one again."""
        access = access_of(request.scope)
        access.require_administrator()
        entry = AuditEntry(access.principal, Action.READ, "list-subscriptions", "Administration")
        await services.read_audit.record(entry)
        return JSONResponse(await list_subscriptions(services.database, after))

    return router
