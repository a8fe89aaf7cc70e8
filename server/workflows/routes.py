"""The administration API, `/admin/api` (DESIGN §4): every route needs an administrator and is audited."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import select

from ai_engine.tables import ModelVersion, RoutingRule
from dicomweb.tables import Study
from dicomweb.worklist.schedule import rerun
from server.kernel.access import Access, access_of
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import instant_text
from server.kernel.faults import Fault
from server.kernel.patients import LinkState
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.workflows.settle import Decision, settle_now

PAGE = 100  # studies in one answer

_STUDY, _MODEL, _RULE = table_of(Study), table_of(ModelVersion), table_of(RoutingRule)


class UnknownLinkState(Fault):
    """The query names no link state."""


def build_router(services: Services) -> APIRouter:
    """The routes of the administration API."""
    router = APIRouter(tags=["administration"])

    @router.post("/studies/{study_instance_uid}/settled")
    async def settled(request: Request, study_instance_uid: str) -> Response:
        """Say that a study is complete: the routing rules look at it now, not after their quiet time."""
        await _administrator(request, services, Action.EXECUTE, "settled", study_instance_uid)
        decisions = await settle_now(services, study_instance_uid)
        return JSONResponse([_decision(each) for each in decisions])

    @router.get("/studies")
    async def studies(
        request: Request, link_state: str = LinkState.CONFLICT.value, after: int = 0
    ) -> Response:
        """Studies by how they stand to the patients of the record: those that a person must look at."""
        if link_state not in {state.value for state in LinkState}:
            raise UnknownLinkState(f"link_state is one of {', '.join(s.value for s in LinkState)}.")
        await _administrator(request, services, Action.READ, "list-studies", None)
        c = _STUDY.c
        query = (
            select(c.id, c.study_instance_uid, c.patient_system, c.patient_value, c.created_us)
            .where(c.link_state == link_state, c.id > after)
            .order_by(c.id)
            .limit(PAGE)
        )
        async with services.database.read() as connection:
            rows = (await connection.execute(query)).all()
        listed = [
            {
                "studyInstanceUID": row.study_instance_uid,
                "patientSystem": row.patient_system,
                "patientID": row.patient_value,
                "created": instant_text(row.created_us),
            }
            for row in rows
        ]
        return JSONResponse({"studies": listed, "after": rows[-1].id if len(rows) == PAGE else None})

    @router.post("/workitems/{workitem_uid}/rerun")
    async def run_again(request: Request, workitem_uid: str) -> Response:
        """Schedule the input of an ended workitem once more."""
        access = await _administrator(request, services, Action.EXECUTE, "rerun", workitem_uid)
        uid = await services.database.transact(lambda unit: rerun(unit, workitem_uid, access.principal))
        return JSONResponse({"workitem": uid}, 201)

    @router.get("/models")
    async def models(request: Request) -> Response:
        """The registered model versions, and the rules that route studies to them."""
        await _administrator(request, services, Action.READ, "list-models", None)
        versions = select(_MODEL.c.name, _MODEL.c.version, _MODEL.c.stage, _MODEL.c.digest).order_by(
            _MODEL.c.pk
        )
        rules = select(_RULE.c.name, _RULE.c.model_name, _RULE.c.quiet_time_s, _RULE.c.enabled).order_by(
            _RULE.c.pk
        )
        async with services.database.read() as connection:
            listed = [dict(row) for row in (await connection.execute(versions)).mappings()]
            routing = [dict(row) for row in (await connection.execute(rules)).mappings()]
        return JSONResponse({"models": listed, "rules": routing})

    return router


async def _administrator(
    request: Request, services: Services, action: Action, interaction: str, subject: str | None
) -> Access:
    """Let an administrator in, with an audit entry; anyone else is refused."""
    access = access_of(request.scope)
    access.require_administrator()
    await services.read_audit.record(
        AuditEntry(access.principal, action, interaction, "Administration", subject)
    )
    return access


def _decision(decision: Decision) -> dict[str, str | None]:
    if decision.armed is None:
        return {"rule": decision.rule, "outcome": "not-wanted", "reason": decision.reason}
    return {
        "rule": decision.rule,
        "outcome": decision.armed.arming.value,
        "workitem": decision.armed.workitem_uid,
    }
