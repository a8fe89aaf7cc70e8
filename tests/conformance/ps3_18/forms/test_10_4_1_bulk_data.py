"""All bulk data and pixel data of a study, series or instance (PS3.18 10.4.1.1.5, 10.4.1.1.6, B.10)."""

from typing import Any

import httpx
import numpy as np
import pytest
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from dicomweb.pixels.decode import decode_frame
from dicomweb.pixels.format import pixel_format
from dicomweb.retrieve import bulk_data
from tests.conformance.ps3_18.forms.kit import (
    CELLS,
    CODED,
    CODED_IMAGE,
    FILES,
    LUT,
    NO_PIXELS,
    OCTETS,
    PIXELS,
    PLAIN,
    SERIES,
    STUDY,
    WITH_PROFILE,
    get,
    parts,
    uri,
)
from tests.conformance.ps3_18.kit import MULTIPART, as_file, ct_slice, multipart, place

VALUES = {
    uri(PLAIN, "7FE00010"): PIXELS,
    uri(WITH_PROFILE, "00282000"): LUT,
    uri(WITH_PROFILE, "7FE00010"): PIXELS[::-1],
    **{uri(CODED_IMAGE, f"7FE00010/frames/{n}"): frame for n, frame in enumerate(CODED, 1)},
}


@pytest.mark.parametrize("counted", [2000, 0], ids=["length known", "not"])
@pytest.mark.parametrize(
    ("path", "places"),
    [
        (STUDY, [PLAIN, WITH_PROFILE, CODED_IMAGE]),
        (SERIES, [PLAIN, WITH_PROFILE]),
        (WITH_PROFILE.path, [WITH_PROFILE]),
    ],
)
@pytest.mark.parametrize("resource", ["bulkdata", "pixeldata"])
async def test_all_bulk_data(
    archive: httpx.AsyncClient,
    path: str,
    places: list[Any],
    resource: str,
    counted: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk_data, "MAX_COUNTED_PARTS", counted)
    monkeypatch.setattr(bulk_data, "DETAILS_PAGE", 2)
    response = await get(archive, f"{path}/{resource}")
    found = {head["Content-Location"]: body for head, body in parts(response)}
    assert {location: body.rstrip(b"\0") for location, body in found.items()} == {
        location: value.rstrip(b"\0")
        for location, value in VALUES.items()
        if any(each.path in location for each in places)
        and (resource == "bulkdata" or "7FE00010" in location)
    }
    for location, body in found.items():
        again = parts(await get(archive, location))
        assert [each for _, each in again] == [body]


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        pytest.param(f"{SERIES}/bulkdata", OCTETS, 200, id="native, octets"),
        pytest.param(f"{STUDY}/bulkdata", OCTETS, 200, id="coded, octets"),
        pytest.param(f"{STUDY}/bulkdata", 'multipart/related; type="video/mp4"', 406, id="no video"),
        pytest.param(f"{STUDY}/bulkdata", f'{OCTETS}, multipart/related; type="image/jp2"', 200, id="both"),
        pytest.param(f"{SERIES}/pixeldata", "application/octet-stream", 406, id="many need multipart"),
        pytest.param(f"{PLAIN.path}/pixeldata", "application/octet-stream", 200, id="one as single part"),
        pytest.param(f"{NO_PIXELS.path}/pixeldata", "*/*", 404, id="no pixel data"),
        pytest.param(f"{NO_PIXELS.path}/bulkdata", "*/*", 404, id="no bulk data"),
        pytest.param("/dicom-web/studies/1.2.3/bulkdata", "*/*", 404, id="no study"),
        pytest.param(f"{PLAIN.path}/bulkdata/7FE00010/frames/1", "*/*", 200, id="the only frame, native"),
        pytest.param(f"{WITH_PROFILE.path}/bulkdata/00282000/frames/1", "*/*", 404, id="a value without"),
        pytest.param(f"{CODED_IMAGE.path}/bulkdata/7FE00010/frames/3", "*/*", 404, id="no such frame"),
        pytest.param(f"{CODED_IMAGE.path}/bulkdata/7FE00010/frames/x", "*/*", 400, id="no frame list"),
        pytest.param(PLAIN.path, OCTETS, 200, id="instance as its bulk data"),
        pytest.param(
            CODED_IMAGE.path, 'multipart/related; type="image/jp2"', 200, id="instance as its frames"
        ),
        pytest.param(CODED_IMAGE.path, OCTETS, 200, id="instance, coded, octets"),
        pytest.param(NO_PIXELS.path, f"{OCTETS}, application/dicom;q=0.1", 200, id="or else the file"),
        pytest.param(NO_PIXELS.path, OCTETS, 404, id="only what is not there"),
        pytest.param(PLAIN.path, "text/html", 406, id="no form of it"),
    ],
)
async def test_negotiation_of_bulk_data(
    archive: httpx.AsyncClient, path: str, accept: str, status: int
) -> None:
    assert (await get(archive, path, accept)).status_code == status


async def test_an_instance_as_its_bulk_data(archive: httpx.AsyncClient) -> None:
    by_instance = parts(await get(archive, WITH_PROFILE.path, f"{OCTETS}, application/dicom;q=0.5"))
    assert by_instance == parts(await get(archive, f"{WITH_PROFILE.path}/bulkdata", OCTETS))
    single = await get(archive, PLAIN.path, f"application/dicom, {OCTETS};q=0.5")
    assert single.content == FILES[PLAIN]


@pytest.mark.parametrize(
    ("media_type", "syntax"),
    [
        ("application/octet-stream", ExplicitVRLittleEndian),
        ("image/jp2", JPEG2000Lossless),
        ("image/jls", JPEGLSLossless),
        ("image/dicom-rle", RLELossless),
    ],
)
@pytest.mark.parametrize("resource", ["bulkdata", "pixeldata"])
async def test_pixel_data_in_the_syntax_of_the_media_type(
    archive: httpx.AsyncClient, media_type: str, syntax: str, resource: str
) -> None:
    """§8.7.3.3: frames of coded and, for an image type, of native pixel data."""
    accept = f'multipart/related; type="{media_type}", {OCTETS}; q=0.1'
    response = await get(archive, f"{STUDY}/{resource}", accept)
    pixels = pixel_format(ct_slice().to_json_dict())
    decoded = {}
    for head, body in parts(response):
        if "7FE00010" not in head["Content-Location"]:
            assert body == LUT
            continue
        is_value = head["Content-Location"].endswith("7FE00010")
        assert head["Content-Type"] == media_type + ("" if is_value else f"; transfer-syntax={syntax}")
        assert int(head["Content-Length"]) == len(body)
        decoded[head["Content-Location"]] = decode_frame(body, syntax, pixels).pixels.astype("<u2").tobytes()
        again = await get(archive, head["Content-Location"], accept)
        assert [each for _, each in parts(again)] == [body]
    plain = "" if syntax == ExplicitVRLittleEndian else "/frames/1"
    assert decoded == {
        uri(PLAIN, f"7FE00010{plain}"): PIXELS,
        uri(WITH_PROFILE, f"7FE00010{plain}"): PIXELS[::-1],
        **{uri(CODED_IMAGE, f"7FE00010/frames/{n}"): cells.tobytes() for n, cells in enumerate(CELLS, 1)},
    }


async def test_one_frame_as_single_part(archive: httpx.AsyncClient) -> None:
    accept = {"Accept": "image/jls"}
    response = await archive.get(f"{PLAIN.path}/pixeldata", headers=accept)
    assert response.headers["Content-Type"] == f"image/jls; transfer-syntax={JPEGLSLossless}"
    pixels = pixel_format(ct_slice().to_json_dict())
    assert decode_frame(response.content, JPEGLSLossless, pixels).pixels.tobytes() == PIXELS
    head = await archive.head(f"{PLAIN.path}/pixeldata", headers=accept)
    assert (head.headers["ETag"], head.headers["Content-Type"]) == (
        response.headers["ETag"],
        response.headers["Content-Type"],
    )


async def test_values_of_big_endian_instances_are_little_endian(client: httpx.AsyncClient) -> None:
    """§8.7.3.3.1: octets in little endian order, whatever the instance is stored as."""
    where, words = place(2), np.arange(2000, dtype="u2")
    dataset = ct_slice(where, PixelData=np.arange(16, dtype=">u2").tobytes())
    dataset.add_new(0x60003000, "OW", words.astype(">u2").tobytes())
    file = as_file(dataset, ExplicitVRBigEndian)
    stored = await client.post(
        "/dicom-web/studies", content=multipart(file), headers={"Content-Type": MULTIPART}
    )
    assert stored.status_code in (200, 202), stored.text
    overlay = await get(client, f"{where.path}/bulkdata/60003000", "application/octet-stream")
    assert overlay.content == words.tobytes()
    ranged = await get(
        client, f"{where.path}/bulkdata/60003000", "application/octet-stream", Range="bytes=1001-1006"
    )
    assert (ranged.status_code, ranged.content) == (206, words.tobytes()[1001:1007])
    pixels = np.arange(16, dtype="u2").tobytes()
    for path in ("bulkdata/7FE00010", "pixeldata", "frames/1"):
        answer = await get(client, f"{where.path}/{path}", "*/*")
        ((head, body),) = parts(answer)
        assert (body, ExplicitVRBigEndian in head["Content-Type"]) == (pixels, False)
