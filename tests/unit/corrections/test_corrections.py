"""What an administrator corrects shows everywhere, and stored bytes stay (DESIGN §5, Corrections)."""

import io
import zipfile
from typing import Any

import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    BasicTextSRStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)
from sqlalchemy import select

from dicomweb.retrieve import content, locate, overlaid, retrieve
from dicomweb.tables import SeriesOverlay, StudyOverlay
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow, OutboxEvent
from server.workflows.study_summary import read_instances, summarise
from tests.conformance.ps3_18.kit import as_file, ct_file, ct_slice, place
from tests.unit.corrections.conftest import Correcting

ONE_DATABASE = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
NAME, DESCRIPTION, ORIGINALS = "00100010", "00081030", "04000561"
XML = {"Accept": 'multipart/related; type="application/dicom+xml"'}
ROE: dict[str, Any] = {"PatientName": {"Value": [{"Alphabetic": "Roe^Zoë"}]}, "StudyDescription": "Head"}
SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


async def test_searches_match_and_return_what_is_corrected(archive: Correcting) -> None:
    await archive.store(ct_file(StudyDescription="Chest"), ct_file(place(2, 1, 1), PatientID="P2"))
    answer = await archive.correct(ROE)
    assert answer.status_code == 200, answer.text
    (study,) = await archive.found(PatientName="roe*")
    assert study[NAME]["Value"] == [{"Alphabetic": "Roe^Zoë"}]
    assert study[DESCRIPTION]["Value"] == ["Head"]
    assert len(await archive.found(PatientName="row zoe", fuzzymatching="true")) == 1
    assert len(await archive.found(StudyDescription="Head")) == 1
    assert await archive.found(PatientName="Doe*", StudyDescription="Chest") == []
    assert await archive.found(PatientName="doe jane", fuzzymatching="true", PatientID="P1") == []
    for query in ({"includefield": "PatientName"}, {"includefield": "all"}):
        for level in ("series", "instances"):
            (found,) = await archive.found(level, PatientName="Roe*", **query)
            assert found[NAME]["Value"] == [{"Alphabetic": "Roe^Zoë"}], (level, query)


async def test_a_correction_is_read_replaced_and_withdrawn(archive: Correcting) -> None:
    await archive.store(ct_file(StudyDescription="Chest"))
    before = await archive.file()
    tag = (await archive.http.get(place().path)).headers["etag"]
    await archive.correct(ROE)
    said = (await archive.http.get(archive.path())).json()
    assert said["attributes"][DESCRIPTION] == {"vr": "LO", "Value": ["Head"]}
    assert said["sent"][DESCRIPTION] == {"vr": "LO", "Value": ["Chest"]}
    assert (said["reason"], said["by"]) == ("typed wrong", "client:all")
    await archive.correct({"AccessionNumber": "A2", "PatientSex": {}})
    (study,) = await archive.found(AccessionNumber="A2")
    assert study[NAME]["Value"] == [{"Alphabetic": "Doe^Jane"}]
    assert study["00100040"] == {"vr": "CS"}
    assert (await archive.http.get(place().path)).headers["etag"] != tag
    assert (await archive.http.delete(archive.path())).json()["attributes"] == {}
    assert await archive.file() == before
    assert (await archive.http.get(place().path)).headers["etag"] == tag
    assert len(await archive.found(PatientName="doe jane", fuzzymatching="true", AccessionNumber="A1")) == 1
    assert (await archive.http.delete(archive.path())).status_code == 404
    async with archive.services.database.read() as connection:
        assert (await connection.execute(select(table_of(StudyOverlay)))).all() == []
        acts = (await connection.execute(select(table_of(AuditRow)))).all()
        events = (await connection.execute(select(table_of(OutboxEvent).c.kind))).scalars().all()
    written = [(act.interaction, act.resource_id) for act in acts if act.action == "U"]
    uid = place().study
    assert written == [("correct", uid), ("correct", uid), ("withdraw-correction", uid)]
    assert events.count("study.corrected") == 3


async def test_a_series_is_corrected_by_itself(archive: Correcting) -> None:
    await archive.store(ct_file(BodyPartExamined="CHEST"), ct_file(place(1, 2, 1), BodyPartExamined="CHEST"))
    requests = {"Value": [{"00401001": {"vr": "SH", "Value": ["R7"]}}]}
    corrected = {"BodyPartExamined": "HEAD", "SeriesNumber": 9, "RequestAttributesSequence": requests}
    assert (await archive.correct(corrected, series=True)).status_code == 200
    (found,) = await archive.found("series", BodyPartExamined="HEAD")
    assert found["00200011"]["Value"] == [9]
    query = {"RequestAttributesSequence.RequestedProcedureID": "R7"}
    assert len(await archive.found("series", **query)) == 1
    parts = [each.BodyPartExamined for each in await archive.files(f"/dicom-web/studies/{place().study}")]
    assert sorted(parts) == ["CHEST", "HEAD"]
    await archive.correct({"StudyID": "S9"})
    items = (await archive.dataset()).OriginalAttributesSequence
    assert len(items) == 2
    assert (await archive.http.delete(archive.path(series=True))).status_code == 200
    assert await archive.found("series", **query) == []
    async with archive.services.database.read() as connection:
        assert (await connection.execute(select(table_of(SeriesOverlay)))).all() == []


@ONE_DATABASE
@pytest.mark.parametrize("syntax", SYNTAXES)
async def test_retrieved_files_say_what_metadata_says(archive: Correcting, syntax: str) -> None:
    await archive.store(as_file(ct_slice(StudyDescription="Chest"), syntax))
    await archive.correct(ROE)
    dataset = await archive.dataset()
    assert dataset.file_meta.TransferSyntaxUID == syntax
    assert (str(dataset.PatientName), dataset.StudyDescription) == ("Roe^Zoë", "Head")
    assert dataset.PixelData == bytes(range(32))
    (metadata,) = await archive.metadata()
    (item,) = metadata[ORIGINALS]["Value"]
    (before,) = item["04000550"]["Value"]
    assert before[NAME]["Value"] == [{"Alphabetic": "Doe^Jane"}]
    assert str(dataset.OriginalAttributesSequence[0].ModifiedAttributesSequence[0].PatientName) == "Doe^Jane"
    default = await archive.dataset(accept={"Accept": "application/dicom"})
    assert default.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert (str(default.PatientName), len(default.OriginalAttributesSequence)) == ("Roe^Zoë", 1)


@ONE_DATABASE
@pytest.mark.parametrize("syntax", SYNTAXES)
async def test_zip_files_say_it_too(archive: Correcting, syntax: str) -> None:
    await archive.store(as_file(ct_slice(), syntax))
    await archive.correct(ROE)
    answer = await archive.http.get(place().path, headers={"Accept": "application/zip; transfer-syntax=*"})
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
        assert found.testzip() is None
        dataset = pydicom.dcmread(io.BytesIO(found.read(found.namelist()[0])))
    assert str(dataset.PatientName) == "Roe^Zoë"


@ONE_DATABASE
async def test_ranges_of_a_corrected_file(archive: Correcting) -> None:
    await archive.store(ct_file())
    await archive.correct(ROE)
    whole = await archive.file()
    for start, stop in ((0, 9), (100, len(whole) - 40), (len(whole) - 50, len(whole) - 1)):
        headers = {"Accept": 'application/dicom; transfer-syntax="*"', "Range": f"bytes={start}-{stop}"}
        answer = await archive.http.get(place().path, headers=headers)
        assert answer.status_code == 206
        assert answer.content == whole[start : stop + 1]


@ONE_DATABASE
@pytest.mark.parametrize("syntax", SYNTAXES)
async def test_large_files_are_put_together_while_they_are_sent(
    archive: Correcting, monkeypatch: pytest.MonkeyPatch, syntax: str
) -> None:
    await archive.store(as_file(ct_slice(), syntax))
    await archive.correct(ROE)
    whole = await archive.file()
    for module in (content, overlaid):
        monkeypatch.setattr(module, "MAX_WHOLE_BYTES", 100)
    monkeypatch.setattr(overlaid, "READ_CHUNK_BYTES", 10)
    assert await archive.file() == whole
    await archive.correct({**ROE, "PatientName": "Roe^Zoe"})
    ascii_only = await archive.file()
    with monkeypatch.context() as small:
        beginnings = []
        begin = overlaid._beginning

        async def beginning(*arguments: Any) -> bytes:
            beginnings.append(await begin(*arguments))
            return beginnings[-1]

        small.setattr(overlaid, "_beginning", beginning)
        small.setattr(overlaid, "MAX_AROUND_BYTES", 7000)
        small.setattr(overlaid, "MANY_AROUND_BYTES", 500)
        assert await archive.file() == ascii_only
        assert 0 < len(beginnings[0]) < len(ascii_only)
    await archive.correct(ROE)
    whole = await archive.file()
    answer = await archive.http.get(place().path, headers={"Accept": "application/zip; transfer-syntax=*"})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
        assert found.read(found.namelist()[0]) == whole


async def test_what_arrives_later_is_covered(archive: Correcting) -> None:
    await archive.store(ct_file(StudyDescription="Chest", StudyID=None))
    await archive.correct({"StudyDescription": {}, "StudyID": "S7"})
    stored = await archive.store(ct_file(place(1, 1, 2), StudyDescription="Chest again", StudyID="S2"))
    assert stored.status_code == 200, stored.text
    (study,) = await archive.found(StudyID="S7")
    assert study[DESCRIPTION] == {"vr": "LO"}
    for dataset in await archive.files(f"/dicom-web/studies/{place().study}"):
        assert (dataset.StudyID, dataset.StudyDescription) == ("S7", "")
    await archive.http.delete(archive.path())
    (study,) = await archive.found(StudyDescription="Chest")
    assert study["00200010"]["Value"] == ["S2"]  # what the first did not say


async def test_as_received_for_administrators(archive: Correcting) -> None:
    file = as_file(ct_slice(), ImplicitVRLittleEndian)
    await archive.store(file)
    await archive.correct(ROE)
    where = place()
    path = f"/admin/api/studies/{where.study}/series/{where.series}/instances/{where.instance}/original"
    answer = await archive.http.get(path, headers={"Accept": 'application/dicom; transfer-syntax="*"'})
    assert answer.content == file
    for resource in (
        f"/admin/api/studies/{where.study}",
        f"/admin/api/studies/{where.study}/series/{where.series}",
    ):
        (dataset,) = await archive.files(f"{resource}/original")
        assert str(dataset.PatientName) == "Doe^Jane"
    refused = await archive.http.get(path, headers={"Authorization": "Bearer one"})
    assert refused.status_code == 403
    async with archive.services.database.read() as connection:
        acts = (await connection.execute(select(table_of(AuditRow).c.interaction))).scalars().all()
    assert acts.count("read-as-received") == 3


@pytest.mark.parametrize("series", [False, True])
async def test_only_administrators_correct(archive: Correcting, series: bool) -> None:
    await archive.store(ct_file())
    path, patient = archive.path(series=series), {"Authorization": "Bearer one"}
    body = {"reason": "x", "attributes": {"StudyID": {"Value": ["S9"]}}}
    for answer in (
        await archive.http.get(path, headers=patient),
        await archive.http.put(path, json=body, headers=patient),
        await archive.http.delete(path, headers=patient),
    ):
        assert answer.status_code == 403
    assert await archive.found(StudyID="S9") == []


async def test_who_read_something_else_before_is_refused(archive: Correcting) -> None:
    await archive.store(ct_file())
    tag = (await archive.http.get(archive.path())).headers["etag"]
    first = await archive.correct({"StudyID": "S2"}, **{"If-Match": tag})
    assert first.status_code == 200
    late = await archive.correct({"StudyID": "S3"}, **{"If-Match": tag})
    assert late.status_code == 412
    assert (await archive.http.delete(archive.path(), headers={"If-Match": tag})).status_code == 412
    assert len(await archive.found(StudyID="S2")) == 1
    done = await archive.http.delete(archive.path(), headers={"If-Match": first.headers["etag"]})
    assert done.status_code == 200


@ONE_DATABASE
@pytest.mark.parametrize("syntax", SYNTAXES)
async def test_a_file_that_was_given_out_is_the_one_that_is_stored(archive: Correcting, syntax: str) -> None:
    file = as_file(ct_slice(), syntax)
    await archive.store(file)
    await archive.correct(ROE)
    given_out = await archive.file()
    for again in (file, given_out):
        answer = await archive.store(again)
        assert answer.status_code == 200, answer.text
    await archive.correct({"StudyID": "S9"})
    outdated = await archive.store(given_out)
    assert outdated.status_code == 409
    assert "other corrections" in outdated.text
    assert (await archive.store(file)).status_code == 200


@ONE_DATABASE
async def test_what_is_refused_changes_nothing(archive: Correcting) -> None:
    await archive.store(ct_file())
    before = await archive.metadata()
    answer = await archive.correct({"StudyID": "S2", "PatientID": "P2"})
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("PatientID cannot be corrected: it says whose")
    assert (await archive.http.put(archive.path(), content=b"[")).status_code == 400
    assert await archive.metadata() == before


async def test_what_is_not_there_is_not_corrected(archive: Correcting) -> None:
    assert (await archive.correct({"StudyID": "S"})).status_code == 404
    await archive.store(ct_file())
    assert (await archive.correct({"BodyPartExamined": "HEAD"}, place(1, 5), series=True)).status_code == 404
    assert (await archive.http.get(archive.path(place(9)))).status_code == 404
    for path in (
        "studies/%00/corrections",
        f"studies/{place().study}/series/%00/corrections",
        "studies/%00/original",
    ):
        assert (await archive.http.get(f"/admin/api/{path}")).status_code == 404


@ONE_DATABASE
async def test_reports_and_the_uri_service_say_it(archive: Correcting) -> None:
    report = ct_slice(SOPClassUID=BasicTextSRStorage, Modality="SR", PixelData=None, Rows=None, Columns=None)
    report.ValueType = "CONTAINER"
    await archive.store(as_file(report))
    await archive.correct(ROE)
    for media_type in ("text/html", "text/plain"):
        page = await archive.http.get(f"{place().path}/rendered", headers={"Accept": media_type})
        assert "Roe^Zoë" in page.text
        assert "Doe" not in page.text
    where = place()
    query = {"requestType": "WADO", "studyUID": where.study, "seriesUID": where.series}
    query |= {"objectUID": where.instance, "contentType": "application/dicom"}
    answer = await archive.http.get("/dicom-web/wado", params=query)
    assert str(pydicom.dcmread(io.BytesIO(answer.content)).PatientName) == "Roe^Zoë"


@ONE_DATABASE
async def test_pages_of_metadata_that_are_kept_are_of_the_correction(archive: Correcting) -> None:
    await archive.store(*(ct_file(place(1, 1, n)) for n in range(1, 10)))
    path = f"/dicom-web/studies/{place().study}"
    assert len(await archive.metadata(path)) == 9  # kept
    await archive.correct(ROE)
    assert {each[NAME]["Value"][0]["Alphabetic"] for each in await archive.metadata(path)} == {"Roe^Zoë"}
    document = await archive.http.get(f"{path}/metadata", headers=XML)
    assert document.text.count("<FamilyName>Roe</FamilyName>") == 9


@ONE_DATABASE
async def test_what_is_not_corrected_goes_out_as_it_lies(
    archive: Correcting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asked of overlays, and nothing is read of a file but to send it."""
    await archive.store(ct_file(), ct_file(place(2)))
    await archive.correct(ROE)

    def never(*_: Any) -> None:
        raise AssertionError("asked for an overlay")

    for module in (locate, retrieve):
        monkeypatch.setattr(module, "load_overlays" if module is locate else "open_overlaid", never)
    assert str((await archive.dataset(place(2))).PatientName) == "Doe^Jane"
    assert len(await archive.metadata(place(2).path)) == 1


async def test_rules_look_at_what_is_shown(archive: Correcting) -> None:
    await archive.store(ct_file(BodyPartExamined="CHEST"), ct_file(place(1, 2, 1), BodyPartExamined="CHEST"))
    await archive.correct({"BodyPartExamined": "KNEE"}, series=True)
    async with archive.services.database.read() as connection:
        rows = await read_instances(connection, place().study)
    assert [each.body_part for each in summarise(rows)] == ["KNEE", "CHEST"]


@ONE_DATABASE
async def test_coded_pixels_that_are_not_the_longest_value(archive: Correcting) -> None:
    image = ct_slice(PixelData=encapsulate([b"\xff\x4f\xff\x51 not really coded"]))
    image.private_block(0x0029, "PRIVATE", create=True).add_new(1, "OB", bytes(4096))
    await archive.store(as_file(image, JPEG2000Lossless))
    await archive.correct(ROE)
    dataset = await archive.dataset()
    assert (str(dataset.PatientName), len(dataset[0x0029, 0x1001].value)) == ("Roe^Zoë", 4096)
    assert dataset.PixelData == image.PixelData
