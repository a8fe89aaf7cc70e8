"""What patients deny of studies, by class and by the labels of the ImagingStudy (decision 0034)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydicom.uid import CTImageStorage
from sqlalchemy import delete, insert, select, update

from ai_engine.tables import ModelVersion
from dicomweb.tables import Study
from fhir.interactions.authored import put_resource
from fhir.interactions.enforce import enforce_outstanding
from fhir.interactions.read import read_resource
from fhir.interactions.write import RESOURCE
from fhir.search.index import INDEX_VERSION
from server.kernel.access import Access, Denials
from server.kernel.clock import now_us
from server.kernel.consents.keep import LABEL
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.workflows.projection import PROJECTION, imaging_study_id_of, project_study
from server.workflows.registry.stages import Stage
from server.workflows.requested import RegisteredModels
from tests.conformance.ps3_18.kit import (
    EVERYTHING,
    MULTIPART,
    Injected,
    Place,
    build_app,
    ct_file,
    multipart,
    place,
)
from tests.conformance.ps3_18.worklist import MODEL, Ups, build_worklist_app, code, input_of, workitem
from tests.services.consents import consent, label, provision

PLAIN, RESTRICTED, OTHERS = place(1), place(2), place(3)
FILES = [ct_file(PLAIN), ct_file(RESTRICTED), ct_file(OTHERS, PatientID="P2", PatientName="Other^Patient")]
HEADERS = {"Authorization": "Bearer all"}
LETTERS = {"p": PLAIN, "r": RESTRICTED, "o": OTHERS}
HIV = "http://terminology.hl7.org/CodeSystem/v3-ActCode|HIV"


@pytest.fixture
async def client(services: Services, accesses: dict[str, Access]) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Injected(build_app(services), accesses))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver", headers=HEADERS) as made:
        accesses["all"] = EVERYTHING
        stow = {"Content-Type": MULTIPART}
        await made.post("/dicom-web/studies", content=multipart(*FILES), headers=stow)
        accesses["all"] = replace(EVERYTHING, denials=Denials(frozenset(), frozenset({"access"}), now_us()))
        yield made


@pytest.fixture
async def ups(services: Services, accesses: dict[str, Access]) -> AsyncIterator[Ups]:
    """The worklist with the engine of this server, whose one model takes what it is given."""
    model = {
        "name": MODEL,
        "version": "1",
        "digest": "",
        "path": "",
        "manifest": "{}",
        "stage": Stage.PRODUCTION.value,
    }
    row = model | {"registered_us": 1}
    await services.database.transact(lambda unit: unit.execute(insert(table_of(ModelVersion)), [row]))
    engine = RegisteredModels(services.database)
    transport = httpx.ASGITransport(build_worklist_app(services, accesses, engine))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver", headers=HEADERS) as made:
        yield Ups(made)


async def test_studies_that_are_denied(client: httpx.AsyncClient, services: Services, ups: Ups) -> None:
    async with services.database.read() as connection:
        c = table_of(Study).c
        query = select(c.patient_id).where(c.study_instance_uid == PLAIN.study)
        patient = (await connection.execute(query)).scalar_one()

    async def write(*resources: dict[str, Any]) -> None:
        async def work(unit: UnitOfWork) -> None:
            for each in resources:
                await put_resource(unit, each, PROJECTION)

        await services.database.transact(work)

    async def project(unit: UnitOfWork) -> None:
        for each in LETTERS.values():
            await project_study(unit, each.study, services.site)

    async def give_labels(unit: UnitOfWork) -> None:
        """And project once more: a projection keeps labels that somebody gave."""
        named = imaging_study_id_of(RESTRICTED.study)
        found = await read_resource(unit.connection, "ImagingStudy", named)
        assert found is not None
        labelled = {**found, "meta": {"security": [label("R"), label(HIV)]}, "description": "Changed"}
        await put_resource(unit, labelled, PROJECTION)
        pretended = {**labelled, "id": "pretended", "meta": {"security": [label("V")]}}
        await put_resource(unit, pretended, PROJECTION)  # labels no study
        await project_study(unit, RESTRICTED.study, services.site)

    await services.database.transact(project)
    await services.database.transact(give_labels)
    for said, expected in (
        (consent(patient), "pro"),
        (consent(patient, base="OPTOUT"), "o"),
        (consent(patient, provision("deny", types="Observation Task")), "pro"),
        (consent(patient, provision("deny", types="ImagingStudy")), "o"),
        (consent(patient, provision("deny", label="R")), "po"),
        (consent(patient, provision("deny", label="V")), "pro"),
        (consent(patient, provision("deny", label="N")), "o"),
        (consent(patient, provision("deny", label=HIV)), "po"),
        (consent(patient, provision("permit", label=HIV), base="OPTOUT"), "ro"),
        (consent(patient, provision("permit", label="R"), base="OPTOUT"), "ro"),
        (consent(patient, provision("permit", label="M"), base="OPTOUT"), "o"),
    ):
        await write(said | {"id": "c"})
        seen = {LETTERS[each].study for each in expected}
        for level in ("studies", "series", "instances"):
            answer = await client.get(f"/dicom-web/{level}", params={"count": "true"})
            assert {each["0020000D"]["Value"][0] for each in answer.json()} == seen, said["provision"]
            assert answer.headers["X-Total-Count"] == str(len(seen))
        for where in LETTERS.values():
            answer = await client.get(f"/dicom-web/studies/{where.study}/metadata")
            assert answer.status_code == (200 if where.study in seen else 404)
        await _asked_of_a_workitem(ups, is_open="r" in expected)
    await write(consent(patient, provision("deny", label="R")) | {"id": "c"})
    await _labels_that_an_earlier_release_wrote(client, services)


async def _labels_that_an_earlier_release_wrote(client: httpx.AsyncClient, services: Services) -> None:
    """They are read before a server answers, and with the minute's job."""

    async def forget(unit: UnitOfWork) -> None:
        await unit.execute(delete(LABEL))
        await unit.execute(update(RESOURCE).values(index_version=INDEX_VERSION - 1))

    async def status() -> int:
        return (await client.get(f"/dicom-web/studies/{RESTRICTED.study}/metadata")).status_code

    await services.database.transact(forget)
    assert await status() == 200
    assert [await enforce_outstanding(services) for _ in "ab"] == [2, 0]
    assert await status() == 404


async def _asked_of_a_workitem(ups: Ups, *, is_open: bool) -> None:
    """A workitem that names a denied study learns no more of it than of one that is not stored."""

    async def answers(where: Place, *, for_engine: bool) -> tuple[int, str]:
        named = input_of(where.study, where.series, (CTImageStorage, where.instance))
        station = {"ScheduledStationNameCodeSequence": code(MODEL, "99ISTHMUS")} if for_engine else {}
        sent = workitem(InputInformationSequence=named, PatientID="of nobody", **station)
        answer = await ups.create(sent, uid=None)
        return answer.status_code, answer.text

    for for_engine in (True, False):
        told = await answers(RESTRICTED, for_engine=for_engine)
        absent = await answers(place(9), for_engine=for_engine)
        assert absent[0] == (400 if for_engine else 201)
        assert (told != absent) is is_open
