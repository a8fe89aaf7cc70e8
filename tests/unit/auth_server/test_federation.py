"""Login at an external OpenID provider (OpenID Connect Core 1.0 §3.1, RFC 9700, RFC 9207)."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from joserfc.jwk import ECKey
from sqlalchemy import insert, select
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from fhir.interactions.door import Door
from server import check_config
from server.app import build_app, build_services
from server.auth.authorize.patients import Patients
from server.auth.authorize.pressure import Pressure
from server.auth.authorize.routes import Installation, build_router
from server.auth.clients import Wanted, add_client
from server.auth.federation import routes
from server.auth.federation.claims import Person
from server.auth.federation.login import FederatedLogin
from server.auth.federation.logout_tokens import EVENT
from server.auth.federation.people import log_in_person
from server.auth.federation.provider import ClaimRules, Provider
from server.auth.federation.provider_link import AGAIN_US as DOCUMENT_AGAIN_US
from server.auth.federation.provider_link import FRESH_US, ProviderFailed, ProviderLink
from server.auth.grants.context import LaunchContext
from server.auth.grants.grant import Allowed, new_grant
from server.auth.published_keys import AGAIN_US
from server.auth.scopes import parse_scopes
from server.auth.tables import AccessToken, UserAccount
from server.auth.tokens import AccessTokens, TokenRequest, issue_token, new_token
from server.auth.users.accounts import NewUser, add_user, disable_user, link_user, user_of
from server.auth.users.identities import Identity
from server.auth.users.roles import Role
from server.auth.users.sessions import LoginElsewhere, find_session
from server.kernel import outbound
from server.kernel.clock import SECOND_US, now_us
from server.kernel.database import Database, UnitOfWork
from server.kernel.rate_limit import LocalRateLimiter
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.setting_groups.outbound import outbound_policy
from server.settings import Settings
from tests.services.openid_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    KEY,
    OpenIdProvider,
    openid_provider,
    serving,
)
from tests.services.routers import add_router
from tests.unit.auth_server.test_authorize import (
    ADMIN,
    BACK,
    BASE,
    PASSWORD,
    SCOPE,
    Browser,
    form_token,
    heading,
)
from tests.unit.auth_server.test_users import audited

HERE = "http://localhost:8080"
CALLBACK = f"{BASE}/auth/federation/callback"
AGAIN_S, FRESH_S = DOCUMENT_AGAIN_US // SECOND_US, FRESH_US // SECOND_US
ROLES = {"isthmus-admins": "admin", "doctors": "clinician", "patients": "patient"}


class Relying(Browser):
    """A browser at a server whose users log in at a provider, which it plays where that has no pages."""

    provider: OpenIdProvider
    settings: Settings
    services: Services

    async def leave(self, **asked: str | None) -> httpx.URL:
        """Where the button of the login page leads."""
        url, page = await self.page(await self.ask(**asked))
        assert f'href="{url}?elsewhere"' in page
        left = await self.http.get(f"{url}?elsewhere")
        assert left.status_code == 303, left.text
        gone_to = httpx.URL(left.headers["location"])
        self.provider.asked = dict(gone_to.params.items())
        return gone_to

    async def back(self, **said: Any) -> httpx.Response:
        """The browser comes back; None takes a parameter away."""
        told = {"state": self.provider.asked["state"], "code": "c-1", **said}
        query = {name: value for name, value in told.items() if value is not None}
        return await self.http.get("/auth/federation/callback", params=query)

    async def come_in(self, **asked: str | None) -> httpx.Response:
        """There and back."""
        await self.leave(**asked)
        return await self.back()


def pages(settings: Settings, services: Services) -> FastAPI:
    """The application, as far as a browser has it on the way from an app to its code."""
    app = FastAPI()
    patients = Patients(Door(services, b"k" * 32))
    elsewhere = None if settings.provider is None else FederatedLogin(services, settings.provider)
    tokens, pressure = AccessTokens(services.database), Pressure(LocalRateLimiter(), "logins", 0)
    app.state.tokens = tokens
    add_router(app, build_router(Installation(services, patients, tokens, pressure, pressure, elsewhere)))
    add_router(app, routes.build_router(elsewhere, tokens))
    return app


@asynccontextmanager
async def relying(
    provider: OpenIdProvider | None, database_url: str, folder: Path, clock: Any = now_us, **more: Any
) -> AsyncIterator[Relying]:
    """A server, with an app and two users, at which users of the provider log in."""
    if provider is not None:
        there = {"issuer": provider.issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        more |= {f"federation_{name}": text for name, text in there.items()} | {
            "federation_name": "The <SSO>"
        }
    limits: Any = {"failed_logins_per_minute": 0, **more}
    settings = Settings(data=folder, worker=False, database_url=database_url, **limits)
    services = replace(build_services(settings), clock=clock)
    client = await add_client(services.database, Wanted("Growth Chart", SCOPE, redirect_uris=[BACK]))
    await add_user(services.database, NewUser("ada", Role.CLINICIAN, "Dr Ada", PASSWORD), ADMIN)
    await add_user(services.database, NewUser("root", Role.ADMIN, "Root", PASSWORD), ADMIN)
    browser = Relying(pages(settings, services), services.database, client.client_id)
    browser.settings, browser.services = settings, services
    if provider is not None:
        browser.provider = provider
    try:
        yield browser
    finally:
        await browser.http.aclose()
        await services.database.close()


Start = Callable[..., Any]


@pytest.fixture
async def start(new_sqlite: Callable[[bool], str], tmp_path: Path, clock: Any) -> AsyncIterator[Start]:
    """Starts a provider and a server beside it."""
    async with AsyncExitStack() as stack:

        async def begin(**more: Any) -> Relying:
            provider = await stack.enter_async_context(openid_provider())
            return await stack.enter_async_context(
                relying(provider, new_sqlite(True), tmp_path, clock, **more)
            )

        yield begin


def problem(response: httpx.Response) -> str:
    """What the user is told instead of being logged in."""
    assert response.status_code in (403, 404), (response.status_code, response.headers)
    return response.text


async def test_there_and_back(start: Start) -> None:
    there = await start()
    await link_user(there.database, "ada", Identity(there.provider.issuer, "s-1"), ADMIN)
    gone_to = await there.leave()
    assert str(gone_to).startswith(f"{there.provider.issuer}/authorize?realm=one&response_type=code&")
    asked = there.provider.asked
    told = {name: asked[name] for name in ("client_id", "redirect_uri", "scope", "code_challenge_method")}
    assert told == {
        "client_id": CLIENT_ID,
        "redirect_uri": CALLBACK,
        "scope": "openid profile",
        "code_challenge_method": "S256",
    }
    assert not {"prompt", "max_age"} & set(asked)
    _, page = await there.page(await there.back())
    assert heading(page) == "Choose a patient"
    assert "Dr Ada" in page
    (form,) = [form for path, form in there.provider.told if path == "/token"]
    assert there.provider.proves(form)
    assert (form["code"], form["redirect_uri"], "client_secret" in form) == ("c-1", CALLBACK, False)
    assert there.provider.authorization == ["Basic aXN0aG11cyUyMGhlcmU6cyUyNmNyZXQlMkYlQzMlQkM="]
    assert await audited(there.database, "provider-login") == [("user:ada", "0")]

    there.http = there.new()
    shown = await there.http.get((await there.ask()).headers["location"])
    assert "Log in at The &lt;SSO&gt;" in shown.text
    assert "form-action 'self' https://app.test;" in shown.headers["content-security-policy"]
    assert "<script" not in shown.text


SAID: list[tuple[str, dict[str, Any], str]] = [
    # RFC 9207 §2.4, and what the provider itself refuses
    ("a mix-up", {"iss": "https://another.test"}, "could not log you in"),
    ("no code", {"code": None}, "could not log you in"),
    ("two codes", {"code": ["c-1", "c-2"]}, "could not log you in"),
    ("a parameter twice", {"x": ["1", "2"]}, "could not log you in"),
    ("a long code", {"code": "x" * 9000}, "could not log you in"),
    ("refused by the user", {"code": None, "error": "access_denied"}, "was not completed"),
    ("an error", {"code": "c", "error": "<b>", "error_description": "<script>"}, "could not log you in"),
]
CLAIMED: list[tuple[str, dict[str, Any]]] = [
    # each rule is tested in tests/conformance/openid_core; that they are asked at all, here
    ("issuer", {"iss": "https://another.test"}),
    ("audience", {"aud": "another"}),
    ("hash of the access token", {"at_hash": "another"}),
]


def endless() -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0)  # gives way
            yield b" " * 65536

    return StreamingResponse(chunks(), media_type="application/json")


def answered() -> list[tuple[str, str, Response]]:
    tokens = {"id_token": "a.b.c", "access_token": "a"}
    return [
        ("redirect", "/token", RedirectResponse("https://evil.test/token", 307)),
        ("error", "/token", JSONResponse({"error": "invalid_grant"}, 400)),
        ("endless", "/token", endless()),
        ("no JSON", "/token", Response(b"\xff")),
        ("no id_token", "/token", JSONResponse({"access_token": "a"})),
        ("an id_token that is none", "/token", JSONResponse(tokens)),
        ("an id_token that is no text", "/token", JSONResponse({"id_token": {}})),
    ]


async def test_answers_that_log_nobody_in(start: Start) -> None:
    there = await start()
    await link_user(there.database, "ada", Identity(there.provider.issuer, "s-1"), ADMIN)
    for name, said, words in SAID:
        await there.leave()
        page = problem(await there.back(**said))
        assert words in page, name
        assert not {"<script>", "<b>"} & {page[at : at + 8] for at in range(len(page))}, name
    for name, claims in CLAIMED:
        there.provider.claims = claims
        assert "could not log you in" in problem(await there.come_in()), name
    there.provider.claims = {}
    for name, path, response in answered():
        there.provider.answers = {path: response}
        assert "could not log you in" in problem(await there.come_in()), name
    there.provider.answers = {}
    assert "isthmus-session" not in there.http.cookies
    assert {outcome for _, outcome in await audited(there.database, "provider-login")} == {"4"}
    assert (await there.come_in()).status_code == 303


async def test_a_slow_answer(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    there = await start()
    there.provider.silent = asyncio.Event()
    await there.leave()
    monkeypatch.setattr(outbound, "ANSWER_S", 0.05)
    assert "could not log you in" in problem(await there.back())
    there.provider.silent.set()


async def test_a_state_is_good_once_and_in_its_browser(start: Start) -> None:
    """Replay; login CSRF, RFC 9700 §4.7; and a code that is put into another's login, §4.5."""
    there = await start()
    await link_user(there.database, "ada", Identity(there.provider.issuer, "s-1"), ADMIN)
    await there.leave()
    mine = there.http
    for state in ("", "x", "x.y", "\x00", f"{there.provider.asked['state']}x"):
        assert heading(problem(await there.back(state=state))) == "This does not work"
    first = dict(there.provider.asked)
    there.http = there.new()  # the victim's browser, which has a login of its own under way
    await there.leave()
    assert heading(problem(await there.back(state=first["state"]))) == "This does not work"
    assert "isthmus-session" not in there.http.cookies
    await there.http.aclose()
    there.http, there.provider.asked = mine, first
    assert (await there.back()).status_code == 303
    assert heading(problem(await there.back())) == "This does not work"


async def test_a_code_of_another_login(start: Start) -> None:
    """Its id_token has the nonce of the login that it was issued for (OpenID Connect Core §3.1.2.1)."""
    there = await start()
    await link_user(there.database, "ada", Identity(there.provider.issuer, "s-1"), ADMIN)
    await there.leave()
    stolen = there.provider.asked["nonce"]
    await there.leave()
    there.provider.claims = {"nonce": stolen}
    assert "could not log you in" in problem(await there.back())


async def test_a_login_begun_again_voids_the_one_before(start: Start) -> None:
    there = await start()
    await link_user(there.database, "ada", Identity(there.provider.issuer, "s-1"), ADMIN)
    url, _ = await there.page(await there.ask())
    states = []
    for _ in "ab":
        left = await there.http.get(f"{url}?elsewhere")
        there.provider.asked = dict(httpx.URL(left.headers["location"]).params.items())
        states.append(there.provider.asked["state"])
    assert len(set(states)) == 2
    assert heading(problem(await there.back(state=states[0]))) == "This does not work"
    assert (await there.back()).status_code == 303


async def test_two_answers_at_once(database_url: str, tmp_path: Path) -> None:
    async with openid_provider() as provider, relying(provider, database_url, tmp_path) as there:
        await link_user(there.database, "ada", Identity(provider.issuer, "s-1"), ADMIN)
        await there.leave()
        statuses = [each.status_code for each in await asyncio.gather(*(there.back() for _ in "abcd"))]
        assert sorted(statuses) == [303, 404, 404, 404]


async def test_a_provider_that_names_itself(start: Start) -> None:
    """RFC 9207 §2.4: then its answers always do."""
    there = await start()
    there.provider.document = {"authorization_response_iss_parameter_supported": True}
    await link_user(there.database, "ada", Identity(there.provider.issuer, "s-1"), ADMIN)
    await there.leave()
    assert "could not log you in" in problem(await there.back())
    await there.leave()
    assert (await there.back(iss=there.provider.issuer)).status_code == 303


async def test_new_keys(start: Start, clock: Any) -> None:
    there = await start()
    await link_user(there.database, "ada", Identity(there.provider.issuer, "s-1"), ADMIN)
    there.provider.keys = [ECKey.generate_key("P-256", {"kid": "before"})]
    for _ in "ab":  # made up key ids do not have us knock again and again
        assert "could not log you in" in problem(await there.come_in())
    there.provider.keys.append(KEY)
    assert [path for path, _ in there.provider.told].count("/keys") == 1
    clock.offset_s += AGAIN_US // SECOND_US
    there.provider.claims = {
        name: int(clock() / SECOND_US) + more for name, more in (("iat", 0), ("exp", 60))
    }
    assert (await there.come_in()).status_code == 303


DOCUMENTS: list[dict[str, Any]] = [
    {"issuer": "https://another.test"},
    {"issuer": None},
    {"authorization_endpoint": "https://another.test/authorize"},
    {"authorization_endpoint": "javascript:alert(1)"},
    {"token_endpoint": "http://169.254.169.254/latest"},
    {"token_endpoint": None},
    {"jwks_uri": "file:///etc/passwd"},
    {"jwks_uri": "https://user@127.0.0.1/keys"},
    {"end_session_endpoint": "https://another.test/off"},
    {"token_endpoint_auth_methods_supported": ["private_key_jwt"]},
]


async def test_documents_that_are_not_believed(clock: Any) -> None:
    """OpenID Connect Discovery 1.0 §4.3; what is known serves on when the provider is down."""
    async with openid_provider() as there:
        policy = outbound_policy([there.issuer], [])
        link = ProviderLink(Provider(there.issuer, "i", "s", "n", "openid", policy), clock)
        for said in DOCUMENTS:
            there.document = said
            with pytest.raises(ProviderFailed):
                await link.metadata()
            clock.offset_s += AGAIN_S
        there.document = {}
        known = await link.metadata()
        assert known.token_endpoint == f"{there.issuer}/token"
        asked = len(there.told)
        there.answers = {"/.well-known/openid-configuration": Response(status_code=500)}
        for _ in "ab":
            clock.offset_s += FRESH_S
            assert [await link.metadata() for _ in "ab"] == [known, known]
        assert len(there.told) == asked + 2


async def test_check_config_asks_the_provider(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    there = await start()
    monkeypatch.setattr(check_config, "_CHECKS", {"provider": check_config._check_provider})
    told = await check_config.check(there.settings)
    assert (told.passed, told.lines[-1]) == (True, "ok    provider: answers")
    assert CLIENT_SECRET not in "".join(told.lines)
    there.provider.document = {"issuer": "https://another.test"}
    told = await check_config.check(there.settings)
    assert (told.passed, told.lines[-1][:24]) == (False, "FAIL  provider: its docu")


async def test_a_provider_that_is_down(start: Start) -> None:
    there = await start()
    there.provider.answers = {"/.well-known/openid-configuration": Response(status_code=503)}
    url, page = await there.page(await there.ask())
    assert "The &lt;SSO&gt; cannot be reached" in page
    left = await there.http.get(f"{url}?elsewhere")
    assert (left.status_code, "cannot be reached" in left.text) == (503, True)
    assert (await there.send(url, page, "login", name="ada", password=PASSWORD)).status_code == 303


async def test_who_is_linked_to_nobody(start: Start) -> None:
    there = await start()
    there.provider.claims = {"email": "ada@hospital.test", "preferred_username": "ada", "name": "Dr Ada"}
    page = problem(await there.come_in())
    assert "subject is s-1" in page
    await link_user(there.database, "ada", Identity("https://another.test", "s-1"), ADMIN)
    assert "subject is s-1" in problem(await there.come_in())
    assert "isthmus-session" not in there.http.cookies


async def test_an_account_out_of_use_stays_so(start: Start) -> None:
    there = await start(federation_accounts=True, federation_role_claim=("roles",), federation_roles=ROLES)
    await link_user(there.database, "ada", Identity(there.provider.issuer, "s-1"), ADMIN)
    await disable_user(there.database, "ada", ADMIN)
    there.provider.claims = {"roles": ["doctors"]}
    assert "out of use" in problem(await there.come_in())
    assert await audited(there.database, "provider-login") == [("user:ada", "4")]


async def accounts(there: Relying) -> list[tuple[str, str, str | None, str | None]]:
    t = table_of(UserAccount)
    told = (t.c.display, t.c.role, t.c.fhir_user, t.c.patient_id)
    async with there.database.read() as connection:
        rows = await connection.execute(select(*told).where(t.c.issuer.is_not(None)).order_by(t.c.id))
        return [tuple(row) for row in rows]


async def offline_token(there: Relying) -> str:
    """An access token of what the newest account has allowed for longer than its session."""
    async with there.database.read() as connection:
        t = table_of(UserAccount)
        user = user_of((await connection.execute(select(t).order_by(t.c.id.desc()).limit(1))).one())
    scopes = parse_scopes("offline_access user/Patient.rs")
    allowed = Allowed(there.client_id, user, 1, scopes, None, LaunchContext())

    async def work(unit: UnitOfWork) -> str:
        grant_id = await unit.connection.run_sync(lambda c: new_grant(c, allowed, unit.now_us))
        asked = TokenRequest(user.principal.id, scopes, 300, there.client_id, grant_id=grant_id)
        issued = new_token(asked, unit.now_us)
        await unit.execute(insert(table_of(AccessToken)), [issued.row])
        return issued.text

    return await there.database.transact(work)


async def test_accounts_that_the_provider_makes(start: Start) -> None:
    there = await start(
        federation_accounts=True,
        federation_role_claim=("realm_access", "roles"),
        federation_roles=ROLES,
        federation_fhir_user_claim="fhirUser",
    )

    async def come_in(*roles: str, **claims: Any) -> httpx.Response:
        held = {"realm_access": {"roles": ["x", *roles]}, "auth_time": time.time()}
        there.provider.claims = {"name": "Eve", **held, **claims}
        return await there.come_in(prompt="login")

    assert "what you are here for" in problem(await come_in())
    assert "whose record" in problem(await come_in("patients"))
    assert "whose record" in problem(await come_in("patients", fhirUser="Practitioner/eve"))
    assert "whose record" in problem(
        await come_in("patients", fhirUser="https://another.test/fhir/Patient/p1")
    )
    assert await accounts(there) == []
    assert (await come_in("doctors", fhirUser=f"{BASE}/fhir/Practitioner/eve")).status_code == 303
    assert await accounts(there) == [("Eve", "clinician", "Practitioner/eve", None)]
    doctor, tokens = dict(there.http.cookies), there.app.state.tokens
    bearer = await offline_token(there)
    assert await tokens.access_of(bearer) is not None
    there.http = there.new()
    assert (
        await come_in("doctors", "isthmus-admins", name="Eva")
    ).status_code == 303  # the first in the settings
    assert await accounts(there) == [("Eve", "admin", None, None)]
    assert await tokens.access_of(bearer) is None
    for name, value in doctor.items():
        there.http.cookies.set(name, value, domain="127.0.0.1")
    assert (
        heading((await there.page(await there.ask()))[1]) == "Log in"
    )  # what was begun as a clinician has ended
    assert (await come_in("patients", fhirUser="Patient/p1")).status_code == 303
    assert await accounts(there) == [("Eve", "patient", "Patient/p1", "p1")]
    for refused in ({}, {"fhirUser": "Practitioner/eve"}):  # no role any more; no record
        assert (await come_in("patients", fhirUser="Patient/p1")).status_code == 303
        bearer = await offline_token(there)
        assert await tokens.access_of(bearer) is not None
        assert "Eve" in (await there.http.get("/auth/logout")).text
        problem(await come_in(*(["patients"] if refused else []), **refused))
        assert await tokens.access_of(bearer) is None
        assert "Eve" not in (await there.http.get("/auth/logout")).text
    assert (await come_in("doctors", sub="s-2", name="A" * 300)).status_code == 303
    assert (await accounts(there))[1] == ("A" * 200, "clinician", None, None)


async def test_first_logins_at_once_make_one_account(database: Database) -> None:
    person = Person("https://login.test", "s-1", "Eve", Role.CLINICIAN, None)
    rules = ClaimRules(("roles",), {"doctors": Role.CLINICIAN}, None, makes_accounts=True)
    elsewhere = LoginElsewhere(person.issuer, None, None)
    secrets = await asyncio.gather(*(log_in_person(database, person, rules, elsewhere) for _ in range(4)))
    sessions = [await find_session(database, secret, now_us()) for secret in secrets]
    assert len({session.id for session in sessions if session is not None}) == 4
    assert len({session.user.id for session in sessions if session is not None}) == 1


async def test_claims_change_nothing_of_an_account_that_is_kept_here(start: Start) -> None:
    there = await start(federation_role_claim=("roles",), federation_roles=ROLES)
    await link_user(there.database, "ada", Identity(there.provider.issuer, "s-1"), ADMIN)
    for roles in (["isthmus-admins"], None, "patients"):
        there.provider.claims = {"roles": roles, "name": "Mallory", "auth_time": time.time()}
        assert (await there.come_in(prompt="login")).status_code == 303, roles
        assert await accounts(there) == [("Dr Ada", "clinician", None, None)]


async def test_local_passwords_off_are_not_so_for_administrators(start: Start) -> None:
    there = await start(federation_local_passwords=False)
    url, page = await there.page(await there.ask(scope="user/Patient.rs"))
    assert "Administrators of this server" in page
    refused = await there.send(url, page, "login", name="ada", password=PASSWORD)
    assert refused.status_code == 403
    assert (await there.send(url, page, "login", name="root", password=PASSWORD)).status_code == 303


async def test_a_fresh_login_is_passed_on(start: Start) -> None:
    there = await start()
    await link_user(there.database, "ada", Identity(there.provider.issuer, "s-1"), ADMIN)
    now = int(time.time())
    for asked, passed, stale in (
        ({"prompt": "login"}, ("login", "0"), now - 600),
        ({"max_age": "300"}, (None, "300"), now - 600),
        ({"max_age": "300"}, (None, "300"), None),
        ({"prompt": "login consent", "max_age": "5"}, ("login", "0"), now - 600),
    ):
        there.provider.claims = {"auth_time": stale}
        there.http = there.new()
        await there.leave(**asked)
        assert (there.provider.asked.get("prompt"), there.provider.asked["max_age"]) == passed
        assert "could not log you in" in problem(await there.back()), asked
        there.provider.claims = {"auth_time": now}
        assert heading((await there.page(await there.come_in(**asked)))[1]) == "Choose a patient", asked
    there.provider.claims = {"auth_time": now - 600}  # an old login does for who asks for none
    there.http = there.new()
    assert heading((await there.page(await there.come_in()))[1]) == "Choose a patient"
    _, page = await there.page(await there.ask(max_age="300"))  # and is as old as it is
    assert heading(page) == "Log in"


async def test_logging_off_leads_to_the_provider(start: Start) -> None:
    there = await start()
    await link_user(there.database, "ada", Identity(there.provider.issuer, "s-1"), ADMIN)
    there.provider.document = {"end_session_endpoint": f"{there.provider.issuer}/off"}
    await there.come_in()
    page = (await there.http.get("/auth/logout")).text
    done = await there.http.post("/auth/logout", data={"form_token": form_token(page)})
    back = "post_logout_redirect_uri=http%3A%2F%2F127.0.0.1%3A8080%2Fauth%2Flogout"
    assert f'href="{there.provider.issuer}/off?client_id=isthmus+here&amp;{back}"' in done.text
    url, page = await there.page(await there.ask())
    await there.send(url, page, "login", name="ada", password=PASSWORD)
    page = (await there.http.get("/auth/logout")).text
    done = await there.http.post("/auth/logout", data={"form_token": form_token(page)})
    assert "/off?" not in done.text  # who logged in here


async def test_sessions_that_end_at_the_provider(database_url: str, tmp_path: Path) -> None:
    """OpenID Connect Back-Channel Logout 1.0 §2.7: by its session, or all of a user's."""
    async with openid_provider() as provider, relying(provider, database_url, tmp_path) as there:
        await link_user(there.database, "ada", Identity(provider.issuer, "s-1"), ADMIN)
        browsers = [there.new() for _ in "abc"]
        for sid, there.http in zip(("p-1", "p-2", None), browsers, strict=True):
            provider.claims = {"sid": sid}
            assert (await there.come_in()).status_code == 303

        async def logged_in() -> list[bool]:
            return ["Dr Ada" in (await each.get("/auth/logout")).text for each in browsers]

        async def end(jti: str, **claims: Any) -> int:
            told = {"jti": jti, "nonce": None, "events": {EVENT: {}}, **claims}
            provider.claims = told
            form = {"logout_token": provider.id_token()}
            return (await there.http.post("/auth/federation/logout", data=form)).status_code

        for claims in ({"sid": "p-1", "nonce": "n"}, {"sid": "p-1", "aud": "x"}, {"sid": "\x00"}):
            assert await end("j-0", **claims) == 400
        assert await end("j-1", sid="p-9", sub=None) == 200
        assert await logged_in() == [True, True, True]
        assert await end("j-2", sid="p-1", sub=None) == 200
        assert await logged_in() == [False, True, True]
        assert await end("j-3", sub="s-2") == 200
        assert await logged_in() == [False, True, True]
        assert await end("j-5", sid="p-9") == 200  # may be the one that told no sid
        assert await logged_in() == [False, True, False]
        assert await end("j-4") == 200
        assert await logged_in() == [False, False, False]
        provider.claims = {}
        there.http = browsers[0]
        await there.come_in()
        assert await end("j-4") == 400  # used before
        assert await logged_in() == [True, False, False]
        assert await audited(there.database, "logout") == [("system:provider", "0")] * 3
        for each in browsers:
            await each.aclose()


async def test_without_a_provider(new_sqlite: Callable[[bool], str], tmp_path: Path) -> None:
    async with relying(None, new_sqlite(True), tmp_path) as here:
        url, page = await here.page(await here.ask())
        assert "Log in at" not in page
        assert (await here.http.get(f"{url}?elsewhere")).text == page
        query = {"state": f"{url.rpartition('/')[2]}.x", "code": "c"}
        assert (await here.http.get("/auth/federation/callback", params=query)).status_code == 404
        assert (await here.send(url, page, "login", name="ada", password=PASSWORD)).status_code == 303


@asynccontextmanager
async def another_isthmus(database_url: str, folder: Path) -> AsyncIterator[tuple[str, Any]]:
    """A server that listens, where Dr Grace has an account; its address, and the client that we are there."""
    listener = socket.create_server(("127.0.0.1", 0))
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = Settings(data=folder, worker=False, database_url=database_url, public_base=base)
    services = build_services(settings)
    await add_user(services.database, NewUser("grace", Role.CLINICIAN, "Dr Grace", PASSWORD), ADMIN)
    wanted = Wanted(
        "Here", "openid profile", None, [f"{HERE}/auth/federation/callback"], is_confidential=True
    )
    client = await add_client(services.database, wanted)
    async with serving(build_app(settings, services), listener):
        yield base, client
    await services.database.close()


async def test_another_isthmus_is_the_provider(new_sqlite: Callable[[bool], str], tmp_path: Path) -> None:
    """From an app of the one, over the login page of the other, to a record of the first."""
    async with AsyncExitStack() as stack:
        base, client = await stack.enter_async_context(another_isthmus(new_sqlite(True), tmp_path / "there"))
        here = await stack.enter_async_context(
            relying(
                None,
                new_sqlite(True),
                tmp_path / "here",
                public_base=HERE,  # a name of its own: cookies know no ports
                federation_issuer=base,
                federation_client_id=client.client_id,
                federation_client_secret=client.client_secret,
            )
        )
        transport = httpx.ASGITransport(build_app(here.settings, here.services))
        token = await issue_token(here.database, scope="system/*.cruds")
        admin = await stack.enter_async_context(
            httpx.AsyncClient(
                transport=transport, base_url=HERE, headers={"Authorization": f"Bearer {token}"}
            )
        )
        for name, status in (("ada", 204), ("root", 409), ("ada", 204)):
            said = {"subject": "user:grace"}
            assert (await admin.put(f"/admin/api/users/{name}/link", json=said)).status_code == status, name
        here.http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=HERE, mounts={HERE: transport}, trust_env=False)
        )
        url, page = await here.page(
            await here.ask(aud=f"{HERE}/fhir", scope="openid user/Patient.rs", prompt="login")
        )
        left = await here.http.get(f"{url}?elsewhere")
        url, page = await here.page(await here.http.get(left.headers["location"]))
        assert url.startswith(base)
        assert (await here.http.post(f"{base}/auth/federation/logout")).status_code == 404
        url, page = await here.page(await here.send(url, page, "login", name="grace", password=PASSWORD))
        assert heading(page) == "Allow Here?"
        allowed = await here.send(url, page, "allow")
        assert allowed.headers["location"].startswith(f"{HERE}/auth/federation/callback?code=")
        url, page = await here.page(await here.http.get(allowed.headers["location"]))
        assert heading(page) == "Allow Growth Chart?"
        tokens = await here.tokens(await here.send(url, page, "allow", scope="user/Patient.rs"))
        told = await here.http.get(
            "/auth/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"}
        )
        assert told.json()["sub"] == "user:ada"
        (session,) = (await admin.get("/admin/api/users/ada/sessions")).json()["sessions"]
        assert session["issuer"] == base
        assert (await admin.delete("/admin/api/users/ada/link")).status_code == 204
        assert (await admin.get("/admin/api/users/ada/sessions")).json()["sessions"] == []
