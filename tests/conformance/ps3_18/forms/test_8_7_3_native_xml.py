"""`application/dicom+xml` and `includefield`: metadata, searches, stores (PS3.18 8.7.3.4, 8.3.4.3)."""

import httpx
import pytest

from dicomweb.retrieve import metadata
from dicomweb.wire.native_xml_reader import read_native_xml
from tests.conformance.ps3_18.forms.kit import (
    PLAIN,
    SERIES,
    STUDY,
    XML,
    get,
    parts,
)
from tests.conformance.ps3_18.kit import MULTIPART, ct_file, multipart, place


@pytest.mark.parametrize("page", [200, 1], ids=["one page", "many"])
@pytest.mark.parametrize("path", [STUDY, SERIES, PLAIN.path])
async def test_metadata_in_xml_says_what_json_says(
    archive: httpx.AsyncClient, path: str, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "METADATA_PAGE", page)
    expected = (await get(archive, f"{path}/metadata", "application/dicom+json")).json()
    found = parts(await get(archive, f"{path}/metadata", XML))
    assert [read_native_xml(document) for _, document in found] == expected
    assert {head["Content-Type"] for head, _ in found} == {"application/dicom+xml"}


@pytest.mark.parametrize(
    ("path", "accept", "status", "media_type"),
    [
        pytest.param(
            f"{PLAIN.path}/metadata", "application/dicom+xml", 200, "application/dicom+xml", id="one"
        ),
        pytest.param(f"{SERIES}/metadata", "application/dicom+xml", 406, "application/json", id="many"),
        pytest.param(
            f"{SERIES}/metadata", f"{XML}, application/json;q=0.9", 200, "multipart/related", id="first"
        ),
        pytest.param(
            f"{SERIES}/metadata", f"{XML};q=0.5, application/json", 200, "application/json", id="quality"
        ),
        pytest.param(f"{SERIES}/metadata", "*/*", 200, "application/dicom+json", id="anything"),
        pytest.param("/dicom-web/studies", XML, 200, "multipart/related", id="search"),
        pytest.param(
            "/dicom-web/studies", "application/dicom+xml", 406, "application/json", id="search, single"
        ),
        pytest.param("/dicom-web/studies?PatientID=none", XML, 204, None, id="search, none found"),
    ],
)
async def test_negotiation_of_xml(
    archive: httpx.AsyncClient, path: str, accept: str, status: int, media_type: str | None
) -> None:
    response = await get(archive, path, accept)
    assert response.status_code == status
    assert response.headers.get("Content-Type", "").partition(";")[0] == (media_type or "")


async def test_searches_and_store_responses_in_xml(archive: httpx.AsyncClient) -> None:
    for path in ("/dicom-web/studies", f"{STUDY}/series", f"{SERIES}/instances"):
        expected = (await get(archive, path)).json()
        assert [read_native_xml(document) for _, document in parts(await get(archive, path, XML))] == expected
    headers = {"Content-Type": MULTIPART}
    body = multipart(ct_file(place(9)))
    expected = (await archive.post("/dicom-web/studies", content=body, headers=headers)).json()
    headers["Accept"] = "application/dicom+xml"
    response = await archive.post("/dicom-web/studies", content=body, headers=headers)
    assert response.headers["Content-Type"] == "application/dicom+xml"
    assert read_native_xml(response.content) == expected


@pytest.mark.parametrize("path", [STUDY, SERIES, PLAIN.path])
async def test_metadata_with_the_fields_asked_for(archive: httpx.AsyncClient, path: str) -> None:
    whole = (await get(archive, f"{path}/metadata")).json()
    response = await archive.get(f"{path}/metadata", params={"includefield": ["Rows,00100020", "NoSuch"]})
    asked = {"00080005", "00080016", "00080018", "0020000D", "0020000E", "00100020", "00280010"}
    expected = [{key: value for key, value in each.items() if key in asked} for each in whole]
    assert response.json() == expected
    assert "not known" in response.headers["Warning"]
    in_xml = await archive.get(
        f"{path}/metadata", params={"includefield": "Rows,00100020"}, headers={"Accept": XML}
    )
    assert [read_native_xml(document) for _, document in parts(in_xml)] == expected


async def test_fields_have_their_own_entity_tag(archive: httpx.AsyncClient) -> None:
    tags = set()
    for fields in ("", "?includefield=Rows", "?includefield=Columns", "?includefield=all"):
        tags.add((await get(archive, f"{PLAIN.path}/metadata{fields}")).headers["ETag"])
    assert len(tags) == 3
