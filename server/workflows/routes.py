"""The administration API, `/admin/api` (DESIGN §4): every route needs an administrator and is audited."""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import select

from dicomweb.reach import IMAGING_STUDY, require_study, within_reach
from dicomweb.tables import Study
from dicomweb.worklist.change import WORKITEM
from dicomweb.worklist.reach import TASK, within
from dicomweb.worklist.schedule import rerun
from dicomweb.worklist.state import WorkitemUnknown
from server.kernel.access import Access, Permission, Principal, Reach, access_of
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import instant_text
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault, NotFound
from server.kernel.job_overview import PAGE as JOBS_PAGE
from server.kernel.job_overview import list_jobs, retry_failed
from server.kernel.jobs import JobState
from server.kernel.patients import LinkState
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.workflows.merge import Pair, merge, unmerge
from server.workflows.settle import Decision, settle_now

PAGE = 100  # studies in one answer
JobId = Annotated[int, Path(ge=0, lt=2**63)]
After = Annotated[int, Query(ge=0, lt=2**63)]  # a key of the database
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")  # FHIR R4 datatypes.html#id

_STUDY = table_of(Study)


class UnknownLinkState(Fault):
    """The query names no link state."""


class UnknownJobState(Fault):
    """The query names no state of a job."""


class InvalidPair(Fault):
    """The body does not name two Patients."""


def build_router(services: Services) -> APIRouter:
    """The routes of the administration API."""
    router = APIRouter(tags=["administration"])

    @router.post("/studies/{study_instance_uid}/settled")
    async def settled(request: Request, study_instance_uid: str) -> Response:
        """Say that a study is complete: the routing rules look at it now, not after their quiet time."""
        access = await _administrator(request, services, Action.EXECUTE, "settled", study_instance_uid)
        async with services.database.read() as connection:
            reach = access.reach(IMAGING_STUDY, Permission.READ)
            await require_study(connection, study_instance_uid, reach)
        decisions = await settle_now(services, study_instance_uid)
        return JSONResponse([_decision(each) for each in decisions])

    @router.get("/studies")
    async def studies(
        request: Request, link_state: str = LinkState.CONFLICT.value, after: After = 0
    ) -> Response:
        """Studies by how they stand to the patients of the record: those that a person must look at."""
        access = await _administrator(request, services, Action.READ, "list-studies", None)
        reach = access.reach(IMAGING_STUDY, Permission.READ)
        return JSONResponse(await _list_studies(services, link_state, after, reach))

    @router.post("/workitems/{workitem_uid}/rerun")
    async def run_again(request: Request, workitem_uid: str) -> Response:
        """Schedule the input of an ended workitem once more."""
        access = await _administrator(request, services, Action.EXECUTE, "rerun", workitem_uid)
        uid = await services.database.transact(lambda unit: _run_again(unit, workitem_uid, access))
        return JSONResponse({"workitem": uid}, 201)

    @router.post("/patients/merge")
    async def merge_patients(request: Request) -> Response:
        """Merge the Patient `source` into the Patient `target`."""
        return await _act_on_pair(request, services, merge)

    @router.post("/patients/unmerge")
    async def unmerge_patients(request: Request) -> Response:
        """Take the merge of `source` into `target` back."""
        return await _act_on_pair(request, services, unmerge)

    _add_jobs(router, services)
    return router


def _add_jobs(router: APIRouter, services: Services) -> None:
    @router.get("/jobs")
    async def jobs(request: Request, state: str = JobState.FAILED.value, after: After = 0) -> Response:
        """Background jobs by state."""
        await _administrator(request, services, Action.READ, "list-jobs", None)
        return JSONResponse(await _list_jobs(services, state, after))

    @router.post("/jobs/{job_id}/retry")
    async def retry_job(request: Request, job_id: JobId) -> Response:
        """Have a failed job tried again."""
        access = access_of(request.scope)
        access.require_administrator()  # the act is audited in its own transaction

        async def work(unit: UnitOfWork) -> None:
            await retry_failed(unit, job_id)
            unit.audit(_entry(access.principal, Action.EXECUTE, "retry-job", str(job_id)))

        await services.database.transact(work)
        return Response(status_code=204)


async def _run_again(unit: UnitOfWork, workitem_uid: str, access: Access) -> str:
    """Schedule the workitem's input once more; what is denied of it, or of its study, is as if not there."""
    reach = access.reach(TASK, Permission.READ)
    if not reach.is_everyone:
        c = WORKITEM.c
        query = select(c.study_instance_uid).where(c.workitem_uid == workitem_uid, within(reach))
        study = (await unit.execute(query)).scalar_one_or_none()
        if study is None:
            raise WorkitemUnknown
        try:
            await require_study(unit.connection, study, access.reach(IMAGING_STUDY, Permission.READ))
        except NotFound:
            raise WorkitemUnknown from None
    return await rerun(unit, workitem_uid, access.principal)


async def _list_jobs(services: Services, state: str, after: int) -> dict[str, object]:
    """One page of jobs; `after` in the answer leads to the next, None: this is the last."""
    if state not in {each.value for each in JobState}:
        raise UnknownJobState(f"state is one of {', '.join(each.value for each in JobState)}.")
    found = await list_jobs(services.database, JobState(state), after)
    listed = [
        {
            "id": job.id,
            "task": job.task,
            "arguments": job.args,
            "queue": job.queue,
            "priority": job.priority,
            "tries": job.tries,
            "problem": job.problem,
            "due": instant_text(job.due_us),
            "lastTried": None if job.changed_us is None or not job.tries else instant_text(job.changed_us),
        }
        for job in found
    ]
    return {"jobs": listed, "after": found[-1].id if len(found) == JOBS_PAGE else None}


async def _list_studies(services: Services, link_state: str, after: int, reach: Reach) -> dict[str, object]:
    """One page of studies; `after` in the answer leads to the next, None: this is the last."""
    if link_state not in {state.value for state in LinkState}:
        raise UnknownLinkState(f"link_state is one of {', '.join(s.value for s in LinkState)}.")
    c = _STUDY.c
    query = (
        select(c.id, c.study_instance_uid, c.patient_system, c.patient_value, c.created_us)
        .where(c.link_state == link_state, c.id > after, within_reach(reach))
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
    return {"studies": listed, "after": rows[-1].id if len(rows) == PAGE else None}


async def _administrator(
    request: Request, services: Services, action: Action, interaction: str, subject: str | None
) -> Access:
    """Let an administrator in, with an audit entry; anyone else is refused."""
    access = access_of(request.scope)
    access.require_administrator()
    await services.read_audit.record(_entry(access.principal, action, interaction, subject))
    return access


def _entry(principal: Principal, action: Action, interaction: str, subject: str | None) -> AuditEntry:
    return AuditEntry(principal, action, interaction, "Administration", subject)


async def _act_on_pair(
    request: Request, services: Services, act: Callable[[Services, Pair, Principal], Awaitable[int]]
) -> Response:
    access = access_of(request.scope)
    access.require_administrator()  # the act is audited in its own transaction
    pair = read_pair(await request.body())
    moved = await act(services, pair, access.principal)
    return JSONResponse({"source": pair.source, "target": pair.target, "studies": moved})


def read_pair(body: bytes) -> Pair:
    """The Patients that a request to merge or unmerge names.

    Raises:
        InvalidPair: the body is not `{"source": id, "target": id}`.
    """
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict) or said.keys() != {"source", "target"}:
        raise InvalidPair('The body must be JSON: {"source": "…", "target": "…"}.')
    for name, value in said.items():
        if not isinstance(value, str) or not _ID.fullmatch(value):
            raise InvalidPair(f"'{name}' is not the id of a Patient.")
    return Pair(said["source"], said["target"])


def _decision(decision: Decision) -> dict[str, object]:
    others = [{"series": each.series_instance_uid, "reason": each.reason} for each in decision.passed_over]
    if decision.armed is None:
        said = {"outcome": "not-wanted", "reason": decision.reason}
    else:
        said = {"outcome": decision.armed.arming.value, "workitem": decision.armed.workitem_uid}
    return {"rule": decision.rule, **said, "passed_over": others}
