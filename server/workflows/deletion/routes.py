"""Routes of deletion: DELETE below `/dicom-web`; deletion, tombstones and holds below `/admin/api`.

PS3.18 has no transaction that deletes; DELETE of a studies resource needs `ImagingStudy.d` (DESIGN §8).
"""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import RowMapping

from dicomweb.delete.holds import list_holds, release_hold
from dicomweb.delete.tombstones import list_tombstones, release_tombstone
from dicomweb.reach import study_reach
from dicomweb.retrieve.locate import Resource
from server.kernel.access import Access, Permission, access_of
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import instant_text
from server.kernel.services import Services
from server.workflows.deletion.delete import Deletion, delete
from server.workflows.deletion.hold import hold
from server.workflows.deletion.requests import InvalidRequest, read_hold_order, read_reason, require_uid

PAGE = 100  # rows in one answer
BY_DICOMWEB = "Deleted by DICOMweb."  # the reason of a request that can give none
After = Annotated[int, Query(ge=0, lt=2**63)]  # a key of the database


def build_archive_router(services: Services) -> APIRouter:
    """DELETE of studies, series and instances, beside the routes of the studies service."""
    router = APIRouter(default_response_class=Response, tags=["DICOMweb"])

    async def answer(request: Request, resource: Resource) -> Response:
        access = access_of(request.scope)
        reach = study_reach(services, access, Permission.DELETE)
        await delete(services, Deletion(resource, access.principal, BY_DICOMWEB, reach))
        return Response(status_code=204)

    @router.delete("/studies/{study}", status_code=204)
    async def delete_study(request: Request, study: str) -> Response:
        """Delete a study; beyond the standard."""
        return await answer(request, Resource(study))

    @router.delete("/studies/{study}/series/{series}", status_code=204)
    async def delete_series(request: Request, study: str, series: str) -> Response:
        """Delete a series; beyond the standard."""
        return await answer(request, Resource(study, series))

    @router.delete("/studies/{study}/series/{series}/instances/{instance}", status_code=204)
    async def delete_instance(request: Request, study: str, series: str, instance: str) -> Response:
        """Delete an instance; beyond the standard."""
        return await answer(request, Resource(study, series, instance))

    return router


def build_router(services: Services) -> APIRouter:
    """The routes of administrators: each needs one, each is audited."""
    router = APIRouter(tags=["administration"])
    _add_deletion(router, services)
    _add_holds(router, services)
    return router


def _add_deletion(router: APIRouter, services: Services) -> None:
    @router.delete("/studies/{study_instance_uid}")
    async def delete_study(request: Request, study_instance_uid: str) -> Response:
        """Delete a study for a reason that stays with its tombstone."""
        access = _administrator(request)
        reason = read_reason(await request.body())
        reach = access.reach("ImagingStudy", Permission.DELETE)
        deletion = Deletion(Resource(study_instance_uid), access.principal, reason, reach)
        gone = await delete(services, deletion)
        return JSONResponse({"study": study_instance_uid, "instances": gone})

    @router.get("/tombstones")
    async def tombstones(request: Request, after: After = 0) -> Response:
        """What was deleted, by whom and why."""
        await _audit_list(services, _administrator(request), "list-tombstones")
        async with services.database.read() as connection:
            return _page("tombstones", await list_tombstones(connection, after, PAGE))

    @router.post("/tombstones/{uid}/release")
    async def release(request: Request, uid: str) -> Response:
        """Let what was deleted under this UID be stored again."""
        access = _administrator(request)
        require_uid(uid)
        await services.database.transact(lambda unit: release_tombstone(unit, uid, access.principal))
        return JSONResponse({"released": uid})


def _add_holds(router: APIRouter, services: Services) -> None:
    @router.post("/holds")
    async def place(request: Request) -> Response:
        """Place a study, or all studies of a patient, under a legal hold."""
        access = _administrator(request)
        order = read_hold_order(await request.body())
        return JSONResponse({"id": await hold(services, order, access.principal)}, 201)

    @router.get("/holds")
    async def holds(request: Request, after: After = 0, ended: bool = False) -> Response:
        """Legal holds; those that have ended only when asked for."""
        await _audit_list(services, _administrator(request), "list-holds")
        async with services.database.read() as connection:
            return _page("holds", await list_holds(connection, after, PAGE, ended=ended))

    @router.post("/holds/{number}/release")
    async def release(request: Request, number: str) -> Response:
        """End a legal hold, for a reason."""
        access = _administrator(request)
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            raise InvalidRequest("That is not the number of a hold.")
        reason = read_reason(await request.body())
        await services.database.transact(
            lambda unit: release_hold(unit, int(number), reason, access.principal)
        )
        return JSONResponse({"released": int(number)})


def _administrator(request: Request) -> Access:
    """Let an administrator in; acts are audited in their own transactions."""
    access = access_of(request.scope)
    access.require_administrator()
    return access


async def _audit_list(services: Services, access: Access, interaction: str) -> None:
    await services.read_audit.record(AuditEntry(access.principal, Action.READ, interaction, "Administration"))


def _page(name: str, rows: Sequence[RowMapping]) -> Response:
    """One page; `after` in the answer leads to the next, null: this is the last."""
    return JSONResponse(
        {name: [_row(row) for row in rows], "after": rows[-1]["id"] if len(rows) == PAGE else None}
    )


def _row(row: RowMapping) -> dict[str, Any]:
    """A row as JSON; its instants as text."""
    return {
        column.removesuffix("_us"): instant_text(value) if column.endswith("_us") and value else value
        for column, value in row.items()
    }
