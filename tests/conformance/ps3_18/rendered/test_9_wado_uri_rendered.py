"""Rendering by WADO-URI (PS3.18 9.4.1, 9.5)."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

import dicomweb.wado_uri.routes
from server.kernel.access import Access
from server.kernel.services import Services
from tests.conformance.ps3_18.kit import Injected, build_app, granted
from tests.conformance.ps3_18.rendered.kit import (
    CINE,
    CT,
    FILES,
    PDF,
    RAMP,
    REPORT,
    STATE,
    VIDEO,
    get,
    gray_of,
    picture,
    pixels,
)
from tests.services.routers import add_router


@pytest.fixture
async def wado(services: Services, accesses: dict[str, Access]) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(services)
    add_router(app, dicomweb.wado_uri.routes.build_router(services), "/dicom-web")
    headers = {"Authorization": "Bearer all"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Injected(app, accesses)), base_url="http://testserver", headers=headers
    ) as client:
        yield client


async def ask(
    client: httpx.AsyncClient, where: Any, content_type: str | None, accept: str = "*/*", **more: str
) -> httpx.Response:
    named = {"studyUID": where.study, "seriesUID": where.series, "objectUID": where.instance}
    query = {"requestType": "WADO", **named, **more}
    if content_type:
        query["contentType"] = content_type
    return await client.get("/dicom-web/wado", params=query, headers={"Accept": accept})


@pytest.mark.parametrize(
    ("where", "content_type", "accept", "media_type"),
    [
        pytest.param(CT, "image/jpeg", "*/*", "image/jpeg", id="by contentType"),
        pytest.param(CT, None, "image/png", "image/png", id="by Accept"),
        pytest.param(
            CT, None, "image/avif,image/webp,*/*;q=0.8", "image/jpeg", id="as browsers ask for images"
        ),
        pytest.param(
            CT, "image/webp,application/dicom", "*/*", "application/dicom", id="what is not rendered so"
        ),
        pytest.param(CT, None, "*/*", "application/dicom", id="anything"),
        pytest.param(CINE, "image/gif", "*/*", "image/gif", id="an animation"),
        pytest.param(REPORT, "text/html", "*/*", "text/html", id="a report"),
        pytest.param(PDF, "application/pdf", "*/*", "application/pdf", id="a PDF"),
        pytest.param(STATE, "image/jpeg", "*/*", "image/jpeg", id="a presentation state"),
    ],
)
async def test_media_types(
    wado: httpx.AsyncClient, where: Any, content_type: str | None, accept: str, media_type: str
) -> None:
    answer = await ask(wado, where, content_type, accept)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith(media_type)
    if media_type == "application/dicom":
        assert answer.content == FILES[where]


async def test_parameters(wado: httpx.AsyncClient) -> None:
    answer = await ask(wado, CT, "image/png", windowCenter="75.5", windowWidth="151", region="0,0,1,0.25")
    assert pixels(answer) == [[0, 14, 27, 41]]
    assert pixels(await ask(wado, CT, "image/png")) == gray_of(RAMP)
    assert picture(await ask(wado, CT, "image/png", rows="8")).size == (8, 8)
    assert pixels(await ask(wado, CINE, "image/png", frameNumber="5"))[0][0] == 204
    state = {"presentationSeriesUID": STATE.series, "presentationUID": STATE.instance}
    drawn = await get(wado, f"{STATE.path}/rendered")
    assert pixels(await ask(wado, CT, "image/png", **state)) == pixels(drawn)


@pytest.mark.parametrize(
    ("where", "content_type", "changes", "status"),
    [
        pytest.param(CT, "image/webp", {}, 406, id="a type that there is not"),
        pytest.param(VIDEO, "image/jpeg", {}, 406, id="video"),
        pytest.param(CT, "image/jpeg", {"windowCenter": "40"}, 400, id="half a window"),
        pytest.param(CT, "image/jpeg", {"frameNumber": "2"}, 404, id="a frame that is not there"),
    ],
)
async def test_refusals(
    wado: httpx.AsyncClient, where: Any, content_type: str, changes: dict[str, str], status: int
) -> None:
    assert (await ask(wado, where, content_type, **changes)).status_code == status


async def test_scopes(wado: httpx.AsyncClient, accesses: dict[str, Access]) -> None:
    accesses["searcher"] = granted("ImagingStudy", "s")
    wado.headers["Authorization"] = "Bearer searcher"
    assert (await ask(wado, CT, "image/jpeg")).status_code == 403
