"""An archive with its studies service and its administration, below authentication."""

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pydicom
import pytest
from fastapi import Request, Response

from dicomweb.retrieve.inflated import InflatedFiles
from dicomweb.retrieve.request import Archive
from dicomweb.routes import fault_response
from dicomweb.wado_uri import routes as wado_uri
from server.http.problem import problem_response
from server.kernel.faults import Fault
from server.kernel.services import Services
from server.workflows.corrections.routes import build_router
from tests.conformance.ps3_18.kit import (
    DICOM_JSON,
    EVERYTHING,
    MULTIPART,
    Injected,
    Place,
    build_app,
    confined_to,
    multipart,
    parts_of,
    place,
)

STORED = {"Accept": 'application/dicom; transfer-syntax="*"'}
FILES = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}


@dataclass(frozen=True)
class Correcting:
    """A client of an archive, and what tests ask of it."""

    http: httpx.AsyncClient
    services: Services

    async def store(self, *files: bytes) -> httpx.Response:
        headers = {"Content-Type": MULTIPART, "Accept": DICOM_JSON}
        return await self.http.post("/dicom-web/studies", content=multipart(*files), headers=headers)

    async def correct(
        self, attributes: dict[str, Any], where: Place | None = None, series: bool = False, **headers: str
    ) -> httpx.Response:
        said = {
            name: each if isinstance(each, dict) else {"Value": [each]} for name, each in attributes.items()
        }
        body = {"reason": "typed wrong", "attributes": said}
        return await self.http.put(self.path(where, series), json=body, headers=headers)

    def path(self, where: Place | None = None, series: bool = False) -> str:
        where = where or place()
        below = f"/series/{where.series}" if series else ""
        return f"/admin/api/studies/{where.study}{below}/corrections"

    async def found(self, resource: str = "studies", **query: str) -> list[dict[str, Any]]:
        """What a search answers."""
        answer = await self.http.get(f"/dicom-web/{resource}", params=query, headers={"Accept": DICOM_JSON})
        assert answer.status_code in (200, 204), answer.text
        return list(answer.json()) if answer.content else []

    async def metadata(self, path: str | None = None) -> list[dict[str, Any]]:
        answer = await self.http.get(f"{path or place().path}/metadata", headers={"Accept": DICOM_JSON})
        assert answer.status_code == 200, answer.text
        return list(answer.json())

    async def file(self, where: Place | None = None, accept: dict[str, str] = STORED) -> bytes:
        answer = await self.http.get((where or place()).path, headers=accept)
        assert answer.status_code == 200, answer.text
        return answer.content

    async def dataset(self, where: Place | None = None, accept: dict[str, str] = STORED) -> pydicom.Dataset:
        return pydicom.dcmread(io.BytesIO(await self.file(where, accept)))

    async def files(self, path: str) -> list[pydicom.Dataset]:
        answer = await self.http.get(path, headers=FILES)
        assert answer.status_code == 200, answer.text
        parts = parts_of(answer.headers["content-type"], answer.content)
        return [pydicom.dcmread(io.BytesIO(content)) for _, content in parts]


@pytest.fixture
async def archive(services: Services) -> AsyncIterator[Correcting]:
    """An empty archive, for an administrator; the token "one" is a patient's."""
    app = build_app(services)
    opened = Archive(services, InflatedFiles(services.objects))
    app.include_router(build_router(services, opened), prefix="/admin/api")
    app.include_router(wado_uri.build_router(services, opened), prefix="/dicom-web")

    @app.exception_handler(Fault)
    async def answer(request: Request, fault: Fault) -> Response:
        return (fault_response if request.url.path.startswith("/dicom-web") else problem_response)(fault)

    accesses = {"all": EVERYTHING, "one": confined_to("nobody")}
    transport = httpx.ASGITransport(Injected(app, accesses))
    headers = {"Authorization": "Bearer all"}
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver", headers=headers) as http:
        yield Correcting(http, services)
