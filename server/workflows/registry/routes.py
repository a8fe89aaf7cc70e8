"""`/admin/api/models`: every route needs an administrator; each decision is audited in its own transaction.

Bundles are code. They come in by `isthmus models add` on the operator's machine, not by a request.
"""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from dicomweb.reach import IMAGING_STUDY
from dicomweb.worklist.reach import TASK
from server.kernel.access import Access, Permission, access_of
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import UnitOfWork
from server.kernel.services import Services
from server.workflows.registry import overview
from server.workflows.registry.bar import bar, lift_bar
from server.workflows.registry.decide import (
    Asked,
    parse_share,
    promote,
    retire,
    roll_back,
    set_gate,
    set_limits,
    set_traffic,
)
from server.workflows.registry.requests import (
    Decision,
    Gate,
    LimitsChange,
    Promotion,
    Traffic,
    etag_of,
    read_decision,
    read_if_match,
)
from server.workflows.registry.versions import RevisionDiffers, revision_of

OnVersion = Callable[[UnitOfWork, Asked, str], Awaitable[object]]


def build_router(services: Services) -> APIRouter:
    """The routes of the registry."""
    router = APIRouter(tags=["models"], prefix="/models")
    _add_reads(router, services)
    _add_decisions(router, services)
    _add_settings(router, services)
    return router


def _add_reads(router: APIRouter, services: Services) -> None:
    @router.get("")
    async def models(request: Request) -> Response:
        """The registered model versions, and the rules that route studies to them."""
        await _reader(request, services, "list-models", None)
        return JSONResponse(await overview.list_models(services.database))

    @router.get("/{name}")
    async def model(request: Request, name: str) -> Response:
        """One model: versions, stages, what is decided about it, and its history."""
        await _reader(request, services, "show-model", name)
        return _answer(await overview.show_model(services.database, name))

    @router.get("/{name}/evaluations")
    async def evaluations(request: Request, name: str) -> Response:
        """What its versions showed on holdout sets, newest first."""
        await _reader(request, services, "list-evaluations", name)
        return JSONResponse(await overview.list_evaluations(services.database, name))

    @router.get("/{name}/shadow-results")
    async def shadow_results(request: Request, name: str) -> Response:
        """What its shadow versions made of workitems, newest first."""
        access = await _reader(request, services, "list-shadow-results", name)
        reach = overview.ShadowReach(
            access.reach(IMAGING_STUDY, Permission.READ), access.reach(TASK, Permission.READ)
        )
        answer, patients = await overview.list_shadow_results(services.database, name, reach)
        for patient in sorted(patients):  # the findings of each were read
            entry = AuditEntry(
                access.principal, Action.READ, "list-shadow-results", "Patient", patient, patient
            )
            await services.read_audit.record(entry)
        return JSONResponse(answer)


def _add_decisions(router: APIRouter, services: Services) -> None:
    async def decide_on(request: Request, name: str, version: str, act: OnVersion) -> Response:
        _require_administrator(request)
        said = read_decision(await request.body(), Decision)
        work = lambda unit, asked: act(unit, asked, version)  # noqa: E731
        return await _decide(request, services, (name, said.reason), work)

    @router.post("/{name}/versions/{version}/promote")
    async def promote_version(request: Request, name: str, version: str) -> Response:
        """Move a version to another stage."""
        _require_administrator(request)
        said = read_decision(await request.body(), Promotion)
        work = lambda unit, asked: promote(unit, asked, version, said.to)  # noqa: E731
        return await _decide(request, services, (name, said.reason), work)

    @router.post("/{name}/versions/{version}/retire")
    async def retire_version(request: Request, name: str, version: str) -> Response:
        """Take a version out."""
        return await decide_on(request, name, version, retire)

    @router.post("/{name}/versions/{version}/bar")
    async def bar_version(request: Request, name: str, version: str) -> Response:
        """Let nothing put a version to work that is known to be bad."""
        return await decide_on(request, name, version, bar)

    @router.post("/{name}/versions/{version}/unbar")
    async def unbar_version(request: Request, name: str, version: str) -> Response:
        """Let a version be promoted again."""
        return await decide_on(request, name, version, lift_bar)

    @router.post("/{name}/rollback")
    async def rollback(request: Request, name: str) -> Response:
        """Put the version that was in production before back there."""
        _require_administrator(request)
        said = read_decision(await request.body(), Decision)
        return await _decide(request, services, (name, said.reason), roll_back)


def _add_settings(router: APIRouter, services: Services) -> None:
    @router.put("/{name}/traffic")
    async def traffic(request: Request, name: str) -> Response:
        """Give the canary a percentage of the studies."""
        _require_administrator(request)
        said = read_decision(await request.body(), Traffic)
        share = parse_share(f"{said.canary:.10f}".rstrip("0").rstrip("."))
        work = lambda unit, asked: set_traffic(unit, asked, share)  # noqa: E731
        return await _decide(request, services, (name, said.reason), work)

    @router.put("/{name}/gate")
    async def gate(request: Request, name: str) -> Response:
        """Say what versions must show before they serve."""
        _require_administrator(request)
        said = read_decision(await request.body(), Gate)
        work = lambda unit, asked: set_gate(unit, asked, said.criteria)  # noqa: E731
        return await _decide(request, services, (name, said.reason), work)

    @router.put("/{name}/limits")
    async def limits(request: Request, name: str) -> Response:
        """Say when a version that serves is taken back without being asked."""
        _require_administrator(request)
        said = read_decision(await request.body(), LimitsChange)
        work = lambda unit, asked: set_limits(unit, asked, said.limits)  # noqa: E731
        return await _decide(request, services, (name, said.reason), work)


async def _decide(
    request: Request,
    services: Services,
    about: tuple[str, str | None],
    work: Callable[[UnitOfWork, Asked], Awaitable[object]],
) -> Response:
    """Do what is decided, unless somebody else has, since who asks looked; answers with the model.

    Raises:
        RevisionDiffers: the model is not at the revision that `If-Match` names.
    """
    name, reason = about
    seen = read_if_match(request.headers.get("if-match"))
    async with services.database.read() as connection:
        revision = await revision_of(connection, name)
    if seen is not None and seen != revision:
        raise RevisionDiffers(
            f"Somebody has decided about {name} since: it is at revision {revision}, not {seen}. Look again."
        )
    asked = Asked(name, access_of(request.scope).principal, reason, revision)
    await services.database.transact(lambda unit: work(unit, asked))
    return _answer(await overview.show_model(services.database, name))


def _answer(model: overview.Answer) -> Response:
    return JSONResponse(model, headers={"ETag": etag_of(model["revision"])})


def _require_administrator(request: Request) -> None:
    access_of(request.scope).require_administrator()


async def _reader(request: Request, services: Services, interaction: str, subject: str | None) -> Access:
    access = access_of(request.scope)
    access.require_administrator()
    entry = AuditEntry(access.principal, Action.READ, interaction, "Administration", subject)
    await services.read_audit.record(entry)
    return access
