"""Emergency accesses below `/admin/api`: the list of them, and a verdict on each."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from server.auth.administration.requests import Body, read_body
from server.auth.emergency.review import Verdict, list_accesses, require_reviewer, review
from server.kernel.access import access_of
from server.kernel.audit import Action, AuditEntry
from server.kernel.services import Services

After = Annotated[int, Query(ge=0, lt=2**63)]
Number = Annotated[int, Path(ge=1, lt=2**63)]


class VerdictBody(Body, frozen=True):
    """What a reviewer says."""

    verdict: Verdict
    note: str | None = None


def build_router(services: Services) -> APIRouter:
    """The routes; they need an auditor or an administrator."""
    router = APIRouter(tags=["administration"])
    database = services.database

    @router.get("/emergency-accesses")
    async def accesses(request: Request, reviewed: bool | None = None, after: After = 0) -> Response:
        """Who broke the glass, why, and what was said of it."""
        by = await require_reviewer(database, access_of(request.scope))
        entry = AuditEntry(by, Action.READ, "list-emergency-accesses", "Administration")
        await services.read_audit.record(entry)
        page = await list_accesses(database, services.public_base, reviewed=reviewed, after=after)
        return JSONResponse(page)

    @router.post("/emergency-accesses/{number}/review", status_code=204)
    async def give_verdict(request: Request, number: Number) -> Response:
        """Say once whether an emergency access was justified; not one's own."""
        by = await require_reviewer(database, access_of(request.scope))
        said = read_body(await request.body(), VerdictBody)
        await review(database, number, by, said.verdict, said.note)
        return Response(status_code=204)

    return router
