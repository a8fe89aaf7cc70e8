"""Store transaction with metadata and bulk data apart (PS3.18 10.5.1, 8.7.3)."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from pydicom.uid import (
    CTImageStorage,
    EncapsulatedPDFStorage,
    JPEGBaseline8Bit,
    RLELossless,
    VLPhotographicImageStorage,
)

from dicomweb.store import limits, metadata_request, receive
from server.kernel.access import Access
from tests.conformance.ps3_18.kit import BOUNDARY, DICOM_JSON, Place, confined_to, place
from tests.conftest import sqlite_first

pytestmark = sqlite_first  # what is read is in files

Json = dict[str, Any]
Part = tuple[dict[str, str], bytes]
REQUEST = f'multipart/related; type="{DICOM_JSON}"; boundary={BOUNDARY}'
OCTETS = "application/octet-stream"
# A frame header and a scan header are all that is looked at: 4 rows, 6 columns, 3 components, 4:2:0.
JPEG = bytes.fromhex(
    "ffd8 ffc0 0011 08 0004 0006 03 012200 021101 031101 ffda 000c 03 0100 0211 0311 003f00 00 ffd9"
)
PDF = b"%PDF-1.4\n%%EOF"


def attribute(vr: str, *values: Any) -> Json:
    return {"vr": vr, "Value": list(values)}


def metadata(where: Place, /, **attributes: Any) -> Json:
    """Metadata of an instance; `attributes` by tag with a T before replace or add, None removes."""
    data_set = {
        "00080005": attribute("CS", "ISO_IR 192"),
        "00080016": attribute("UI", CTImageStorage),
        "00080018": attribute("UI", where.instance),
        "0020000D": attribute("UI", where.study),
        "0020000E": attribute("UI", where.series),
        "00080060": attribute("CS", "CT"),
        "00100010": attribute("PN", {"Alphabetic": "Müller^Jörg"}),
        "00100020": attribute("LO", "P1"),
    }
    data_set |= {tag.removeprefix("T"): value for tag, value in attributes.items()}
    return {tag: value for tag, value in data_set.items() if value is not None}


NATIVE: Json = {
    "T00280002": attribute("US", 1),
    "T00280004": attribute("CS", "MONOCHROME2"),
    "T00280010": attribute("US", 4),
    "T00280011": attribute("US", 4),
    "T00280100": attribute("US", 16),
    "T7FE00010": {"vr": "OW", "BulkDataURI": "pixels"},
}
PIXELS = bytes(range(32))


def part(content: bytes, content_type: str = OCTETS, location: str | None = "pixels") -> Part:
    headers = {"Content-Type": content_type}
    return headers | ({"Content-Location": location} if location else {}), content


def message(data_sets: Any, *parts: Part) -> bytes:
    return joined(part(json.dumps(data_sets).encode(), DICOM_JSON, None), *parts)


def joined(*parts: Part) -> bytes:
    lines = []
    for headers, content in parts:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        lines.append(f"--{BOUNDARY}\r\n{head}\r\n".encode() + content)
    return b"\r\n".join(lines) + f"\r\n--{BOUNDARY}--\r\n".encode()


async def store(client: httpx.AsyncClient, data_sets: Any, *parts: Part, path: str = "") -> httpx.Response:
    body = message(data_sets, *parts)
    return await client.post(f"/dicom-web/studies{path}", content=body, headers={"Content-Type": REQUEST})


async def stored_metadata(client: httpx.AsyncClient, where: Place) -> Json:
    response = await client.get(f"{where.path}/metadata")
    assert response.status_code == 200, response.text
    (found,) = response.json()
    return dict(found)


async def frames(client: httpx.AsyncClient, where: Place, numbers: str) -> bytes:
    accept = 'multipart/related; type="*/*"; transfer-syntax=*'
    response = await client.get(f"{where.path}/frames/{numbers}", headers={"Accept": accept})
    assert response.status_code == 200, response.text
    return response.content


def failures(response: httpx.Response) -> list[tuple[str, int, str]]:
    """UID, reason and failed attribute of each failure."""
    answer = response.json()
    items = [*answer.get("00081198", {}).get("Value", ()), *answer.get("0008119A", {}).get("Value", ())]
    found = []
    for item in items:
        uid = item.get("00081155", attribute("UI", ""))["Value"][0]
        failed = item["00741048"]["Value"][0].get("00720026", attribute("AT", ""))["Value"][0]
        found.append((uid, item["00081197"]["Value"][0], failed))
    return found


async def test_native_pixel_data(client: httpx.AsyncClient) -> None:
    sent = metadata(place(), **NATIVE)
    response = await store(client, [sent], part(PIXELS))
    assert response.status_code == 200, response.text
    found = await stored_metadata(client, place())
    assert {tag: value for tag, value in found.items() if tag != "7FE00010"} == {
        tag: value for tag, value in sent.items() if tag != "7FE00010"
    }
    assert PIXELS in await frames(client, place(), "1")
    again = await store(client, [sent], part(PIXELS))
    assert (again.status_code, failures(again)) == (200, [])


async def test_several_instances_and_one_that_cannot_be_made(client: httpx.AsyncClient) -> None:
    good = [metadata(place(1, 1, n), **NATIVE) for n in (1, 2)]
    bad = metadata(place(1, 1, 3), T00280010=attribute("US", "many"))
    response = await store(client, [good[0], bad, good[1]], part(PIXELS))
    assert response.status_code == 202
    assert failures(response) == [(place(1, 1, 3).instance, 0xC000, "00280010")]
    assert len(response.json()["00081199"]["Value"]) == 2


FAILED: list[tuple[str, Json, list[Part], tuple[int, str]]] = [
    ("no such part", NATIVE, [], (0xC000, "7FE00010")),
    ("other location", NATIVE, [part(PIXELS, location="http://example.org/x")], (0xC000, "7FE00010")),
    ("no identifier", {"T0020000E": None}, [], (0xA900, "0020000E")),
    ("not a UID", {"T0020000E": attribute("UI", "x")}, [], (0xA900, "0020000E")),
    (
        "rows differ",
        {**NATIVE, "T00280010": attribute("US", 9)},
        [part(JPEG, "image/jpeg")],
        (0xC000, "00280010"),
    ),
    ("not a JPEG", {"T7FE00010": NATIVE["T7FE00010"]}, [part(PIXELS, "image/jpeg")], (0xC000, "7FE00010")),
    (
        "frames missing",
        {"T00280008": attribute("IS", 2), "T7FE00010": NATIVE["T7FE00010"]},
        [part(JPEG, "image/jpeg")],
        (0xC000, "00280008"),
    ),
    (
        "mixed parts",
        {"T00280008": attribute("IS", 2), "T7FE00010": NATIVE["T7FE00010"]},
        [part(JPEG, "image/jpeg"), part(PIXELS)],
        (0xC000, "7FE00010"),
    ),
    (
        "not a PDF",
        {"T00420011": {"vr": "OB", "BulkDataURI": "pixels"}},
        [part(b"<html>", "application/pdf")],
        (0xC000, "00420011"),
    ),
]


async def test_instances_that_are_refused(client: httpx.AsyncClient) -> None:
    for name, attributes, parts, (reason, tag) in FAILED:
        response = await store(client, [metadata(place(), **attributes)], *parts)
        assert response.status_code == 409, name
        assert (reason, tag) in [(found, at) for _, found, at in failures(response)], name
        assert "example.org" not in response.text


async def test_bulk_data_that_nothing_names_is_said(client: httpx.AsyncClient) -> None:
    response = await store(client, [metadata(place())], part(b"1234"))
    assert (response.status_code, failures(response)) == (202, [("", 0xC000, "")])


async def test_compressed_frames_are_encapsulated(client: httpx.AsyncClient) -> None:
    pixels = {"T7FE00010": NATIVE["T7FE00010"], "T00280008": attribute("IS", 2)}
    parts = [part(JPEG, "image/jpeg"), part(JPEG + b"\1", "image/jpeg")]
    response = await store(client, [metadata(place(), **pixels)], *parts)
    assert response.status_code == 200, response.text
    second = await frames(client, place(), "2")
    assert JPEG + b"\1" in second
    assert f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}".encode() in second


async def test_octets_of_a_compressed_transfer_syntax(client: httpx.AsyncClient) -> None:
    rle = part(b"coded", f"{OCTETS}; transfer-syntax={RLELossless}")
    response = await store(client, [metadata(place(), **NATIVE)], rle)
    assert response.status_code == 200, response.text
    assert b"coded" in await frames(client, place(), "1")


async def test_a_photograph_is_wrapped_with_what_its_head_says(client: httpx.AsyncClient) -> None:
    """A JPEG part, and metadata without the Image Pixel attributes (PS3.18 10.5.1)."""
    sent = metadata(
        place(),
        T00080016=attribute("UI", VLPhotographicImageStorage),
        T00080060=attribute("CS", "XC"),
        T7FE00010={"vr": "OB", "BulkDataURI": "pixels"},
    )
    response = await store(client, [sent], part(JPEG, "image/jpeg"))
    assert response.status_code == 200, response.text
    found = await stored_metadata(client, place())
    told = {tag: found[tag]["Value"][0] for tag in found if tag.startswith("0028")}
    assert told == {
        "00280002": 3,
        "00280004": "YBR_FULL_422",
        "00280006": 0,
        "00280010": 4,
        "00280011": 6,
        "00280100": 8,
        "00280101": 8,
        "00280102": 7,
        "00280103": 0,
        "00282110": "01",
        "00282114": "ISO_10918_1",
    }


async def test_a_png_is_decoded(client: httpx.AsyncClient) -> None:
    picture = Image.new("RGB", (3, 2), (1, 2, 3))
    sent = metadata(place(), T7FE00010={"vr": "OB", "BulkDataURI": "pixels"})
    bad = metadata(place(1, 1, 2), T7FE00010={"vr": "OB", "BulkDataURI": "broken"})
    broken = part(png(picture)[:45], "image/png", "broken")
    response = await store(client, [sent, bad], part(png(picture), "image/png"), broken)
    assert response.status_code == 202, response.text
    assert failures(response) == [(place(1, 1, 2).instance, 0xC000, "7FE00010")]
    found = await stored_metadata(client, place())
    assert [found[f"0028{tag}"]["Value"][0] for tag in ("0002", "0010", "0011", "0100")] == [3, 2, 3, 8]
    assert bytes([1, 2, 3] * 6) in await frames(client, place(), "1")


def png(picture: Image.Image, **options: Any) -> bytes:
    target = io.BytesIO()
    picture.save(target, "PNG", **options)
    return target.getvalue()


async def test_a_pdf_is_wrapped(client: httpx.AsyncClient) -> None:
    sent = metadata(
        place(),
        T00080016=attribute("UI", EncapsulatedPDFStorage),
        T00080060=attribute("CS", "DOC"),
        T00420011={"vr": "OB", "BulkDataURI": "report.pdf"},
    )
    response = await store(client, [sent], part(PDF, "application/pdf", "report.pdf"))
    assert response.status_code == 200, response.text
    found = await stored_metadata(client, place())
    assert found["00420012"] == attribute("LO", "application/pdf")
    assert found["00420015"] == attribute("UL", len(PDF))
    assert "InlineBinary" in found["00420011"]


REFUSED: list[tuple[str, Any, list[Part], int]] = [
    ("no metadata", [], [], 400),
    ("not an array of objects", ["x"], [], 400),
    ("nothing", None, [], 400),
    ("no location", [metadata(place())], [part(PIXELS, location=None)], 400),
    ("STL", [metadata(place())], [part(b"solid", "model/stl")], 415),
    ("MP4", [metadata(place())], [part(b"....ftyp", "video/mp4")], 415),
    ("big endian", [metadata(place())], [part(b"", f"{OCTETS}; transfer-syntax=1.2.840.10008.1.2.2")], 415),
    (
        "contradiction",
        [metadata(place())],
        [part(b"", f"image/jls; transfer-syntax={JPEGBaseline8Bit}")],
        415,
    ),
]


async def test_requests_that_are_refused_as_a_whole(client: httpx.AsyncClient) -> None:
    for name, data_sets, parts, status in REFUSED:
        response = await store(client, data_sets, *parts)
        assert response.status_code == status, (name, response.text)
        assert response.json()["error"]
    not_json = message("x").replace(b'"x"', b'{"x')
    response = await client.post("/dicom-web/studies", content=not_json, headers={"Content-Type": REQUEST})
    assert response.status_code == 400
    assert (await client.get("/dicom-web/studies")).json() == []


@pytest.mark.parametrize("limit", ["MAX_METADATA_BYTES", "MAX_METADATA_VALUES"])
async def test_metadata_has_limits(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(metadata_request, limit, 20)
    assert (await store(client, [metadata(place())])).status_code == 413


async def test_metadata_of_too_many_instances_stores_nothing(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata_request, "MAX_DATA_SETS", 1)
    assert (await store(client, [metadata(place()), metadata(place(1, 1, 2))])).status_code == 413
    assert (await client.get("/dicom-web/studies")).json() == []


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"7FE00010": None}, id="no attribute"),
        pytest.param({"7FE00010": []}, id="an array for an attribute"),
        pytest.param({"00080016": {"vr": "UI", "Value": {"0": "1.2"}}}, id="an object for values"),
        pytest.param({"00080018": {"vr": "UI", "Value": 5}}, id="a number for values"),
        pytest.param({"00280008": {"vr": "IS", "Value": "22"}}, id="text for values"),
        pytest.param({"00420011": 1}, id="a number for an attribute"),
    ],
)
async def test_members_that_are_no_attributes_are_a_failed_instance(
    client: httpx.AsyncClient, wrong: Json
) -> None:
    response = await store(client, [metadata(place()) | wrong])
    assert response.status_code == 409
    failures = response.json().get("00081198") or response.json()["0008119A"]
    assert failures["Value"][0]["00081197"]["Value"] == [0xC000]


async def test_nothing_is_fetched(client: httpx.AsyncClient, tmp_path: Path) -> None:
    connections = []
    server = await asyncio.start_server(lambda _, writer: connections.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    secret = tmp_path / "secret"
    secret.write_bytes(PIXELS)
    uris = (f"http://127.0.0.1:{port}/x", secret.as_uri(), str(secret), "../secret", "")
    data_sets = [
        metadata(place(1, 1, number), **{**NATIVE, "T7FE00010": {"vr": "OW", "BulkDataURI": uri}})
        for number, uri in enumerate(uris, 1)
    ]
    response = await store(client, data_sets)
    assert response.status_code == 409
    reasons = [item["00081197"]["Value"] for item in response.json()["00081198"]["Value"]]
    assert reasons == [[0xC000]] * len(uris)
    server.close()
    assert not connections


async def test_only_frames_may_have_one_location(client: httpx.AsyncClient) -> None:
    """Two parts of one location were joined to one value."""
    pdf = {"T00420011": {"vr": "OB", "BulkDataURI": "report"}}
    twice = (part(PDF, location="report"), part(PDF, location="report"))
    assert (await store(client, [metadata(place(), **pdf)], *twice)).status_code == 409
    halves = (part(PIXELS[:16]), part(PIXELS[16:]))
    assert (await store(client, [metadata(place(), **NATIVE)], *halves)).status_code == 409
    frames = {**NATIVE, "T00280010": attribute("US", 2), "T00280008": attribute("IS", 2)}
    assert (await store(client, [metadata(place(), **frames)], *halves)).status_code == 200


async def test_keys_in_lower_case_are_the_same_attributes(client: httpx.AsyncClient) -> None:
    """A JPEG image under "7fe00010" was written as native pixels."""
    data_set = metadata(place()) | {"7fe00010": {"vr": "OB", "BulkDataURI": "pixels"}}
    response = await store(client, [data_set], part(JPEG, "image/jpeg"))
    assert response.status_code == 200, response.text
    assert (await stored_metadata(client, place()))["00280011"]["Value"] == [6]


async def test_bulk_parts_have_a_limit(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata_request, "MAX_BULK_PARTS", 1)
    response = await store(client, [metadata(place(), **NATIVE)], part(PIXELS), part(PIXELS))
    assert response.status_code == 413


NATIVE_XML = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">{}</NativeDicomModel>'
)
MODEL = "".join(
    f'<DicomAttribute tag="{tag}" vr="{vr}" keyword="{keyword}">{content}</DicomAttribute>'
    for tag, vr, keyword, content in [
        ("00080016", "UI", "SOPClassUID", f'<Value number="1">{CTImageStorage}</Value>'),
        ("00080018", "UI", "SOPInstanceUID", f'<Value number="1">{place().instance}</Value>'),
        ("00080060", "CS", "Modality", '<Value number="1">CT</Value>'),
        (
            "00100010",
            "PN",
            "PatientName",
            '<PersonName number="1"><Alphabetic><FamilyName>Müller</FamilyName></Alphabetic></PersonName>',
        ),
        ("00100020", "LO", "PatientID", '<Value number="1">P1</Value>'),
        ("0020000D", "UI", "StudyInstanceUID", f'<Value number="1">{place().study}</Value>'),
        ("0020000E", "UI", "SeriesInstanceUID", f'<Value number="1">{place().series}</Value>'),
        ("00280002", "US", "SamplesPerPixel", '<Value number="1">1</Value>'),
        ("00280010", "US", "Rows", '<Value number="1">4</Value>'),
        ("00280011", "US", "Columns", '<Value number="1">4</Value>'),
        ("00280100", "US", "BitsAllocated", '<Value number="1">16</Value>'),
        ("7FE00010", "OW", "PixelData", '<BulkData uri="pixels"/>'),
    ]
)
ENTITY = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>'


async def test_metadata_in_xml(client: httpx.AsyncClient) -> None:
    documents = [NATIVE_XML.format(MODEL), ENTITY, "<NativeDicomModel", NATIVE_XML.format("")]
    xml = "application/dicom+xml"
    parts = [part(text.encode(), xml, None) for text in documents] + [part(PIXELS)]
    headers = {"Content-Type": REQUEST.replace(DICOM_JSON, xml)}
    response = await client.post("/dicom-web/studies", content=joined(*parts), headers=headers)
    assert response.status_code == 202, response.text
    assert [why for _, why, _ in failures(response)] == [0xC000, 0xC000, 0xA900]
    assert "passwd" not in response.text
    assert (await stored_metadata(client, place()))["00100010"]["Value"] == [{"Alphabetic": "Müller"}]
    assert PIXELS in await frames(client, place(), "1")


async def test_large_parts_lie_in_the_spool(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive, "MAX_PART_MEMORY_BYTES", 100)
    monkeypatch.setattr(metadata_request, "SPOOL_WRITE_BYTES", 1000)
    big = {**NATIVE, "T00280010": attribute("US", 100), "T00280011": attribute("US", 100)}
    pixels = bytes(range(200)) * 100
    assert limits.MAX_PART_MEMORY_BYTES > 100
    response = await store(client, [metadata(place(), **big)], part(pixels))
    assert response.status_code == 200, response.text
    assert pixels in await frames(client, place(), "1")


async def test_study_of_the_path_and_the_patient_of_the_token(
    client: httpx.AsyncClient, accesses: dict[str, Access]
) -> None:
    response = await store(client, [metadata(place(1))], path=f"/{place(2).study}")
    assert failures(response) == [(place(1).instance, 0xA901, "0020000D")]
    accesses["patient"] = confined_to("somebody")
    client.headers["Authorization"] = "Bearer patient"
    response = await store(client, [metadata(place(1))])
    assert failures(response) == [(place(1).instance, 0x0124, "00100020")]
