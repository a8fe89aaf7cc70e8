"""Instances and frames in other transfer syntaxes than they are stored in (PS3.18 §8.7.3)."""

import io
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import EncapsulatedPDFStorage

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.pixels.decode import decode_frame
from dicomweb.pixels.encode import encode_frame
from dicomweb.pixels.format import pixel_format
from dicomweb.pixels.pool import Child
from dicomweb.retrieve import content
from tests.conformance.ps3_18.kit import MULTIPART, as_file, ct_slice, multipart, parts_of, place

pytestmark = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)  # no SQL of its own
RELATED = 'multipart/related; type="application/dicom"'
FRAMES = (np.arange(3 * 64).reshape(3, 8, 8) * 21 % 4096).astype("<u2")
SAID = {"Rows": 8, "Columns": 8, "BitsStored": 12, "HighBit": 11}


def coded(syntax: str, where: Any, frames: np.ndarray = FRAMES, **attributes: Any) -> bytes:
    """An image of 12 bits in a syntax that encapsulates."""
    plain = ct_slice(where, **SAID, **attributes)
    pixels = pixel_format(plain.to_json_dict())
    data = encapsulate([encode_frame(frame.astype("u2"), syntax, pixels) for frame in frames])
    count = {"NumberOfFrames": len(frames)} if len(frames) > 1 else {}
    return as_file(ct_slice(where, **SAID, **count, **attributes, PixelData=data), syntax)


def pdf(where: Any) -> bytes:
    dataset = ct_slice(where, SOPClassUID=EncapsulatedPDFStorage, PixelData=None, Rows=None, Columns=None)
    dataset.EncapsulatedDocument = b"%PDF"
    return as_file(dataset, ts.ImplicitVRLittleEndian)


PLAIN, J2K, RLE, BIG, PDF, BROKEN, LYING = (place(1, 1, n) for n in range(1, 8))
DEFLATED = place(1, 1, 8)
FILES = {
    PLAIN: as_file(ct_slice(PLAIN, **SAID, PixelData=FRAMES[:1].tobytes())),
    J2K: coded(ts.JPEG2000Lossless, J2K),
    RLE: coded(ts.RLELossless, RLE, FRAMES[:1]),
    BIG: as_file(ct_slice(BIG, **SAID, PixelData=FRAMES[:1].astype(">u2").tobytes()), ts.ExplicitVRBigEndian),
    PDF: pdf(PDF),
    DEFLATED: as_file(
        ct_slice(DEFLATED, **SAID, PixelData=FRAMES[:1].tobytes()), ts.DeflatedExplicitVRLittleEndian
    ),
}
BAD = {
    BROKEN: as_file(
        ct_slice(BROKEN, PixelData=encapsulate([b"\xff\x4f\xff\x51 this is none"])), ts.JPEG2000Lossless
    ),
    LYING: coded(ts.JPEG2000Lossless, LYING, FRAMES[:1], StudyDescription="lies").replace(
        b"\x28\0\x10\0US\x02\0\x08\0", b"\x28\0\x10\0US\x02\0\xff\xff"
    ),
}
STUDY = f"/dicom-web/studies/{PLAIN.study}"


@pytest.fixture
async def archive(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """An archive with an instance in each kind of transfer syntax."""
    await store(client, *FILES.values())
    return client


async def store(client: httpx.AsyncClient, *files: bytes) -> None:
    headers = {"Content-Type": MULTIPART}
    response = await client.post("/dicom-web/studies", content=multipart(*files), headers=headers)
    assert response.status_code in (200, 202), response.text


async def get(client: httpx.AsyncClient, path: str, accept: str, status: int = 200) -> httpx.Response:
    response = await client.get(path, headers={"Accept": accept})
    assert response.status_code == status, response.text
    return response


def parts(response: httpx.Response) -> list[tuple[str, bytes]]:
    return [
        (headers["Content-Type"], body)
        for headers, body in parts_of(response.headers["Content-Type"], response.content)
    ]


def read(file: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(file))


async def test_the_default_is_explicit_vr_little_endian(archive: httpx.AsyncClient) -> None:
    """§8.7.3.4, note 2: every server can convert what it returns into it."""
    found = parts(await get(archive, STUDY, RELATED))
    assert {kind for kind, _ in found} == {f"application/dicom; transfer-syntax={ts.ExplicitVRLittleEndian}"}
    datasets = {each.SOPInstanceUID: each for each in (read(body) for _, body in found)}
    assert {each.file_meta.TransferSyntaxUID for each in datasets.values()} == {ts.ExplicitVRLittleEndian}
    assert datasets[PDF.instance].EncapsulatedDocument == b"%PDF"
    assert np.array_equal(datasets[J2K.instance].pixel_array, FRAMES)
    for where in (PLAIN, RLE, BIG, DEFLATED):
        assert np.array_equal(datasets[where.instance].pixel_array, FRAMES[0])


async def test_single_parts_have_their_length(archive: httpx.AsyncClient) -> None:
    for where in FILES:
        response = await get(archive, where.path, "application/dicom")
        assert int(response.headers["Content-Length"]) == len(response.content)
        assert response.headers["Content-Type"].endswith(ts.ExplicitVRLittleEndian)
        again = await archive.get(
            where.path, headers={"Accept": "application/dicom", "If-None-Match": response.headers["ETag"]}
        )
        assert again.status_code == 304


@pytest.mark.parametrize(
    "target",
    [
        ts.DeflatedExplicitVRLittleEndian,
        ts.RLELossless,
        ts.JPEGLSLossless,
        ts.JPEG2000Lossless,
        ts.HTJ2KLossless,
        ts.HTJ2KLosslessRPCL,
    ],
    ids=lambda uid: ts.TRANSFER_SYNTAXES[uid][0],
)
async def test_a_study_in_one_syntax(archive: httpx.AsyncClient, target: str) -> None:
    found = [
        read(body) for _, body in parts(await get(archive, STUDY, f"{RELATED}; transfer-syntax={target}"))
    ]
    syntaxes = {each.SOPInstanceUID: each.file_meta.TransferSyntaxUID for each in found}
    without_pixels = syntaxes.pop(PDF.instance)
    assert without_pixels in (ts.ExplicitVRLittleEndian, target)
    assert set(syntaxes.values()) == {target}
    for each in found:
        if each.SOPInstanceUID != PDF.instance:
            assert np.array_equal(each.pixel_array, FRAMES if "NumberOfFrames" in each else FRAMES[0])


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        pytest.param(f"{RELATED}; transfer-syntax={ts.JPEGBaseline8Bit}", 406, id="12 bits as 8"),
        pytest.param(f"{RELATED}; transfer-syntax={ts.ExplicitVRBigEndian}", 406, id="big endian"),
        pytest.param(f"{RELATED}; transfer-syntax={ts.ImplicitVRLittleEndian}", 406, id="implicit"),
        pytest.param(f"{RELATED}; transfer-syntax={ts.MPEG2MPML}", 406, id="video"),
        pytest.param(f"{RELATED}; transfer-syntax=1.2.3", 406, id="no syntax"),
        pytest.param(f"{RELATED}; transfer-syntax={ts.JPEGExtended12Bit}", 200, id="12 bits"),
        pytest.param(f"{RELATED}; transfer-syntax={ts.MPEG2MPML}, {RELATED}; q=0.5", 200, id="the next best"),
    ],
)
async def test_what_cannot_be_made_is_not_acceptable(
    archive: httpx.AsyncClient, accept: str, status: int
) -> None:
    response = await get(archive, PLAIN.path, accept, status)
    if status == 406:
        assert response.json()["error"]


async def test_lossy_instances_say_what_was_lost(archive: httpx.AsyncClient) -> None:
    accept = f"application/dicom; transfer-syntax={ts.JPEG2000}"
    found = read((await get(archive, PLAIN.path, accept)).content)
    assert (found.LossyImageCompression, found.LossyImageCompressionMethod) == ("01", "ISO_15444_1")
    assert found.SOPInstanceUID == PLAIN.instance


@pytest.mark.parametrize(
    ("media_type", "syntax"),
    [
        ("application/octet-stream", ts.ExplicitVRLittleEndian),
        ("image/jpeg", ts.JPEGLosslessSV1),
        ("image/jls", ts.JPEGLSLossless),
        ("image/jp2", ts.JPEG2000Lossless),
        ("image/jphc", ts.HTJ2KLossless),
        ("image/dicom-rle", ts.RLELossless),
    ],
)
async def test_frames_by_media_type(archive: httpx.AsyncClient, media_type: str, syntax: str) -> None:
    """Table 8.7.3-5: the default transfer syntax of each media type."""
    for where, listed in ((PLAIN, (1,)), (J2K, (3, 1)), (RLE, (1,)), (BIG, (1,)), (DEFLATED, (1,))):
        path = f"{where.path}/frames/{','.join(map(str, listed))}"
        found = parts(await get(archive, path, f'multipart/related; type="{media_type}"'))
        assert [kind for kind, _ in found] == [f"{media_type}; transfer-syntax={syntax}"] * len(listed)
        for number, (_, body) in zip(listed, found, strict=True):
            assert np.array_equal(decoded(body, syntax), FRAMES[number - 1])


def decoded(body: bytes, syntax: str) -> np.ndarray:
    """A frame of the tests."""
    pixels = pixel_format(ct_slice(**SAID).to_json_dict())
    return decode_frame(body, syntax, pixels).pixels


async def test_a_frame_as_single_part(archive: httpx.AsyncClient) -> None:
    response = await get(archive, f"{J2K.path}/frames/2", "application/octet-stream")
    assert response.content == FRAMES[1].tobytes()
    assert response.headers["Content-Type"] == (
        f"application/octet-stream; transfer-syntax={ts.ExplicitVRLittleEndian}"
    )


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("image/jls; transfer-syntax=" + ts.JPEGLSNearLossless, 200),
        ("image/jpeg; transfer-syntax=" + ts.JPEGBaseline8Bit, 406),
        ("image/jpeg; transfer-syntax=" + ts.JPEGBaseline8Bit + ", image/jls; q=0.5", 200),
        ("image/jls; transfer-syntax=" + ts.JPEG2000Lossless, 406),
        ("image/png", 406),
        ("image/jxl", 406),
    ],
)
async def test_frames_that_can_and_cannot_be_had(
    archive: httpx.AsyncClient, accept: str, status: int
) -> None:
    response = await get(archive, f"{PLAIN.path}/frames/1", accept, status)
    assert response.headers["Content-Type"].startswith("image/jls" if status == 200 else "application/json")


@pytest.mark.parametrize("where", list(BAD), ids=["garbage", "more rows than there are"])
async def test_pixels_that_cannot_be_decoded(archive: httpx.AsyncClient, where: Any) -> None:
    """Their metadata is served, they come as stored, others are answered; what needs decoding is 422."""
    await store(archive, *BAD.values())
    assert (await get(archive, f"{where.path}/metadata", "application/dicom+json")).json()
    as_stored = await get(archive, where.path, "application/dicom; transfer-syntax=*")
    assert as_stored.content == BAD[where]
    for path, accept in (
        (where.path, "application/dicom"),
        (where.path, RELATED),
        (f"{where.path}/frames/1", "application/octet-stream"),
    ):
        response = await get(archive, path, accept, 422)
        assert response.json()["error"]
    await get(archive, f"{J2K.path}/frames/1", "application/octet-stream")


async def test_one_broken_instance_does_not_keep_the_others(archive: httpx.AsyncClient) -> None:
    await store(archive, BAD[BROKEN])
    found = parts(await get(archive, STUDY, RELATED))
    kinds = {read(body).SOPInstanceUID: kind.rpartition("=")[2] for kind, body in found}
    assert kinds.pop(BROKEN.instance) == ts.JPEG2000Lossless
    assert set(kinds.values()) == {ts.ExplicitVRLittleEndian}


async def test_a_child_that_dies_costs_one_request(
    archive: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Child.ask

    def killed(child: Child, message: Any, body: bytes) -> Any:
        os.kill(child.pid, signal.SIGKILL)
        return ask(child, message, body)

    path, accept = f"{RLE.path}/frames/1", "application/octet-stream"
    with monkeypatch.context() as patch:
        patch.setattr(Child, "ask", killed)
        assert "cannot be decoded" in (await get(archive, path, accept, 422)).text
    assert (await get(archive, path, accept)).content == FRAMES[0].tobytes()


async def test_large_instances_are_not_read_whole(
    archive: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "MAX_WHOLE_BYTES", 10)
    monkeypatch.setattr("dicomweb.retrieve.transcoded.MAX_WHOLE_BYTES", 10)
    for where in (J2K, DEFLATED, BIG):
        found = read((await get(archive, where.path, "application/dicom")).content)
        assert np.array_equal(found.pixel_array, FRAMES if where is J2K else FRAMES[0])


async def test_streams_can_be_left(archive: httpx.AsyncClient) -> None:
    async def leave(chunks: AsyncIterator[bytes]) -> None:
        async for _ in chunks:
            break

    async with archive.stream("GET", STUDY, headers={"Accept": RELATED}) as response:
        await leave(response.aiter_bytes())
    after = await get(archive, f"{J2K.path}/frames/1", "application/octet-stream")
    assert after.content == FRAMES[0].tobytes()
