"""All bulk data and pixel data of a study, series or instance (PS3.18 10.4.1.1.5, 10.4.1.1.6, B.10)."""

from typing import Any

import httpx
import pytest

from dicomweb.retrieve import bulk_data
from tests.conformance.ps3_18.forms.kit import (
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
        pytest.param(f"{STUDY}/bulkdata", OCTETS, 406, id="coded, octets"),
        pytest.param(f"{STUDY}/bulkdata", f'{OCTETS}, multipart/related; type="image/jp2"', 200, id="both"),
        pytest.param(f"{SERIES}/pixeldata", "application/octet-stream", 406, id="many need multipart"),
        pytest.param(f"{PLAIN.path}/pixeldata", "application/octet-stream", 200, id="one as single part"),
        pytest.param(f"{NO_PIXELS.path}/pixeldata", "*/*", 404, id="no pixel data"),
        pytest.param(f"{NO_PIXELS.path}/bulkdata", "*/*", 404, id="no bulk data"),
        pytest.param("/dicom-web/studies/1.2.3/bulkdata", "*/*", 404, id="no study"),
        pytest.param(f"{PLAIN.path}/bulkdata/7FE00010/frames/1", "*/*", 404, id="native has no coded frames"),
        pytest.param(f"{CODED_IMAGE.path}/bulkdata/7FE00010/frames/3", "*/*", 404, id="no such frame"),
        pytest.param(f"{CODED_IMAGE.path}/bulkdata/7FE00010/frames/x", "*/*", 400, id="no frame list"),
        pytest.param(PLAIN.path, OCTETS, 200, id="instance as its bulk data"),
        pytest.param(
            CODED_IMAGE.path, 'multipart/related; type="image/jp2"', 200, id="instance as its frames"
        ),
        pytest.param(CODED_IMAGE.path, OCTETS, 406, id="instance, coded, octets"),
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
