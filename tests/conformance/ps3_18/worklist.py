"""Workitems as clients send them, and an application of the worklist alone."""

import json
from collections.abc import Sequence
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response

import dicomweb.worklist.outside.routes
import dicomweb.worklist.routes
from dicomweb.routes import fault_response
from dicomweb.wire.dictionary import key_of
from dicomweb.worklist.codes import Code
from dicomweb.worklist.dicom_json import attribute, coded, item
from dicomweb.worklist.outside.engine import Assignment, Engine, InputReference, as_series
from dicomweb.worklist.outside.requirements import PRESENT
from server.kernel.access import Access, Reach
from server.kernel.faults import Fault
from server.kernel.services import Services
from tests.conformance.ps3_18.kit import DICOM_JSON, EVERYTHING, Injected
from tests.services.routers import add_router

UID = "2.25.4711"
TRANSACTION = "2.25.99"
JSON = {"Content-Type": DICOM_JSON}
MODEL = "ct-quantification"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"

Data = dict[str, Any]


def code(value: str, scheme: str = "99TEST", meaning: str = "a meaning") -> Data:
    """An item of a code sequence."""
    return coded(Code(scheme, value, meaning))


def workitem(**said: Any) -> Data:
    """A data set that Req. Type N-CREATE allows; by keyword other values, lists for several, None: absent."""
    standard: dict[str, Any] = {
        **dict.fromkeys(PRESENT),
        "ScheduledProcedureStepPriority": "MEDIUM",
        "ProcedureStepLabel": "Read CT",
        "WorklistLabel": "Reading",
        "ScheduledProcedureStepStartDateTime": "20260115120000+0000",
        "InputReadinessState": "READY",
        "ProcedureStepState": "SCHEDULED",
        "PatientName": {"Alphabetic": "Doe^Jane"},
        "PatientID": "MRN-1",
    }
    present = {keyword: [] for keyword in PRESENT} | {k: v for k, v in standard.items() if v is not None}
    wanted = {keyword: value for keyword, value in (present | said).items() if value is not None}
    return item(*(attribute(keyword, *(v if isinstance(v, list) else [v])) for keyword, v in wanted.items()))


def without(data_set: Data, *keywords: str) -> Data:
    absent = set(map(key_of, keywords))
    return {key: value for key, value in data_set.items() if key not in absent}


def input_of(study: str, series: str = "", *instances: tuple[str, str]) -> Data:
    """An item of Input Information Sequence."""
    named = [
        item(attribute("ReferencedSOPClassUID", of_class), attribute("ReferencedSOPInstanceUID", uid))
        for of_class, uid in instances
    ]
    return item(
        attribute("TypeOfInstances", "DICOM"),
        attribute("StudyInstanceUID", study),
        attribute("SeriesInstanceUID", series),
        attribute("ReferencedSOPSequence", *named),
    )


def performed(**said: Any) -> Data:
    """What the final state COMPLETED wants: the changes of an update."""
    wanted = {
        "PerformedStationNameCodeSequence": code("WS1"),
        "PerformedWorkitemCodeSequence": code("110005", "DCM"),
        "PerformedProcedureStepStartDateTime": "20260115120500+0000",
        "PerformedProcedureStepEndDateTime": "20260115121000+0000",
        "OutputInformationSequence": input_of(
            "1.2.3", "1.2.3.9", ("1.2.840.10008.5.1.4.1.1.88.33", "1.2.3.9.1")
        ),
    } | said
    details = item(*(attribute(keyword, value) for keyword, value in wanted.items() if value is not None))
    return attribute("UnifiedProcedureStepPerformedProcedureSequence", details)


def discontinued(value: str = "110501", text: str = "The scanner broke.") -> Data:
    """What the final state CANCELED wants."""
    details = item(
        attribute("ProcedureStepDiscontinuationReasonCodeSequence", code(value, "DCM", "Equipment failure")),
        attribute("ReasonForCancellation", text),
    )
    return attribute("ProcedureStepProgressInformationSequence", details)


def progress(percent: Any, text: str | None = None) -> Data:
    details = item(
        attribute("ProcedureStepProgress", percent),
        attribute("ProcedureStepProgressDescription", text) if text else {},
    )
    return attribute("ProcedureStepProgressInformationSequence", details)


def to_state(state: str, transaction_uid: str | None = TRANSACTION) -> Data:
    """The payload of Change Workitem State."""
    return item(
        attribute("TransactionUID", transaction_uid) if transaction_uid else {},
        attribute("ProcedureStepState", state),
    )


class Ups:
    """A client of the worklist."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def create(self, data_set: Data, uid: str | None = UID) -> httpx.Response:
        return await self.send("POST", f"/workitems?{uid}" if uid else "/workitems", data_set)

    async def update(
        self, changes: Data, transaction_uid: str | None = None, uid: str = UID
    ) -> httpx.Response:
        asked = f"?transaction={transaction_uid}" if transaction_uid else ""
        return await self.send("POST", f"/workitems/{uid}{asked}", changes)

    async def change(
        self, state: str, transaction_uid: str | None = TRANSACTION, uid: str = UID
    ) -> httpx.Response:
        return await self.send("PUT", f"/workitems/{uid}/state", to_state(state, transaction_uid))

    async def send(self, method: str, path: str, payload: Any) -> httpx.Response:
        body = json.dumps([payload])
        return await self.http.request(method, f"/dicom-web{path}", content=body, headers=JSON)

    async def get(self, uid: str = UID) -> Data:
        answer = await self.http.get(f"/dicom-web/workitems/{uid}")
        assert answer.status_code == 200, answer.text
        (found,) = answer.json()
        return dict(found)

    async def found(self, **parameters: str) -> list[str]:
        answer = await self.http.get("/dicom-web/workitems", params=parameters)
        assert answer.status_code == 200, answer.text
        assert "not supported" not in answer.headers.get("warning", "")
        return [each["00080018"]["Value"][0] for each in answer.json()]

    async def state(self, uid: str = UID) -> str:
        return str((await self.get(uid))["00741000"]["Value"][0])


class OneModel:
    """An engine that has one model, and takes every input as it is named."""

    async def assign(
        self, names: Sequence[str], references: Sequence[InputReference], reach: Reach, *, is_ready: bool
    ) -> Assignment:
        assert names == [MODEL]
        assert reach is not None
        return Assignment(MODEL, "1.0.0", as_series(references) if is_ready else ())


def build_worklist_app(
    services: Services, accesses: dict[str, Access] | None = None, engine: Engine | None = None
) -> Injected:
    """The worklist at its place; a bearer token names an Access."""
    app = FastAPI()
    for router in (
        dicomweb.worklist.routes.build_router(services),
        dicomweb.worklist.outside.routes.build_router(services, engine or OneModel()),
    ):
        add_router(app, router, "/dicom-web")

    @app.exception_handler(Fault)
    async def answer(_: Request, fault: Fault) -> Response:
        return fault_response(fault)

    return Injected(app, accesses if accesses is not None else {"all": EVERYTHING})
