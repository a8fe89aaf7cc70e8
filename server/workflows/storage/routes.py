"""Stored objects under `/admin/api`: what was found damaged."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from server.kernel.access import access_of
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import instant_text
from server.kernel.services import Services
from server.workflows.storage.damage import PAGE, list_damaged

After = Annotated[int, Query(ge=0, lt=2**63)]  # a key of the database


def build_router(services: Services) -> APIRouter:
    """The routes of stored objects."""
    router = APIRouter(tags=["administration"])

    @router.get("/objects/damaged")
    async def damaged(request: Request, after: After = 0) -> Response:
        """Instances whose stored bytes are damaged or missing; they are not delivered."""
        access = access_of(request.scope)
        access.require_administrator()
        entry = AuditEntry(access.principal, Action.READ, "list-damaged", "Administration", None)
        await services.read_audit.record(entry)
        return JSONResponse(await _list_damaged(services, after))

    return router


async def _list_damaged(services: Services, after: int) -> dict[str, object]:
    """One page; `after` in the answer leads to the next, None: this is the last."""
    async with services.database.read() as connection:
        rows = await list_damaged(connection, after)
    listed = [
        {
            "sopInstanceUID": row["sop_instance_uid"],
            "object": row["object_name"],
            "problem": row["problem"],
            "found": instant_text(row["found_us"]),
            "checked": instant_text(row["checked_us"]),
        }
        for row in rows
    ]
    return {"damaged": listed, "after": rows[-1]["instance_id"] if len(rows) == PAGE else None}
