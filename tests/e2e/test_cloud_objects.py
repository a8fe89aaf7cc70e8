"""The whole server over an S3-protocol store, sealed: round trip, packing, a store that fails for a while.

The servers of tests prove the protocol, not durability.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from server.app import build_app, build_services, close_services
from server.check_config import check
from server.kernel.database import Database
from server.kernel.services import Services
from server.migrations import upgrade
from server.serve import _join_store
from server.settings import Settings
from server.workflows.storage.pack import pack_settled
from server.workflows.storage.remove import remove_due
from server.workflows.storage.sweep import sweep_orphans
from tests.conformance.ps3_18.kit import (
    DICOM_JSON,
    MULTIPART,
    Place,
    ct_file,
    multipart,
    parts_of,
    place,
)
from tests.services.s3 import S3Server, moto

FRAME = bytes(range(32))  # the pixels of the kit's images


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    """A server of this module's own: it is stopped and killed."""
    with moto() as server:
        yield server


@pytest.fixture
def settings(s3: S3Server, tmp_path: Path) -> Settings:
    """As an operator would write them."""
    config = s3.config()
    return Settings(
        data=tmp_path / "data",
        auth=False,
        worker=False,
        master_key="a master key for tests, long enough",
        objects_url=config.url,
        objects_endpoint=config.endpoint,
        objects_region="us-east-1",
        objects_access_key=config.access_key,
        objects_secret_key=config.secret_key,
        objects_allow_http=True,
        objects_timeout_s=1,
        objects_retries=1,
        encrypt_objects=True,
        pack_after_s=0,
        remove_after_s=0,
    )


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    settings.data.mkdir()
    await upgrade(settings.database)
    services = build_services(settings)
    await _join_store(settings, services.database)
    yield services
    await close_services(services)


@pytest.fixture
async def http(settings: Settings, services: Services) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build_app(settings, services))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


async def store(http: httpx.AsyncClient, *files: bytes) -> httpx.Response:
    headers = {"Content-Type": MULTIPART, "Accept": DICOM_JSON}
    return await http.post("/dicom-web/studies", content=multipart(*files), headers=headers)


async def whole(http: httpx.AsyncClient, where: Place) -> bytes:
    answer = await http.get(where.path, headers={"Accept": "application/dicom"})
    assert answer.status_code == 200, answer.text
    return answer.content


async def names(services: Services) -> set[str]:
    return {each.name async for each in services.objects.list_objects()}


async def test_round_trip_and_packing(http: httpx.AsyncClient, services: Services, s3: S3Server) -> None:
    places = [place(study=study, instance=number) for study in (1, 2) for number in (1, 2)]
    files = {where: ct_file(where) for where in places}
    assert (await store(http, *files.values())).status_code == 200
    assert len(await names(services)) == 2  # one a study: an object never mixes studies
    late = place(study=1, instance=3)
    files[late] = ct_file(late)
    assert (await store(http, files[late])).status_code == 200
    for _ in range(2):
        for where, file in files.items():
            assert await whole(http, where) == file
        frame = await http.get(f"{late.path}/frames/1", headers={"Accept": "*/*"})
        ((_, pixels),) = parts_of(frame.headers["content-type"], frame.content)
        assert pixels == FRAME
        await pack_settled(services)
        await remove_due(services)
        assert await sweep_orphans(services) == 0
    assert len(await names(services)) == 2
    assert all(name.startswith("sealed/") for name in await names(services))
    for name in await names(services):
        stored = s3.get_raw(f"{services.objects.inner._store.prefix}/{name}")  # type: ignore[attr-defined]
        assert b"DICM" not in stored
        assert b"Doe" not in stored


async def test_store_that_stalls_is_503_and_goes_on_by_itself(
    http: httpx.AsyncClient, s3: S3Server, services: Services
) -> None:
    stored, refused = place(study=3, instance=1), place(study=3, instance=2)
    assert (await store(http, ct_file(stored))).status_code == 200
    s3.stall()
    try:
        answer = await store(http, ct_file(refused))
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) > 0
        read = await http.get(stored.path, headers={"Accept": "application/dicom"})
        assert read.status_code == 503
        ready = await http.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["checks"]["object-store"] != "ok"
        listed = await http.get("/dicom-web/instances", params={"StudyInstanceUID": stored.study})
        assert len(listed.json()) == 1
    finally:
        s3.go_on()
    assert (await store(http, ct_file(refused))).status_code == 200
    assert await whole(http, stored) == ct_file(stored)
    assert await whole(http, refused) == ct_file(refused)
    await services.objects.check()


async def test_store_that_is_away_is_503(settings: Settings, services: Services, tmp_path: Path) -> None:
    away = settings.model_copy(update={"objects_endpoint": "http://127.0.0.1:9"})
    lost = build_services(away)
    transport = httpx.ASGITransport(build_app(away, lost))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await store(client, ct_file())
        assert answer.status_code == 503
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/dicom-web/instances")).json() == []
    await _join_store(away, services.database)  # it starts all the same
    await close_services(lost)


async def test_check_config_tries_the_store(settings: Settings, services: Services) -> None:
    before = await names(services)
    lines = (await check(settings)).lines
    assert "ok    object store: writes, reads and removes" in lines
    assert {name for name in await names(services) - before if not name.startswith("check/")} == set()
    assert not any(settings.master_key in line for line in lines if settings.master_key)
    assert "objects_secret_key = (secret)" in lines
    away = settings.model_copy(update={"objects_endpoint": "http://127.0.0.1:9"})
    assert any(
        line.startswith("FAIL  object store: The object store failed") for line in (await check(away)).lines
    )


async def test_database_of_another_installation_does_not_start(
    settings: Settings, services: Services
) -> None:
    from server.kernel.object_stores import OtherInstallation

    other = settings.model_copy(update={"data": settings.data.parent / "other"})
    other.data.mkdir()
    await upgrade(other.database)
    database = Database(other.database)
    with pytest.raises(OtherInstallation):
        await _join_store(other, database)
    await database.close()
