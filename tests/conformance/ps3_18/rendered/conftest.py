"""An archive with everything that is rendered: stored once, then copied for each test."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from server.kernel.database import Database
from server.kernel.local_store import LocalObjectStore
from server.kernel.read_audit import ReadAudit
from server.kernel.services import Services
from tests.conformance.ps3_18.kit import EVERYTHING, MULTIPART, Injected, build_app, multipart
from tests.conformance.ps3_18.rendered.kit import FILES


async def _store(folder: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{folder / 'isthmus.db'}")
    objects = LocalObjectStore(folder / "objects")
    app = build_app(Services(database, objects, ReadAudit(database), "http://testserver"))
    transport = httpx.ASGITransport(Injected(app, {"all": EVERYTHING}))
    headers = {"Authorization": "Bearer all", "Content-Type": MULTIPART}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://testserver", headers=headers
    ) as client:
        answer = await client.post("/dicom-web/studies", content=multipart(*FILES.values()))
    assert answer.status_code == 200, answer.text
    await objects.close()
    await database.close()


@pytest.fixture(scope="session")
def archive_template(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with every object of the kit; one kind of database is enough, for no SQL here differs."""
    folder = tmp_path_factory.mktemp("archive")
    shutil.copy(sqlite_template, folder / "isthmus.db")
    asyncio.run(_store(folder))
    return folder


@pytest.fixture
async def services(archive_template: Path, tmp_path: Path) -> AsyncIterator[Services]:
    """The floor's services over a copy of the archive."""
    folder = tmp_path / "archive"
    await asyncio.to_thread(shutil.copytree, archive_template, folder)
    database = Database(f"sqlite+aiosqlite:///{folder / 'isthmus.db'}")
    objects = LocalObjectStore(folder / "objects")
    yield Services(database, objects, ReadAudit(database), "http://testserver")
    await objects.close()
    await database.close()


@pytest.fixture
def pictures(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client of the archive that may do everything."""
    return client
