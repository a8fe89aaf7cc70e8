"""`/admin/api/consents`: which Consents are not enforced, and why."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from server.kernel.access import access_of
from server.kernel.audit import Action, AuditEntry
from server.kernel.consents.keep import State
from server.kernel.services import Services
from server.workflows.consents.overview import list_consents

After = Annotated[int, Query(ge=0, lt=2**63)]  # a key of the database


def build_router(services: Services) -> APIRouter:
    """The list, for administrators."""
    router = APIRouter(tags=["administration"])

    @router.get("/consents")
    async def consents(request: Request, enforced: bool = False, after: After = 0) -> Response:
        """Active Consents that are not enforced, with the reasons; or those that are."""
        access = access_of(request.scope)
        access.require_administrator()
        entry = AuditEntry(access.principal, Action.READ, "list-consents", "Administration")
        await services.read_audit.record(entry)
        state = State.ENFORCED if enforced else State.UNENFORCED
        return JSONResponse(await list_consents(services.database, after, state))

    return router
