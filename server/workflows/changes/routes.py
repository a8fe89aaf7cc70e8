"""`/admin/api/changes`: the change feed of the archive."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from server.kernel.access import access_of
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import instant_text
from server.kernel.services import Services
from server.workflows.changes.feed import change_of, read_changes

MAX_CHANGES = 1000  # of one answer


def build_router(services: Services) -> APIRouter:
    """The feed, for administrators: it tells of studies of every patient."""
    router = APIRouter(tags=["administration"])

    @router.get("/changes")
    async def changes(
        request: Request,
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_CHANGES)] = MAX_CHANGES,
    ) -> Response:
        """Changes after the cursor `after`, oldest first, and the cursor to ask with next."""
        access = access_of(request.scope)
        access.require_administrator()
        page = await read_changes(services, after, limit)
        entry = AuditEntry(access.principal, Action.READ, "list-changes", "Administration")
        await services.read_audit.record(entry)
        told = [
            {**change_of(event, orjson.loads(event.payload)), "at": instant_text(event.occurred_us)}
            for event in page.events
        ]
        return JSONResponse({"changes": told, "next": page.cursor, "more": page.more})

    return router
