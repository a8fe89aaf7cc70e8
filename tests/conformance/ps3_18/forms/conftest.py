from collections.abc import AsyncIterator

import httpx
import pytest

from server.http.head import HeadAsGet
from server.kernel.access import Access
from server.kernel.services import Services
from tests.conformance.ps3_18.forms.kit import FILES
from tests.conformance.ps3_18.kit import MULTIPART, Injected, build_app, multipart
from tests.conftest import NewDatabase


@pytest.fixture
def new_database(new_sqlite: NewDatabase) -> NewDatabase:
    """Forms are made of the same rows on every database."""
    return new_sqlite


@pytest.fixture
async def archive(services: Services, accesses: dict[str, Access]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the archive of `kit`; HEAD is answered as by the server, and nothing is coded unasked."""
    transport = httpx.ASGITransport(HeadAsGet(Injected(build_app(services), accesses)))
    headers = {"Authorization": "Bearer all", "Accept-Encoding": "identity"}
    url = "http://testserver"
    async with httpx.AsyncClient(transport=transport, base_url=url, headers=headers) as client:
        body = multipart(*FILES.values())
        response = await client.post("/dicom-web/studies", content=body, headers={"Content-Type": MULTIPART})
        assert response.status_code == 200, response.text
        yield client
