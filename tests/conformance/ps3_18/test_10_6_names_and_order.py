"""Search transaction: fuzzy names, keys, orderby, the total, members of sequences (PS3.18 8.3.4, 10.6)."""

from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset
from sqlalchemy import delete, func, select, update

from dicomweb.store import reindex
from dicomweb.tables import Series, Study, StudyName
from server.kernel.rows import table_of
from server.kernel.services import Services
from tests.conformance.ps3_18.kit import MULTIPART, as_file, ct_slice, multipart, place

UTF_8 = {"SpecificCharacterSet": "ISO_IR 192"}
STUDY, SERIES, NAME = table_of(Study), table_of(Series), table_of(StudyName)


def request_item(step: str, procedure: str) -> Dataset:
    item = Dataset()
    item.ScheduledProcedureStepID, item.RequestedProcedureID = step, procedure
    return item


ARCHIVE = [
    ct_slice(
        place(1, 1, 1),
        PatientName="Schmidt^Catherine Ann",
        StudyDate="20260103",
        StudyDescription="Thorax",
        BodyPartExamined="CHEST",
        TimezoneOffsetFromUTC="+0100",
        RequestAttributesSequence=[request_item("S1", "R1"), request_item("S2", "R2")],
    ),
    ct_slice(
        place(2, 1, 1),
        PatientID="P2",
        PatientName="Müller-Lüdenscheidt^Jörg=山田^太郎=やまだ^たろう",
        StudyDate="20260101",
        InstitutionName="St. Anna",
        ManufacturerModelName="Model 7",
        SeriesNumber=None,
        **UTF_8,
    ),
    ct_slice(
        place(3, 1, 1),
        PatientID="P3",
        PatientName="Smith^John",
        StudyDate="20260101",
        ReferringPhysicianName="O'Brien^Flann",
        IssuerOfPatientID="Ward 3",
        SeriesDescription="Localizer",
        SeriesDate="20260102",
        SeriesTime="0815",
        StationName="CT9",
        ProtocolName="Routine",
        Manufacturer="Acme",
        SeriesNumber=12,
    ),
    ct_slice(
        place(4, 1, 1),
        PatientID=None,
        PatientName="",
        ReferringPhysicianName="House^Gregory",
        StudyDate="",
        SeriesNumber=2,
    ),
]


@pytest.fixture
async def archive(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client of an archive of four studies."""
    body = multipart(*map(as_file, ARCHIVE))
    response = await client.post("/dicom-web/studies", content=body, headers={"Content-Type": MULTIPART})
    assert response.status_code in (200, 202)
    return client


async def studies(
    client: httpx.AsyncClient, path: str = "/studies", **parameters: Any
) -> tuple[list[int], str | None]:
    response = await client.get(f"/dicom-web{path}", params=parameters)
    assert response.status_code == 200, response.text
    known = {place(n).study: n for n in (1, 2, 3, 4)}
    found = [known[answer["0020000D"]["Value"][0]] for answer in response.json()]
    return found, response.headers.get("Warning")


FUZZY = [
    ("Smith", {1, 3}),
    ("smiht", {1, 3}),
    ("John Smyth", {3}),
    ("Smith^Katharina", {1}),
    ("Schmid*", {1, 3}),
    ("*mith*", {3}),
    ("Kat", set()),
    ("Cath", {1}),
    ("mueller", {2}),
    ("Lüdenscheidt", {2}),
    ("Jorg^Muller", {2}),
    ("ヤマダ", {2}),
    ("太郎 山田", {2}),
    ("山", {2}),
    ("Schmidt=山田", set()),
    ("Nobody", set()),
    ("Sm?th*", {3}),
]


async def test_fuzzy_names(archive: httpx.AsyncClient) -> None:
    found = {name: await studies(archive, fuzzymatching="true", PatientName=name) for name, _ in FUZZY}
    told = {name: (set(numbers), warning) for name, (numbers, warning) in found.items()}
    silent = {name for name, _ in FUZZY} - {"Sm?th*"}
    assert {name: numbers for name, (numbers, _) in told.items()} == dict(FUZZY)
    assert {name for name, (_, warning) in told.items() if warning is None} == silent


async def test_fuzzy_is_of_one_name_and_wherever_the_parameter_stands(archive: httpx.AsyncClient) -> None:
    for order in (("ReferringPhysicianName", "fuzzymatching"), ("fuzzymatching", "ReferringPhysicianName")):
        values = {"ReferringPhysicianName": "obrian", "fuzzymatching": "true"}
        assert await studies(archive, **{name: values[name] for name in order}) == ([3], None)
    assert await studies(archive, PatientName="O'Brien", fuzzymatching="true") == ([], None)
    assert await studies(archive, "/series", PatientName="smiht^jon", fuzzymatching="true") == ([3], None)
    assert (await studies(archive, PatientName="Smiht", fuzzymatching="false"))[0] == []
    numbers, warning = await studies(archive, PatientID="P3", fuzzymatching="true")
    assert (numbers, warning is None) == ([3], False)


KEYS = [
    ({"StudyDescription": "Tho*"}, [1]),
    ({"IssuerOfPatientID": "Ward 3"}, [3]),
    ({"BodyPartExamined": "CHEST,HEAD"}, [1]),
    ({"InstitutionName": "St. Anna"}, [2]),
    ({"ManufacturerModelName": "Model*"}, [2]),
    ({"Manufacturer": "Acme"}, [3]),
    ({"SeriesDescription": "*caliz*"}, [3]),
    ({"SeriesDate": "20260102-20260103"}, [3]),
    ({"SeriesTime": "08"}, [3]),
    ({"StationName": "CT9"}, [3]),
    ({"ProtocolName": "Routine"}, [3]),
]


async def test_further_keys(archive: httpx.AsyncClient) -> None:
    for parameters, expected in KEYS:
        assert await studies(archive, "/series", **parameters) == (expected, None), parameters


ORDERS = [
    ("/studies", "StudyDate", [4, 2, 3, 1]),
    ("/studies", "-StudyDate", [1, 3, 2, 4]),
    ("/studies", "PatientName", [4, 2, 1, 3]),
    ("/studies", "-PatientName", [3, 1, 2, 4]),
    ("/studies", "StudyDate,-PatientName", [4, 3, 2, 1]),
    ("/studies", "PatientID", [4, 1, 2, 3]),
    ("/studies", "-PatientID", [3, 2, 1, 4]),
    ("/series", "SeriesNumber", [2, 4, 1, 3]),
    ("/series", "-00200011", [3, 1, 4, 2]),
    ("/series", "Modality", [1, 2, 3, 4]),
    ("/series", "-Modality", [4, 3, 2, 1]),
    ("/instances", "-StudyDate,InstanceNumber", [1, 2, 3, 4]),
]


async def test_orderby(archive: httpx.AsyncClient) -> None:
    for path, orderby, expected in ORDERS:
        assert await studies(archive, path, orderby=orderby) == (expected, None), orderby
        paged = [(await studies(archive, path, orderby=orderby, limit=1, offset=n))[0] for n in range(4)]
        assert [number for page in paged for number in page] == expected, orderby


@pytest.mark.parametrize("orderby", ["SeriesNumber", "ModalitiesInStudy", "Nonsense", "PatientComments"])
async def test_what_cannot_be_ordered_by_is_said(archive: httpx.AsyncClient, orderby: str) -> None:
    numbers, warning = await studies(archive, orderby=orderby)
    assert numbers == [1, 3, 2, 4]
    assert warning is not None
    assert orderby in warning


async def test_total_when_asked_for(archive: httpx.AsyncClient) -> None:
    for path, parameters, total in [
        ("/studies", {"limit": 1}, "4"),
        ("/studies", {"limit": 0}, "4"),
        ("/studies", {"limit": 3, "offset": 3}, "4"),
        ("/studies", {"offset": 9}, "4"),
        ("/studies", {"PatientName": "smiht", "fuzzymatching": "true", "limit": 1}, "2"),
        ("/series", {"StudyDate": "20260101", "limit": 1}, "2"),
        ("/instances", {"limit": 2, "includefield": "all"}, "4"),
        ("/instances", {"PatientID": "nobody"}, "0"),
    ]:
        response = await archive.get(f"/dicom-web{path}", params={"count": "true", **parameters})
        assert response.headers["X-Total-Count"] == total, (path, parameters)
    for parameters in ({}, {"count": "false"}):
        assert "X-Total-Count" not in (await archive.get("/dicom-web/studies", params=parameters)).headers
    assert (await archive.get("/dicom-web/studies", params={"count": "yes"})).status_code == 400


async def test_a_member_of_a_sequence(archive: httpx.AsyncClient) -> None:
    path = f"/dicom-web/studies/{place(1).study}/series/{place(1).series}/instances"
    member = {"includefield": "RequestAttributesSequence.ScheduledProcedureStepID"}
    (answer,) = (await archive.get(path, params=member)).json()
    steps = [{"00400009": {"vr": "SH", "Value": [step]}} for step in ("S1", "S2")]
    assert answer["00400275"] == {"vr": "SQ", "Value": steps}
    assert answer["00080201"] == {"vr": "SH", "Value": ["+0100"]}
    (answer,) = (await archive.get("/dicom-web/series", params={"PatientID": "P1", **member})).json()
    assert len(answer["00400275"]["Value"][0]) == 2


async def test_rows_of_an_earlier_release_are_brought_up_to_date(
    archive: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an earlier release writes them, which knows neither the columns nor the names."""

    async def forget(unit: Any) -> None:
        await unit.execute(delete(NAME))
        await unit.execute(update(STUDY).values(index_version=0, study_description=""))
        await unit.execute(update(SERIES).values(index_version=0, series_date="", body_part_examined=""))

    await services.database.transact(forget)
    assert (await studies(archive, PatientName="smiht", fuzzymatching="true"))[0] == []
    assert (await studies(archive, PatientName="Smith*", fuzzymatching="true"))[0] == [3]
    monkeypatch.setattr(reindex, "ROWS_AT_ONCE", 3)
    assert [await reindex.refresh_index(services) for _ in range(3)] == [6, 2, 0]
    assert set((await studies(archive, PatientName="smiht", fuzzymatching="true"))[0]) == {1, 3}
    for parameters, expected in KEYS:
        assert await studies(archive, "/series", **parameters) == (expected, None), parameters


async def test_names_follow_what_the_study_says_and_go_with_it(
    archive: httpx.AsyncClient, services: Services
) -> None:
    later = as_file(ct_slice(place(4, 1, 2), PatientID=None, PatientName="Lovelace^Ada"))
    await archive.post("/dicom-web/studies", content=multipart(later), headers={"Content-Type": MULTIPART})
    assert await studies(archive, PatientName="Lovlace", fuzzymatching="true") == ([4], None)
    assert await studies(archive, ReferringPhysicianName="Haus", fuzzymatching="true") == ([4], None)

    async def remove(unit: Any) -> None:
        for table in ("instance_metadata", "instance", "series_request", "series", "study"):
            await unit.execute(delete(Study.metadata.tables[table]))

    await services.database.transact(remove)
    async with services.database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(NAME))).scalar_one() == 0
