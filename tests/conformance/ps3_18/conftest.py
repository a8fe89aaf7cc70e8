from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from dicomweb import routes
from dicomweb.pixels.pool import PixelPool
from dicomweb.pixels.service import Pixels
from dicomweb.wado_uri import routes as wado_uri_routes
from server.kernel.access import Access
from server.kernel.services import Services
from tests.conformance.ps3_18.kit import EVERYTHING, Injected, build_app
from tests.conformance.ps3_18.worklist import Ups, build_worklist_app


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


@pytest.fixture
async def ups(services: Services, accesses: dict[str, Access]) -> AsyncIterator[Ups]:
    """A client of the worklist that may do everything."""
    transport = httpx.ASGITransport(build_worklist_app(services, accesses))
    headers = {"Authorization": "Bearer all"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://testserver", headers=headers
    ) as client:
        yield Ups(client)


@pytest.fixture(scope="session")
def pixel_pool() -> Iterator[PixelPool]:
    """The children that decode, for all tests of this process: they take a second to start."""
    pool = PixelPool()
    yield pool
    pool.close()


@pytest.fixture(autouse=True)
def shared_children(pixel_pool: PixelPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every application of a test uses these children."""
    for module in (routes, wado_uri_routes):
        monkeypatch.setattr(module, "Pixels", lambda: Pixels(pixel_pool))
