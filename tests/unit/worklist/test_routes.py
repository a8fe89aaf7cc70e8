"""The worklist's routes over HTTP: what they answer, and what a patient's token must never see."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dicomweb.wire.native_xml_reader import read_native_xml
from dicomweb.worklist.attempts import complete
from dicomweb.worklist.cancel_request import MAX_BODY_BYTES
from dicomweb.worklist.claims import claim
from dicomweb.worklist.routes import build_router
from server.kernel.access import (
    ACCESS_KEY,
    Access,
    Context,
    Grant,
    Permission,
    Principal,
    system_access,
)
from server.kernel.database import Database
from server.kernel.faults import Fault
from server.kernel.local_store import LocalObjectStore
from server.kernel.read_audit import ReadAudit
from server.kernel.services import Services
from tests.services.routers import add_router
from tests.unit.worklist.kit import armed_uid, audited, ct, store_study, workitem

CANCEL = "/dicom-web/workitems/{}/cancelrequest"
EVERYTHING = system_access("test")

Client = Callable[[Access | None], httpx.AsyncClient]


class WithAccess:
    """Puts an Access where authentication would."""

    def __init__(self, app: ASGIApp, access: Access | None) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._access is not None:
            scope[ACCESS_KEY] = self._access
        await self._app(scope, receive, send)


async def answer_fault(_: Request, fault: Fault) -> Response:
    return JSONResponse({"fault": str(fault)}, status_code=int(fault.status))


def patient(*patient_ids: str, permissions: str = "rus") -> Access:
    grant = Grant(Context.PATIENT, "Task", frozenset(map(Permission, permissions)))
    return Access(Principal("user:app", "app"), (grant,), frozenset(patient_ids))


@pytest.fixture
async def client(database: Database, tmp_path: Path) -> AsyncIterator[Client]:
    objects = LocalObjectStore(tmp_path / "objects")
    services = Services(database, objects, ReadAudit(database), "http://testserver")
    app = FastAPI(exception_handlers={Fault: answer_fault})  # type: ignore[dict-item]
    add_router(app, build_router(services), "/dicom-web")

    def client_with(access: Access | None) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(WithAccess(app, access))
        return httpx.AsyncClient(transport=transport, base_url="http://testserver")

    yield client_with
    await objects.close()


async def uids(client: httpx.AsyncClient, **parameters: str) -> list[str]:
    answer = await client.get("/dicom-web/workitems", params=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/dicom+json"
    return [found["00080018"]["Value"][0] for found in answer.json()]


async def test_search_narrows_by_each_key(client: Client, database: Database) -> None:
    await store_study(database, "1.1")
    one, other = await armed_uid(database, "1.1"), await armed_uid(database, "1.2")
    await claim(database, "w1", 30)
    keys: dict[str, Any] = {
        "SOPInstanceUID": one,
        "ProcedureStepState": "IN PROGRESS",
        "StudyInstanceUID": "1.1",
        "0020000D": "1.1",
        "InputInformationSequence.StudyInstanceUID": "1.1",
        "ReferencedRequestSequence.StudyInstanceUID": "1.1,1.9",
        "PatientID": "MRN-1.1",
    }
    everyone = client(EVERYTHING)
    assert await uids(everyone) == [other, one]
    for key, value in keys.items():
        assert await uids(everyone, **{key: value}) == [one], key
    assert await uids(everyone, ScheduledProcedureStepPriority="HIGH") == []
    assert await uids(everyone, ReplacedProcedureStepSequence="x") == [other, one]


async def test_workitems_in_xml_say_what_json_says(client: Client, database: Database) -> None:
    uid = await armed_uid(database, "1.1")
    everyone = client(EVERYTHING)
    single, multipart = "application/dicom+xml", 'multipart/related; type="application/dicom+xml"'
    (expected,) = (await everyone.get(f"/dicom-web/workitems/{uid}")).json()
    one = await everyone.get(f"/dicom-web/workitems/{uid}", headers={"Accept": single})
    assert read_native_xml(one.content) == expected
    assert one.headers["content-type"] == single
    found = await everyone.get("/dicom-web/workitems", headers={"Accept": multipart})
    document = found.content[found.content.index(b"<?xml") : found.content.rindex(b"\r\n--")]
    assert read_native_xml(document) == (await everyone.get("/dicom-web/workitems")).json()[0]
    assert (await everyone.get("/dicom-web/workitems", headers={"Accept": single})).status_code == 406


async def test_search_pages_and_says_that_there_is_more(client: Client, database: Database) -> None:
    made = [await armed_uid(database, f"1.{number}") for number in range(3)]
    first = await client(EVERYTHING).get("/dicom-web/workitems?limit=2")
    assert "additional results" in first.headers["warning"]
    assert len(first.json()) == 2
    rest = await client(EVERYTHING).get("/dicom-web/workitems?limit=2&offset=2")
    assert "warning" not in rest.headers
    assert [found["00080018"]["Value"][0] for found in rest.json()] == [made[0]]


async def test_search_says_what_it_ignored(client: Client) -> None:
    answer = await client(EVERYTHING).get("/dicom-web/workitems?PatientAge=030Y")
    assert answer.headers["warning"].startswith('299 isthmus "The query parameter PatientAge')


async def test_retrieve_names_every_instance(client: Client, database: Database) -> None:
    uid = await armed_uid(database)
    answer = await client(EVERYTHING).get(f"/dicom-web/workitems/{uid}")
    (found,) = answer.json()
    assert len(found["00404021"]["Value"][0]["00081199"]["Value"]) == 3
    assert ("system:test", "ups-retrieve") in await audited(database)


async def test_answer_is_json_or_refused(client: Client) -> None:
    for accept in ("application/json", "text/html"):
        answer = await client(EVERYTHING).get("/dicom-web/workitems", headers={"accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (
            (200, accept) if accept == "application/json" else (406, "application/json")
        )


async def test_unknown_workitem_is_not_found(client: Client) -> None:
    assert (await client(EVERYTHING).get("/dicom-web/workitems/1.9")).status_code == 404
    assert (await client(EVERYTHING).post(CANCEL.format("1.9"))).status_code == 404


async def test_cancel_request_with_a_reason(client: Client, database: Database) -> None:
    uid = await armed_uid(database)
    payload = [{"00741238": {"vr": "LT", "Value": ["wrong study"]}}]
    headers = {"content-type": "application/dicom+json"}
    answer = await client(EVERYTHING).post(CANCEL.format(uid), json=payload, headers=headers)
    assert (answer.status_code, answer.content) == (202, b"")
    row = await workitem(database, uid)
    assert (row["state"], row["reason_code"], row["reason_text"]) == ("CANCELED", "110513", "wrong study")


async def test_cancel_request_of_a_canceled_workitem_is_a_warning(client: Client, database: Database) -> None:
    uid = await armed_uid(database)
    await client(EVERYTHING).post(CANCEL.format(uid))
    again = await client(EVERYTHING).post(CANCEL.format(uid))
    assert again.status_code == 202
    assert again.headers["warning"] == (
        '299 isthmus "The UPS is already in the requested state of CANCELED."'
    )


async def test_cancel_request_of_a_completed_workitem_is_a_conflict(
    client: Client, database: Database
) -> None:
    uid = await armed_uid(database)
    taken = await claim(database, "w1", 30)
    assert taken is not None
    await database.transact(lambda unit: complete(unit, taken, (ct(),)))
    answer = await client(EVERYTHING).post(CANCEL.format(uid))
    assert answer.status_code == 409
    assert answer.headers["warning"] == '299 isthmus "The UPS is already COMPLETED."'


async def test_cancel_request_too_long_is_refused(client: Client, database: Database) -> None:
    uid = await armed_uid(database)
    answer = await client(EVERYTHING).post(CANCEL.format(uid), content=b" " * (MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert (await workitem(database, uid))["state"] == "SCHEDULED"


async def test_patient_sees_nothing_of_another(client: Client, database: Database) -> None:
    await store_study(database, "1.1", "p1")
    await store_study(database, "1.2", "p2")
    mine, other = await armed_uid(database, "1.1"), await armed_uid(database, "1.2", patient_id="p2")
    app = client(patient("p1"))
    assert await uids(app) == [mine]
    assert await uids(app, PatientID="MRN-1.2") == []
    assert await uids(app, StudyInstanceUID="1.2") == []
    assert (await app.get(f"/dicom-web/workitems/{mine}")).status_code == 200
    assert (await app.get(f"/dicom-web/workitems/{other}")).status_code == 404
    assert (await app.post(CANCEL.format(other))).status_code == 404
    assert (await workitem(database, other))["state"] == "SCHEDULED"
    assert (await app.post(CANCEL.format(mine))).status_code == 202


async def test_unassigned_is_nobodys(client: Client, database: Database) -> None:
    await store_study(database, "1.1", None)
    uid = await armed_uid(database, "1.1", patient_id=None)
    for access in (patient("p1"), patient()):
        assert await uids(client(access)) == []
        assert (await client(access).get(f"/dicom-web/workitems/{uid}")).status_code == 404
    assert await uids(client(EVERYTHING)) == [uid]


async def test_link_of_the_study_outweighs_the_workitems(client: Client, database: Database) -> None:
    await store_study(database, "1.1", None)  # the link was withdrawn after the workitem was made
    await store_study(database, "1.2", "p1")  # the link came after the workitem was made
    closed = await armed_uid(database, "1.1", patient_id="p1")
    opened = await armed_uid(database, "1.2", patient_id=None)
    assert await uids(client(patient("p1"))) == [opened]
    assert (await client(patient("p1")).post(CANCEL.format(closed))).status_code == 404


async def test_token_of_a_clinician_with_a_patient(client: Client, database: Database) -> None:
    """Workitems by the scope of workitems (SMART App Launch 2.2, Scopes), whatever other scopes open."""
    made = [await armed_uid(database, f"1.{n}", patient_id=f"p{n}") for n in (1, 2)]
    for context, other, opened in (
        (Context.PATIENT, Context.USER, made[:1]),
        (Context.USER, Context.PATIENT, made[::-1]),
    ):
        grants = tuple(
            Grant(each, resource_type, frozenset(Permission))
            for each, resource_type in ((context, "Task"), (other, "ImagingStudy"))
        )
        mixed = client(replace(patient("p1"), grants=grants, is_confined=False))
        assert await uids(mixed) == opened
        status = 200 if made[1] in opened else 404
        assert (await mixed.get(f"/dicom-web/workitems/{made[1]}")).status_code == status
        cancelled = await mixed.post(CANCEL.format(made[1]))
        assert cancelled.status_code == (202 if made[1] in opened else 404)


async def test_merged_patients_are_one_compartment(client: Client, database: Database) -> None:
    made = [await armed_uid(database, f"1.{n}", patient_id=f"p{n}") for n in (1, 2, 3)]
    assert await uids(client(patient("p1", "p2"))) == [made[1], made[0]]


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/dicom-web/workitems", "s"),
        ("GET", "/dicom-web/workitems/1.9", "r"),
        ("POST", "/dicom-web/workitems/1.9/cancelrequest", "u"),
    ],
)
async def test_each_route_needs_its_permission(
    client: Client, database: Database, method: str, path: str, needed: str
) -> None:
    others = "".join(set("crusd") - {needed})
    assert (await client(None).request(method, path)).status_code == 401
    assert (await client(patient("p1", permissions=others)).request(method, path)).status_code == 403
    allowed = await client(patient("p1", permissions=needed)).request(method, path)
    assert allowed.status_code in (200, 404)
