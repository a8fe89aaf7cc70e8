"""Pages of other origins: what a browser is told, and what it is not (Fetch standard §3.2)."""

from dataclasses import replace

import httpx
import pytest

from server.http.cors import EXPOSED_HEADERS
from server.http.floor import HttpFloor
from server.settings import Settings
from tests.unit.http_floor.conftest import connect, make_app

VIEWER = "https://viewer.example"
PREFLIGHT = {"Origin": VIEWER, "Access-Control-Request-Method": "GET"}
STUDY = "/dicom-web/studies/1.2"


def told(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control")}


async def test_without_the_setting_nothing_is_told(client: httpx.AsyncClient) -> None:
    for response in (
        await client.get(STUDY, headers={"Origin": VIEWER}),
        await client.options(STUDY, headers=PREFLIGHT),
    ):
        assert told(response) == {}
    assert response.status_code == 405


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((VIEWER,), VIEWER, VIEWER),
        (("https://other.example", VIEWER), VIEWER, VIEWER),
        (("*",), VIEWER, "*"),
        ((VIEWER,), "https://viewer.example.evil", None),
        ((VIEWER,), "http://viewer.example", None),
        ((VIEWER,), "null", None),
        ((VIEWER,), None, None),
    ],
)
async def test_origin(
    floor: HttpFloor, origins: tuple[str, ...], origin: str | None, allowed: str | None
) -> None:
    async with connect(make_app(replace(floor, origins=origins))) as http:
        response = await http.get(STUDY, headers={"Origin": origin} if origin else {})
    assert response.status_code == 200
    assert response.headers.get("access-control-allow-origin") == allowed
    assert "Origin" in response.headers["vary"]
    exposed = response.headers.get("access-control-expose-headers", "")
    assert exposed == (", ".join(EXPOSED_HEADERS) if allowed else "")
    assert "access-control-allow-credentials" not in response.headers


async def test_preflight_is_answered_without_a_token(floor: HttpFloor) -> None:
    async with connect(make_app(replace(floor, origins=(VIEWER,)))) as http:
        response = await http.options("/nowhere", headers=PREFLIGHT)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-origin"] == VIEWER
    assert "Authorization" in response.headers["access-control-allow-headers"]
    assert "PUT" in response.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize("missing", ["Origin", "Access-Control-Request-Method"])
async def test_options_that_is_no_preflight_goes_on(floor: HttpFloor, missing: str) -> None:
    headers = {name: value for name, value in PREFLIGHT.items() if name != missing}
    async with connect(make_app(replace(floor, origins=(VIEWER,)))) as http:
        assert (await http.options(STUDY, headers=headers)).status_code == 405


async def test_preflight_of_another_origin_goes_on(floor: HttpFloor) -> None:
    async with connect(make_app(replace(floor, origins=(VIEWER,)))) as http:
        response = await http.options(STUDY, headers=PREFLIGHT | {"Origin": "https://evil.example"})
    assert response.status_code == 405
    assert told(response) == {}


@pytest.mark.parametrize("path", ["/boom", "/missing", STUDY + "%00"])
async def test_refusals_may_be_read_too(floor: HttpFloor, path: str) -> None:
    async with connect(make_app(replace(floor, origins=(VIEWER,)))) as http:
        response = await http.get(path, headers={"Origin": VIEWER})
    assert response.status_code >= 400
    assert response.headers["access-control-allow-origin"] == VIEWER


@pytest.mark.parametrize(
    "origin", ["viewer.example", "https://viewer.example/", "https://Viewer.example", "ftp://a", "https://"]
)
def test_setting_wants_origins(origin: str) -> None:
    with pytest.raises(ValueError, match="scheme://host"):
        Settings(cors_origins=(origin,))


def test_every_page_only_with_tokens() -> None:
    assert Settings(cors_origins=("*",)).cors_origins == ("*",)
    with pytest.raises(ValueError, match="any web page"):
        Settings(cors_origins=("*",), auth=False)
