"""Store transaction: another data set under a SOP Instance UID that is known (setting `duplicates`)."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from hashlib import sha256

import httpx
import pytest
from pydicom.uid import EnhancedSRStorage
from sqlalchemy import select

from dicomweb.response_codes import StoreFailure, StoreWarning
from dicomweb.retrieve.locate import Resource
from dicomweb.store.index import index_instances
from dicomweb.store.instances import Origin, StoredInstance, prepare_instance
from dicomweb.tables import Instance, InstanceMetadata, Series, Study
from server.kernel.access import Principal
from server.kernel.object_store import StoredRange
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.site import Duplicates
from server.kernel.tables import AuditRow
from server.workflows.deletion.delete import Deletion, delete
from tests.conformance.ps3_18.kit import (
    EVERYTHING,
    Injected,
    as_file,
    build_app,
    ct_file,
    ct_slice,
    place,
)
from tests.conformance.ps3_18.test_10_5_store import FAILED, REFERENCED, count, items, post, reason, rows

INSTANCE = table_of(Instance)


@pytest.fixture
async def replacing(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an archive with `duplicates = replace`."""
    site = dataclasses.replace(services.site, duplicates=Duplicates.REPLACE)
    app = Injected(build_app(dataclasses.replace(services, site=site)), {"all": EVERYTHING})
    headers = {"Authorization": "Bearer all"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://testserver", headers=headers
    ) as client:
        yield client


def version(number: int, instance: int = 1) -> bytes:
    return ct_file(place(instance=instance), StudyDescription=f"version {number}", InstanceNumber=number)


async def retrieved(client: httpx.AsyncClient, path: str = place().path) -> bytes:
    response = await client.get(f"/{path.lstrip('/')}", headers={"Accept": "application/dicom"})
    assert response.status_code == 200, response.text
    return response.content


async def kept(services: Services) -> set[bytes]:
    """The files whose bytes are there, read anew, by their digests."""
    found = set()
    for row in await rows(services, Instance):
        stored = StoredRange(row.object_name, row.object_offset, row.object_length)
        body = await services.objects.read(stored)
        assert sha256(body).digest() == row.file_sha256
        found.add(row.file_sha256)
    return found


async def test_refused_by_default(client: httpx.AsyncClient) -> None:
    await post(client, version(1))
    response = await post(client, version(2))
    assert response.status_code == 409
    assert reason(items(response, FAILED)[0]) is StoreFailure.DUPLICATE_SOP_INSTANCE
    assert await retrieved(client) == version(1)


async def test_replaced_where_the_site_says_so(replacing: httpx.AsyncClient, services: Services) -> None:
    await post(replacing, version(1), version(7, instance=2))
    response = await post(replacing, version(2))
    assert response.status_code == 202
    (item,) = items(response, REFERENCED)
    assert item["00081196"]["Value"] == [StoreWarning.ANOTHER_WAS_REPLACED]
    assert item["00741048"]["Value"][0]["00720026"]["Value"] == ["00080018"]
    assert "kept aside" in item["00741048"]["Value"][0]["00000902"]["Value"][0]
    assert await retrieved(replacing) == version(2)
    series = f"/dicom-web/studies/{place().study}/series/{place().series}"
    found = (await replacing.get(f"{series}/instances")).json()
    assert [each["00200013"]["Value"] for each in found] == [[2], [7]]
    (metadata,) = (await replacing.get(f"{place().path}/metadata")).json()
    assert metadata["00081030"]["Value"] == ["version 2"]
    assert len((await replacing.get(f"{series}/metadata")).json()) == 2
    assert await kept(services) == {sha256(version(n, i)).digest() for n, i in ((1, 1), (2, 1), (7, 2))}
    actions = [(entry.action, entry.occurrences) for entry in await rows(services, AuditRow)]
    assert ("U", 1) in actions


async def test_the_same_again_is_success_and_the_first_returns(
    replacing: httpx.AsyncClient, services: Services
) -> None:
    for number, status in ((1, 200), (2, 202), (2, 200), (1, 202)):
        assert (await post(replacing, version(number))).status_code == status
    assert await retrieved(replacing) == version(1)
    assert await count(services, Instance) == 3


async def test_twice_in_one_request_the_last_stays(replacing: httpx.AsyncClient, services: Services) -> None:
    response = await post(replacing, version(1), version(2), version(2), version(3))
    assert response.status_code == 202
    assert len(items(response, REFERENCED)) == 4
    assert await retrieved(replacing) == version(3)
    assert len(await kept(services)) == 3


async def test_no_request_reaches_what_was_replaced(replacing: httpx.AsyncClient, services: Services) -> None:
    await post(replacing, version(1))
    await post(replacing, version(2))
    async with services.database.read() as connection:
        old = select(INSTANCE.c.sop_instance_uid).where(INSTANCE.c.superseded_us.is_not(None))
        name = (await connection.execute(old)).scalar_one()
    assert name.startswith(f"{place().instance}/")
    for path in (name, name.replace("/", "%2F")):
        url = f"{place().path.rpartition('/')[0]}/{path}"
        assert (await replacing.get(url)).status_code == 404
        assert (await replacing.get(f"{url}/metadata")).status_code == 404
    search = await replacing.get("/dicom-web/instances", params={"SOPInstanceUID": name})
    assert search.status_code == 400


async def test_neither_another_series_nor_another_patient_replaces(replacing: httpx.AsyncClient) -> None:
    await post(replacing, version(1))
    elsewhere = ct_file(place(series=2), SOPInstanceUID=place().instance)
    foreign = ct_file(place(), PatientID="P9")
    for file, why in (
        (elsewhere, StoreFailure.CONTRADICTS_HIERARCHY),
        (foreign, StoreFailure.OTHER_PATIENT_THAN_STUDY),
    ):
        assert reason(items(await post(replacing, file), FAILED)[0]) is why
    assert await retrieved(replacing) == version(1)


async def test_what_the_engine_made_is_not_replaced(replacing: httpx.AsyncClient, services: Services) -> None:
    await post(replacing, version(1))
    where = place(series=5)

    def report(title: str) -> bytes:
        made = ct_slice(where, Modality="SR", SOPClassUID=EnhancedSRStorage, PixelData=None)
        made.SeriesDescription = title
        return as_file(made)

    site = dataclasses.replace(services.site, duplicates=Duplicates.REPLACE)
    ranges = await services.objects.put([report("a"), report("b")])
    stored = [
        StoredInstance(prepare_instance(report(title)), each)
        for title, each in zip("ab", ranges, strict=True)
    ]
    first, second = await services.database.transact(
        lambda unit: index_instances(unit, stored, Origin.ENGINE, site)
    )
    assert (first.refusal, second.refusal is None) == (None, False)
    response = await post(replacing, report("c"))
    assert reason(items(response, FAILED)[0]) is StoreFailure.DUPLICATE_SOP_INSTANCE
    assert await retrieved(replacing, where.path) == report("a")


async def test_deletion_takes_every_version(replacing: httpx.AsyncClient, services: Services) -> None:
    for number in (1, 2, 3):
        await post(replacing, version(number))
    await post(replacing, version(9, instance=2))
    target = Resource(place().study, place().series, place().instance)
    await delete(services, Deletion(target, Principal("user:a", "A"), "test"))
    assert [row.sop_instance_uid for row in await rows(services, Instance)] == [place(instance=2).instance]
    await delete(services, Deletion(Resource(place().study), Principal("user:a", "A"), "test"))
    assert [await count(services, row) for row in (Study, Series, Instance, InstanceMetadata)] == [0, 0, 0, 0]


async def test_concurrent_replacements_leave_one_and_keep_all(
    replacing: httpx.AsyncClient, services: Services
) -> None:
    await post(replacing, version(0))
    responses = await asyncio.gather(*(post(replacing, version(n)) for n in range(1, 7)))
    assert {response.status_code for response in responses} == {202}
    current = [row for row in await rows(services, Instance) if row.superseded_us is None]
    assert [row.sop_instance_uid for row in current] == [place().instance]
    assert await kept(services) == {sha256(version(n)).digest() for n in range(7)}
    assert sha256(await retrieved(replacing)).digest() == current[0].file_sha256


async def test_the_first_two_at_once_are_first_and_replacement(
    replacing: httpx.AsyncClient, services: Services
) -> None:
    responses = await asyncio.gather(post(replacing, version(1)), post(replacing, version(2)))
    assert sorted(response.status_code for response in responses) == [200, 202]
    assert len(await kept(services)) == 2
