"""The installation below a path of a proxy: every URL in answers leads back through it."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from pydicom import FileDataset
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from server.app import build_app, build_services, close_services
from server.auth.tokens import issue_token
from server.settings import Settings

BASE = "https://hospital.example/imaging/pacs"


class TakesOff:
    """A proxy that passes requests on without its prefix."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["path"].startswith("/imaging/pacs/")
        await self._app({**scope, "path": scope["path"].removeprefix("/imaging/pacs")}, receive, send)


class LeavesOn:
    """A proxy that passes requests on as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def mounted(app: ASGIApp) -> ASGIApp:
    """Within another application, which says so by root_path."""
    return Starlette(routes=[Mount("/imaging/pacs", app)])


@pytest.fixture(params=[TakesOff, LeavesOn, mounted])
async def client(
    request: pytest.FixtureRequest, tmp_path: Path, new_sqlite: Callable[[bool], str]
) -> AsyncIterator[httpx.AsyncClient]:
    """A client that knows the public base only."""
    settings = Settings(data=tmp_path / "data", database_url=new_sqlite(True), worker=False, public_base=BASE)
    services = build_services(settings)
    app = request.param(build_app(settings, services))
    token = await issue_token(services.database, scope="system/*.cruds")
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), headers=headers) as http:
        yield http
    await close_services(services)


async def test_urls_in_answers_lead_back(
    client: httpx.AsyncClient, kit: Any, new_chest: Callable[..., Sequence[FileDataset]]
) -> None:
    (image,) = new_chest("PATIENT", 1)
    body = kit.multipart([kit.part10(image)])
    stored = await client.post(f"{BASE}/dicom-web/studies", content=body, headers=kit.stow_headers)
    assert stored.status_code == 200, stored.text
    study = f"{BASE}/dicom-web/studies/{image.StudyInstanceUID}"
    assert stored.json()["00081190"]["Value"] == [study]
    (found,) = (await client.get(f"{BASE}/dicom-web/studies")).json()
    assert found["00081190"]["Value"] == [study]
    (instance,) = (await client.get(f"{study}/metadata")).json()
    uri = instance["7FE00010"]["BulkDataURI"]
    assert uri.startswith(f"{study}/series/")
    pixels = await client.get(uri, headers={"Accept": "application/octet-stream"})
    assert pixels.content == image.PixelData
    whole = await client.get(f"{study}/bulkdata")
    assert f"Content-Location: {uri}".encode() in whole.content
    patient = await client.post(f"{BASE}/fhir/Patient", json={"resourceType": "Patient"})
    assert patient.headers["Location"].startswith(f"{BASE}/fhir/Patient/")
    assert (await client.get(patient.headers["Location"])).status_code == 200


async def test_capabilities_lead_back(client: httpx.AsyncClient) -> None:
    """PS3.18 §8.9: the base of the WADL, and each resource that it names without a template."""
    described = await client.options(f"{BASE}/dicom-web")
    (resources,) = ElementTree.fromstring(described.content)
    assert resources.get("base") == f"{BASE}/dicom-web/"
    plain = [path for each in resources if "{" not in (path := each.get("path", ""))]
    assert {"studies", "series", "instances", "workitems", "wado"} <= set(plain)
    for path in plain:
        assert (await client.options(f"{resources.get('base')}{path}")).status_code == 200, path


async def test_discovery_leads_back(client: httpx.AsyncClient) -> None:
    capabilities = (await client.get(f"{BASE}/fhir/metadata")).json()
    assert capabilities["implementation"]["url"] == f"{BASE}/fhir"
    smart = (await client.get(f"{BASE}/fhir/.well-known/smart-configuration")).json()
    assert smart["token_endpoint"] == f"{BASE}/auth/token"
    refused = await client.get(f"{BASE}/dicom-web/studies", headers={"Authorization": "Bearer none"})
    assert refused.status_code == 401
    told = refused.headers["WWW-Authenticate"].partition('resource_metadata="')[2].partition('"')[0]
    assert (await client.get(told)).json()["resource"] == f"{BASE}/dicom-web"
    assert 'url: "/imaging/pacs/openapi.json"'.replace('"', "'") in (await client.get(f"{BASE}/docs")).text
