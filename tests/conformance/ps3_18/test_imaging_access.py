"""Granular scopes on DICOMweb: studies whose ImagingStudy matches, at every level, in every representation.

SMART App Launch 2.2, Finer-grained resource constraints using search parameters; SMART Imaging Access.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import httpx
import pytest
from sqlalchemy import select, update

import dicomweb.wado_uri.routes
import server.workflows.deletion.routes
from dicomweb.tables import Study
from fhir.interactions.authored import put_resource
from fhir.interactions.read import read_resource
from server.kernel.access import Access, Context, Criteria, Denials, Grant
from server.kernel.clock import now_us
from server.kernel.database import UnitOfWork
from server.kernel.derived_ids import DerivedId
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.workflows.projection import IMAGING_STUDY_ID, PROJECTION, imaging_study_id_of, project_study
from server.workflows.studies_in_record import open_by_record
from tests.conformance.ps3_18.kit import (
    ALL,
    EVERYTHING,
    MULTIPART,
    Injected,
    build_app,
    confined_to,
    ct_file,
    multipart,
    place,
)
from tests.conformance.ps3_18.test_isolation import INSTANCE, RETRIEVALS, SEARCHES, STUDY, url
from tests.services.consents import consent
from tests.services.routers import add_router

CT, MR, MIXED, OTHERS_CT, LATE, OTHERS_MR = (place(number) for number in range(1, 7))
MR_OF_MIXED = place(3, series=2)
THEIRS = {"PatientID": "P2", "PatientName": "Other^Patient"}
FILES = [
    ct_file(CT),
    ct_file(MR, Modality="MR"),
    ct_file(MIXED),
    ct_file(MR_OF_MIXED, Modality="MR"),
    ct_file(OTHERS_CT, **THEIRS),
    ct_file(LATE),
    ct_file(OTHERS_MR, Modality="MR", **THEIRS),
]
DCM = "http://dicom.nema.org/resources/ontology/DCM"
BY_CT: Criteria = (("modality", f"{DCM}|CT"),)
_STUDY = table_of(Study)


def opened(context: Context, criteria: Criteria) -> Grant:
    return Grant(context, "ImagingStudy", ALL, criteria)


@pytest.fixture
def services(services: Services) -> Services:
    return replace(services, open_by_record=open_by_record)


@pytest.fixture
async def client(services: Services, accesses: dict[str, Access]) -> AsyncIterator[httpx.AsyncClient]:
    """The studies service with all that is beside it, and the record of all studies but `LATE`."""
    app = build_app(services)
    beside = dicomweb.retrieve.request.Archive(
        services, dicomweb.retrieve.inflated.InflatedFiles(services.objects)
    )
    add_router(app, dicomweb.wado_uri.routes.build_router(services, beside), "/dicom-web")
    add_router(app, server.workflows.deletion.routes.build_archive_router(services), "/dicom-web")
    transport = httpx.ASGITransport(Injected(app, accesses))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as made:
        accesses["all"] = EVERYTHING
        headers = {"Content-Type": MULTIPART, "Authorization": "Bearer all"}
        await made.post("/dicom-web/studies", content=multipart(*FILES), headers=headers)
        await project(services, CT.study, MR.study, MIXED.study, OTHERS_CT.study, OTHERS_MR.study)
        async with services.database.read() as connection:
            patient = (
                await connection.execute(
                    select(_STUDY.c.patient_id).where(_STUDY.c.study_instance_uid == CT.study)
                )
            ).scalar_one()
        own = replace(confined_to(patient), grants=(opened(Context.PATIENT, BY_CT),))
        accesses["patient"] = own
        clinician = replace(own, is_confined=False)
        accesses["clinician"] = clinician
        accesses["both"] = replace(
            clinician, grants=(opened(Context.PATIENT, ()), opened(Context.USER, BY_CT))
        )
        accesses["user"] = replace(clinician, patient_ids=None, grants=(opened(Context.USER, BY_CT),))
        accesses["by id"] = replace(
            own, grants=(opened(Context.PATIENT, (("identifier", f"urn:dicom:uid|urn:oid:{MR.study}"),)),)
        )
        yield made


async def project(services: Services, *studies: str) -> None:
    async def work(unit: UnitOfWork) -> None:
        for study in studies:
            await project_study(unit, study, services.site)

    await services.database.transact(work)


OPEN = {
    "patient": {CT.study, MIXED.study},
    "clinician": {CT.study, MIXED.study},
    "both": {CT.study, MR.study, MIXED.study, OTHERS_CT.study, LATE.study},
    "user": {CT.study, MIXED.study, OTHERS_CT.study},
    "by id": {MR.study},
}


async def test_studies_that_match_at_every_level(client: httpx.AsyncClient, services: Services) -> None:
    for who, studies in OPEN.items():
        headers = {"Authorization": f"Bearer {who}"}
        for level in ("studies", "series", "instances"):
            for parameters in ({}, {"includefield": "all"}, {"ModalitiesInStudy": "MR"}):
                asked = {"count": "true", **parameters}
                answer = await client.get(f"/dicom-web/{level}", params=asked, headers=headers)
                found = [each["0020000D"]["Value"][0] for each in answer.json()]
                expected = studies & {MR.study, MIXED.study} if "ModalitiesInStudy" in parameters else studies
                assert set(found) == expected, (who, level, parameters)
                assert answer.headers["X-Total-Count"] == str(len(found))
    whole = await client.get(
        f"/dicom-web/studies/{MIXED.study}/series", headers={"Authorization": "Bearer patient"}
    )
    assert {each["00080060"]["Value"][0] for each in whole.json()} == {"CT", "MR"}
    its_id = DerivedId(IMAGING_STUDY_ID, _STUDY.c.study_instance_uid).label("its_id")
    async with services.database.read() as connection:  # the same in SQL as in Python
        rows = (await connection.execute(select(_STUDY.c.study_instance_uid, its_id))).all()
    assert {row.its_id for row in rows} == {imaging_study_id_of(row.study_instance_uid) for row in rows}


SHOWN = (INSTANCE, f"{STUDY}/metadata", f"{INSTANCE}/frames/1", f"{INSTANCE}/thumbnail")
WADO = "/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}"
ZIP = {"Accept": "application/zip"}


async def test_every_representation(
    client: httpx.AsyncClient, services: Services, accesses: dict[str, Access]
) -> None:
    """What does not match answers as what is not there, also before the record tells of it."""
    patient = {"Authorization": "Bearer patient"}
    for template, headers in (*((each, {}) for each in SHOWN), (STUDY, ZIP), (WADO, {})):
        answer = await client.get(url(template, CT), headers=patient | headers)
        assert answer.status_code == 200, template
    missing = await client.get(url(STUDY, place(99)), headers=patient)
    for template, headers in (*((each, {}) for _, each in sorted(RETRIEVALS)), (STUDY, ZIP), (WADO, {})):
        for where in (MR, LATE, OTHERS_CT) if template in SHOWN else (MR,):
            answer = await client.get(url(template, where), headers=patient | headers)
            assert (answer.status_code, answer.content) == (404, missing.content), template
    for _, template in sorted(SEARCHES):
        asked = {"StudyInstanceUID": MR.study}
        answer = await client.get(url(template, MR), params=asked, headers=patient)
        assert (answer.status_code, answer.content) == (200, b"[]"), template
    await what_the_patient_denies_is_closed(client, services, accesses)
    await what_the_record_says_decides(client, services, patient)


async def what_the_patient_denies_is_closed(
    client: httpx.AsyncClient, services: Services, accesses: dict[str, Access]
) -> None:
    """Beside the criteria, by the same kept statements."""
    own = accesses["patient"]
    (patient,) = own.patient_ids or ()
    denies = consent(patient, base="OPTOUT") | {"id": "denies"}
    for is_open in (True, False):
        denials = Denials(frozenset(), frozenset({"access"}), now_us())
        accesses["denied"] = replace(own, denials=denials)
        denied = {"Authorization": "Bearer denied"}
        found = await client.get("/dicom-web/studies", params={"count": "true"}, headers=denied)
        assert found.headers["X-Total-Count"] == ("2" if is_open else "0")
        for template in SHOWN:
            answer = await client.get(url(template, CT), headers=denied)
            assert answer.status_code == (200 if is_open else 404), template
        await services.database.transact(lambda unit: put_resource(unit, denies, PROJECTION))


async def what_the_record_says_decides(
    client: httpx.AsyncClient, services: Services, patient: dict[str, str]
) -> None:
    async def status_of(where: Sequence[str]) -> list[int]:
        paths = (f"/dicom-web/studies/{study}/metadata" for study in where)
        return [(await client.get(path, headers=patient)).status_code for path in paths]

    await project(services, LATE.study)
    assert await status_of([LATE.study, MR.study]) == [200, 404]

    async def pretend(unit: UnitOfWork) -> None:
        """Somebody's resource about the study is not the server's."""
        resource = await read_resource(unit.connection, "ImagingStudy", imaging_study_id_of(MR.study))
        assert resource is not None
        named = {name: value for name, value in resource.items() if name not in ("id", "meta")}
        coded = {"system": DCM, "code": "CT"}
        await put_resource(unit, named | {"modality": [coded]}, PROJECTION)

    await services.database.transact(pretend)
    assert await status_of([MR.study]) == [404]
    moved = update(_STUDY).where(_STUDY.c.study_instance_uid == CT.study).values(patient_id="another")
    await services.database.transact(lambda unit: unit.execute(moved))
    assert await status_of([CT.study]) == [404]  # a merge counts at once, whatever the record still says
    store = await client.post(
        "/dicom-web/studies",
        content=multipart(ct_file(place(1, instance=2))),
        headers=patient | {"Content-Type": MULTIPART},
    )
    assert store.status_code == 403
    for where, status in ((MR, 404), (OTHERS_CT, 404), (MIXED, 204)):
        assert (
            await client.delete(f"/dicom-web/studies/{where.study}", headers=patient)
        ).status_code == status
