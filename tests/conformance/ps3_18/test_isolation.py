"""A patient's token and every route of the studies service: nothing of another patient (DESIGN §8)."""

from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from dicomweb.routes import build_router
from dicomweb.tables import Study
from server.kernel.access import Access, Context, Grant
from server.kernel.services import Services
from tests.asked_in_turn import asked_in_turn
from tests.conformance.ps3_18.kit import ALL, MULTIPART, confined_to, ct_file, multipart, place
from tests.conformance.ps3_18.test_10_5_store import rows

MINE, OTHERS, NOBODYS, CONFLICT = place(1), place(2), place(3), place(4)
STORED = [
    ct_file(MINE),
    ct_file(OTHERS, PatientID="P2", PatientName="Other^Patient"),
    ct_file(NOBODYS, PatientID=None, PatientName="No^Body"),
    ct_file(CONFLICT, PatientBirthDate="20010101"),
]

STUDY = "/studies/{study}"
SERIES = f"{STUDY}/series/{{series}}"
INSTANCE = f"{SERIES}/instances/{{instance}}"
SEARCHES = {
    ("GET", "/studies"),
    ("GET", "/series"),
    ("GET", "/instances"),
    ("GET", f"{STUDY}/series"),
    ("GET", f"{STUDY}/instances"),
    ("GET", f"{SERIES}/instances"),
    ("GET", "/series/{series}/instances"),
}
RETRIEVALS = {
    ("GET", STUDY),
    ("GET", SERIES),
    ("GET", INSTANCE),
    ("GET", f"{STUDY}/metadata"),
    ("GET", f"{SERIES}/metadata"),
    ("GET", f"{INSTANCE}/metadata"),
    ("GET", f"{INSTANCE}/frames/{{frames}}"),
    ("GET", f"{INSTANCE}/bulkdata/{{path:path}}"),
    *(
        ("GET", f"{level}/{what}")
        for level in (STUDY, SERIES, INSTANCE)
        for what in ("bulkdata", "pixeldata")
    ),
    *(("GET", f"{level}/rendered") for level in (STUDY, SERIES, INSTANCE, f"{INSTANCE}/frames/{{frames}}")),
    *(("GET", f"{level}/thumbnail") for level in (STUDY, SERIES, INSTANCE, f"{INSTANCE}/frames/{{frames}}")),
}
STORES = {("POST", "/studies"), ("POST", STUDY)}


@pytest.fixture
async def patient(
    client: httpx.AsyncClient, accesses: dict[str, Access], services: Services
) -> httpx.AsyncClient:
    """A client with the token of the patient of `MINE`, in an archive of four studies."""
    await client.post("/dicom-web/studies", content=multipart(*STORED), headers={"Content-Type": MULTIPART})
    studies = {row.study_instance_uid: row for row in await rows(services, Study)}
    assert studies[CONFLICT.study].link_state == "conflict"
    assert studies[NOBODYS.study].link_state == "unassigned"
    accesses["patient"] = confined_to(studies[MINE.study].patient_id)
    client.headers["Authorization"] = "Bearer patient"
    return client


def url(template: str, where: Any) -> str:
    filled = template.replace("{path:path}", "7FE00010").replace("{frames}", "1")
    return "/dicom-web" + filled.format(study=where.study, series=where.series, instance=where.instance)


def test_every_route_is_here(services: Services) -> None:
    routes = {
        (method, route.path)
        for route in build_router(services).routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    assert routes == SEARCHES | RETRIEVALS | STORES


@asked_in_turn("template", sorted(path for _, path in RETRIEVALS))
async def test_retrieval(patient: httpx.AsyncClient, template: str) -> None:
    assert (await patient.get(url(template, MINE))).status_code == 200
    missing = await patient.get(url(template, place(99)))
    for where in (OTHERS, NOBODYS, CONFLICT):
        response = await patient.get(url(template, where))
        assert response.status_code == 404
        assert response.content == missing.content


@asked_in_turn("template", sorted(path for _, path in SEARCHES))
async def test_search(patient: httpx.AsyncClient, template: str) -> None:
    answers = (await patient.get(url(template, MINE), params={"includefield": "all"})).json()
    assert [answer["0020000D"]["Value"][0] for answer in answers] == [MINE.study]
    for where in (OTHERS, NOBODYS, CONFLICT):
        response = await patient.get(url(template, where), params={"StudyInstanceUID": where.study})
        assert (response.status_code, response.content) == (200, b"[]")


@asked_in_turn(
    ("parameters", "total"),
    [
        ({"PatientID": "P2"}, "0"),
        ({"PatientName": "*"}, "1"),
        ({"PatientName": "Other", "fuzzymatching": "true"}, "0"),
        ({"PatientName": "Body", "fuzzymatching": "true"}, "0"),
        ({"ModalitiesInStudy": "CT"}, "1"),
        ({"orderby": "-PatientName", "offset": "1"}, "1"),
    ],
)
async def test_search_for_anothers(
    patient: httpx.AsyncClient, parameters: dict[str, str], total: str
) -> None:
    for path in ("/dicom-web/studies", "/dicom-web/series", "/dicom-web/instances"):
        response = await patient.get(path, params={**parameters, "count": "true", "includefield": "all"})
        assert {answer["0020000D"]["Value"][0] for answer in response.json()} <= {MINE.study}
        assert response.headers["X-Total-Count"] == total


async def test_store(patient: httpx.AsyncClient) -> None:
    """What else a confined writer may try: `test_10_5_confined.py`."""
    for template, where, patient_id in (
        (template, *case)
        for _, template in sorted(STORES)
        for case in ((OTHERS, "P2"), (NOBODYS, None), (CONFLICT, "P1"))
    ):
        another = place(int(where.study[-1]), instance=2)
        body = multipart(ct_file(another, PatientID=patient_id))
        response = await patient.post(url(template, where), content=body, headers={"Content-Type": MULTIPART})
        assert response.status_code == 409
        assert response.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0x0124]


@pytest.mark.parametrize(("context", "is_open"), [(Context.PATIENT, False), (Context.USER, True)])
async def test_token_of_a_clinician_with_a_patient(
    patient: httpx.AsyncClient, accesses: dict[str, Access], context: Context, is_open: bool
) -> None:
    """Studies by the scope of studies (SMART App Launch 2.2, Scopes), whatever other scopes open."""
    others = Context.USER if context is Context.PATIENT else Context.PATIENT
    grants = (Grant(context, "ImagingStudy", ALL), Grant(others, "Task", ALL), Grant(others, "Patient", ALL))
    accesses["patient"] = replace(accesses["patient"], grants=grants, is_confined=False)
    found = (await patient.get("/dicom-web/studies", params={"count": "true"})).json()
    assert [each["0020000D"]["Value"][0] for each in found].count(OTHERS.study) == is_open
    for template in (f"{STUDY}/metadata", INSTANCE, f"{INSTANCE}/rendered"):
        answer = await patient.get(url(template, OTHERS))
        assert answer.status_code == (200 if is_open else 404), template
    another = multipart(ct_file(place(2, instance=2), PatientID="P2", PatientName="Other^Patient"))
    stored = await patient.post("/dicom-web/studies", content=another, headers={"Content-Type": MULTIPART})
    assert stored.status_code == (200 if is_open else 409)


async def test_granular_scope_opens_no_studies(
    patient: httpx.AsyncClient, accesses: dict[str, Access]
) -> None:
    """Criteria of FHIR are not those of DICOM: denied rather than widened (SMART App Launch 2.2, Scopes)."""
    granular = Grant(Context.PATIENT, "ImagingStudy", ALL, (("modality", "CT"),))
    accesses["patient"] = replace(accesses["patient"], grants=(granular,))
    for template in ("/studies", f"{STUDY}/metadata", INSTANCE):
        assert (await patient.get(url(template, MINE))).status_code == 403


@asked_in_turn(("method", "template"), sorted(SEARCHES | RETRIEVALS | STORES))
async def test_no_token_no_answer(client: httpx.AsyncClient, method: str, template: str) -> None:
    response = await client.request(method, url(template, MINE), headers={"Authorization": ""})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
