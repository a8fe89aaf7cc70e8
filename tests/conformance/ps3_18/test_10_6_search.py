"""Search transaction: resources, matching, includefield, paging, answers (PS3.18 10.6, 8.3.4)."""

from threading import current_thread, main_thread
from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, SegmentationStorage

from dicomweb.metadata import unpack_metadata
from dicomweb.search import answers, query
from dicomweb.search.conditions import MAX_LISTED_CODES
from dicomweb.store.index import supersede_instances
from server.kernel.access import Access
from server.kernel.services import Services
from tests.asked_in_turn import asked_in_turn
from tests.conformance.ps3_18.kit import (
    DICOM_JSON,
    MULTIPART,
    Place,
    as_file,
    ct_slice,
    granted,
    multipart,
    place,
)


def request_item(step: str, procedure: str) -> Dataset:
    item = Dataset()
    item.ScheduledProcedureStepID, item.RequestedProcedureID = step, procedure
    return item


def segmentation(where: Place) -> Dataset:
    return ct_slice(where, Modality="SEG", SOPClassUID=SegmentationStorage, SeriesNumber=9, PixelData=None)


ARCHIVE = [
    ct_slice(place(1, 1, 1), StudyDate="20260101", StudyTime="08", StudyDescription="Thorax"),
    ct_slice(place(1, 1, 2), StudyDate="20260101", InstanceNumber=10, NumberOfFrames=1),
    ct_slice(place(1, 1, 3), StudyDate="20260101", InstanceNumber=2),
    segmentation(place(1, 2, 1)),
    ct_slice(
        place(2, 1, 1),
        PatientID="P2",
        PatientName="Müller^Jörg=山田^太郎=やまだ^たろう",
        PatientBirthDate="19500607",
        PatientSex="M",
        StudyDate="20260215",
        StudyTime="101530.5",
        AccessionNumber="A[2]_%",
        StudyID="s2",
        ReferringPhysicianName="House^Gregory",
        Modality="MR",
        SpecificCharacterSet="ISO_IR 192",
        PerformedProcedureStepStartDate="20260216",
        PerformedProcedureStepStartTime="1200",
        RequestAttributesSequence=[request_item("SPS1", "RP1"), request_item("SPS2", "RP2")],
    ),
    ct_slice(place(3, 1, 1), PatientID="P3", StudyDate="", StudyTime="", PatientName="Doe^John"),
]
BODY = multipart(*map(as_file, ARCHIVE))


@pytest.fixture
async def archive(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client of an archive with three studies."""
    response = await client.post("/dicom-web/studies", content=BODY, headers={"Content-Type": MULTIPART})
    assert response.status_code == 200
    return client


async def search(client: httpx.AsyncClient, path: str, **parameters: Any) -> list[dict[str, Any]]:
    response = await client.get(f"/dicom-web{path}", params=parameters)
    assert response.status_code == 200, response.text
    return response.json()


def first(answer: dict[str, Any], tag: str) -> Any:
    return answer[tag]["Value"][0]


def studies_of(answers: list[dict[str, Any]]) -> list[int]:
    known = {place(n).study: n for n in (1, 2, 3)}
    return [known[first(answer, "0020000D")] for answer in answers]


async def test_studies_come_newest_first_the_undated_last(archive: httpx.AsyncClient) -> None:
    assert studies_of(await search(archive, "/studies")) == [2, 1, 3]


async def test_table_10_6_3_3_study_attributes(archive: httpx.AsyncClient) -> None:
    (answer,) = await search(archive, "/studies", PatientID="P1")
    assert list(answer) == sorted(answer)
    assert {tag: first(answer, tag) for tag in answer if tag not in ("00080061", "00100010")} == {
        "00080005": "ISO_IR 192",
        "00080020": "20260101",
        "00080030": "08",
        "00080050": "A1",
        "00080056": "ONLINE",
        "00081030": "Thorax",
        "00081190": f"http://testserver/dicom-web/studies/{place(1).study}",
        "00100020": "P1",
        "00100030": "19700102",
        "00100040": "F",
        "0020000D": place(1).study,
        "00200010": "S1",
        "00201206": 2,
        "00201208": 4,
    }
    assert answer["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}
    assert answer["00080061"] == {"vr": "CS", "Value": ["CT", "SEG"]}


async def test_table_10_6_3_4_series_attributes(archive: httpx.AsyncClient) -> None:
    one, two = await search(archive, f"/studies/{place(1).study}/series")
    assert [first(one, "00200011"), first(two, "00200011")] == [3, 9]
    assert first(one, "00080060") == "CT"
    assert first(one, "00201209") == 3
    assert first(one, "0020000D") == place(1).study
    assert first(one, "00081190").endswith(f"/studies/{place(1).study}/series/{place(1).series}")
    assert "00100020" not in one


async def test_table_10_6_3_5_instance_attributes(archive: httpx.AsyncClient) -> None:
    answers = await search(archive, f"/studies/{place(1).study}/series/{place(1).series}/instances")
    assert [first(answer, "00200013") for answer in answers] == [1, 2, 10]
    answer = answers[2]
    assert {tag: first(answer, tag) for tag in answer} == {
        "00080005": "ISO_IR 192",
        "00080016": CTImageStorage,
        "00080018": place(1, 1, 2).instance,
        "00080056": "ONLINE",
        "00081190": f"http://testserver{place(1, 1, 2).path}",
        "00083002": "1.2.840.10008.1.2.1",
        "0020000D": place(1).study,
        "0020000E": place(1).series,
        "00200013": 10,
        "00280008": 1,
        "00280010": 4,
        "00280011": 4,
        "00280100": 16,
    }


@asked_in_turn(
    ("path", "count"),
    [
        ("/studies", 3),
        ("/series", 4),
        ("/instances", 6),
        (f"/studies/{place(1).study}/series", 2),
        (f"/studies/{place(1).study}/instances", 4),
        (f"/studies/{place(1).study}/series/{place(1).series}/instances", 3),
        (f"/series/{place(1).series}/instances", 3),
        (f"/studies/{place(2).study}/series/{place(1).series}/instances", 0),
        ("/studies/1.2.3/series", 0),
    ],
)
async def test_table_10_6_1_1_resources(archive: httpx.AsyncClient, path: str, count: int) -> None:
    assert len(await search(archive, path)) == count


async def test_all_series_and_instances_carry_study_attributes(archive: httpx.AsyncClient) -> None:
    for path in ("/series", "/instances"):
        (answer,) = await search(archive, path, PatientID="P2")
        assert first(answer, "00100020") == "P2"
        assert first(answer, "00080060") == "MR"


@asked_in_turn(
    ("parameters", "studies"),
    [
        pytest.param({"StudyInstanceUID": place(2).study}, [2], id="UID"),
        pytest.param({"StudyInstanceUID": f"{place(1).study},{place(2).study}"}, [2, 1], id="list by comma"),
        pytest.param({"0020000D": f"{place(1).study}\\{place(3).study}"}, [1, 3], id="list by backslash"),
        pytest.param({"StudyDate": "20260215"}, [2], id="date"),
        pytest.param({"StudyDate": "20260101-20260214"}, [1], id="date range"),
        pytest.param({"StudyDate": "-20260215"}, [2, 1], id="date until, nothing undated"),
        pytest.param({"StudyDate": "20260102-"}, [2], id="date from"),
        pytest.param({"00080020": "2026.02.15"}, [2], id="old date form, by tag"),
        pytest.param({"StudyTime": "101530.5"}, [2], id="time"),
        pytest.param({"StudyTime": "1015"}, [2], id="time of low precision spans its minute"),
        pytest.param({"StudyTime": "10-11"}, [2], id="time range includes its last hour"),
        pytest.param({"StudyTime": "0800-0900"}, [1], id="time stored as an hour"),
        pytest.param({"StudyTime": "-0900"}, [1], id="time until"),
        pytest.param({"PatientID": "P2"}, [2], id="LO"),
        pytest.param({"PatientID": "p2"}, [], id="LO with case"),
        pytest.param({"PatientID": "P*"}, [2, 1, 3], id="wildcard"),
        pytest.param({"PatientID": "?2"}, [2], id="single-character wildcard"),
        pytest.param({"AccessionNumber": "A[2]_%"}, [2], id="special characters, exact"),
        pytest.param({"AccessionNumber": "*[2]_%*"}, [2], id="special characters beside wildcards"),
        pytest.param({"AccessionNumber": "A_*"}, [], id="underscore is no wildcard"),
        pytest.param({"AccessionNumber": "%"}, [], id="percent is no wildcard"),
        pytest.param({"StudyID": "s2"}, [2], id="StudyID"),
        pytest.param({"PatientName": "doe^jane"}, [1], id="name without case"),
        pytest.param({"PatientName": "DOE*"}, [1, 3], id="name prefix"),
        pytest.param({"PatientName": "*JÖRG*"}, [2], id="name inside"),
        pytest.param({"PatientName": "Muller^Jorg"}, [2], id="name without accents"),
        pytest.param({"PatientName": "Müller^Jörg^^"}, [2], id="trailing delimiters"),
        pytest.param({"PatientName": "山田*"}, [2], id="ideographic"),
        pytest.param({"PatientName": "やまだ^たろう"}, [2], id="phonetic"),
        pytest.param({"PatientName": "Mül*=山田^太郎"}, [2], id="groups"),
        pytest.param({"PatientName": "Doe"}, [], id="single value is the whole name"),
        pytest.param({"ReferringPhysicianName": "house*"}, [2], id="referring physician"),
        pytest.param({"PatientBirthDate": "19500607"}, [2], id="birth date"),
        pytest.param({"PatientSex": "M"}, [2], id="sex"),
        pytest.param({"ModalitiesInStudy": "SEG"}, [1], id="modality of any series"),
        pytest.param({"ModalitiesInStudy": "MR,SEG"}, [2, 1], id="modalities"),
        pytest.param({"ModalitiesInStudy": "C*"}, [1, 3], id="modality wildcard"),
        pytest.param({"PatientName": ""}, [2, 1, 3], id="universal"),
        pytest.param({"PatientName": "*"}, [2, 1, 3], id="universal by wildcard"),
        pytest.param({"PatientID": "P1", "StudyDate": "2026-"}, None, id="not a date"),
        pytest.param({"StudyDate": "-"}, None, id="lone dash"),
        pytest.param({"StudyTime": "noon"}, None, id="not a time"),
        pytest.param({"StudyInstanceUID": "1.2.x"}, None, id="not a UID"),
        pytest.param({"StudyInstanceUID": "1.2.*"}, None, id="UIDs take no wildcards"),
        pytest.param({"PatientID": "a\x00b"}, None, id="NUL"),
        pytest.param({"limit": "-1"}, None, id="negative limit"),
        pytest.param({"offset": "-1"}, None, id="negative offset"),
        pytest.param({"limit": "ten"}, None, id="limit that is no number"),
        pytest.param({"offset": "99999999999"}, None, id="huge offset"),
        pytest.param({"fuzzymatching": "maybe"}, None, id="neither true nor false"),
    ],
)
async def test_tables_10_6_1_study_matching(
    archive: httpx.AsyncClient, parameters: dict[str, str], studies: list[int] | None
) -> None:
    response = await archive.get("/dicom-web/studies", params=parameters)
    if studies is None:
        assert response.status_code == 400
        assert response.json()["error"]
    else:
        assert studies_of(response.json()) == studies
        assert "Warning" not in response.headers


@asked_in_turn(
    ("parameters", "studies"),
    [
        ({"Modality": "MR"}, [2]),
        ({"SeriesInstanceUID": place(2).series}, [2]),
        ({"SeriesNumber": "9"}, [1]),
        ({"PerformedProcedureStepStartDate": "20260216"}, [2]),
        ({"PerformedProcedureStepStartTime": "11-13"}, [2]),
        ({"RequestAttributesSequence.ScheduledProcedureStepID": "SPS2"}, [2]),
        ({"00400275.00401001": "RP*"}, [2]),
        (
            {
                "RequestAttributesSequence.ScheduledProcedureStepID": "SPS1",
                "RequestAttributesSequence.RequestedProcedureID": "RP2",
            },
            [],
        ),
        ({"PatientID": "P2"}, [2]),
        ({"ModalitiesInStudy": "SEG", "Modality": "CT"}, [1]),
    ],
)
async def test_table_10_6_1_4_series_matching(
    archive: httpx.AsyncClient, parameters: dict[str, str], studies: list[int]
) -> None:
    assert studies_of(await search(archive, "/series", **parameters)) == studies


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({"SOPClassUID": SegmentationStorage}, 1),
        ({"SOPInstanceUID": place(1, 1, 2).instance}, 1),
        ({"InstanceNumber": "2"}, 1),
        ({"InstanceNumber": "1", "Modality": "CT", "PatientName": "Doe*"}, 2),
    ],
)
async def test_table_10_6_1_5_instance_matching(
    archive: httpx.AsyncClient, parameters: dict[str, str], count: int
) -> None:
    assert len(await search(archive, "/instances", **parameters)) == count


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"fuzzymatching": "true"}, id="fuzzy matching"),
        pytest.param({"Modality": "CT"}, id="key of a lower level"),
        pytest.param({"PatientComments": "x"}, id="attribute that is no key"),
        pytest.param({"Nonsense": "x"}, id="no attribute"),
        pytest.param({"includefield": "Nonsense"}, id="includefield that is no attribute"),
    ],
)
async def test_what_is_ignored_is_said_with_299(
    archive: httpx.AsyncClient, parameters: dict[str, str]
) -> None:
    response = await archive.get("/dicom-web/studies", params=parameters)
    assert response.status_code == 200
    assert len(response.json()) == 3
    assert response.headers["Warning"].startswith('299 isthmus "')


async def test_a_list_of_codes_is_as_long_as_it_may_be(archive: httpx.AsyncClient) -> None:
    codes = [f"X{n}" for n in range(MAX_LISTED_CODES)]
    assert len(await search(archive, "/studies", ModalitiesInStudy=",".join(["SEG"] * 1000))) == 1
    assert await search(archive, "/studies", ModalitiesInStudy=",".join(codes)) == []
    for refused in (",".join([*codes, "Y"]), ","):
        response = await archive.get("/dicom-web/studies", params={"ModalitiesInStudy": refused})
        assert response.status_code == 400


async def test_no_match_is_an_empty_array(archive: httpx.AsyncClient) -> None:
    response = await archive.get("/dicom-web/studies", params={"PatientID": "nobody"})
    assert (response.status_code, response.content) == (200, b"[]")
    assert response.headers["Content-Type"] == DICOM_JSON


@pytest.mark.parametrize("field", ["BitsStored", "00280101", "StudyTime,BitsStored", "all"])
async def test_includefield_of_an_instance(archive: httpx.AsyncClient, field: str) -> None:
    (answer,) = await search(archive, "/instances", PatientID="P3", includefield=field)
    assert answer["00280101"] == {"vr": "US", "Value": [16]}


async def test_includefield_all_has_absolute_bulk_data_uris(archive: httpx.AsyncClient) -> None:
    (answer,) = await search(archive, "/instances", PatientID="P3", includefield="all")
    assert answer["7FE00010"]["BulkDataURI"].startswith(f"http://testserver{place(3).path}/bulkdata/")


async def test_includefield_of_upper_levels(archive: httpx.AsyncClient) -> None:
    path = f"/studies/{place(2).study}/series"
    (answer,) = await search(archive, path, includefield="PatientName,RequestAttributesSequence")
    assert answer["00100010"]["Value"][0]["Ideographic"] == "山田^太郎"
    assert len(answer["00400275"]["Value"]) == 2


async def test_pages_neither_repeat_nor_skip(archive: httpx.AsyncClient) -> None:
    whole = await search(archive, "/instances")
    pages = [await search(archive, "/instances", limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert [len(page) for page in pages] == [2, 2, 2, 0]
    assert [answer for page in pages for answer in page] == whole
    assert await search(archive, "/instances", limit=0) == []


async def test_cut_by_the_server_is_said(archive: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "MAX_RESULTS", 2)
    response = await archive.get("/dicom-web/studies")
    assert len(response.json()) == 2
    assert "additional results" in response.headers["Warning"]
    assert "Warning" not in (await archive.get("/dicom-web/studies", params={"limit": 2})).headers


WHOLE = [{"includefield": "all"}, {"includefield": "PhotometricInterpretation"}]


@pytest.mark.parametrize("parameters", WHOLE, ids=["all", "one attribute"])
async def test_pages_of_whole_instances_are_smaller(
    archive: httpx.AsyncClient, parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "MAX_RESULTS_WITH_METADATA", 4)
    for more in ({}, {"limit": 5}):
        response = await archive.get("/dicom-web/instances", params=parameters | more)
        assert len(response.json()) == 4
        assert "additional results" in response.headers["Warning"]
    response = await archive.get("/dicom-web/instances", params=parameters | {"limit": 4, "offset": 4})
    assert (len(response.json()), "Warning" in response.headers) == (2, False)
    assert len(await search(archive, "/instances", includefield="PatientName")) == 6


@pytest.mark.parametrize("parameters", WHOLE, ids=["all", "one attribute"])
async def test_whole_instances_are_rendered_beside_the_event_loop(
    archive: httpx.AsyncClient, parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def watched(packed: bytes, instance_url: str) -> bytes:
        threads.append(current_thread())
        return unpack_metadata(packed, instance_url)

    monkeypatch.setattr(answers, "unpack_metadata", watched)
    assert len(await search(archive, "/instances", **parameters)) == len(threads) == 6
    assert main_thread() not in threads


async def test_superseded_leave_every_search(archive: httpx.AsyncClient, services: Services) -> None:
    await services.database.transact(lambda unit: supersede_instances(unit, [place(1, 2, 1).instance]))
    (study,) = await search(archive, "/studies", PatientID="P1")
    assert (study["00080061"]["Value"], first(study, "00201206"), first(study, "00201208")) == (["CT"], 1, 3)
    assert await search(archive, "/studies", ModalitiesInStudy="SEG") == []
    assert len(await search(archive, f"/studies/{place(1).study}/series")) == 1
    assert await search(archive, "/instances", SOPClassUID=SegmentationStorage) == []


async def test_series_returns_with_a_successor(archive: httpx.AsyncClient, services: Services) -> None:
    await services.database.transact(lambda unit: supersede_instances(unit, [place(1, 2, 1).instance]))
    body = multipart(as_file(segmentation(place(1, 2, 2))))
    await archive.post("/dicom-web/studies", content=body, headers={"Content-Type": MULTIPART})
    (answer,) = await search(archive, "/series", Modality="SEG")
    assert first(answer, "00201209") == 1


@asked_in_turn(
    ("accept", "status"),
    [
        ("application/dicom+json", 200),
        ("application/json", 200),
        ("*/*", 200),
        ('multipart/related; type="application/dicom+xml"', 200),
        ("application/dicom+xml", 406),
        ("text/html", 406),
    ],
)
async def test_accepted_media_types(archive: httpx.AsyncClient, accept: str, status: int) -> None:
    assert (await archive.get("/dicom-web/studies", headers={"Accept": accept})).status_code == status


async def test_scopes(archive: httpx.AsyncClient, accesses: dict[str, Access]) -> None:
    accesses["reader"] = granted("ImagingStudy", "r")
    accesses["searcher"] = granted("ImagingStudy", "s")
    for token, status in [("reader", 403), ("searcher", 200), ("none", 401)]:
        response = await archive.get("/dicom-web/studies", headers={"Authorization": f"Bearer {token}"})
        assert response.status_code == status
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
