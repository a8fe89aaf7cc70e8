"""`application/zip`: the files of a study, series or instance (PS3.18 8.6.1.3, Supplement 211)."""

import asyncio
import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from pydicom.uid import MPEG4HP41, ExplicitVRLittleEndian, RLELossless

from dicomweb.retrieve import content
from tests.conformance.ps3_18.forms.kit import (
    CELLS,
    FILES,
    PLAIN,
    SERIES,
    STUDY,
    WITH_PROFILE,
    get,
)


@pytest.mark.parametrize(
    ("path", "places"),
    [(STUDY, list(FILES)), (SERIES, [PLAIN, WITH_PROFILE]), (PLAIN.path, [PLAIN])],
)
@pytest.mark.parametrize("whole", [16 << 20, 10], ids=["in memory", "streamed"])
async def test_zip(
    archive: httpx.AsyncClient,
    path: str,
    places: list[Any],
    whole: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(content, "MAX_WHOLE_BYTES", whole)
    monkeypatch.setattr(content, "MAX_JOINED_BYTES", 0)
    response = await get(archive, path, "application/zip")
    assert int(response.headers["Content-Length"]) == len(response.content)
    assert response.headers["Content-Disposition"] == f'attachment; filename="{PLAIN.study}.zip"'
    with zipfile.ZipFile(io.BytesIO(response.content)) as opened:
        found = {name: opened.read(name) for name in opened.namelist()}
    assert found == {f"{at.study}/{at.series}/{at.instance}.dcm": FILES[at] for at in places}
    target = tmp_path / "study.zip"
    target.write_bytes(response.content)
    if unzip := shutil.which("unzip"):
        process = await asyncio.create_subprocess_exec(unzip, "-tqq", target)
        assert await process.wait() == 0
    assert (await get(archive, path, "application/zip")).content == response.content
    again = await get(archive, path, "application/zip", If_None_Match=response.headers["ETag"])
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/zip; transfer-syntax=*", 200),
        ("application/zip; transfer-syntax=1.2.840.10008.1.2.1", 200),
        ("application/zip; transfer-syntax=1.2.840.10008.1.2.2", 406),
        ("application/zip;q=0", 406),
        ("application/zip; transfer-syntax=1.2.840.10008.1.2.1, application/zip;q=0.1", 200),
    ],
)
async def test_negotiation_of_zip(archive: httpx.AsyncClient, accept: str, status: int) -> None:
    assert (await get(archive, STUDY, accept)).status_code == status


async def test_the_first_form_that_can_be_had(archive: httpx.AsyncClient) -> None:
    video = f'multipart/related; type="application/dicom"; transfer-syntax={MPEG4HP41}'
    assert (await get(archive, STUDY, video)).status_code == 406
    response = await get(archive, STUDY, f"{video}, application/zip;q=0.5")
    assert response.headers["Content-Type"] == "application/zip"


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
async def test_zip_in_another_transfer_syntax(archive: httpx.AsyncClient, syntax: str) -> None:
    accept = f"application/zip; transfer-syntax={syntax}"
    response = await get(archive, STUDY, accept)
    with zipfile.ZipFile(io.BytesIO(response.content)) as opened:
        assert opened.testzip() is None
        found = {name: pydicom.dcmread(io.BytesIO(opened.read(name))) for name in opened.namelist()}
    assert list(found) == [f"{at.study}/{at.series}/{at.instance}.dcm" for at in FILES]
    images = [each for each in found.values() if "PixelData" in each]
    assert {each.file_meta.TransferSyntaxUID for each in images} == {syntax}
    assert images[-1].pixel_array.tolist() == [each.tolist() for each in CELLS]
    again = await get(archive, STUDY, accept, If_None_Match=response.headers["ETag"])
    assert again.status_code == 304
    assert (await get(archive, STUDY, "application/zip")).headers["ETag"] != response.headers["ETag"]
    head = await archive.head(STUDY, headers={"Accept": accept})
    assert head.headers["ETag"] == response.headers["ETag"]
