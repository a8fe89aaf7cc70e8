"""Users, clients, sessions, grants, keys and launches below `/admin/api` (DESIGN §4; SMART EHR launch)."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import select

from server.auth.signing import PUBLISHED_US
from server.auth.tables import SigningKey
from server.auth.tokens import issue_token
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow
from server.workflows.launches.requests import InvalidLaunch, read_launch
from server.workflows.projection import imaging_study_id_of
from tests.unit.auth_server import test_authorize as pages
from tests.unit.worklist.kit import store_study

Browser = pages.Browser
browser = pages.browser  # the fixture: an app, its users and patients
PASSWORD = pages.PASSWORD


@pytest.fixture
async def admin(browser: Any) -> AsyncIterator[httpx.AsyncClient]:
    """An administrator, by token."""
    token = await issue_token(browser.database, scope="system/*.cruds", subject="user:root")
    async with browser.new() as http:
        http.headers["Authorization"] = f"Bearer {token}"
        yield http


async def audited(browser: Any, interaction: str) -> list[tuple[str, str | None]]:
    t = table_of(AuditRow).c
    query = select(t.principal, t.resource_id, t.patient_id).where(t.interaction == interaction)
    async with browser.database.read() as connection:
        return [tuple(row) for row in await connection.execute(query)]


async def launched(browser: Any, admin: httpx.AsyncClient, **said: Any) -> dict[str, Any]:
    """A launch by the API, then its tokens."""
    made = await admin.post("/admin/api/launches", json={"client_id": browser.client_id, **said})
    assert made.status_code == 201, made.text
    assert made.json() | {"launch": ""} == {
        "iss": f"{pages.BASE}/fhir",
        "launch": "",
        "expires_in": 300,
    }
    url, page = await browser.log_in(launch=made.json()["launch"])
    allowed = await browser.send(url, page, "allow", scope=pages.SCOPE.split())
    tokens: dict[str, Any] = await browser.tokens(allowed)
    return tokens


async def test_a_launch_brings_the_app_what_the_ehr_said(browser: Any, admin: httpx.AsyncClient) -> None:
    context = [{"reference": "ImagingStudy/s1", "role": "urn:prior"}]
    told = await launched(
        browser,
        admin,
        user="Ada",
        patient="p1",
        encounter="e1",
        fhirContext=context,
        intent="review",
        need_patient_banner=False,
    )
    names = ("patient", "encounter", "fhirContext", "intent", "need_patient_banner")
    assert [told[name] for name in names] == ["p1", "e1", context, "review", False]
    assert ("user:root", browser.client_id, "p1") in await audited(browser, "launch")


async def test_a_launch_for_another_user_is_refused(browser: Any, admin: httpx.AsyncClient) -> None:
    made = await admin.post(
        "/admin/api/launches", json={"client_id": browser.client_id, "user": "pat", "patient": "p1"}
    )
    url, page = await browser.page(await browser.ask(launch=made.json()["launch"]))
    sent = await browser.send(url, page, "login", name="ada", password=PASSWORD)
    refused = (
        sent if "error" in sent.headers["location"] else await browser.http.get(sent.headers["location"])
    )
    assert pages.answer(refused)["error"] == "access_denied"


@pytest.mark.parametrize(
    "said",
    [
        {"client_id": ""},
        {"client_id": "\x00"},
        {"patient": "p 1"},
        {"patient": 1},
        {"encounter": "e/1"},
        {"study": "../1"},
        {"intent": ""},
        {"intent": "x" * 201},
        {"fhirContext": [{"reference": "https://elsewhere.test/ImagingStudy/1"}]},
        {"fhirContext": [{"reference": "ImagingStudy/1", "type": "Patient"}]},
        {"fhirContext": [{"reference": "Patient/p2"}]},
        {"fhirContext": [{"reference": "Encounter/e2", "role": "launch"}]},
        {"fhirContext": [{"reference": "ImagingStudy/1"}] * 21},
        {"fhirContext": {}},
        {"fhirContex": []},
    ],
)
def test_launches_that_cannot_be(said: dict[str, Any]) -> None:
    with pytest.raises(InvalidLaunch):
        read_launch(orjson.dumps({"client_id": "app", **said}))


async def test_launches_of_what_is_not_there(browser: Any, admin: httpx.AsyncClient) -> None:
    for said, status in (
        ({"client_id": "nobody"}, 404),
        ({"user": "nobody"}, 404),
        ({"user": "a b"}, 400),
        ({"study": "1.2.3"}, 404),
        ({"patient": "p 1"}, 400),
    ):
        answer = await admin.post("/admin/api/launches", json={"client_id": browser.client_id, **said})
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_a_study_brings_its_patient_and_nobody_elses(browser: Any, admin: httpx.AsyncClient) -> None:
    await store_study(browser.database, "1.2.3", "p1")
    await store_study(browser.database, "1.2.4", None)
    told = await launched(browser, admin, study="1.2.3")
    assert told["patient"] == "p1"
    shown = f"ImagingStudy/{imaging_study_id_of('1.2.3')}"
    assert told["fhirContext"] == [{"reference": shown, "type": "ImagingStudy"}]
    for said in (
        {"study": "1.2.3", "patient": "p2"},
        {"study": "1.2.4"},
        {"study": "1.2.4", "patient": "p2"},
    ):
        refused = await admin.post("/admin/api/launches", json={"client_id": browser.client_id, **said})
        assert (refused.status_code, refused.json()["detail"]) == (400, "The study is not that patient's.")


async def test_an_account_from_its_making_to_its_end(browser: Any, admin: httpx.AsyncClient) -> None:
    new = {"name": "Bob", "role": "clinician", "display": "Dr Bob", "password": PASSWORD}
    new["fhirUser"] = "Practitioner/bob"
    made = await admin.post("/admin/api/users", json=new)
    assert (made.status_code, made.json()["name"]) == (201, "bob")
    assert (await admin.post("/admin/api/users", json=new)).status_code == 409
    listed = (await admin.get("/admin/api/users")).json()
    assert [user["name"] for user in listed["users"]] == ["ada", "pat", "aud", "bob"]
    assert listed["after"] is None
    assert "password_hash" not in listed["users"][0]
    url, page = await browser.log_in("bob")
    url, page = await browser.page(await browser.send(url, page, "patient", patient="p1"))
    tokens = await browser.tokens(await browser.send(url, page, "allow", scope=pages.SCOPE.split()))
    changed = await admin.post("/admin/api/users/bob/password", json={"password": PASSWORD + "!"})
    assert changed.status_code == 204
    assert (await admin.get("/admin/api/users/bob/sessions")).json()["sessions"] == []
    assert (await admin.post("/admin/api/users/bob/disable")).status_code == 204
    assert (await admin.post("/admin/api/users/bob/disable")).status_code == 404
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await browser.http.get("/fhir/Patient/p1", headers=bearer)).status_code == 401
    assert (await admin.get("/admin/api/users")).json()["users"][3]["disabled"] is not None
    assert (await admin.post("/admin/api/users/bob/enable")).status_code == 204
    assert (await admin.post("/admin/api/users/bob/enable")).status_code == 404
    assert (await browser.http.get("/fhir/Patient/p1", headers=bearer)).status_code == 401  # stays ended
    assert (await admin.get("/admin/api/users/bob/grants")).json()["grants"] == []
    assert await audited(browser, "user") == [
        *[("system:administrator", name, None) for name in ("ada", "pat", "aud")],
        *[("user:root", "bob", None)] * 4,
    ]
    assert ("user:root", None, None) in await audited(browser, "list-users")


REFUSED: list[tuple[str, Any, int]] = [
    ("users", {"name": "x y"}, 400),
    ("users", {"name": "x", "password": "short"}, 400),
    ("users", {"name": "x", "role": "root"}, 400),
    ("users", {"name": "x", "role": "patient"}, 400),
    ("users", {"name": "x", "issuer": "https://elsewhere.test"}, 400),
    ("users", [], 400),
    ("users/ada/password", {"password": "short"}, 400),
    ("users/nobody/password", {"password": PASSWORD}, 404),
    ("users/x y/disable", None, 400),
    ("clients", {"client_name": "x", "scope": "nonsense"}, 400),
    ("clients", {"client_name": "", "scope": "system/*.rs"}, 400),
    ("clients", {"client_name": "x", "scope": "user/*.rs", "redirect_uris": ["http://app.test/"]}, 400),
    ("clients", {"client_name": "x", "scope": "system/*.rs", "jwks": {"keys": [{"kty": "oct"}]}}, 400),
    (
        "clients",
        {"client_name": "x", "scope": "user/*.rs", "redirect_uris": ["https://x.test/"], "may_launch": 1},
        400,
    ),
    (
        "clients",
        {"client_name": "x", "scope": "user/*.rs", "redirect_uris": ["https://x.test/"], "may_launch": True},
        400,
    ),
    ("clients/nobody/launching", {"may_launch": True}, 404),
    ("clients/nobody/launching", {}, 400),
    ("clients/nobody/disable", None, 404),
    ("clients/%00/disable", None, 400),
]


async def test_what_cannot_be_done(admin: httpx.AsyncClient) -> None:
    for path, said, status in REFUSED:
        answer = await admin.post(f"/admin/api/{path}", json=said)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert PASSWORD not in answer.text


async def test_a_session_that_is_ended_ends_its_tokens_at_once(
    browser: Any, admin: httpx.AsyncClient
) -> None:
    told = await launched(browser, admin, patient="p1")
    bearer = {"Authorization": f"Bearer {told['access_token']}"}
    assert (await browser.http.get("/fhir/Patient/p1", headers=bearer)).status_code == 200
    (session,) = (await admin.get("/admin/api/users/ada/sessions")).json()["sessions"]
    (grant,) = (await admin.get("/admin/api/users/ada/grants")).json()["grants"]
    assert (grant["client_id"], grant["patient_id"]) == (browser.client_id, "p1")
    assert grant["session_id"] == session["id"]
    theirs = f"/admin/api/users/pat/grants/{grant['id']}"
    assert (await admin.delete(theirs)).status_code == 404  # a grant of another user
    assert (await admin.delete(f"/admin/api/users/pat/sessions/{session['id']}")).status_code == 404
    assert (await browser.http.get("/fhir/Patient/p1", headers=bearer)).status_code == 200
    ended = await admin.delete(f"/admin/api/users/ada/grants/{grant['id']}")
    assert ended.status_code == 204
    assert (await browser.http.get("/fhir/Patient/p1", headers=bearer)).status_code == 401
    assert (await admin.delete(f"/admin/api/users/ada/grants/{grant['id']}")).status_code == 404
    assert (await admin.delete(f"/admin/api/users/ada/sessions/{session['id']}")).status_code == 204
    assert (await admin.get("/admin/api/users/ada/sessions")).json()["sessions"] == []
    assert ("user:root", "ada", None) in await audited(browser, "logout")


async def test_all_that_a_user_has_open_is_ended(browser: Any, admin: httpx.AsyncClient) -> None:
    told = await launched(browser, admin, patient="p1")
    bearer = {"Authorization": f"Bearer {told['access_token']}"}
    assert (await browser.http.get("/fhir/Patient/p1", headers=bearer)).status_code == 200
    assert (await admin.delete("/admin/api/users/ada/sessions")).status_code == 204
    assert (await browser.http.get("/fhir/Patient/p1", headers=bearer)).status_code == 401
    assert (await admin.get("/admin/api/users/ada/grants")).json()["grants"] == []


async def test_a_client_from_its_registration_to_its_end(browser: Any, admin: httpx.AsyncClient) -> None:
    said = {"client_name": "Lab", "scope": "system/*.rs"}
    made = await admin.post("/admin/api/clients", json=said)
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    new = made.json()
    credentials = (new["client_id"], new["client_secret"])
    form = {"grant_type": "client_credentials", "scope": "system/*.rs"}
    bought = await browser.http.post("/auth/token", data=form, auth=credentials)
    bearer = {"Authorization": f"Bearer {bought.json()['access_token']}"}
    assert (await browser.http.get("/fhir/Patient", headers=bearer)).status_code == 200
    listed = (await admin.get("/admin/api/clients")).json()["clients"]
    assert [client["name"] for client in listed] == ["Growth <Chart>", "Lab"]
    assert not {"secret_hash", "client_secret"} & listed[1].keys()
    assert (await admin.post(f"/admin/api/clients/{new['client_id']}/disable")).status_code == 204
    assert (await browser.http.get("/fhir/Patient", headers=bearer)).status_code == 401
    assert (await browser.http.post("/auth/token", data=form, auth=credentials)).status_code == 401
    assert [entry[0] for entry in await audited(browser, "client")][-2:] == ["user:root"] * 2


async def test_a_client_of_an_ehr_launches_and_nothing_else(browser: Any, admin: httpx.AsyncClient) -> None:
    said = {"client_name": "EHR", "scope": "system/Patient.s", "may_launch": True}
    new = (await admin.post("/admin/api/clients", json=said)).json()
    form = {"grant_type": "client_credentials", "scope": "system/Patient.s"}
    bought = await browser.http.post("/auth/token", data=form, auth=(new["client_id"], new["client_secret"]))
    bearer = {"Authorization": f"Bearer {bought.json()['access_token']}"}
    launch, path = {"client_id": browser.client_id, "patient": "p1"}, "/admin/api/launches"
    assert (await browser.http.post(path, json=launch, headers=bearer)).status_code == 201
    principals = [entry[0] for entry in await audited(browser, "launch")]
    assert principals == [f"client:{new['client_id']}"]
    for other in ("users", "clients", "emergency-accesses"):
        assert (await browser.http.get(f"/admin/api/{other}", headers=bearer)).status_code == 403
    place = f"/admin/api/clients/{new['client_id']}/launching"
    assert (await browser.http.post(place, json={"may_launch": True}, headers=bearer)).status_code == 403
    assert (await admin.post(place, json={"may_launch": False})).status_code == 204
    assert (await browser.http.post(path, json=launch, headers=bearer)).status_code == 403
    assert (await admin.post(place, json={"may_launch": True})).status_code == 204
    assert (await browser.http.post(path, json=launch, headers=bearer)).status_code == 201
    listed = (await admin.get("/admin/api/clients")).json()["clients"]
    assert [client["may_launch"] for client in listed] == [False, True]


async def test_a_rotated_key_is_published_before_it_signs(browser: Any, admin: httpx.AsyncClient) -> None:
    first = (await browser.http.get("/auth/jwks")).json()["keys"]
    rotated = await admin.post("/admin/api/signing-keys")
    assert rotated.status_code == 201
    keys = (await browser.http.get("/auth/jwks")).json()["keys"]
    listed = (await admin.get("/admin/api/signing-keys")).json()["signing-keys"]
    assert [key["kid"] for key in listed] == [key["kid"] for key in keys]
    assert (listed[0]["signs_from"], listed[1]["verifies_until"]) == (None, None)
    assert "sealed_jwk" not in listed[0]
    assert [key["kid"] for key in keys] == [first[0]["kid"], rotated.json()["kid"]]
    t = table_of(SigningKey).c
    async with browser.database.read() as connection:
        row = (await connection.execute(select(t).where(t.kid == rotated.json()["kid"]))).one()
        (old,) = (await connection.execute(select(t.verifies_until_us).where(t.kid == first[0]["kid"]))).one()
    assert old > row.signs_from_us > PUBLISHED_US
    assert ("user:root", rotated.json()["kid"], None) in await audited(browser, "signing-key")


async def test_a_clinician_administers_nothing(browser: Any, admin: httpx.AsyncClient) -> None:
    told = await launched(browser, admin, patient="p1")
    bearer = {"Authorization": f"Bearer {told['access_token']}"}
    for method, path in (("GET", "users"), ("GET", "users/ada/sessions"), ("POST", "launches")):
        refused = await browser.http.request(method, f"/admin/api/{path}", headers=bearer)
        assert refused.status_code == 403
