"""WADO-URI, PS3.18 §9."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

import dicomweb.wado_uri.routes
from dicomweb.tables import Study
from server.kernel.access import Access
from server.kernel.services import Services
from tests.asked_in_turn import asked_in_turn
from tests.conformance.ps3_18.kit import (
    EVERYTHING,
    MULTIPART,
    Injected,
    build_app,
    confined_to,
    ct_file,
    granted,
    multipart,
    place,
)
from tests.conformance.ps3_18.test_10_5_store import rows
from tests.conftest import sqlite_first
from tests.services.routers import add_router

pytestmark = sqlite_first  # 10.4 finds the same instances on both databases

HERE = place(1)
FILE = ct_file(HERE)
ASKED = {
    "requestType": "WADO",
    "studyUID": HERE.study,
    "seriesUID": HERE.series,
    "objectUID": HERE.instance,
    "contentType": "application/dicom",
}


@pytest.fixture
async def wado(services: Services, accesses: dict[str, Access]) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may do everything, in an archive of one instance of each of two patients."""
    app: FastAPI = build_app(services)
    add_router(app, dicomweb.wado_uri.routes.build_router(services), "/dicom-web")
    transport = httpx.ASGITransport(Injected(app, accesses))
    headers = {"Authorization": "Bearer all"}
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver", headers=headers) as http:
        body = multipart(FILE, ct_file(place(2), PatientID="P2", PatientName="Other"))
        stored = await http.post("/dicom-web/studies", content=body, headers={"Content-Type": MULTIPART})
        assert stored.status_code == 200
        yield http


async def asked(http: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    parameters = {name: value for name, value in (ASKED | changes).items() if value is not None}
    return await http.get("/dicom-web/wado", params=parameters)


async def test_instance_as_it_was_stored(wado: httpx.AsyncClient) -> None:
    answer = await asked(wado)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/dicom")
    assert answer.content == FILE
    again = await wado.get("/dicom-web/wado", params=ASKED, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


@asked_in_turn(
    ("changes", "status"),
    [
        pytest.param({"requestType": None}, 400, id="no requestType"),
        pytest.param({"requestType": "wado"}, 400, id="another requestType"),
        pytest.param({"studyUID": None}, 400, id="no study"),
        pytest.param({"seriesUID": ""}, 400, id="no series"),
        pytest.param({"objectUID": None}, 400, id="no instance"),
        pytest.param({"objectUID": ["1.2", "1.3"]}, 400, id="two instances"),
        pytest.param({"objectUID": "1.2.3"}, 404, id="an instance that is not there"),
        pytest.param({"studyUID": "1.2.3"}, 404, id="in another study"),
        pytest.param({"anonymize": "yes"}, 501, id="anonymized"),
        pytest.param({"anonymize": "please"}, 400, id="anonymized somehow"),
        pytest.param({"transferSyntax": "1.2.840.10008.1.2.1"}, 200, id="the stored transfer syntax"),
        pytest.param({"contentType": "text/x-unheard-of"}, 406, id="a media type that there is not"),
        pytest.param({"contentType": None}, 200, id="anything"),
    ],
)
async def test_parameters(wado: httpx.AsyncClient, changes: dict[str, Any], status: int) -> None:
    answer = await asked(wado, **changes)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert list(answer.json()) == ["error"]


async def test_anonymize_sends_nothing(wado: httpx.AsyncClient) -> None:
    answer = await asked(wado, anonymize="yes")
    assert "anonymize" in answer.text
    assert b"DICM" not in answer.content


async def test_isolation(wado: httpx.AsyncClient, services: Services, accesses: dict[str, Access]) -> None:
    patients = {row.study_instance_uid: row.patient_id for row in await rows(services, Study)}
    for access, status in (
        (confined_to(patients[HERE.study]), 200),
        (confined_to(patients[place(2).study]), 404),
        (granted("ImagingStudy", "s"), 403),
        (EVERYTHING, 200),
    ):
        accesses["some"] = access
        wado.headers["Authorization"] = "Bearer some"
        assert (await asked(wado)).status_code == status
    wado.headers["Authorization"] = ""
    assert (await asked(wado)).status_code == 401


@pytest.mark.parametrize("name", ["studyUID", "seriesUID", "objectUID", "presentationUID"])
async def test_text_that_no_database_takes_names_nothing(wado: httpx.AsyncClient, name: str) -> None:
    state = {"presentationUID": "1.2", "presentationSeriesUID": "1.3", "contentType": "image/png"}
    answer = await asked(wado, **(state | {name: "1.2\0"}))
    assert answer.status_code == 404, answer.text
