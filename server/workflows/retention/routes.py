"""What the retention rules would delete: a look before, and beside, what they do."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from server.kernel.access import access_of
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import instant_text
from server.kernel.services import Services
from server.workflows.retention.apply import Due, find_due

SHOWN = 100  # studies of each rule


def build_router(services: Services) -> APIRouter:
    """The routes of administrators."""
    router = APIRouter(tags=["administration"])

    @router.get("/retention")
    async def preview(request: Request) -> Response:
        """The rules in force, and the first studies that are due by each; nothing is done to them."""
        access = access_of(request.scope)
        access.require_administrator()
        entry = AuditEntry(access.principal, Action.READ, "list-retention", "Administration")
        await services.read_audit.record(entry)
        due = [await find_due(services, rule, SHOWN + 1) for rule in services.retention.rules]
        return JSONResponse({"rules": [_shown(each) for each in due]})

    return router


def _shown(due: Due) -> dict[str, Any]:
    studies = [
        {
            "studyInstanceUID": study.study_instance_uid,
            "studyDate": study.study_date or None,
            "received": instant_text(study.created_us),
        }
        for study in due.studies[:SHOWN]
    ]
    more = len(due.studies) > SHOWN
    return {"rule": str(due.rule), "dryRun": due.rule.dry_run, "due": studies, "more": more}
