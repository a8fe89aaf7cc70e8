"""Corrections and merges against what happens at the same moment (DESIGN §5)."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from dicomweb.overlay.write import hold_study, with_merge, write_study
from dicomweb.retrieve import content, overlaid
from dicomweb.retrieve.inflated import InflatedFiles
from dicomweb.retrieve.locate import Resource, locate
from dicomweb.retrieve.request import Archive, RetrieveRequest
from dicomweb.retrieve.retrieve import retrieve_files
from dicomweb.store import index
from dicomweb.tables import SeriesOverlay, Study, StudyName, StudyOverlay
from dicomweb.wire.dicom_json import data_set, element
from dicomweb.wire.media_types import parse_accept
from server.kernel.access import EVERYONE, Principal
from server.kernel.database import UnitOfWork
from server.kernel.rows import Row, table_of
from server.workflows.deletion.delete import Deletion, delete
from tests.conformance.ps3_18.kit import EVERYTHING, ct_file, place
from tests.unit.corrections.conftest import STORED, Correcting

WITH_ROW_LOCKS = pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)  # SQLite: one writer
ONE_DATABASE = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
NEW = data_set(element("PatientID", "NEW"), element("PatientName", "New^Nora"))
STUDY = table_of(Study)


async def rows(archive: Correcting, kind: type[Row]) -> list[Any]:
    async with archive.services.database.read() as connection:
        return list((await connection.execute(select(table_of(kind)))).all())


async def merged(archive: Correcting, attributes: dict[str, Any]) -> None:
    """As a merge, or its end, has the study show it: without the lock that Store takes."""

    async def work(unit: UnitOfWork) -> None:
        held = await hold_study(unit, STUDY.c.study_instance_uid == place().study)
        assert held is not None
        await write_study(unit, with_merge(held, attributes, unit.now_us), archive.services.site)

    await archive.services.database.transact(work)


@pytest.fixture
def while_it_stores(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Awaitable[None]]], None]:
    """Has something happen between what Store reads of a study and what it writes, once."""

    def arrange(happen: Callable[[], Awaitable[None]]) -> None:
        waiting = [happen]
        load = index.load_known

        async def load_then_wait(*arguments: Any) -> Any:
            known = await load(*arguments)
            if waiting:
                await waiting.pop()()
            return known

        monkeypatch.setattr(index, "load_known", load_then_wait)

    return arrange


@WITH_ROW_LOCKS
async def test_a_merge_while_an_instance_fills_in_what_was_not_sent(
    archive: Correcting, while_it_stores: Callable[[Callable[[], Awaitable[None]]], None]
) -> None:
    await archive.store(ct_file())
    while_it_stores(lambda: merged(archive, NEW))
    answer = await archive.store(
        ct_file(place(1, 1, 2), StudyDescription="Chest", OtherPatientNames="Doe^Ann")
    )
    assert answer.status_code == 200, answer.text
    (study,) = await archive.found(PatientName="new*", StudyDescription="Chest")
    assert study["00100020"]["Value"] == ["NEW"]
    assert {row.word for row in await rows(archive, StudyName)} == {"new", "nora"}
    await merged(archive, {})
    assert len(await archive.found(PatientName="doe*", PatientID="P1", StudyDescription="Chest")) == 1
    assert {row.word for row in await rows(archive, StudyName)} == {"doe", "jane"}


@WITH_ROW_LOCKS
async def test_the_end_of_a_merge_while_an_instance_names_the_one_who_stays(
    archive: Correcting, while_it_stores: Callable[[Callable[[], Awaitable[None]]], None]
) -> None:
    await archive.store(ct_file())
    await merged(archive, NEW)
    while_it_stores(lambda: merged(archive, {}))
    answer = await archive.store(ct_file(place(1, 1, 2), PatientID="NEW"))
    assert answer.status_code == 409, answer.text  # judged again: it is another patient's now
    assert len(await archive.metadata(f"/dicom-web/studies/{place().study}")) == 1


async def test_corrections_and_instances_at_once(archive: Correcting) -> None:
    for number in range(1, 5):
        where = place(number)
        await archive.store(ct_file(where, StudyID=None))
        corrected, stored = await asyncio.gather(
            archive.correct({"StudyDescription": "Head", "StudyID": "S7"}, where),
            archive.store(ct_file(place(number, 1, 2), StudyID="S2", AccessionNumber="A1")),
        )
        assert (corrected.status_code, stored.status_code) == (200, 200)
        (study,) = await archive.found(StudyInstanceUID=where.study)
        assert (study["00081030"]["Value"], study["00200010"]["Value"]) == (["Head"], ["S7"])
        await archive.http.delete(archive.path(where))
        (study,) = await archive.found(StudyInstanceUID=where.study)
        assert "00081030" not in study
        assert study["00200010"]["Value"] == ["S2"]


async def test_of_two_corrections_at_once_one_is_late(archive: Correcting) -> None:
    await archive.store(ct_file())
    tag = (await archive.http.get(archive.path())).headers["etag"]
    answers = await asyncio.gather(
        *(archive.correct({"StudyID": f"S{n}"}, **{"If-Match": tag}) for n in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]


async def test_overlays_go_with_their_study(archive: Correcting) -> None:
    await archive.store(ct_file())
    await archive.correct({"StudyID": "S7"})
    await archive.correct({"BodyPartExamined": "HEAD"}, series=True)
    await delete(archive.services, Deletion(Resource(place().study), Principal("user:ada", "Ada"), "x"))
    assert [len(await rows(archive, kind)) for kind in (StudyOverlay, SeriesOverlay)] == [0, 0]


@ONE_DATABASE
async def test_a_file_that_is_being_sent_is_of_one_piece(
    archive: Correcting, monkeypatch: pytest.MonkeyPatch
) -> None:
    await archive.store(ct_file())
    await archive.correct({"PatientName": "Roe^Jo"})
    whole = await archive.file()
    for module in (content, overlaid):
        monkeypatch.setattr(module, "MAX_WHOLE_BYTES", 100)
    monkeypatch.setattr(overlaid, "READ_CHUNK_BYTES", 8)
    request = RetrieveRequest(EVERYTHING, parse_accept([STORED["Accept"]], None))
    opened = Archive(archive.services, InflatedFiles(archive.services.objects))
    where = place()
    answer = await retrieve_files(opened, request, Resource(where.study, where.series, where.instance))
    assert not isinstance(answer.body, bytes)
    first = await anext(aiter(answer.body))
    await archive.correct({"PatientName": "Entirely^Other", "StudyID": "S9"})
    assert b"".join([first, *[chunk async for chunk in answer.body]]) == whole
    assert await archive.file() != whole


@ONE_DATABASE
async def test_a_damaged_file_is_not_given_out_corrected(
    archive: Correcting, monkeypatch: pytest.MonkeyPatch
) -> None:
    await archive.store(ct_file())
    await archive.correct({"PatientName": "Roe^Jo"})
    opened = Archive(archive.services, InflatedFiles(archive.services.objects))
    where = Resource(place().study, place().series, place().instance)
    (located,) = await locate(archive.services.database, where, EVERYONE)
    wrong = replace(located, file_sha256=bytes(32), file_xxh3=None)
    with pytest.raises(overlaid.DamagedObject):
        await overlaid.open_overlaid(opened, wrong)
    for module in (content, overlaid):
        monkeypatch.setattr(module, "MAX_WHOLE_BYTES", 100)
    file = await overlaid.open_overlaid(opened, wrong)
    body = await file.content()
    assert not isinstance(body, bytes)
    with pytest.raises(overlaid.DamagedObject):
        [chunk async for chunk in body]
