"""Routes of workitems that clients create, update and perform (PS3.18 §11.4, §11.6, §11.7).

Mounted under the DICOMweb root. Access is that of the FHIR Task: `c` to create, `u` for the others.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import TypeVar

import orjson
from fastapi import APIRouter, Request, Response

from dicomweb.urls import ROOT
from dicomweb.wire.dictionary import key_of
from dicomweb.wire.instance import is_uid
from dicomweb.worklist.dicom_json import DicomJson
from dicomweb.worklist.outside.change_state import (
    TransactionUidMissing,
    change_state_from_outside,
    parse_state_change,
)
from dicomweb.worklist.outside.create import NewFromOutside, create
from dicomweb.worklist.outside.data_set import (
    MAX_BODY_BYTES,
    PayloadInvalid,
    read_data_set,
    text_of,
)
from dicomweb.worklist.outside.engine import Assignment, Engine, input_of, names_of_models
from dicomweb.worklist.outside.requirements import complete_new
from dicomweb.worklist.outside.update import Update, seen, update
from dicomweb.worklist.routes import read_body, warned
from dicomweb.worklist.search import select_workitem
from dicomweb.worklist.state import (
    NOTICE_TEXT,
    NotInProgress,
    TransactionUidIncorrect,
    WorkitemFault,
    WorkitemUnknown,
)
from server.kernel.access import Permission, Reach, access_of
from server.kernel.services import Services
from server.kernel.uids import new_uid

# Warning headers that PS3.18 11.4.3.2, 11.6.3.2 and 11.7.3.2 spell out
CREATED_WITH_MODIFICATIONS = "The Workitem was created with modifications."
NOT_CLAIMED = "The target URI did not reference a claimed Workitem."
INCONSISTENT = "The submitted request is inconsistent with the current state of the Workitem."
MISSING = "The Transaction UID is missing."
INCORRECT = "The Transaction UID is incorrect."
INCONSISTENT_STATE = "The submitted request is inconsistent with the state of the UPS Instance."

Read = TypeVar("Read")  # what is read of a payload

LONG_BODY_BYTES = 256 << 10  # from which on a payload is read beside other requests: about ten milliseconds

_NEW_UID = ("workitem", "AffectedSOPInstanceUID", "SOPInstanceUID")  # query parameters that may name it
_TRANSACTION = ("transaction", "transaction-uid", "TransactionUID", "00081195")


def build_router(services: Services, engine: Engine) -> APIRouter:
    """The routes of workitems from outside, to be mounted under the DICOMweb root."""
    router = APIRouter(tags=["UPS-RS"])

    @router.post("/workitems")
    async def create_workitem(request: Request) -> Response:
        """Create Workitem (PS3.18 §11.4)."""
        return await _create(services, engine, request)

    @router.post("/workitems/{workitem_uid}")
    async def update_workitem(request: Request, workitem_uid: str) -> Response:
        """Update Workitem (PS3.18 §11.6)."""
        return await _update(services, engine, request, workitem_uid)

    @router.put("/workitems/{workitem_uid}/state")
    async def change_workitem_state(request: Request, workitem_uid: str) -> Response:
        """Change Workitem State (PS3.18 §11.7)."""
        return await _change_state(services, request, workitem_uid)

    return router


async def _create(services: Services, engine: Engine, request: Request) -> Response:
    access = access_of(request.scope)
    # The studies that it names are there already: to see them may be denied.
    reach = replace(access.reach("Task", Permission.CREATE), denials=access.denials)
    uid, data_set, complete = await _data_set(request, partial(_new, request))
    assignment = await _assignment(engine, complete, reach)
    new = NewFromOutside(uid, complete, assignment, access.principal, reach)
    try:
        await services.database.transact(partial(create, new=new, site=services.site))
    except WorkitemFault as refusal:
        return _refused(refusal, INCONSISTENT)
    url = f"{services.public_base}{ROOT}/workitems/{uid}"
    headers = {"Location": url, "Content-Location": url}
    response = Response(status_code=HTTPStatus.CREATED, headers=headers)
    return warned(response, [CREATED_WITH_MODIFICATIONS] if complete != data_set else [])


async def _update(services: Services, engine: Engine, request: Request, workitem_uid: str) -> Response:
    access = access_of(request.scope)
    reach = access.reach("Task", Permission.UPDATE)
    changes = await _data_set(request, _as_it_is)
    transaction_uid = _transaction_uid(request, changes)
    async with services.database.read() as connection:
        found = await connection.execute(select_workitem(workitem_uid, reach))
        row = found.mappings().one_or_none()
    if row is None:
        raise WorkitemUnknown
    before = seen(row, changes)
    assignment = await _assignment(engine, before.merged, reach) if before.needs_plan else None
    asked = Update(workitem_uid, changes, transaction_uid, access.principal, reach)
    work = partial(update, asked=asked, before=before, assignment=assignment, site=services.site)
    try:
        warnings = await services.database.transact(work)
    except WorkitemFault as refusal:
        not_claimed = isinstance(refusal, NotInProgress | TransactionUidIncorrect)
        return _refused(refusal, NOT_CLAIMED if not_claimed else INCONSISTENT)
    return warned(Response(status_code=HTTPStatus.OK), warnings)


async def _change_state(services: Services, request: Request, workitem_uid: str) -> Response:
    access = access_of(request.scope)
    reach = access.reach("Task", Permission.UPDATE)
    data_set = await _data_set(request, _as_it_is)
    try:
        work = partial(
            change_state_from_outside,
            workitem_uid=workitem_uid,
            asked=parse_state_change(data_set),
            reach=reach,
            principal=access.principal,
        )
        moved = await services.database.transact(work)
    except TransactionUidMissing as refusal:
        return _refused(refusal, MISSING)
    except TransactionUidIncorrect as refusal:
        return _refused(refusal, INCORRECT)
    except WorkitemFault as refusal:
        return _refused(refusal, INCONSISTENT_STATE)
    return warned(Response(status_code=HTTPStatus.OK), [NOTICE_TEXT[moved.notice]] if moved.notice else [])


async def _assignment(engine: Engine, data_set: DicomJson, reach: Reach) -> Assignment | None:
    """The engine's part in a workitem; None: it names none of the engine's models."""
    names = names_of_models(data_set)
    if not names:
        return None
    is_ready = text_of(data_set, "InputReadinessState") == "READY"
    return await engine.assign(names, input_of(data_set), reach, is_ready=is_ready)


def _refused(refusal: WorkitemFault, warning: str) -> Response:
    """A refusal with the Warning header that its transaction wants."""
    if isinstance(refusal, WorkitemUnknown):
        raise refusal
    body = orjson.dumps({"error": str(refusal)})
    return warned(
        Response(body, refusal.status, {"Cache-Control": "no-store"}, "application/json"), [warning]
    )


async def _data_set(request: Request, take: Callable[[DicomJson], Read]) -> Read:
    """What `take` makes of the data set in the payload; a long one is read beside other requests."""
    body, content_type = await read_body(request, MAX_BODY_BYTES), request.headers.get("content-type", "")

    def read() -> Read:
        return take(read_data_set(body, content_type))

    return await asyncio.to_thread(read) if len(body) > LONG_BODY_BYTES else read()


def _as_it_is(data_set: DicomJson) -> DicomJson:
    return data_set


def _new(request: Request, data_set: DicomJson) -> tuple[str, DicomJson, DicomJson]:
    """The UID of a new workitem, its data set as sent but for that, and with what was missing."""
    uid = _uid_of_new(request, data_set)
    return uid, data_set, complete_new(data_set)


def _uid_of_new(request: Request, data_set: DicomJson) -> str:
    """The Workitem UID that the target or the payload names, taken out of the payload; else a new one.

    Raises:
        PayloadInvalid: it is no UID, or they differ.
    """
    bare = request.url.query.partition("&")[0]
    named = [request.query_params.get(name, "") for name in _NEW_UID] + ([bare] if "=" not in bare else [])
    named += [text_of(data_set, "SOPInstanceUID"), text_of(data_set, "AffectedSOPInstanceUID")]
    for keyword in ("SOPInstanceUID", "AffectedSOPInstanceUID", "SOPClassUID", "AffectedSOPClassUID"):
        data_set.pop(key_of(keyword), None)
    uids = {uid for uid in named if uid}
    if len(uids) > 1 or not all(map(is_uid, uids)):
        raise PayloadInvalid("The Workitem UID is no UID, or target and payload name different ones.")
    return uids.pop() if uids else new_uid()


def _transaction_uid(request: Request, changes: DicomJson) -> str:
    """The Transaction UID of an update, from its target or its payload; "": none.

    Raises:
        PayloadInvalid: it is no UID, or they differ.
    """
    bare = request.url.query.partition("&")[0]
    named = [request.query_params.get(name, "") for name in _TRANSACTION]
    named += [bare] if "=" not in bare else []
    uids = {uid for uid in (*named, text_of(changes, "TransactionUID")) if uid}
    if len(uids) > 1 or not all(map(is_uid, uids)):
        raise PayloadInvalid("The Transaction UID is no UID, or target and payload name different ones.")
    return uids.pop() if uids else ""
