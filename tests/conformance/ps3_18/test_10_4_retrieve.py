"""Retrieve transaction: instances, metadata, frames, bulk data (PS3.18 10.4, 8.7.3)."""

from random import Random
from typing import Any

import httpx
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless

from dicomweb.retrieve import content, frames, metadata
from dicomweb.retrieve.frames import FileReader
from dicomweb.store.index import supersede_instances
from server.kernel.access import Access
from server.kernel.local_store import LocalObjectStore
from server.kernel.services import Services
from server.kernel.tables import AuditRow
from tests.asked_in_turn import asked_in_turn
from tests.conformance.ps3_18.kit import (
    MULTIPART,
    as_file,
    ct_file,
    ct_slice,
    granted,
    multipart,
    parts_of,
    place,
)
from tests.conformance.ps3_18.test_10_5_store import rows
from tests.conftest import sqlite_first

pytestmark = sqlite_first  # test_isolation.py retrieves all of it from both databases

PIXELS = bytes(range(32))
CODED = [b"\xff\x4f\xff\x51first" + bytes(1), b"\xff\x4f\xff\x51second"]
FILES = {
    place(1, 1, 1): ct_file(place(1, 1, 1)),
    place(1, 1, 2): ct_file(place(1, 1, 2), InstanceNumber=2, NumberOfFrames=2, PixelData=PIXELS * 2),
    place(1, 2, 1): as_file(
        ct_slice(place(1, 2, 1), NumberOfFrames=2, PixelData=encapsulate(CODED)), JPEG2000Lossless
    ),
    place(1, 3, 1): ct_file(place(1, 3, 1), PixelData=None, Rows=None, Columns=None),
}
PLAIN, MANY, CODED_IMAGE, NO_PIXELS = FILES
STUDY = f"/dicom-web/studies/{PLAIN.study}"
SERIES = f"{STUDY}/series/{PLAIN.series}"
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
OCTETS = 'multipart/related; type="application/octet-stream"'


@pytest.fixture
async def archive(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client of an archive with one study of four instances."""
    body = multipart(*FILES.values())
    response = await client.post("/dicom-web/studies", content=body, headers={"Content-Type": MULTIPART})
    assert response.status_code == 200, response.text
    return client


async def get(client: httpx.AsyncClient, path: str, accept: str = "*/*", **headers: str) -> httpx.Response:
    return await client.get(path, headers={"Accept": accept, **headers})


def parts(response: httpx.Response) -> list[tuple[dict[str, str], bytes]]:
    assert response.status_code == 200, response.text
    return parts_of(response.headers["Content-Type"], response.content)


@pytest.mark.parametrize(
    ("path", "places"),
    [
        pytest.param(STUDY, [PLAIN, MANY, CODED_IMAGE, NO_PIXELS], id="study"),
        pytest.param(SERIES, [PLAIN, MANY], id="series"),
        pytest.param(MANY.path, [MANY], id="instance"),
    ],
)
@pytest.mark.parametrize("joined", [1 << 20, 0], ids=["in one piece", "streamed"])
async def test_files_come_bit_for_bit(
    archive: httpx.AsyncClient, path: str, places: list, joined: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "MAX_JOINED_BYTES", joined)
    response = await get(archive, path, AS_STORED)
    assert [body for _, body in parts(response)] == [FILES[each] for each in places]
    assert int(response.headers["Content-Length"]) == len(response.content)
    head, body = parts(response)[0]
    stored = pydicom.dcmread(pydicom.filebase.DicomBytesIO(body)).file_meta.TransferSyntaxUID
    assert head["Content-Type"] == f"application/dicom; transfer-syntax={stored}"


async def test_large_instance_is_streamed_whole(
    archive: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "MAX_WHOLE_BYTES", 10)
    monkeypatch.setattr(content, "MAX_JOINED_BYTES", 0)
    assert [body for _, body in parts(await get(archive, STUDY, AS_STORED))] == list(FILES.values())
    assert (await get(archive, PLAIN.path, "application/dicom")).content == FILES[PLAIN]


async def test_instance_as_single_part(archive: httpx.AsyncClient) -> None:
    response = await get(archive, PLAIN.path, "application/dicom")
    assert response.content == FILES[PLAIN]
    assert response.headers["Content-Type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@asked_in_turn(
    ("path", "accept", "status"),
    [
        pytest.param(STUDY, "*/*", 200, id="anything"),
        pytest.param(STUDY, "application/dicom", 406, id="study needs multipart"),
        pytest.param(
            CODED_IMAGE.path, 'multipart/related; type="application/dicom"', 422, id="no pixels to decode"
        ),
        pytest.param(
            CODED_IMAGE.path,
            f'multipart/related; type="application/dicom"; transfer-syntax={JPEG2000Lossless}',
            200,
            id="syntax as stored",
        ),
        pytest.param(PLAIN.path, 'multipart/related; type="application/dicom"', 200, id="default syntax"),
        pytest.param(PLAIN.path, "multipart/related; type=application/dicom", 200, id="unquoted"),
        pytest.param(PLAIN.path, "image/png", 406, id="another type"),
        pytest.param(f"{PLAIN.path}?accept=application/dicom", "text/html", 200, id="accept parameter"),
    ],
)
async def test_negotiation(archive: httpx.AsyncClient, path: str, accept: str, status: int) -> None:
    assert (await get(archive, path, accept)).status_code == status


@asked_in_turn(
    "path",
    [
        "/dicom-web/studies/1.2.3",
        f"{STUDY}/series/1.2.3",
        f"{SERIES}/instances/1.2.3",
        f"/dicom-web/studies/1.2.3/series/{PLAIN.series}/instances/{PLAIN.instance}",
        f"{SERIES}/instances/{CODED_IMAGE.instance}",
        "/dicom-web/studies/1.2.3/metadata",
        f"{SERIES}/instances/1.2.3/frames/1",
        f"{PLAIN.path}/bulkdata/00100010",
        f"{PLAIN.path}/frames/2",
        f"{MANY.path}/frames/1,3",
        f"{NO_PIXELS.path}/frames/1",
    ],
)
async def test_what_is_not_there_is_404(archive: httpx.AsyncClient, path: str) -> None:
    assert (await get(archive, path)).status_code == 404


def without_bulk(instance: dict[str, Any]) -> dict[str, Any]:
    return {tag: each for tag, each in instance.items() if "BulkDataURI" not in each}


@pytest.mark.parametrize("page", [200, 1], ids=["in one piece", "streamed"])
@pytest.mark.parametrize(("path", "count"), [(STUDY, 4), (SERIES, 2), (PLAIN.path, 1)])
async def test_metadata(
    archive: httpx.AsyncClient, path: str, count: int, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "METADATA_PAGE", page)
    response = await get(archive, f"{path}/metadata", "application/dicom+json")
    instances = response.json()
    assert len(instances) == count
    expected = pydicom.dcmread(pydicom.filebase.DicomBytesIO(FILES[PLAIN])).to_json_dict()
    found = without_bulk(instances[0])
    assert found.pop("00080005")["Value"] == ["ISO_IR 192"]
    del expected["7FE00010"]
    assert found == expected


async def test_bulk_data_uris_of_metadata_lead_to_the_values(archive: httpx.AsyncClient) -> None:
    (instance,) = (await get(archive, f"{PLAIN.path}/metadata")).json()
    uri = instance["7FE00010"]["BulkDataURI"]
    assert uri == f"http://testserver{PLAIN.path}/bulkdata/7FE00010"
    assert (await get(archive, uri, "application/octet-stream")).content == PIXELS
    ((head, body),) = parts(await get(archive, uri, OCTETS))
    assert (head["Content-Type"], body) == ("application/octet-stream", PIXELS)


@asked_in_turn(
    ("asked", "status", "start", "stop"),
    [
        ("bytes=4-7", 206, 4, 8),
        ("bytes=30-", 206, 30, 32),
        ("bytes=-5", 206, 27, 32),
        ("bytes=30-99", 206, 30, 32),
        ("bytes=32-", 416, 0, 0),
        ("bytes=7-4", 200, 0, 32),
        ("bytes=0-1,4-5", 200, 0, 32),
        ("items=0-1", 200, 0, 32),
    ],
)
async def test_ranges_of_bulk_data(
    archive: httpx.AsyncClient, asked: str, status: int, start: int, stop: int
) -> None:
    uri = f"{PLAIN.path}/bulkdata/7FE00010"
    response = await get(archive, uri, "application/octet-stream", Range=asked)
    assert response.status_code == status
    if status == 416:
        assert response.headers["Content-Range"] == "bytes */32"
        return
    assert response.content == PIXELS[start:stop]
    assert int(response.headers["Content-Length"]) == stop - start
    if status == 206:
        assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/32"


@pytest.mark.parametrize(
    ("listed", "expected"),
    [("1", [PIXELS]), ("2", [PIXELS]), ("2,1", [PIXELS, PIXELS])],
)
async def test_native_frames(archive: httpx.AsyncClient, listed: str, expected: list[bytes]) -> None:
    response = await get(archive, f"{MANY.path}/frames/{listed}", OCTETS)
    assert [body for _, body in parts(response)] == expected
    assert parts(response)[0][0]["Content-Type"].startswith("application/octet-stream")


def odd_frames() -> bytes:
    """Three one-bit frames of 31 x 33: the second and third begin within a byte."""
    bits = Random(1).getrandbits(3 * 31 * 33)
    return ct_file(
        place(2, 1, 1),
        Rows=31,
        Columns=33,
        NumberOfFrames=3,
        BitsAllocated=1,
        BitsStored=1,
        HighBit=0,
        PixelData=bits.to_bytes(384, "little"),
    )


@pytest.mark.parametrize("whole", [1 << 20, 0], ids=["whole", "piece by piece"])
@pytest.mark.parametrize(
    ("path", "accept", "listed"),
    [
        pytest.param(MANY.path, OCTETS, (1, 2), id="native"),
        pytest.param(CODED_IMAGE.path, "*/*", (1, 2), id="encapsulated"),
        pytest.param(place(2, 1, 1).path, OCTETS, (1, 2, 3), id="one bit"),
    ],
)
async def test_long_frames_are_never_read_whole(
    archive: httpx.AsyncClient,
    path: str,
    accept: str,
    listed: tuple[int, ...],
    whole: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = multipart(odd_frames())
    await archive.post("/dicom-web/studies", content=body, headers={"Content-Type": MULTIPART})
    expected = parts(await get(archive, f"{path}/frames/{','.join(map(str, listed))}", accept))
    monkeypatch.setattr(frames, "MAX_WHOLE_FRAME_BYTES", whole)
    monkeypatch.setattr(frames, "READ_CHUNK_BYTES", 7)
    longest = 0
    read = FileReader.read

    async def watched(reader: FileReader, ranges: Any) -> bytes:
        nonlocal longest
        data = await read(reader, ranges)
        longest = max(longest, len(data))
        return data

    monkeypatch.setattr(FileReader, "read", watched)
    response = await get(archive, f"{path}/frames/{','.join(map(str, listed))}", accept)
    assert [body for _, body in parts(response)] == [body for _, body in expected]
    single = expected[0][0]["Content-Type"]
    for number, (_, frame) in zip(listed, expected, strict=True):
        response = await get(archive, f"{path}/frames/{number}", single)
        assert response.content == frame
        assert int(response.headers["Content-Length"]) == len(frame)
    assert longest <= 8 or whole


async def test_single_frame_as_single_part(archive: httpx.AsyncClient) -> None:
    response = await get(archive, f"{PLAIN.path}/frames/1", "application/octet-stream")
    assert response.content == PIXELS
    assert (await get(archive, f"{MANY.path}/frames/1,2", "application/octet-stream")).status_code == 406


@pytest.mark.parametrize(
    "accept", ['multipart/related; type="image/jp2"', f"{OCTETS}; transfer-syntax=*", "*/*"]
)
async def test_coded_frames_as_stored(archive: httpx.AsyncClient, accept: str) -> None:
    for path in (f"{CODED_IMAGE.path}/frames/1,2", f"{CODED_IMAGE.path}/bulkdata/7FE00010"):
        response = await get(archive, path, accept)
        bodies = [body.rstrip(b"\0") for _, body in parts(response)]
        assert bodies == [each.rstrip(b"\0") for each in CODED]
        media_type = parts(response)[0][0]["Content-Type"].partition(";")[0]
        assert media_type == ("application/octet-stream" if accept.startswith(OCTETS) else "image/jp2")


async def test_coded_frames_that_are_none_are_not_decoded(archive: httpx.AsyncClient) -> None:
    assert (await get(archive, f"{CODED_IMAGE.path}/frames/1", OCTETS)).status_code == 422


@asked_in_turn("listed", ["0", "-1", "one", "1,", "1;2", "1,,2", "9" * 10, "1,1", "1,2,1"])
async def test_frame_lists_that_are_none(archive: httpx.AsyncClient, listed: str) -> None:
    assert (await get(archive, f"{PLAIN.path}/frames/{listed}")).status_code == 400


async def test_deflated_instances(client: httpx.AsyncClient) -> None:
    file = as_file(ct_slice(), "1.2.840.10008.1.2.1.99")
    await client.post("/dicom-web/studies", content=multipart(file), headers={"Content-Type": MULTIPART})
    assert (await get(client, place().path, AS_STORED)).status_code == 200
    assert (await get(client, f"{place().path}/frames/1", "application/octet-stream")).content == PIXELS
    uri = f"{place().path}/bulkdata/7FE00010"
    assert (await get(client, uri, "application/octet-stream")).content == PIXELS


async def test_rle_frames(client: httpx.AsyncClient) -> None:
    file = as_file(ct_slice(PixelData=encapsulate([b"coded\0"])), RLELossless)
    await client.post("/dicom-web/studies", content=multipart(file), headers={"Content-Type": MULTIPART})
    response = await get(client, f"{place().path}/frames/1", 'multipart/related; type="image/dicom-rle"')
    ((head, body),) = parts(response)
    assert (head["Content-Type"].partition(";")[0], body) == ("image/dicom-rle", b"coded\0")


@pytest.mark.parametrize(
    "path", [STUDY, PLAIN.path, f"{STUDY}/metadata", f"{PLAIN.path}/metadata", f"{PLAIN.path}/frames/1"]
)
async def test_entity_tags_revalidate(archive: httpx.AsyncClient, path: str) -> None:
    tag = (await get(archive, path)).headers["ETag"]
    again = await archive.get(path, headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert (await archive.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_superseded_is_retrievable_by_uid_only(archive: httpx.AsyncClient, services: Services) -> None:
    await services.database.transact(lambda unit: supersede_instances(unit, [MANY.instance]))
    assert len(parts(await get(archive, SERIES, AS_STORED))) == 1
    assert len((await get(archive, f"{STUDY}/metadata")).json()) == 3
    assert (await get(archive, MANY.path, "application/dicom")).content == FILES[MANY]


async def damage(services: Services) -> None:
    """Turn one bit of the first stored instance."""
    assert isinstance(services.objects, LocalObjectStore)
    (journal,) = (services.objects._root / "journal").iterdir()
    body = bytearray(journal.read_bytes())
    body[body.index(PIXELS)] ^= 1
    journal.write_bytes(body)


@pytest.mark.parametrize("path", [PLAIN.path, STUDY])
@pytest.mark.parametrize("joined", [1 << 20, 0], ids=["in one piece", "streamed"])
async def test_damaged_bytes_never_leave(
    archive: httpx.AsyncClient, services: Services, path: str, joined: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "MAX_JOINED_BYTES", joined)
    await damage(services)
    response = await get(archive, path, AS_STORED)
    assert response.status_code == 500
    assert response.json() == {"error": "A stored instance is damaged and is not delivered."}


async def test_damage_in_a_large_instance_breaks_it_off(
    archive: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "MAX_WHOLE_BYTES", 10)
    await damage(services)
    with pytest.raises(RuntimeError, match="response already started") as broken_off:
        await get(archive, PLAIN.path, "application/dicom")
    assert isinstance(broken_off.value.__cause__, content.DamagedObject)


async def test_reads_are_audited_before_they_are_answered(
    archive: httpx.AsyncClient, services: Services
) -> None:
    for path in (STUDY, f"{STUDY}/metadata", f"{PLAIN.path}/frames/1", PLAIN.path):
        assert (await get(archive, path)).status_code == 200
    entries = [row for row in await rows(services, AuditRow) if row.interaction == "wado"]
    assert [(e.action, e.resource_id, e.occurrences) for e in entries] == [("R", PLAIN.study, 1)]
    assert entries[0].patient_id
    await services.read_audit.close()
    counted = [row for row in await rows(services, AuditRow) if row.interaction == "wado"]
    assert sum(row.occurrences for row in counted) == 4


async def test_scopes(archive: httpx.AsyncClient, accesses: dict[str, Access]) -> None:
    accesses["searcher"] = granted("ImagingStudy", "s")
    accesses["reader"] = granted("ImagingStudy", "r")
    for token, status in [("searcher", 403), ("reader", 200), ("none", 401)]:
        response = await get(archive, PLAIN.path, Authorization=f"Bearer {token}")
        assert response.status_code == status
