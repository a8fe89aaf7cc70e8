"""The worklist's routes: search, retrieve, request cancellation (PS3.18 §11.9, §11.5, §11.8).

Mounted under the DICOMweb root. Access is that of the FHIR Task: `s`, `r`, `u`.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from itertools import islice

import orjson
from fastapi import APIRouter, Request, Response
from sqlalchemy import RowMapping

from dicomweb.data_sets import data_sets_answer
from dicomweb.retrieve.routes import acceptable, response_of
from dicomweb.search.parameters import fitting_limit
from dicomweb.wire.content_coding import select_coding
from dicomweb.wire.negotiation import Representation, select_metadata
from dicomweb.worklist.cancel import request_cancel
from dicomweb.worklist.cancel_request import MAX_BODY_BYTES, parse_cancel_request
from dicomweb.worklist.dicom_json import DicomJson
from dicomweb.worklist.instants import zone_of
from dicomweb.worklist.search import (
    MAX_READ_CHARACTERS,
    MORE_RESULTS,
    parse_query,
    select_sizes,
    select_workitem,
    select_workitems,
)
from dicomweb.worklist.shown import workitem_json
from dicomweb.worklist.state import NOTICE_TEXT, AlreadyCompleted, WorkitemUnknown
from dicomweb.worklist.ups_json import View
from server.kernel.access import Permission, access_of
from server.kernel.audit import Action, AuditEntry
from server.kernel.faults import TooLarge
from server.kernel.services import Services

WARN_CODE_AND_AGENT = "299 isthmus"  # Warning: warn-code, warn-agent (PS3.18 8.3.4, RFC 7234 §5.5)
MAX_WARNINGS = 10  # of one answer; a long header would be refused on its way


def build_router(services: Services) -> APIRouter:
    """The routes of the worklist, to be mounted under the DICOMweb root."""
    router = APIRouter(tags=["UPS-RS"])

    @router.get("/workitems")
    async def search_workitems(request: Request) -> Response:
        """Search for Workitems (PS3.18 §11.9)."""
        return await _search(services, request)

    @router.get("/workitems/{workitem_uid}")
    async def retrieve_workitem(request: Request, workitem_uid: str) -> Response:
        """Retrieve Workitem (PS3.18 §11.5)."""
        return await _retrieve(services, request, workitem_uid)

    @router.post("/workitems/{workitem_uid}/cancelrequest")
    async def request_cancellation(request: Request, workitem_uid: str) -> Response:
        """Request Cancellation (PS3.18 §11.8)."""
        return await _request_cancellation(services, request, workitem_uid)

    return router


async def _search(services: Services, request: Request) -> Response:
    representation = _representation(request, many=True)
    access = access_of(request.scope)
    reach = access.reach("Task", Permission.SEARCH)
    query, zone = parse_query(request.query_params.multi_items()), zone_of(services.site)
    async with services.database.read() as connection:
        sizes = (await connection.execute(select_sizes(query, reach, zone))).scalars()
        query = replace(query, limit=fitting_limit(query.limit, sizes, MAX_READ_CHARACTERS))
        rows = (await connection.execute(select_workitems(query, reach, zone))).mappings().all()
    page = rows[: query.limit]
    warnings = (*query.warnings, MORE_RESULTS) if len(rows) > query.limit else query.warnings
    await services.read_audit.record(
        AuditEntry(access.principal, Action.EXECUTE, "ups-search", "Task", None, reach.audited_patient_id)
    )
    shown = [_shown(row, services, instances=query.instances) for row in page]
    return warned(await _answer(request, shown, representation), warnings)


async def _retrieve(services: Services, request: Request, workitem_uid: str) -> Response:
    representation = _representation(request, many=False)
    access = access_of(request.scope)
    reach = access.reach("Task", Permission.READ)
    async with services.database.read() as connection:
        found = await connection.execute(select_workitem(workitem_uid, reach))
        row = found.mappings().one_or_none()
    if row is None:
        raise WorkitemUnknown
    await services.read_audit.record(
        AuditEntry(access.principal, Action.READ, "ups-retrieve", "Task", workitem_uid, row["patient_id"])
    )
    return await _answer(request, [_shown(row, services, instances=True)], representation)


async def _request_cancellation(services: Services, request: Request, workitem_uid: str) -> Response:
    access = access_of(request.scope)
    reach = access.reach("Task", Permission.UPDATE)
    body = await read_body(request, MAX_BODY_BYTES)
    reason = parse_cancel_request(body, request.headers.get("content-type", ""))
    ask = partial(
        request_cancel, workitem_uid=workitem_uid, reach=reach, principal=access.principal, reason=reason
    )
    try:
        moved = await services.database.transact(ask)
    except AlreadyCompleted as refusal:  # 11.8.3.2 wants the refusal's text in the header
        return _status(HTTPStatus.CONFLICT, [str(refusal)])
    return _status(HTTPStatus.ACCEPTED, [NOTICE_TEXT[moved.notice]] if moved.notice else [])


def _shown(row: RowMapping, services: Services, *, instances: bool) -> DicomJson:
    study = orjson.loads(row["study_attributes"] or "{}")
    return workitem_json(row, View(study, services.public_base, instances))


async def _answer(request: Request, workitems: list[DicomJson], representation: Representation) -> Response:
    coding = select_coding(request.headers.getlist("accept-encoding"))
    return response_of(await data_sets_answer(orjson.dumps(workitems), representation, coding))


def _representation(request: Request, *, many: bool) -> Representation:
    """The representation of the answer (PS3.18 §8.7.3).

    Raises:
        NotAcceptable: the client takes neither JSON nor XML.
    """
    return select_metadata(acceptable(request), many=many)


def _status(status: HTTPStatus, warnings: Iterable[str]) -> Response:
    return warned(Response(status_code=status), warnings)


def warned(response: Response, warnings: Iterable[str]) -> Response:
    """The response with a Warning header for each text, up to the most that one answer has."""
    for text in islice(warnings, MAX_WARNINGS):
        response.headers.append("Warning", f'{WARN_CODE_AND_AGENT} "{text}"')
    return response


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body.

    Raises:
        TooLarge: it is longer than a payload of this transaction may be.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"A payload of this transaction has at most {limit} bytes.")
    return bytes(body)
