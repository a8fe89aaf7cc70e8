"""Breaking the glass: for whom, for a reason, for an hour; and who looks at it (45 CFR 164.312(a)(2)(ii))."""

import asyncio
import re
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from server.auth.clients import Wanted, add_client
from server.auth.emergency.access import BROKEN, LASTS_US, note_access, one_line
from server.auth.emergency.review import Reviewed, Verdict, emergency_facts, list_accesses, review
from server.auth.grants.code import Bound, new_code
from server.auth.grants.context import LaunchContext
from server.auth.grants.grant import Allowed, find_grant, new_grant
from server.auth.scopes import parse_scopes
from server.auth.standing import access_by
from server.auth.tables import EmergencyAccess, OAuthGrant
from server.auth.tokens import issue_token
from server.auth.users.accounts import NewUser, add_user
from server.auth.users.roles import Role
from server.kernel.clock import SECOND_US, now_us
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow
from tests.services.consents import consent, provision
from tests.unit.auth_server import test_authorize as pages
from tests.unit.auth_server import test_user_grants as grants

Browser = pages.Browser
browser = pages.browser  # the fixture: an app, its users and patients
REASON = "Unconscious after a fall, allergies are not known"
CHOSEN = ["patient/*.rs", "user/Patient.rs", "offline_access"]


async def rows(database: Database, table: type, **where: Any) -> list[Any]:
    t = table_of(table)
    query = select(t).where(*(t.c[name] == value for name, value in where.items()))
    async with database.read() as connection:
        return list(await connection.execute(query))


async def at_emergency(browser: Browser, **asked: str | None) -> tuple[str, str]:
    """The page, as its link on the consent page leads to it."""
    url, page = await browser.at_consent(**asked)
    found = re.search(r'href="([^"]*)">Emergency access</a>', page)
    assert found is not None, page
    return url, (await browser.http.get(found[1])).text


async def break_glass(browser: Browser, url: str, page: str, **said: Any) -> httpx.Response:
    fields = {"scope": CHOSEN, "reason": REASON, "confirmed": "yes", **said}
    return await browser.send(url, page, "emergency", **fields)


MISSING: list[dict[str, Any]] = [
    {"reason": ""},
    {"reason": "too short"},
    {"reason": " \n\x00" * 20 + "blank"},
    {"reason": "x" * 501},
    {"confirmed": ""},
    {"confirmed": "no"},
    {"scope": []},
]


async def test_from_the_consent_page_to_the_verdict(browser: Browser) -> None:
    token = await _broken(browser)
    await _reviewed(browser, token)


async def _broken(browser: Browser) -> str:
    """A clinician breaks the glass, and reads the record; returns the access token."""
    url, page = await at_emergency(browser)
    assert pages.heading(page) == "Emergency access"
    assert "A&lt;b&gt; Lovelace" in page
    assert "offline_access" not in page
    for said in MISSING:
        refused = await break_glass(browser, url, page, **said)
        assert (refused.status_code, pages.heading(refused.text)) == (400, "Emergency access"), said
        assert 'role="alert"' in refused.text
    forged = {
        "form_token": "0" * 64,
        "step": "emergency",
        "scope": CHOSEN,
        "reason": REASON,
        "confirmed": "yes",
    }
    assert (await browser.http.post(url, data=forged)).headers["location"] == url
    assert await rows(browser.database, EmergencyAccess) == []
    before = BROKEN._value.get()
    with capture_logs() as logged:
        broken_glass = await break_glass(browser, url, page)
    assert BROKEN._value.get() == before + 1
    assert {"event": "emergency access", "emergency_access": 1, "log_level": "warning"} in logged
    assert REASON not in str(logged)
    tokens = await browser.tokens(broken_glass)
    assert (tokens["patient"], "refresh_token" in tokens) == ("p1", False)
    assert 3590 <= tokens["expires_in"] <= 3600
    assert {each for each in tokens["scope"].split() if "/" in each} == {"patient/*.rs", "launch/patient"}
    assert set(tokens["scope"].split()).isdisjoint({"offline_access", "online_access"})
    assert (await break_glass(browser, url, page)).status_code == 404  # a request is answered once

    (broken,) = await rows(browser.database, EmergencyAccess)
    (grant,) = await rows(browser.database, OAuthGrant)
    assert (broken.grant_id, broken.patient_id, broken.reason) == (grant.id, "p1", REASON)
    assert (broken.client_id, broken.token is None, broken.reviewed_us) == (browser.client_id, False, None)
    assert (grant.purpose, grant.is_offline, grant.expires_us) == ("BTG", False, broken.begun_us + LASTS_US)
    (entry,) = await rows(browser.database, AuditRow, interaction="break-glass")
    told = (entry.principal, entry.client, entry.purpose, entry.patient_id, entry.resource_id)
    assert told == ("user:ada", f"client:{browser.client_id}", "BTG", "p1", str(broken.id))
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await browser.http.get("/fhir/Patient/p1", headers=headers)).status_code == 200
    auditor = await issue_token(browser.database, scope="system/AuditEvent.rs")
    trail = await browser.http.get(
        "/fhir/AuditEvent",
        params={"policy": f"urn:isthmus:token:{broken.token}"},
        headers={"Authorization": f"Bearer {auditor}"},
    )
    (read,) = [each["resource"] for each in trail.json()["entry"]]
    assert read["subtype"][0]["code"] == "read"
    assert read["agent"][0]["purposeOfUse"][0]["coding"][0]["code"] == "BTG"
    return str(tokens["access_token"])


async def test_whom_it_is_not_for(browser: Browser) -> None:
    """Not for patients, administrators and auditors, nor without a patient."""
    await add_user(browser.database, NewUser("root", Role.ADMIN, "Root", pages.PASSWORD), pages.ADMIN)
    wanted = Wanted("Trail", f"{pages.SCOPE} user/AuditEvent.rs", redirect_uris=[pages.BACK])
    browser.client_id = (await add_client(browser.database, wanted)).client_id
    for name, scope in (
        ("pat", "patient/*.rs"),
        ("root", "patient/*.rs"),
        ("aud", "user/AuditEvent.rs"),
        ("ada", "user/Patient.rs openid"),
        ("ada", "launch/patient openid"),
        ("ada", "launch/patient user/Patient.rs"),  # of everybody: acts on others are no emergency
    ):
        url, page = await browser.page(await browser.ask(scope=scope, prompt="login"))
        sent = await browser.send(url, page, "login", name=name, password=pages.PASSWORD)
        _, page = await browser.page(sent)
        if pages.heading(page) == "Choose a patient":
            assert (await break_glass(browser, url, page)).headers["location"] == url
            assert pages.heading((await browser.http.get(f"{url}?emergency=")).text) == "Choose a patient"
            _, page = await browser.page(await browser.send(url, page, "patient", patient="p1"))
        assert pages.heading(page).startswith("Allow"), name
        assert "Emergency" not in page, name
        assert pages.heading((await browser.http.get(f"{url}?emergency=")).text).startswith("Allow")
        for said in ({"scope": scope.split()}, {"reason": ""}):
            assert (await break_glass(browser, url, page, **said)).headers["location"] == url, name
    url, page = await browser.page(await browser.ask(scope="patient/*.rs openid"))
    _, page = await browser.page(await browser.send(url, page, "patient", patient="p1"))
    nothing = await break_glass(browser, url, page, scope=["openid", "offline_access", "patient/*.cruds"])
    assert pages.answer(nothing)["error"] == "access_denied"
    assert await rows(browser.database, EmergencyAccess) == []


async def _reviewed(browser: Browser, token: str) -> None:
    """An auditor looks at it once; nobody else does."""
    bearer = {"ada": token}
    wanted = Wanted("Trail", "user/AuditEvent.rs openid", redirect_uris=[pages.BACK])
    browser.client_id = (await add_client(browser.database, wanted)).client_id
    url, page = await browser.log_in("aud", scope="user/AuditEvent.rs openid", prompt="login")
    allowed = await browser.send(url, page, "allow", scope="user/AuditEvent.rs")
    bearer["aud"] = (await browser.tokens(allowed))["access_token"]
    for name, scope in (("siem", "system/AuditEvent.rs"), ("ada, by an administrator", "system/*.cruds")):
        bearer[name] = await issue_token(browser.database, scope=scope, subject="user:ada")
    twin = NewUser("twin", Role.ADMIN, "Dr Ada", pages.PASSWORD, "Practitioner/ada")
    await add_user(browser.database, twin, pages.ADMIN)
    bearer["twin"] = await issue_token(browser.database, scope="system/*.cruds", subject="user:twin")
    listed, place = "/admin/api/emergency-accesses", "/admin/api/emergency-accesses/1/review"
    told = (await browser.http.get(listed, params={"reviewed": False}, headers=_by(bearer["aud"]))).json()
    (access,) = told["emergency-accesses"]
    assert (access["user"], access["patient_id"], access["reason"]) == ("ada", "p1", REASON)
    assert (access["verdict"], access["client_id"] == browser.client_id) == (None, False)
    count = httpx.URL(access["audit_events"]).copy_add_param("_summary", "count")
    assert (await browser.http.get(count, headers=_by(bearer["aud"]))).json()["total"] == 1
    verdict = {"verdict": "justified", "note": "Asked the ward\x1b"}
    for name in ("ada", "siem"):
        assert (await browser.http.get(listed, headers=_by(bearer[name]))).status_code == 403, name
        assert (await browser.http.post(place, json=verdict, headers=_by(bearer[name]))).status_code == 403
    for name, path, said, status in (
        ("ada, by an administrator", place, verdict, 403),  # their own
        ("twin", place, verdict, 403),  # of the same Practitioner
        ("aud", place, {}, 400),
        ("aud", place, {"verdict": "fine"}, 400),
        ("aud", place, {**verdict, "note": "x" * 501}, 400),
        ("aud", place.replace("1", "2"), verdict, 404),
        ("aud", place, verdict, 204),
        ("aud", place, verdict, 409),
    ):
        answer = await browser.http.post(path, json=said, headers=_by(bearer[name]))
        assert answer.status_code == status, (name, said, answer.text)
    assert (await browser.http.get(f"{listed}?reviewed=false", headers=_by(bearer["aud"]))).json() == {
        "emergency-accesses": [],
        "after": None,
    }
    (access,) = (await browser.http.get(listed, headers=_by(bearer["aud"]))).json()["emergency-accesses"]
    assert (access["reviewer"], access["note"]) == ("user:aud", "Asked the ward")
    (entry,) = await rows(browser.database, AuditRow, interaction="review-emergency")
    assert (entry.principal, entry.resource_id, entry.patient_id) == ("user:aud", "1", "p1")


async def test_what_a_patient_denies_is_opened_by_it_alone(browser: Browser) -> None:
    admin = _by(await issue_token(browser.database, scope="system/*.cruds"))
    visit = {"resourceType": "Encounter", "id": "e2", "status": "finished", "class": {"code": "AMB"}}
    visit["subject"] = {"reference": "Patient/p2"}
    assert (await browser.http.put("/fhir/Encounter/e2", json=visit, headers=admin)).status_code == 201
    denies = consent("p2", provision("deny", actor="Practitioner/ada"))
    assert (await browser.http.post("/fhir/Consent", json=denies, headers=admin)).status_code == 201
    wanted = Wanted("Visits", f"{pages.SCOPE} launch/encounter", redirect_uris=[pages.BACK])
    browser.client_id = (await add_client(browser.database, wanted)).client_id
    seen = {}
    await browser.log_in()
    for is_emergency in (False, True):
        url, _ = await browser.page(await browser.ask(scope=f"{pages.SCOPE} launch/encounter"))
        page = (await browser.http.get(url, params={"q": "nightingale"})).text
        assert re.findall('name="patient" value="(.*?)"', page) == ["p2"]
        _, page = await browser.page(await browser.send(url, page, "patient", patient="p2"))
        assert ("Nightingale" in page, 'value="e2"' in page) == (True, False)
        _, page = await browser.page(await browser.send(url, page, "encounter", encounter="e2"))
        assert pages.heading(page) == "Choose a visit"
        _, page = await browser.page(await browser.send(url, page, "encounter", encounter=""))
        if is_emergency:
            page = (await browser.http.get(f"{url}?emergency=")).text
            assert "Nightingale" in page
            allowed = await break_glass(browser, url, page)
        else:
            allowed = await browser.send(url, page, "allow", scope=CHOSEN)
        bearer = _by((await browser.tokens(allowed))["access_token"])
        asked = [browser.http.get(f"/fhir/{each}", headers=bearer) for each in ("Patient/p2", "Encounter/e2")]
        seen[is_emergency] = [(await each).status_code for each in asked]
    assert seen == {False: [404, 404], True: [200, 200]}


def _by(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_it_ends_by_itself(database: Database) -> None:
    """After an hour nothing of the grant stands: token, code, introspection, Subscriptions."""
    flow = await grants.make_flow(database)
    scopes = parse_scopes("openid patient/*.rs user/Patient.rs")
    allowed = Allowed("app", flow.user, flow.session.id, scopes, "p1", LaunchContext(), "BTG", LASTS_US)

    async def work(unit: UnitOfWork) -> tuple[int, list[str]]:
        await note_access(unit, flow.user, "app", (1, "p1"), REASON)

        def made(c: Any) -> tuple[int, list[str]]:
            grant_id = new_grant(c, allowed, unit.now_us)
            bound = Bound(grants.REDIRECT, grants.CHALLENGE)
            return grant_id, [new_code(c, grant_id, bound, unit.now_us) for _ in range(2)]

        return await unit.connection.run_sync(made)

    grant_id, (code, late_code) = await database.transact(work)
    reply = await flow.redeem(code)
    assert reply.body["expires_in"] <= LASTS_US // SECOND_US
    access = await flow.access(reply.body)
    assert access is not None
    assert access.principal.purpose == "BTG"
    assert access.origin is not None
    async with database.read() as connection:
        assert await access_by(connection, access.origin, access.principal) is not None
    (told,) = (await list_accesses(database, "", reviewed=False, after=0))["emergency-accesses"]
    assert (told["grant_id"], told["audit_events"] is None) == (grant_id, False)
    assert next(each.values[0][1] for each in await emergency_facts(database)) == 1.0
    verdicts = [review(database, told["id"], grants.ADMIN, Verdict.JUSTIFIED, None) for _ in range(3)]
    given = await asyncio.gather(*verdicts, return_exceptions=True)
    assert sorted(map(type, given), key=str) == [type(None), Reviewed, Reviewed]
    assert [each.values[0][1] for each in await emergency_facts(database)] == [0.0, 0.0]
    await grants.move(database, OAuthGrant, "expires_us", LASTS_US)
    assert await flow.access(reply.body) is None
    assert (await flow.redeem(late_code)).status == 400
    async with database.read() as connection:
        assert await access_by(connection, access.origin, access.principal) is None
        assert await connection.run_sync(lambda c: find_grant(c, grant_id, now_us())) is None


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" a\r\nb ", "a b"),
        ("\x1b[31mred", "[31mred"),
        ("a\x00b\x9bc", "a b c"),
        ("\u2028ä  ß", "ä ß"),
        ("a\u202eb\u2066c\u200b", "abc"),
    ],
)
def test_a_reason_is_one_line(typed: str, kept: str) -> None:
    assert one_line(typed) == kept
