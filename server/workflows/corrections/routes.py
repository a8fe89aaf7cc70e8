"""Routes of corrections and of what was received, below `/admin/api`: each needs an administrator."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from dicomweb.attributes import Level
from dicomweb.reach import require_study
from dicomweb.retrieve.locate import Resource
from dicomweb.retrieve.request import Archive
from dicomweb.retrieve.retrieve import retrieve_files
from dicomweb.retrieve.routes import response_of, retrieve_request
from dicomweb.wire.instance import is_uid
from server.kernel.access import Access, Permission, access_of
from server.kernel.audit import Action, AuditEntry
from server.kernel.faults import NotFound
from server.kernel.services import Services
from server.workflows.corrections.correct import Act, State, Target, correct, read_state, withdraw
from server.workflows.corrections.requests import read_correction


def build_router(services: Services, archive: Archive) -> APIRouter:
    """The routes of administrators; what they do is audited, and so is what they read."""
    router = APIRouter(tags=["administration"])
    _add_corrections(router, services, "/studies/{study}", Level.STUDY)
    _add_corrections(router, services, "/studies/{study}/series/{series}", Level.SERIES)
    _add_originals(router, services, archive)
    return router


def _add_corrections(router: APIRouter, services: Services, resource: str, level: Level) -> None:
    path = f"{resource}/corrections"

    @router.get(path)
    async def read(request: Request) -> Response:
        """What is shown otherwise than it was sent, why, and what was sent."""
        access, target = _administrator(request), _target(request)
        await _require_open(services, access, target)
        await services.read_audit.record(_read(access, "read-correction", target.uid))
        return _answer(await read_state(services, target))

    @router.put(path)
    async def replace(request: Request) -> Response:
        """Correct attributes; what an earlier correction said and this one does not is as sent again."""
        act = await _act(services, request)
        return _answer(await correct(services, act, read_correction(await request.body(), level)))

    @router.delete(path)
    async def end(request: Request) -> Response:
        """Withdraw a correction."""
        return _answer(await withdraw(services, await _act(services, request)))


def _add_originals(router: APIRouter, services: Services, archive: Archive) -> None:
    async def answer(request: Request, resource: Resource) -> Response:
        access = _administrator(request)
        uid = _known(resource.study, resource.series, resource.instance)
        await services.read_audit.record(_read(access, "read-as-received", uid))
        return response_of(
            await retrieve_files(archive, retrieve_request(request), resource, as_received=True)
        )

    @router.get("/studies/{study}/original")
    async def study_as_received(request: Request, study: str) -> Response:
        """The files of a study as they were received."""
        return await answer(request, Resource(study))

    @router.get("/studies/{study}/series/{series}/original")
    async def series_as_received(request: Request, study: str, series: str) -> Response:
        """The files of a series as they were received."""
        return await answer(request, Resource(study, series))

    @router.get("/studies/{study}/series/{series}/instances/{instance}/original")
    async def instance_as_received(request: Request, study: str, series: str, instance: str) -> Response:
        """The file of an instance as it was received."""
        return await answer(request, Resource(study, series, instance))


def _administrator(request: Request) -> Access:
    access = access_of(request.scope)
    access.require_administrator()
    return access


def _known(*uids: str | None) -> str:
    """The last UID of a path; one that is none names nothing, and may be text that no database takes.

    Raises:
        NotFound: one is none.
    """
    named = [uid for uid in uids if uid is not None]
    if not all(map(is_uid, named)):
        raise NotFound("There is no such study, series or instance.")
    return named[-1]


def _target(request: Request) -> Target:
    target = Target(request.path_params["study"], request.path_params.get("series"))
    _known(target.study, target.series)
    return target


async def _act(services: Services, request: Request) -> Act:
    access, target = _administrator(request), _target(request)
    await _require_open(services, access, target)
    return Act(target, access.principal, request.headers.get("if-match"))


async def _require_open(services: Services, access: Access, target: Target) -> None:
    """Let pass who may read the study: its patient may deny it to an administrator.

    Raises:
        NotFound: it is not within reach.
    """
    async with services.database.read() as connection:
        await require_study(connection, target.study, access.reach("ImagingStudy", Permission.READ))


def _answer(state: State) -> Response:
    return JSONResponse(state.body, headers={"ETag": state.entity_tag})


def _read(access: Access, interaction: str, uid: str) -> AuditEntry:
    return AuditEntry(access.principal, Action.READ, interaction, "ImagingStudy", uid)
