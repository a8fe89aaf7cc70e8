"""Both doors of one server in this process, without a worker: what is stored, and what FHIR says of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from server.app import build_app, build_services, close_services
from server.auth.tokens import issue_token
from server.kernel.services import Services
from server.settings import Settings
from server.workflows.endpoints import publish_endpoints
from server.workflows.registry.versions import INSTALLER
from tests.services.jobs import run_record_jobs

BOUNDARY = "imaging-boundary"
BASE = "http://127.0.0.1"
CT = "1.2.840.10008.5.1.4.1.1.2"


def part10(dataset: Dataset) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def instance(study: str = "2.25.100", number: int = 1, series: int = 1, **attributes: Any) -> Dataset:
    """A CT instance without pixels."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CT, f"{study}.{series}.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID = study, f"{study}.{series}"
    made.PatientID, made.PatientName, made.PatientBirthDate, made.PatientSex = (
        "P1",
        "Doe^Jane",
        "19700101",
        "F",
    )
    made.StudyDate, made.StudyTime, made.AccessionNumber = "20260301", "101112", "A-7"
    made.Modality, made.SeriesNumber, made.InstanceNumber = "CT", series, number
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


@dataclass
class Hospital:
    """The whole server; nothing runs by itself."""

    services: Services
    http: httpx.AsyncClient

    async def store(self, *datasets: Dataset, expect: int = 200) -> None:
        head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = b"".join(head + part10(each) + b"\r\n" for each in datasets) + f"--{BOUNDARY}--\r\n".encode()
        media_type = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
        answer = await self.http.post(
            "/dicom-web/studies", content=body, headers={"Content-Type": media_type}
        )
        assert answer.status_code == expect, answer.text

    async def run_jobs(self) -> int:
        return await run_record_jobs(self.services)

    async def headers(
        self, scope: str, patient: str | None = None, subject: str | None = None
    ) -> dict[str, str]:
        """Of a caller with a token of its own."""
        token = await issue_token(self.services.database, scope=scope, patient=patient, subject=subject)
        return {"Authorization": f"Bearer {token}"}

    async def search(self, query: str, **headers: str) -> list[dict[str, Any]]:
        """The resources on the page, matches first."""
        answer = await self.http.get(f"/fhir/{query}", headers=headers)
        assert answer.status_code == 200, answer.text
        return [entry["resource"] for entry in answer.json().get("entry", [])]

    async def only(self, query: str, **headers: str) -> dict[str, Any]:
        (found,) = await self.search(query, **headers)
        return found


@asynccontextmanager
async def open_hospital(folder: Path, database_url: str, **settings: Any) -> AsyncIterator[Hospital]:
    """The server with these settings."""
    made = Settings(data=folder, database_url=database_url, worker=False, **settings)
    made.data.mkdir()
    services = build_services(made)
    await services.database.transact(lambda unit: publish_endpoints(unit, BASE, INSTALLER, needs_token=True))
    token = await issue_token(services.database, scope="system/*.cruds")
    transport = httpx.ASGITransport(build_app(made, services))
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers) as http:
        yield Hospital(services, http)
    await close_services(services)


@pytest.fixture
async def hospital(tmp_path: Path, database_url: str) -> AsyncIterator[Hospital]:
    async with open_hospital(tmp_path / "data", database_url) as opened:
        yield opened
