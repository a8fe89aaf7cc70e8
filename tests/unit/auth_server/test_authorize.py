"""The authorization endpoint and its pages, as a browser has them (RFC 6749 §4.1, RFC 9700, SMART 2.2)."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir.interactions.door import Door
from server.app import build_app, build_services
from server.auth.authorize.asked import RefusedRequest
from server.auth.authorize.encounters import Encounters
from server.auth.authorize.patients import Patients
from server.auth.authorize.pending import find_pending
from server.auth.authorize.steps import allow
from server.auth.clients import Wanted, add_client
from server.auth.grants.context import LaunchContext
from server.auth.launches import Prepared, prepare_launch
from server.auth.registration.tokens import issue_registration_token
from server.auth.tokens import issue_token
from server.auth.users.accounts import NewUser, User, add_user, find_user, set_password
from server.auth.users.roles import Role
from server.auth.users.sessions import find_session
from server.kernel.access import Principal
from server.kernel.clock import now_us
from server.kernel.database import Database
from server.kernel.request import origin_of
from server.settings import Settings
from tests.unit.auth_server.test_user_grants import CHALLENGE, VERIFIER

BASE, BACK = "http://127.0.0.1:8080", "https://app.test/back?v=1"
SCOPE = "openid fhirUser launch launch/patient offline_access patient/*.rs user/Patient.rs"
PASSWORD = "correct horse battery"
ADMIN = Principal("system:administrator", "administrator")


class Browser:
    """A browser without script, and the app that sends it."""

    def __init__(self, app: Any, database: Database, client_id: str) -> None:
        self.app, self.database, self.client_id = app, database, client_id
        self.http = self.new()

    def new(self) -> httpx.AsyncClient:
        """Another browser."""
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=BASE)

    async def ask(self, **changes: str | None) -> httpx.Response:
        """What the app sends the browser with; None takes a parameter away."""
        asked: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": BACK,
            "scope": SCOPE,
            "state": "s 1",
            "aud": f"{BASE}/fhir",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **changes,
        }
        query = {name: value for name, value in asked.items() if value is not None}
        return await self.http.get("/auth/authorize", params=query)

    async def page(self, response: httpx.Response) -> tuple[str, str]:
        """The URL that a redirect leads to, and the page there."""
        assert response.status_code == 303, response.text
        url = response.headers["location"]
        shown = await self.http.get(url)
        assert shown.status_code == 200, (shown.status_code, shown.headers.get("location"))
        return url, shown.text

    async def send(self, url: str, page: str, step: str, **fields: Any) -> httpx.Response:
        """The form of a page."""
        data = {"form_token": form_token(page), "step": step, **fields}
        return await self.http.post(url, data=data)

    async def log_in(self, name: str = "ada", **asked: str | None) -> tuple[str, str]:
        """The page after the login."""
        url, page = await self.page(await self.ask(**asked))
        return await self.page(await self.send(url, page, "login", name=name, password=PASSWORD))

    async def at_consent(self, **asked: str | None) -> tuple[str, str]:
        """The last page."""
        url, page = await self.log_in(**asked)
        return await self.page(await self.send(url, page, "patient", patient="p1"))

    async def tokens(self, response: httpx.Response) -> dict[str, Any]:
        """What the app gets for the code that a redirect brings."""
        said = answer(response)
        form = {
            "grant_type": "authorization_code",
            "code": said["code"],
            "redirect_uri": BACK,
            "code_verifier": VERIFIER,
            "client_id": self.client_id,
        }
        body: dict[str, Any] = (await self.http.post("/auth/token", data=form)).json()
        return body


def form_token(page: str) -> str:
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', page)
    assert found is not None, page
    return found[1]


def heading(page: str) -> str:
    found = re.search("<h1>(.*?)</h1>", page)
    assert found is not None, page
    return found[1]


def answer(response: httpx.Response) -> dict[str, str]:
    """What the app is told."""
    assert response.status_code == 303, response.text
    url = httpx.URL(response.headers["location"])
    assert (url.host, url.path) == ("app.test", "/back")
    return dict(url.params.items())


@pytest.fixture
async def browser(new_sqlite: Callable[[bool], str], tmp_path: Path) -> AsyncIterator[Browser]:
    settings = Settings(data=tmp_path, worker=False, database_url=new_sqlite(True))
    services = build_services(settings)
    app, database = build_app(settings, services), services.database
    await add_user(database, NewUser("ada", Role.CLINICIAN, "Dr Ada", PASSWORD, "Practitioner/ada"), ADMIN)
    await add_user(database, NewUser("pat", Role.PATIENT, "Pat", PASSWORD, patient_id="p1"), ADMIN)
    await add_user(database, NewUser("aud", Role.AUDITOR, "Aud", PASSWORD), ADMIN)
    new = await add_client(database, Wanted("Growth <Chart>", SCOPE, redirect_uris=[BACK]))
    browser = Browser(app, database, new.client_id)
    token = await issue_token(database, scope="system/*.cruds")
    for number, family in (("p1", "Lovelace"), ("p2", "Nightingale")):
        patient = {"resourceType": "Patient", "id": number, "name": [{"family": family, "given": ["A<b>"]}]}
        patient["identifier"] = [{"system": "urn:s", "value": f"MRN-{number}"}]
        headers = {"Authorization": f"Bearer {token}"}
        stored = await browser.http.put(f"/fhir/Patient/{number}", json=patient, headers=headers)
        assert stored.status_code == 201
    yield browser
    await browser.http.aclose()
    await services.database.close()


async def test_from_login_to_tokens(browser: Browser) -> None:
    url, page = await browser.page(await browser.ask())
    assert heading(page) == "Log in"
    url, page = await browser.page(await browser.send(url, page, "login", name="ada", password=PASSWORD))
    assert heading(page) == "Choose a patient"
    found = (await browser.http.get(url, params={"q": "love"})).text
    assert re.findall('name="patient" value="(.*?)"', found) == ["p1"]
    url, page = await browser.page(await browser.send(url, page, "patient", patient="p1"))
    assert heading(page) == "Allow Growth &lt;Chart&gt;?"
    assert "A&lt;b&gt; Lovelace" in page
    allowed = await browser.send(url, page, "allow", scope=["patient/*.rs", "offline_access"])
    said = answer(allowed)
    assert {name: said[name] for name in ("v", "state", "iss")} == {"v": "1", "state": "s 1", "iss": BASE}
    tokens = await browser.tokens(allowed)
    assert (tokens["patient"], "refresh_token" in tokens, "id_token" in tokens) == ("p1", True, True)
    style = await browser.http.get(tokens["smart_style_url"])
    assert (style.status_code, style.json()["color_background"]) == (200, "#f3f5f7")
    assert style.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (await browser.http.get("/auth/smart-style/older")).status_code == 404
    sheet = (await browser.http.get("/auth/style.css")).text
    assert all(value in sheet for value in style.json().values())
    assert tokens["scope"].split() == [
        "openid",
        "fhirUser",
        "launch",
        "launch/patient",
        "offline_access",
        "patient/*.rs",
    ]
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    seen = [
        (await browser.http.get(f"/fhir/Patient/{each}", headers=headers)).status_code
        for each in ("p1", "p2")
    ]
    assert seen == [200, 404]
    assert (await browser.http.get("/auth/userinfo", headers=headers)).json() == {
        "sub": "user:ada",
        "fhirUser": f"{BASE}/fhir/Practitioner/ada",
    }


async def test_the_picker_finds_by_name_and_identifier(browser: Browser) -> None:
    url, _ = await browser.log_in()
    for typed in ("MRN-p2", "night", "a nightingale"):
        found = (await browser.http.get(url, params={"q": typed})).text
        assert re.findall('name="patient" value="(.*?)"', found) == ["p2"], typed


async def test_the_picker_takes_anything(browser: Browser) -> None:
    url, _ = await browser.log_in()
    for typed in ("%", "a,b|c$", "x" * 5000, "_", "<script>", "Patient?name=x", "2024-02-31", "\x00"):
        shown = await browser.http.get(url, params={"q": typed})
        assert shown.status_code == 200, typed
        assert "<script>" not in shown.text


ANSWERED_TO_NOBODY: list[dict[str, str | None]] = [
    {"client_id": None},
    {"client_id": "nobody"},
    {"client_id": "\x00"},
    {"redirect_uri": None},
    {"redirect_uri": "https://app.test/back"},
    {"redirect_uri": "https://app.test/back?v=1#"},
    {"redirect_uri": "https://evil.test/?https://app.test/back?v=1"},
    {"redirect_uri": "https://app.test.evil.test/back?v=1"},
]


async def test_nothing_goes_to_where_it_may_not(browser: Browser) -> None:
    for changes in ANSWERED_TO_NOBODY:
        response = await browser.ask(**changes)
        assert (response.status_code, "location" in response.headers) == (400, False), changes
        assert heading(response.text) == "This does not work"


REFUSED: list[tuple[dict[str, str | None], str]] = [
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"response_type": None}, "unsupported_response_type"),
    ({"response_mode": "fragment"}, "invalid_request"),
    ({"aud": None}, "invalid_request"),
    ({"aud": "https://elsewhere/fhir"}, "invalid_request"),
    ({"code_challenge": None}, "invalid_request"),
    ({"code_challenge_method": None}, "invalid_request"),
    ({"code_challenge_method": "plain"}, "invalid_request"),
    ({"code_challenge": "short"}, "invalid_request"),
    ({"scope": None}, "invalid_scope"),
    ({"scope": "system/*.rs"}, "invalid_scope"),
    ({"scope": "nonsense"}, "invalid_scope"),
    ({"request": "x"}, "request_not_supported"),
    ({"request_uri": "https://x"}, "request_uri_not_supported"),
    ({"prompt": "none"}, "login_required"),
    ({"prompt": "select_account"}, "invalid_request"),
    ({"max_age": "-1"}, "invalid_request"),
    ({"state": "x" * 5000}, "invalid_request"),
    ({"launch": "made up"}, "invalid_request"),
    ({"nonce": "\x00"}, "invalid_request"),
    ({"scope": "patient/Observation.rs?code=%00"}, "invalid_scope"),
]


async def test_what_an_app_is_told(browser: Browser) -> None:
    for changes, error in REFUSED:
        response = await browser.ask(**changes)
        if "error" not in httpx.URL(response.headers["location"]).params:
            response = await browser.http.get(response.headers["location"])
        said = answer(response)
        assert (said["error"], said["iss"], "code" in said) == (error, BASE, False), changes


async def test_a_parameter_that_comes_twice_is_refused(browser: Browser) -> None:
    first = await browser.ask()
    assert first.status_code == 303
    query = f"{first.request.url.query.decode()}&scope=openid"
    assert answer(await browser.http.get(f"/auth/authorize?{query}"))["error"] == "invalid_request"
    twice = f"{first.request.url.query.decode()}&redirect_uri=https%3A%2F%2Fevil.test"
    assert (await browser.http.get(f"/auth/authorize?{twice}")).status_code == 400


async def test_authorize_by_post(browser: Browser) -> None:
    url = (await browser.ask()).request.url
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = await browser.http.post("/auth/authorize", content=url.query, headers=headers)
    assert heading((await browser.page(response))[1]) == "Log in"


async def test_another_browser_has_no_use_for_the_page(browser: Browser) -> None:
    url, _ = await browser.page(await browser.ask())
    async with browser.new() as other:
        shown = await other.get(url)
    assert (shown.status_code, heading(shown.text)) == (404, "This does not work")


async def test_a_form_from_elsewhere_does_nothing(browser: Browser) -> None:
    url, page = await browser.at_consent()
    for forged in ("", "0" * 64, "\u00e4"):
        data = {"form_token": forged, "step": "allow", "scope": "patient/*.rs"}
        assert (await browser.http.post(url, data=data)).headers["location"] == url
    assert answer(await browser.send(url, page, "allow", scope="patient/*.rs"))["code"]


async def test_the_form_of_another_login_does_nothing(browser: Browser) -> None:
    url, page = await browser.page(await browser.ask())
    await browser.send(url, page, "login", name="ada", password=PASSWORD)
    again = await browser.send(url, page, "allow", scope="patient/*.rs")
    assert again.headers["location"] == url


async def test_steps_cannot_be_skipped(browser: Browser) -> None:
    url, page = await browser.log_in()
    assert (await browser.send(url, page, "allow", scope="patient/*.rs")).headers["location"] == url
    assert heading((await browser.http.get(url)).text) == "Choose a patient"


async def test_a_patient_that_is_not_there(browser: Browser) -> None:
    url, page = await browser.log_in()
    for patient in ("p9", "", "../Patient/p1", "p1\x00"):
        _, page = await browser.page(await browser.send(url, page, "patient", patient=patient))
        assert heading(page) == "Choose a patient", patient


async def test_an_id_that_is_none(database_url: str, tmp_path: Path) -> None:
    """NUL is no text to PostgreSQL."""
    services = build_services(Settings(data=tmp_path, worker=False, database_url=database_url))
    door = Door(services, b"k" * 32)
    ada = User(1, "ada", "Dr Ada", Role.CLINICIAN, None, None)
    for text in ("a\x00", "", "x" * 65, "\u00e4", "a\n"):
        assert await Patients(door).one(ada, text) is None, text
        assert await Encounters(door).has(ada, "p1", text) is False, text
    await services.database.close()


async def test_rfc9700_4_11_2_an_app_that_registered_itself_is_no_open_redirector(browser: Browser) -> None:
    """Before anybody has logged in, whatever made the error; afterwards its errors go to it as others' do."""
    metadata = {"redirect_uris": [BACK], "scope": SCOPE, "token_endpoint_auth_method": "none"}
    headers = {"Authorization": f"Bearer {await issue_registration_token(browser.database, 60, ADMIN)}"}
    registered = await browser.http.post("/auth/register", json=metadata, headers=headers)
    browser.client_id = registered.json()["client_id"]
    for changes in ({"response_type": "x"}, {"prompt": "none"}, {"launch": "made up"}, {"scope": "nonsense"}):
        response = await browser.ask(**changes)
        if response.status_code == 303:  # to a page of ours
            response = await browser.http.get(response.headers["location"])
        assert (response.status_code, "location" in response.headers) == (400, False), changes
        assert "Go on to https://app.test</a>" in response.text
        assert 'href="https://app.test/back?v=1&amp;error=' in response.text
    await browser.at_consent()
    assert answer(await browser.ask(response_type="x"))["error"] == "unsupported_response_type"


async def test_a_request_is_answered_once(browser: Browser) -> None:
    url, page = await browser.at_consent()
    assert answer(await browser.send(url, page, "allow", scope="patient/*.rs"))["code"]
    assert (await browser.send(url, page, "allow", scope="patient/*.rs")).status_code == 404


async def test_denied(browser: Browser) -> None:
    url, page = await browser.at_consent()
    assert answer(await browser.send(url, page, "deny"))["error"] == "access_denied"


async def test_scopes_that_were_not_offered_are_not_granted(browser: Browser) -> None:
    url, page = await browser.at_consent(scope="openid patient/Observation.rs")
    allowed = await browser.send(
        url, page, "allow", scope=["patient/*.rs", "user/*.cruds", "patient/Observation.rs"]
    )
    assert (await browser.tokens(allowed))["scope"] == "openid patient/Observation.rs"


async def test_a_patient_picks_nobody(browser: Browser) -> None:
    url, page = await browser.log_in("pat")
    assert heading(page).startswith("Allow")
    tokens = await browser.tokens(
        await browser.send(url, page, "allow", scope=["patient/*.rs", "user/Patient.rs"])
    )
    assert tokens["patient"] == "p1"
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    seen = [
        (await browser.http.get(f"/fhir/Patient/{each}", headers=headers)).status_code
        for each in ("p1", "p2")
    ]
    assert seen == [200, 404]


@pytest.mark.parametrize("chosen", [["user/Patient.rs"], ["user/Patient.rs", "offline_access"]])
async def test_a_patient_reaches_nobody_else_whatever_is_allowed(browser: Browser, chosen: list[str]) -> None:
    """Also where no patient/ scope is left, that would ask for a patient in context."""
    for scope in ("openid user/Patient.rs", "openid offline_access patient/*.rs user/Patient.rs"):
        url, page = await browser.page(await browser.ask(scope=scope, prompt="login"))
        _, page = await browser.page(await browser.send(url, page, "login", name="pat", password=PASSWORD))
        tokens = await browser.tokens(await browser.send(url, page, "allow", scope=chosen))
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        seen = [
            (await browser.http.get(f"/fhir/Patient/{each}", headers=headers)).status_code
            for each in ("p1", "p2")
        ]
        found = (await browser.http.get("/fhir/Patient", headers=headers)).json()
        assert (seen, found["total"]) == ([200, 404], 1), scope


async def test_an_auditor_sees_no_patient(browser: Browser) -> None:
    wanted = Wanted("Trail", "openid launch/patient patient/*.rs user/AuditEvent.rs", redirect_uris=[BACK])
    browser.client_id = (await add_client(browser.database, wanted)).client_id
    for scope in ("openid launch/patient user/AuditEvent.rs", "patient/*.rs user/AuditEvent.rs"):
        url, page = await browser.page(await browser.ask(scope=scope, prompt="login"))
        _, page = await browser.page(await browser.send(url, page, "login", name="aud", password=PASSWORD))
        assert heading(page) == "Allow Trail?"
        assert "Nightingale" not in (await browser.http.get(url, params={"q": "night"})).text
        tokens = await browser.tokens(await browser.send(url, page, "allow", scope="user/AuditEvent.rs"))
        assert "patient" not in tokens


async def test_a_role_without_these_scopes(browser: Browser) -> None:
    url, page = await browser.page(await browser.ask(scope="patient/*.rs"))
    logged_in = await browser.send(url, page, "login", name="aud", password=PASSWORD)
    assert answer(await browser.http.get(logged_in.headers["location"]))["error"] == "access_denied"


async def test_the_next_app_needs_no_login_unless_it_wants_one(browser: Browser) -> None:
    await browser.log_in()
    assert heading((await browser.page(await browser.ask()))[1]) == "Choose a patient"
    for asked in ({"prompt": "login"}, {"max_age": "0"}):
        assert heading((await browser.page(await browser.ask(**asked)))[1]) == "Log in"
    silent = await browser.http.get((await browser.ask(prompt="none")).headers["location"])
    assert answer(silent)["error"] == "interaction_required"


async def launch(browser: Browser, user: User | None = None, patient: str | None = "p2") -> str:
    context = LaunchContext("e1", ({"reference": "ImagingStudy/s1"},), "reconcile", need_patient_banner=False)
    prepared = Prepared(browser.client_id, user.id if user else None, patient, context)
    return await prepare_launch(browser.database, prepared, ADMIN)


async def test_ehr_launch(browser: Browser) -> None:
    handle = await launch(browser, await find_user(browser.database, "ada"))
    url, page = await browser.log_in(launch=handle, scope="launch patient/*.rs")
    assert heading(page).startswith("Allow")
    assert "Nightingale" in page
    tokens = await browser.tokens(await browser.send(url, page, "allow", scope="patient/*.rs"))
    told = ("patient", "encounter", "intent", "need_patient_banner", "fhirContext")
    assert [tokens[name] for name in told] == [
        "p2",
        "e1",
        "reconcile",
        False,
        [{"reference": "ImagingStudy/s1"}],
    ]


async def test_the_scope_launch_asks_for_all_of_the_context(browser: Browser) -> None:
    url, page = await browser.log_in(launch=await launch(browser), scope="launch openid user/Patient.rs")
    assert "Nightingale" in page
    tokens = await browser.tokens(await browser.send(url, page, "allow", scope="user/Patient.rs"))
    told = ("patient", "encounter", "fhirContext")
    assert [tokens[name] for name in told] == ["p2", "e1", [{"reference": "ImagingStudy/s1"}]]
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (
        await browser.http.get("/fhir/Patient/p1", headers=headers)
    ).status_code == 200  # the clinician may


async def test_a_launch_is_good_once(browser: Browser) -> None:
    handle = await launch(browser)
    await browser.page(await browser.ask(launch=handle))
    assert answer(await browser.ask(launch=handle))["error"] == "invalid_request"


@pytest.mark.parametrize(("for_whom", "patient"), [("ada", "p1"), (None, "p2")])
async def test_a_launch_is_for_its_user_and_patient(
    browser: Browser, for_whom: str | None, patient: str
) -> None:
    user = await find_user(browser.database, for_whom) if for_whom else None
    url, page = await browser.page(await browser.ask(launch=await launch(browser, user, patient)))
    logged_in = await browser.send(url, page, "login", name="pat", password=PASSWORD)
    assert answer(await browser.http.get(logged_in.headers["location"]))["error"] == "access_denied"


async def test_log_off(browser: Browser) -> None:
    await browser.log_in()
    page = (await browser.http.get("/auth/logout")).text
    assert "Dr Ada" in page
    assert heading((await browser.http.post("/auth/logout")).text) == "Log off"  # no form of ours
    url, consent = await browser.page(await browser.ask())
    _, consent = await browser.page(await browser.send(url, consent, "patient", patient="p1"))
    tokens = await browser.tokens(await browser.send(url, consent, "allow", scope="patient/*.rs"))
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await browser.http.get("/fhir/Patient/p1", headers=headers)).status_code == 200
    done = await browser.http.post("/auth/logout", data={"form_token": form_token(page)})
    assert (await browser.http.get("/fhir/Patient/p1", headers=headers)).status_code == 401  # at once
    assert heading(done.text) == "You are logged off"
    assert heading((await browser.page(await browser.ask()))[1]) == "Log in"


async def test_who_is_logged_off_meanwhile_allows_nothing(browser: Browser) -> None:
    """The consent is under way when the password is changed: what it would grant is not granted."""
    url, _ = await browser.at_consent()
    session = await find_session(browser.database, browser.http.cookies["isthmus-session"], now_us())
    assert session is not None
    pending = await find_pending(
        browser.database, url.rpartition("/")[2], browser.http.cookies["isthmus-browser"], now_us()
    )
    await set_password(browser.database, "ada", "another long password", ADMIN)
    with pytest.raises(RefusedRequest) as refused:
        await allow(browser.database, pending, session, ["patient/*.rs"])
    assert refused.value.error == "login_required"


async def test_what_pages_are_sent_with(browser: Browser) -> None:
    asked = await browser.ask()
    cookie = asked.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=lax", "Path=/"))
    page = await browser.http.get(asked.headers["location"])
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; form-action 'self' https://app.test;")
    assert "frame-ancestors 'none'" in policy
    assert page.headers["cache-control"] == "no-store"
    assert "<script" not in page.text


async def test_what_discovery_names_is_there(browser: Browser) -> None:
    for path in ("/fhir/.well-known/smart-configuration", "/.well-known/openid-configuration"):
        told = (await browser.http.get(path)).json()
        named = [value for name, value in told.items() if name.endswith("_endpoint") or name == "jwks_uri"]
        assert len(named) >= 6
        for url in named:
            statuses = {(await browser.http.request(each, url)).status_code for each in ("GET", "POST")}
            assert statuses.isdisjoint({404, 500}), url
    uris = (await browser.http.get("/fhir/metadata")).text
    assert f"{BASE}/auth/authorize" in uris


async def test_one_address_begins_so_many_logins(new_sqlite: Callable[[bool], str], tmp_path: Path) -> None:
    """And who has logged in, comes by a launch or from elsewhere is not held up by it."""
    settings = Settings(data=tmp_path, worker=False, database_url=new_sqlite(True), logins_begun_per_minute=2)
    services = build_services(settings)
    app, database = build_app(settings, services), services.database
    await add_user(database, NewUser("ada", Role.CLINICIAN, "Dr Ada", PASSWORD), ADMIN)
    client_id = (await add_client(database, Wanted("App", SCOPE, redirect_uris=[BACK]))).client_id
    browser, other = Browser(app, database, client_id), Browser(app, database, client_id)
    elsewhere = Browser(app, database, client_id)
    elsewhere.http = httpx.AsyncClient(
        transport=httpx.ASGITransport(app, client=("198.51.100.7", 1)), base_url=BASE
    )
    await browser.log_in()
    assert [(await other.ask()).status_code for _ in range(3)] == [303, 429, 429]
    held_up = await other.ask()
    assert (heading(held_up.text), int(held_up.headers["retry-after"]) <= 30) == ("This does not work", True)
    statuses = [(await each.ask()).status_code for each in (browser, elsewhere)]
    statuses.append((await other.ask(launch=await launch(other))).status_code)
    assert statuses == [303, 303, 303]
    for each in (browser, other, elsewhere):
        await each.http.aclose()
    await services.database.close()


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_where_a_request_comes_from(address: str, origin: str) -> None:
    assert origin_of({"client": (address, 1)}) == origin
    assert origin_of({"client": None}) == ""


async def test_the_cookie_opens_no_door(browser: Browser) -> None:
    await browser.log_in()
    for path in ("/fhir/Patient/p1", "/dicom-web/studies", "/admin/api/jobs", "/auth/userinfo"):
        assert (await browser.http.get(path)).status_code == 401


async def test_passwords_that_are_tried_at_once_are_counted(
    new_sqlite: Callable[[bool], str], tmp_path: Path
) -> None:
    """Whatever the names are, for one password may be tried on many; a right one is not counted."""
    settings = Settings(
        data=tmp_path, worker=False, database_url=new_sqlite(True), failed_logins_per_minute=2
    )
    services = build_services(settings)
    app, database = build_app(settings, services), services.database
    await add_user(database, NewUser("ada", Role.CLINICIAN, "Dr Ada", PASSWORD), ADMIN)
    client_id = (await add_client(database, Wanted("App", SCOPE, redirect_uris=[BACK]))).client_id
    browsers = [Browser(app, database, client_id) for _ in range(4)]
    for each in browsers[1:]:
        await each.log_in()
    browser = browsers[0]
    url, page = await browser.page(await browser.ask())
    guesses = [browser.send(url, page, "login", name=f"n{n}", password="wrong") for n in range(6)]
    statuses = sorted(answer.status_code for answer in await asyncio.gather(*guesses))
    assert statuses == [403, 403, 429, 429, 429, 429]
    held_up = await browser.send(url, page, "login", name="ada", password=PASSWORD)
    assert (held_up.status_code, int(held_up.headers["retry-after"]) <= 30) == (429, True)
    for each in browsers:
        await each.http.aclose()
    await services.database.close()
