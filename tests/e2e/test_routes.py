"""Every route, asked with the token of another patient (DESIGN §8); a new route fails until it has a line."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi.routing import APIWebSocketRoute
from pydicom import FileDataset
from starlette.routing import Route, WebSocketRoute

from dicomweb.worklist.events.subscriptions import WORKLIST
from server.auth.tokens import issue_token
from server.auth.users.roles import Role
from server.http.short_way import ShortWay
from tests.conformance.ps3_18.worklist import input_of, workitem
from tests.services.consents import consent
from tests.services.user_tokens import user_token

PUBLIC = {
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/ui/viewer"),
    ("GET", "/ui/viewer/{path}"),
    ("GET", "/fhir/metadata"),
    ("GET", "/fhir/.well-known/smart-configuration"),
    ("GET", "/.well-known/oauth-authorization-server"),
    ("GET", "/.well-known/openid-configuration"),
    ("GET", "/.well-known/oauth-protected-resource/{path}"),
    ("POST", "/auth/token"),
    ("POST", "/auth/introspect"),
    ("POST", "/auth/revoke"),
    ("POST", "/auth/register"),
    *((method, "/auth/register/{client_id}") for method in ("GET", "PUT", "DELETE")),
    ("GET", "/auth/jwks"),
    ("GET", "/auth/authorize"),
    ("POST", "/auth/authorize"),
    ("GET", "/auth/request/{handle}"),
    ("POST", "/auth/request/{handle}"),
    ("GET", "/auth/federation/callback"),  # takes a state of the browser that it was made for
    ("POST", "/auth/federation/logout"),  # takes what the provider has signed
    ("GET", "/auth/logout"),
    ("POST", "/auth/logout"),
    ("GET", "/auth/style.css"),
    ("GET", "/auth/smart-style/{version}"),
}

OF_THE_BEARER = {("GET", "/auth/userinfo"), ("POST", "/auth/userinfo")}  # tells of nobody else

STUDY = "/dicom-web/studies/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"
SUBSCRIBER = "/dicom-web/workitems/{workitem}/subscribers/WATCHER"
WADO = "/dicom-web/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}"
DICOM_JSON = {"Content-Type": "application/dicom+json"}

# What a token of patient A gets of patient B: the status, or an empty answer. Names in braces are B's.
HIDDEN = 404
EMPTY = "empty"
FORBIDDEN = 403
A_TOKEN = "a token of the patient"
GRANULAR = "by criteria that the data of the other match"
CONFINED: dict[tuple[str, str], tuple[str, int | str]] = {
    ("GET", "/dicom-web/studies"): ("/dicom-web/studies?StudyInstanceUID={study}", EMPTY),
    ("GET", "/dicom-web/series"): ("/dicom-web/series?SeriesInstanceUID={series}&includefield=all", EMPTY),
    ("GET", "/dicom-web/series/{series}/instances"): ("/dicom-web/series/{series}/instances", EMPTY),
    ("GET", "/dicom-web/instances"): ("/dicom-web/instances?SOPInstanceUID={instance}", EMPTY),
    ("GET", "/dicom-web/studies/{study}/series"): (STUDY + "/series", EMPTY),
    ("GET", "/dicom-web/studies/{study}/instances"): (STUDY + "/instances", EMPTY),
    ("GET", "/dicom-web/studies/{study}/series/{series}/instances"): (SERIES + "/instances", EMPTY),
    ("GET", "/dicom-web/studies/{study}"): (STUDY, HIDDEN),
    ("GET", "/dicom-web/studies/{study}/metadata"): (STUDY + "/metadata", HIDDEN),
    ("GET", "/dicom-web/studies/{study}/series/{series}"): (SERIES, HIDDEN),
    ("GET", "/dicom-web/studies/{study}/series/{series}/metadata"): (SERIES + "/metadata", HIDDEN),
    ("GET", "/dicom-web/studies/{study}/series/{series}/instances/{instance}"): (INSTANCE, HIDDEN),
    ("GET", "/dicom-web/studies/{study}/series/{series}/instances/{instance}/metadata"): (
        INSTANCE + "/metadata",
        HIDDEN,
    ),
    ("GET", "/dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{frames}"): (
        INSTANCE + "/frames/1",
        HIDDEN,
    ),
    ("GET", "/dicom-web/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path}"): (
        INSTANCE + "/bulkdata/7FE00010",
        HIDDEN,
    ),
    **{
        ("GET", f"{level}/{what}"): (f"{level}/{what}", HIDDEN)
        for level in (STUDY, SERIES, INSTANCE)
        for what in ("bulkdata", "pixeldata")
    },
    **{
        ("GET", f"/dicom-web/studies/{{study}}{below}/{what}"): (f"{asked}/{what}", HIDDEN)
        for what in ("rendered", "thumbnail")
        for below, asked in (
            ("", STUDY),
            ("/series/{series}", SERIES),
            ("/series/{series}/instances/{instance}", INSTANCE),
            ("/series/{series}/instances/{instance}/frames/{frames}", f"{INSTANCE}/frames/1"),
        )
    },
    ("GET", "/dicom-web/wado"): (WADO, HIDDEN),
    ("GET", "/dicom-web/workitems"): ("/dicom-web/workitems?StudyInstanceUID={study}", EMPTY),
    ("GET", "/dicom-web/workitems/{workitem}"): ("/dicom-web/workitems/{workitem}", HIDDEN),
    ("POST", "/dicom-web/workitems/{workitem}/cancelrequest"): (
        "/dicom-web/workitems/{workitem}/cancelrequest",
        HIDDEN,
    ),
    ("POST", "/dicom-web/workitems/{workitem}/subscribers/{ae_title}"): (SUBSCRIBER, HIDDEN),
    ("DELETE", "/dicom-web/workitems/{workitem}/subscribers/{ae_title}"): (SUBSCRIBER, HIDDEN),
    ("POST", "/dicom-web/workitems/{workitem}/subscribers/{ae_title}/suspend"): (
        f"/dicom-web/workitems/{WORKLIST}/subscribers/WATCHER/suspend",
        HIDDEN,
    ),
    ("GET", "/fhir/{type}"): ("/fhir/Patient?_id={patient}&_revinclude=Observation:patient", EMPTY),
    ("POST", "/fhir/{type}/_search"): ("/fhir/ImagingStudy/_search?patient={patient}", EMPTY),
    ("GET", "/fhir"): ("/fhir?_id={patient}", EMPTY),
    ("GET", "/fhir/"): ("/fhir/?_id={patient}", EMPTY),
    ("POST", "/fhir/_search"): ("/fhir/_search?_id={patient}", EMPTY),
    ("GET", "/fhir/{type}/{id}/{searched}"): ("/fhir/Patient/{patient}/*", EMPTY),
    ("POST", "/fhir/{type}/{id}/{searched}/_search"): (
        "/fhir/Patient/{patient}/ImagingStudy/_search",
        EMPTY,
    ),
    ("GET", "/fhir/{type}/{id}"): ("/fhir/Patient/{patient}", HIDDEN),
    ("GET", "/fhir/{type}/{id}/_history/{version}"): ("/fhir/Patient/{patient}/_history/1", HIDDEN),
    ("GET", "/fhir/{type}/{id}/_history"): ("/fhir/Patient/{patient}/_history", HIDDEN),
    ("GET", "/admin/api/studies"): ("/admin/api/studies", FORBIDDEN),
    ("GET", "/admin/api/models"): ("/admin/api/models", FORBIDDEN),
    **{
        (method, f"/admin/api/models/{{name}}{below}"): (
            f"/admin/api/models/ct-quantification{at}",
            FORBIDDEN,
        )
        for method, below, at in (
            ("GET", "", ""),
            ("GET", "/evaluations", "/evaluations"),
            ("GET", "/shadow-results", "/shadow-results"),
            ("POST", "/versions/{version}/promote", "/versions/1.0.0/promote"),
            ("POST", "/versions/{version}/retire", "/versions/1.0.0/retire"),
            ("POST", "/versions/{version}/bar", "/versions/1.0.0/bar"),
            ("POST", "/versions/{version}/unbar", "/versions/1.0.0/unbar"),
            ("POST", "/rollback", "/rollback"),
            ("PUT", "/traffic", "/traffic"),
            ("PUT", "/gate", "/gate"),
            ("PUT", "/limits", "/limits"),
        )
    },
    ("GET", "/admin/api/changes"): ("/admin/api/changes", FORBIDDEN),
    ("GET", "/admin/api/consents"): ("/admin/api/consents", FORBIDDEN),
    ("GET", "/admin/api/jobs"): ("/admin/api/jobs", FORBIDDEN),
    ("GET", "/admin/api/objects/damaged"): ("/admin/api/objects/damaged", FORBIDDEN),
    ("POST", "/admin/api/jobs/{job_id}/retry"): ("/admin/api/jobs/1/retry", FORBIDDEN),
    ("POST", "/admin/api/patients/merge"): ("/admin/api/patients/merge", FORBIDDEN),
    ("POST", "/admin/api/patients/unmerge"): ("/admin/api/patients/unmerge", FORBIDDEN),
    ("POST", "/admin/api/studies/{study}/settled"): ("/admin/api/studies/{study}/settled", FORBIDDEN),
    ("DELETE", "/admin/api/studies/{study}"): ("/admin/api/studies/{study}", FORBIDDEN),
    **{
        (method, f"/admin/api/studies/{{study}}{below}"): (f"/admin/api/studies/{{study}}{below}", FORBIDDEN)
        for method, below in (
            *((m, f"{at}/corrections") for m in ("GET", "PUT", "DELETE") for at in ("", "/series/{series}")),
            *(
                ("GET", f"{at}/original")
                for at in ("", "/series/{series}", "/series/{series}/instances/{instance}")
            ),
        )
    },
    ("GET", "/admin/api/subscriptions"): ("/admin/api/subscriptions", FORBIDDEN),
    ("GET", "/admin/api/tombstones"): ("/admin/api/tombstones", FORBIDDEN),
    ("POST", "/admin/api/tombstones/{uid}/release"): ("/admin/api/tombstones/none/release", FORBIDDEN),
    ("GET", "/admin/api/retention"): ("/admin/api/retention", FORBIDDEN),
    ("GET", "/admin/api/holds"): ("/admin/api/holds", FORBIDDEN),
    ("POST", "/admin/api/holds"): ("/admin/api/holds", FORBIDDEN),
    ("POST", "/admin/api/holds/{number}/release"): ("/admin/api/holds/none/release", FORBIDDEN),
    ("POST", "/admin/api/launches"): ("/admin/api/launches", FORBIDDEN),
    ("GET", "/admin/api/signing-keys"): ("/admin/api/signing-keys", FORBIDDEN),
    ("POST", "/admin/api/signing-keys"): ("/admin/api/signing-keys", FORBIDDEN),
    **{
        (method, f"/admin/api{path}"): (f"/admin/api{re.sub('{[a-z_]+}', '1', path)}", FORBIDDEN)
        for method, path in (
            ("GET", "/users"),
            ("POST", "/users"),
            ("POST", "/users/{name}/disable"),
            ("POST", "/users/{name}/enable"),
            ("POST", "/users/{name}/password"),
            ("PUT", "/users/{name}/link"),
            ("DELETE", "/users/{name}/link"),
            ("GET", "/users/{name}/sessions"),
            ("DELETE", "/users/{name}/sessions"),
            ("DELETE", "/users/{name}/sessions/{session}"),
            ("GET", "/users/{name}/grants"),
            ("DELETE", "/users/{name}/grants/{grant}"),
            ("GET", "/emergency-accesses"),
            ("POST", "/emergency-accesses/{number}/review"),
            ("POST", "/registration-tokens"),
            ("GET", "/clients"),
            ("POST", "/clients"),
            ("POST", "/clients/{client_id}/launching"),
            ("POST", "/clients/{client_id}/disable"),
        )
    },
    ("POST", "/admin/api/workitems/{workitem}/rerun"): ("/admin/api/workitems/{workitem}/rerun", FORBIDDEN),
}

# Writes, which need a body or leave nothing to ask for: each has its own test below.
WRITES = {
    ("DELETE", "/dicom-web/studies/{study}"),
    ("DELETE", "/dicom-web/studies/{study}/series/{series}"),
    ("DELETE", "/dicom-web/studies/{study}/series/{series}/instances/{instance}"),
    ("POST", "/dicom-web/studies"),
    ("POST", "/dicom-web/studies/{study}"),
    ("POST", "/dicom-web/workitems"),
    ("POST", "/dicom-web/workitems/{workitem}"),
    ("PUT", "/dicom-web/workitems/{workitem}/state"),
    ("POST", "/fhir/{type}"),
    ("PUT", "/fhir/{type}"),
    ("PUT", "/fhir/{type}/{id}"),
    ("PATCH", "/fhir/{type}"),
    ("PATCH", "/fhir/{type}/{id}"),
    ("DELETE", "/fhir/{type}"),
    ("DELETE", "/fhir/{type}/{id}"),
    # tests/conformance/fhir_r4/test_http_transaction.py, test_http_batch.py
    ("POST", "/fhir"),
    ("POST", "/fhir/"),
    # tests/unit/fhir_door/test_isolation.py: their answers hold what is the caller's own
    ("GET", "/fhir/_history"),
    ("GET", "/fhir/{type}/_history"),
    *((m, f"/fhir{at}/${{operation}}") for m in ("GET", "POST") for at in ("", "/{type}", "/{type}/{id}")),
}

SHORT = {
    "study_instance_uid": "study",
    "series_instance_uid": "series",
    "sop_instance_uid": "instance",
    "workitem_uid": "workitem",
    "resource_type": "type",
    "resource_id": "id",
    "searched_type": "searched",
    "version_id": "version",
    "frame_list": "frames",
}


@dataclass
class Names:
    """What patient B's data is called."""

    study: str
    series: str
    instance: str
    workitem: str
    patient: str


def step_on(study: str) -> dict[str, Any]:
    return workitem(InputInformationSequence=input_of(study), PatientID=[], PatientName=[])


def routes_of(app: Any) -> set[tuple[str, str]]:
    found = set()
    for path, operations in app.openapi()["paths"].items():
        found |= {(method.upper(), shortened(path)) for method in operations if method != "head"}
    return found


def shortened(path: str) -> str:
    for long, name in SHORT.items():
        path = path.replace(f"{{{long}}}", f"{{{name}}}")
    return path


@pytest.fixture
async def two_patients(
    system: Any, kit: Any, new_chest: Callable[..., Sequence[FileDataset]]
) -> tuple[httpx.AsyncClient, Names, str]:
    """A client confined to patient A, the names of patient B's data, and A's patient id."""
    a, b = new_chest("PATIENT-A"), new_chest("PATIENT-B")
    await system.schedule(kit, a[:1])
    workitem = await system.schedule(kit, b)
    await system.run_jobs()
    ids = []
    for value in ("PATIENT-A", "PATIENT-B"):
        answer = await system.http.get("/fhir/Patient", params={"identifier": value})
        ids.append(answer.json()["entry"][0]["resource"]["id"])
    token = await issue_token(system.services.database, scope="patient/*.cruds", patient=ids[0])
    confined = httpx.AsyncClient(
        transport=httpx.ASGITransport(system.app),
        base_url="http://127.0.0.1",
        headers={"Authorization": f"Bearer {token}"},
    )
    await system.http.post(f"/dicom-web/workitems/{WORKLIST}/subscribers/WATCHER")
    names = Names(
        study=str(b[0].StudyInstanceUID),
        series=str(b[0].SeriesInstanceUID),
        instance=str(b[0].SOPInstanceUID),
        workitem=workitem["00080018"]["Value"][0],
        patient=ids[1],
    )
    return confined, names, ids[0]


async def principals(system: Any, names: Names, patient: str) -> dict[str, dict[str, str]]:
    """The headers of whom nothing of patient B is open to: patient A is in context of all of them."""
    database = system.services.database
    of_b = (
        f"patient/Patient.cruds?_id={names.patient}",
        f"patient/Observation.cruds?subject=Patient/{names.patient}",
        f"patient/ImagingStudy.cruds?identifier=urn:dicom:uid|urn:oid:{names.study}",
    )
    tokens = {
        A_TOKEN: await issue_token(
            database, scope="patient/*.cruds user/*.cruds system/*.cruds", patient=patient
        ),
        "the patient": await user_token(database, Role.PATIENT, "patient/*.cruds user/*.cruds", patient),
        "a clinician": await user_token(database, Role.CLINICIAN, "patient/*.cruds", patient),
        GRANULAR: await issue_token(database, scope=" ".join(of_b), patient=patient),
    }
    return {name: {"Authorization": f"Bearer {token}"} for name, token in tokens.items()}


def all_routes(app: Any) -> Iterator[Any]:
    """With those that are not described; below a router without its prefix."""
    waiting = list(app.router.routes)
    while waiting:
        route = waiting.pop()
        waiting += getattr(getattr(route, "original_router", route), "routes", None) or []
        yield route


async def test_every_route_has_a_line(system: Any) -> None:
    described = routes_of(system.app)
    assert described == PUBLIC | OF_THE_BEARER | set(CONFINED) | WRITES
    hidden = {
        route.path
        for route in all_routes(system.app)
        if isinstance(route, Route) and not route.include_in_schema and route.methods != {"OPTIONS"}
    }
    assert hidden == {"/docs", "/docs/oauth2-redirect", "/openapi.json"}
    (short_way,) = (each.args[0] for each in system.app.user_middleware if each.cls is ShortWay)
    shorter = {(route.method, shortened(route.path)) for route in short_way}
    assert shorter
    assert shorter <= described  # what has a shorter way is told of and asked like all


def test_every_websocket_has_its_isolation_test(system: Any) -> None:
    """OpenAPI knows none; `test_ups_events.py` asks this one with the token of another patient."""
    found = {r.path for r in all_routes(system.app) if isinstance(r, WebSocketRoute | APIWebSocketRoute)}
    assert found == {"/subscribers/{ae_title}"}


async def test_routes_without_a_token_are_401(system: Any) -> None:
    transport = httpx.ASGITransport(system.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as anyone:
        for method, route in [*CONFINED, *WRITES, *OF_THE_BEARER]:
            answer = await anyone.request(method, route)
            assert answer.status_code == 401, route
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_another_patients_token_sees_nothing_on_any_route(
    system: Any, two_patients: tuple[httpx.AsyncClient, Names, str]
) -> None:
    confined, names, patient = two_patients
    assert [await system.worker.step() for _ in "ab"] == [1, 1]
    await system.run_jobs()
    values = {name: getattr(names, name) for name in Names.__dataclass_fields__}
    callers = await principals(system, names, patient)
    for (method, route), (path, expected) in CONFINED.items():
        asked = path.format(**values)
        form = {"Content-Type": "application/x-www-form-urlencoded"} if "_search" in route else {}
        everyone = await system.http.request(method, asked, headers=form)
        # Who is no administrator is refused before anything is looked for, also what is not there.
        refusals = (401, 403) if expected == FORBIDDEN else (401, 403, 404)
        assert everyone.status_code not in refusals, (route, everyone.text)
        assert expected != EMPTY or everyone.json() not in ([], None), route
        for who, headers in callers.items():
            answer = await confined.request(method, asked, headers=form | headers)
            case = (who, method, route, answer.text)
            if who == GRANULAR and answer.status_code == FORBIDDEN:
                continue  # what is not held to criteria
            assert is_empty(answer) if expected == EMPTY else answer.status_code == expected, case
            if expected == HIDDEN and headers is callers[A_TOKEN]:
                absent = asked.replace(names.study, "1.2.3").replace(names.patient, "x")
                nothing = await confined.request(method, absent, headers=form | headers)
                assert nothing.status_code == HIDDEN, case  # what is not there answers alike
    await criteria_open_the_studies_that_match(system, names)
    await _assert_a_denial_closes_every_route(system, values)


# Every route of the administration that names a study, or a workitem of it
DENIED_TO_ADMINISTRATORS = re.compile(r"/admin/api/(studies/\{study\}|workitems/\{workitem\})")


async def _assert_a_denial_closes_every_route(system: Any, values: dict[str, str]) -> None:
    """What B's Consent denies, the administrator's token gets as little of as A's did, at once."""
    study = {"StudyInstanceUID": values["study"], "includefield": "all"}
    before = await system.http.get("/dicom-web/studies", params=study)
    tag = {"If-None-Match": (await system.http.get(f"/dicom-web/studies/{values['study']}")).headers["etag"]}
    linked = "/admin/api/studies?link_state=linked"
    assert values["study"] in (await system.http.get(linked)).text
    denial = consent(values["patient"], base="OPTOUT")
    made = await system.http.post("/fhir/Consent", json=denial)
    assert (before.status_code, made.status_code) == (200, 201)
    for (method, route), (path, expected) in CONFINED.items():
        asked = path.format(**values)
        form = (
            {"headers": {"Content-Type": "application/x-www-form-urlencoded"}} if "_search" in route else {}
        )
        if expected == FORBIDDEN and not DENIED_TO_ADMINISTRATORS.match(route):
            continue
        said = {"json": {"reason": "a test"}} if expected == FORBIDDEN else form
        answer = await system.http.request(method, asked, **said)
        if expected == EMPTY:
            assert is_empty(answer), (route, answer.text)
        else:
            assert answer.status_code == 404, (route, answer.text)
    assert (await system.http.get(f"/dicom-web/studies/{values['study']}", headers=tag)).status_code == 404
    assert values["study"] not in (await system.http.get(linked)).text
    by_id = f"/fhir/Consent/{made.json()['id']}"
    assert (await system.http.put(by_id, json=made.json() | {"status": "inactive"})).status_code == 404


async def criteria_open_the_studies_that_match(system: Any, names: Names) -> None:
    """As issued, projected and asked for in the whole system."""
    criteria = f"identifier=urn:dicom:uid|urn:oid:{names.study}"
    for told, is_open in ((criteria, True), (criteria + "0", False)):
        scope = f"patient/ImagingStudy.rs?{told}"
        token = await issue_token(system.services.database, scope=scope, patient=names.patient)
        headers = {"Authorization": f"Bearer {token}"}
        for path in ("/dicom-web/studies", f"/dicom-web/studies/{names.study}/series"):
            found = (await system.http.get(path, headers=headers)).json()
            assert {each["0020000D"]["Value"][0] for each in found} == (
                {names.study} if is_open else set()
            ), told
        retrieved = await system.http.get(f"/dicom-web/studies/{names.study}/metadata", headers=headers)
        assert retrieved.status_code == (200 if is_open else 404), told


def is_empty(answer: httpx.Response) -> bool:
    if answer.status_code == 204:
        return True
    body = answer.json()
    return answer.status_code == 200 and (body == [] or (isinstance(body, dict) and not body.get("entry")))


async def test_writes_stay_within_the_patient(
    system: Any, kit: Any, two_patients: tuple[httpx.AsyncClient, Names, str], new_chest: Any
) -> None:
    confined, names, patient_a = two_patients
    body = kit.multipart([kit.part10(new_chest("PATIENT-B", 1)[0])])
    theirs = {"resourceType": "Patient", "id": names.patient}
    about_b = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    about_b["subject"] = {"reference": f"Patient/{names.patient}"}
    for who, headers in (await principals(system, names, patient_a)).items():
        stored = 403 if who == GRANULAR else 409  # Store is not held to criteria
        for path in ("/dicom-web/studies", f"/dicom-web/studies/{names.study}"):
            answer = await confined.post(path, content=body, headers=kit.stow_headers | headers)
            assert answer.status_code == stored, (who, answer.text)
        made = await confined.post("/fhir/Observation", json=about_b, headers=headers)
        assert made.status_code == 403, who
        for method in ("PUT", "DELETE"):
            path = f"/fhir/Patient/{names.patient}"
            assert (await confined.request(method, path, json=theirs, headers=headers)).status_code in (
                404,
                204,
            ), who
        assert (await system.http.get(f"/fhir/Patient/{names.patient}")).json()["meta"]["versionId"] == "1"
    own = kit.multipart([kit.part10(new_chest("PATIENT-A", 1)[0])])
    assert (
        await confined.post("/dicom-web/studies", content=own, headers=kit.stow_headers)
    ).status_code == 200
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{names.patient}"},
    }
    observation["subject"] = {"reference": f"Patient/{patient_a}"}
    assert (await confined.post("/fhir/Observation", json=observation)).status_code == 201
    await confined.aclose()


async def test_workitems_stay_within_the_patient(
    system: Any, two_patients: tuple[httpx.AsyncClient, Names, str]
) -> None:
    confined, names, _ = two_patients
    created = await confined.post(
        "/dicom-web/workitems?2.25.1", json=step_on(names.study), headers=DICOM_JSON
    )
    assert created.status_code == 403
    assert (await system.http.get("/dicom-web/workitems/2.25.1")).status_code == 404
    await system.http.post("/dicom-web/workitems?2.25.1", json=step_on(names.study), headers=DICOM_JSON)
    label = {"00741204": {"vr": "LO", "Value": ["Read"]}}
    start = {
        "00081195": {"vr": "UI", "Value": ["2.25.2"]},
        "00741000": {"vr": "CS", "Value": ["IN PROGRESS"]},
    }
    for method, path, payload in (
        ("POST", "/dicom-web/workitems/2.25.1", label),
        ("PUT", "/dicom-web/workitems/2.25.1/state", start),
    ):
        theirs = await confined.request(method, path, json=payload, headers=DICOM_JSON)
        assert theirs.status_code == HIDDEN
        assert (await system.http.request(method, path, json=payload, headers=DICOM_JSON)).status_code == 200
    await confined.aclose()


async def test_deletions_stay_within_the_patient(
    system: Any, kit: Any, two_patients: tuple[httpx.AsyncClient, Names, str], new_chest: Any
) -> None:
    confined, names, _ = two_patients
    (other_series,) = new_chest("PATIENT-B", 1)  # so that the study outlives the first series
    other_series.StudyInstanceUID = names.study
    body = kit.multipart([kit.part10(other_series)])
    await system.http.post("/dicom-web/studies", content=body, headers=kit.stow_headers)
    values = {name: getattr(names, name) for name in Names.__dataclass_fields__}
    for path in (INSTANCE, SERIES, STUDY):
        assert (await confined.delete(path.format(**values))).status_code == HIDDEN
        assert (await system.http.delete(path.format(**values))).status_code == 204
    await confined.aclose()


async def test_who_is_no_administrator_learns_nothing_from_a_wrong_query(system: Any) -> None:
    token = await issue_token(system.services.database, scope="system/*.rs")
    headers = {"Authorization": f"Bearer {token}"}
    answer = await system.http.get("/admin/api/studies?link_state=none-such", headers=headers)
    assert answer.status_code == 403
    assert (await system.http.get("/admin/api/studies?link_state=none-such")).status_code == 400
