from collections.abc import AsyncIterator

import httpx
import pytest

from server.kernel.access import Access
from server.kernel.services import Services
from tests.conformance.ps3_18.kit import EVERYTHING, Injected, build_app


@pytest.fixture
def accesses() -> dict[str, Access]:
    """Access by bearer token; tests add theirs."""
    return {"all": EVERYTHING}


@pytest.fixture
async def client(services: Services, accesses: dict[str, Access]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the studies service that may do everything."""
    transport = httpx.ASGITransport(Injected(build_app(services), accesses))
    headers = {"Authorization": "Bearer all"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://testserver", headers=headers
    ) as client:
        yield client
