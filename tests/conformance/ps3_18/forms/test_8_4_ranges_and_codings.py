"""Ranges, entity tags, HEAD and content codings (PS3.18 8.4; RFC 9110 §8.4, §8.8, §12.5.3, §13, §14)."""

import gzip
from typing import Any

import httpx
import orjson
import pytest
import zstandard

from dicomweb.retrieve import content, metadata, metadata_pages
from dicomweb.retrieve.frames import FileReader
from server.kernel.local_store import LocalObjectStore
from tests.conformance.ps3_18.forms.kit import (
    CODED,
    CODED_IMAGE,
    FILES,
    PIXELS,
    PLAIN,
    SERIES,
    STUDY,
    XML,
    get,
)
from tests.conformance.ps3_18.kit import MULTIPART, ct_file, multipart, place

RANGED = [
    pytest.param(PLAIN.path, "application/dicom", FILES[PLAIN], id="instance"),
    pytest.param(f"{PLAIN.path}/frames/1", "application/octet-stream", PIXELS, id="native frame"),
    pytest.param(f"{CODED_IMAGE.path}/frames/2", "image/jp2", CODED[1], id="coded frame"),
    pytest.param(f"{PLAIN.path}/bulkdata/7FE00010", "application/octet-stream", PIXELS, id="bulk value"),
]


@pytest.mark.parametrize(("path", "accept", "whole"), RANGED)
@pytest.mark.parametrize("chunk", [1 << 20, 3], ids=["at once", "in pieces"])
async def test_ranges(
    archive: httpx.AsyncClient,
    path: str,
    accept: str,
    whole: bytes,
    chunk: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(content, "READ_CHUNK_BYTES", chunk)
    monkeypatch.setattr("dicomweb.retrieve.frames.READ_CHUNK_BYTES", chunk)
    first = await get(archive, path, accept)
    assert first.content.rstrip(b"\0") == whole.rstrip(b"\0")
    total = len(first.content)
    assert (first.headers["Accept-Ranges"], first.headers["ETag"][0]) == ("bytes", '"')
    for asked, start, stop in (("bytes=2-9", 2, 10), ("bytes=-5", total - 5, total), ("bytes=4-", 4, total)):
        response = await get(archive, path, accept, Range=asked)
        assert (response.status_code, response.content) == (206, first.content[start:stop])
        assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{total}"
        assert response.headers["ETag"] == first.headers["ETag"]
        assert int(response.headers["Content-Length"]) == stop - start
    refused = await get(archive, path, accept, Range=f"bytes={total}-")
    assert (refused.status_code, refused.headers["Content-Range"]) == (416, f"bytes */{total}")


@pytest.mark.parametrize(("path", "accept", "whole"), RANGED[:2])
async def test_if_range(archive: httpx.AsyncClient, path: str, accept: str, whole: bytes) -> None:
    tag = (await get(archive, path, accept)).headers["ETag"]
    for if_range, status in (
        (tag, 206),
        (f"W/{tag}", 200),
        ('"other"', 200),
        ("Wed, 25 Nov 2026 00:00:00 GMT", 200),
    ):
        response = await get(archive, path, accept, Range="bytes=0-3", If_Range=if_range)
        assert (response.status_code, response.content) == (status, whole[:4] if status == 206 else whole)
    fresh = await get(archive, path, accept, Range="bytes=0-3", If_None_Match=tag)
    assert fresh.status_code == 304  # before any range is looked at, §13.2.2


async def test_single_and_multipart_have_tags_of_their_own(archive: httpx.AsyncClient) -> None:
    strong = (await get(archive, PLAIN.path, "application/dicom")).headers["ETag"]
    weak = (await get(archive, PLAIN.path)).headers["ETag"]
    assert weak.startswith("W/")
    assert strong not in weak


async def test_searches_revalidate_until_something_changes(archive: httpx.AsyncClient) -> None:
    path = f"{SERIES}/instances"
    tags = {accept: (await get(archive, path, accept)).headers["ETag"] for accept in ("*/*", XML)}
    assert len(set(tags.values())) == 2
    for accept, tag in tags.items():
        assert (await get(archive, path, accept, If_None_Match=tag)).status_code == 304
    body = multipart(ct_file(place(1, 1, 3), InstanceNumber=3))
    await archive.post("/dicom-web/studies", content=body, headers={"Content-Type": MULTIPART})
    for accept, tag in tags.items():
        assert (await get(archive, path, accept, If_None_Match=tag)).status_code == 200


HEADED = [
    (STUDY, "*/*"),
    (STUDY, "application/zip"),
    (PLAIN.path, "application/dicom"),
    (f"{PLAIN.path}/frames/1", "application/octet-stream"),
    (f"{PLAIN.path}/frames/1", "*/*"),
    (f"{PLAIN.path}/bulkdata/7FE00010", "application/octet-stream"),
    (f"{SERIES}/bulkdata", "*/*"),
    (f"{SERIES}/metadata", "*/*"),
]


@pytest.mark.parametrize(("path", "accept"), HEADED)
async def test_head_reads_nothing(
    archive: httpx.AsyncClient, path: str, accept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await get(archive, path, accept)

    async def none_is_read(*_: Any) -> bytes:
        raise AssertionError("bytes are read for HEAD")

    for place_of_reading in ((LocalObjectStore, "read"), (FileReader, "read"), (metadata, "read_page")):
        monkeypatch.setattr(*place_of_reading, none_is_read)
    head = await archive.head(path, headers={"Accept": accept, "Range": "bytes=0-1"})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["ETag"] == whole.headers["ETag"]
    if "metadata" not in path:
        assert head.headers["Content-Length"] == whole.headers["Content-Length"]


DECODE = {
    "identity": bytes,
    "gzip": gzip.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


async def raw(
    client: httpx.AsyncClient, path: str, coding: str, **headers: str
) -> tuple[httpx.Response, bytes]:
    asked = {"Accept-Encoding": coding, **headers}
    async with client.stream("GET", path, headers=asked) as response:
        return response, b"".join([chunk async for chunk in response.aiter_raw()])


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize(
    ("page", "kept_from"), [(200, 8), (200, 1), (1, 8)], ids=["made", "kept", "streamed"]
)
async def test_metadata_is_coded(
    archive: httpx.AsyncClient, coding: str, page: int, kept_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "METADATA_PAGE", page)
    monkeypatch.setattr(metadata_pages, "KEPT_FROM", kept_from)
    plain, expected = await raw(archive, f"{STUDY}/metadata", "identity")
    assert "Content-Encoding" not in plain.headers
    for _ in range(2):  # made, then found
        response, body = await raw(archive, f"{STUDY}/metadata", coding)
        assert response.headers["Content-Encoding"] == coding
        assert "Accept-Encoding" in response.headers["Vary"]
        assert orjson.loads(DECODE[coding](body)) == orjson.loads(expected)
        assert len(body) < len(expected) / 2
    assert response.headers["ETag"] not in (plain.headers["ETag"], None)
    again, _ = await raw(archive, f"{STUDY}/metadata", coding, **{"If-None-Match": response.headers["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("accept", ["application/dicom+json", XML])
@pytest.mark.parametrize("coding", ["identity", "gzip", "zstd"])
@pytest.mark.parametrize("page", [200, 3])
async def test_long_metadata_is_answered_one_by_one(
    archive: httpx.AsyncClient, accept: str, coding: str, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many enhanced objects no more than one is in memory."""
    _, expected = await raw(archive, f"{STUDY}/metadata", "identity", Accept=accept)
    monkeypatch.setattr(metadata, "METADATA_PAGE", page)
    monkeypatch.setattr(metadata_pages, "MAX_PAGE_BYTES", 100)
    asked, read = [], metadata_pages.read_packed_metadata

    async def counted(database: Any, keys: Any) -> Any:
        asked.append(len(keys))
        return await read(database, keys)

    monkeypatch.setattr(metadata_pages, "read_packed_metadata", counted)
    _, body = await raw(archive, f"{STUDY}/metadata", coding, Accept=accept)
    found = DECODE[coding](body)
    if accept == XML:
        assert len(found) == len(expected)  # the boundary alone differs
    else:
        assert orjson.loads(found) == orjson.loads(expected)
    assert asked[-len(FILES) :].count(1) >= 3


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_searches_fields_and_xml_are_coded(archive: httpx.AsyncClient, coding: str) -> None:
    for path, accept in (
        (f"{SERIES}/instances?includefield=all", "application/dicom+json"),
        (f"{STUDY}/metadata?includefield=PatientName,StudyDate,Rows,Columns,BitsAllocated", "*/*"),
        (f"{STUDY}/metadata", XML),
        (f"{SERIES}/instances", XML),
    ):
        _, expected = await raw(archive, path, "identity", Accept=accept)
        response, body = await raw(archive, path, coding, Accept=accept)
        assert response.headers["Content-Encoding"] == coding
        decoded = DECODE[coding](body)
        assert len(decoded) == len(expected)  # the boundary alone differs
        assert len(body) < len(expected)


async def test_what_is_not_coded(archive: httpx.AsyncClient) -> None:
    for path in (
        PLAIN.path,
        f"{PLAIN.path}/frames/1",
        f"{SERIES}/bulkdata",
        "/dicom-web/studies?PatientID=none",
    ):
        response, _ = await raw(archive, path, "gzip, zstd")
        assert "Content-Encoding" not in response.headers
    refused, _ = await raw(archive, f"{STUDY}/metadata", "identity;q=0, br")
    assert refused.status_code == 406


@pytest.mark.parametrize("path", [PLAIN.path, f"{PLAIN.path}/metadata", "/dicom-web/studies"])
async def test_not_modified_says_what_a_cache_needs(archive: httpx.AsyncClient, path: str) -> None:
    """RFC 9110 §15.4.5; If-None-Match may come as several fields (§5.3)."""
    whole = await get(archive, path)
    fields = [("Accept", "*/*"), ("If-None-Match", '"other"'), ("If-None-Match", whole.headers["ETag"])]
    again = await archive.get(path, headers=fields)
    assert again.status_code == 304
    for name in ("ETag", "Vary", "Cache-Control"):
        assert again.headers[name] == whole.headers[name]
