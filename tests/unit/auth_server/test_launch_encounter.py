"""The visit that an app asks for outside of an EHR (SMART App Launch 2.2, launch/encounter)."""

import re
from typing import Any

import pytest
from sqlalchemy import select

from server.auth.authorize.encounters import _choice
from server.auth.clients import Wanted, add_client
from server.auth.tables import AuthorizationRequest
from server.auth.tokens import issue_token
from server.kernel.rows import table_of
from tests.unit.auth_server import test_authorize as pages

Browser = pages.Browser
browser = pages.browser  # the fixture: an app, its users and patients
SCOPE = "openid launch/encounter patient/*.rs"


async def fill(browser: Browser) -> None:
    """Visits of two patients, and an app that asks for one."""
    token = await issue_token(browser.database, scope="system/*.cruds")
    for number, patient, start in (
        ("e1", "p1", "2026-03-02"),
        ("e2", "p1", "2026-11-20"),
        ("e9", "p2", None),
    ):
        visit: dict[str, Any] = {"resourceType": "Encounter", "id": number, "status": "finished"}
        visit |= {"class": {"code": "AMB"}, "subject": {"reference": f"Patient/{patient}"}}
        if start is not None:
            visit["period"] = {"start": start}
        headers = {"Authorization": f"Bearer {token}"}
        stored = await browser.http.put(f"/fhir/Encounter/{number}", json=visit, headers=headers)
        assert stored.status_code == 201, stored.text
    wanted = Wanted("Visits", f"{pages.SCOPE} launch/encounter", redirect_uris=[pages.BACK])
    browser.client_id = (await add_client(browser.database, wanted)).client_id


async def test_a_visit_of_the_patient_is_picked(browser: Browser) -> None:
    await fill(browser)
    url, page = await browser.at_consent(scope=SCOPE)
    assert pages.heading(page) == "Choose a visit"
    assert re.findall('name="encounter" value="(.*?)"', page) == ["e2", "e1", ""]
    assert "since 2026-11-20" in page
    for other in ("e9", "none", "../e1", "e1\x00"):
        _, page = await browser.page(await browser.send(url, page, "encounter", encounter=other))
        assert pages.heading(page) == "Choose a visit", other
    assert (await browser.send(url, page, "allow", scope="patient/*.rs")).headers["location"] == url
    url, page = await browser.page(await browser.send(url, page, "encounter", encounter="e1"))
    again = await browser.send(url, page, "encounter", encounter="e2")  # the first pick counts
    assert again.headers["location"] == url
    tokens = await browser.tokens(await browser.send(url, page, "allow", scope="patient/*.rs"))
    assert (tokens["patient"], tokens["encounter"]) == ("p1", "e1")

    url, page = await browser.page(await browser.ask(scope="launch/encounter user/Patient.rs"))
    assert pages.heading(page) == "Choose a patient"  # no visit without one
    _, page = await browser.page(await browser.send(url, page, "patient", patient="p1"))
    _, page = await browser.page(await browser.send(url, page, "encounter", encounter=""))
    tokens = await browser.tokens(await browser.send(url, page, "allow", scope="user/Patient.rs"))
    assert (tokens["patient"], "encounter" in tokens) == ("p1", False)

    url, page = await browser.log_in("pat", scope=SCOPE, prompt="login")
    assert re.findall('name="encounter" value="(.*?)"', page) == ["e2", "e1", ""]
    await browser.page(await browser.send(url, page, "encounter", encounter="e1"))
    t = table_of(AuthorizationRequest).c
    async with browser.database.read() as connection:
        newest = select(t.patient_id, t.encounter_id).order_by(t.id.desc()).limit(1)
        row = (await connection.execute(newest)).one()
    assert tuple(row) == ("p1", "e1")  # whose it is: another login on this page has both or nothing


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({}, ("Visit", "date not known", None)),
        ({"class": {"code": "IMP"}, "status": "in-progress"}, ("Stay", "date not known", "in progress")),
        ({"class": {"code": "X", "display": "day case"}}, ("Day case", "date not known", None)),
        (
            {"type": [{"coding": [{"code": "1"}, {"display": "Check-up"}]}]},
            ("Check-up", "date not known", None),
        ),
        (
            {"serviceType": {"text": "Cardiology"}, "period": {"start": "2026-11-20T08:00:00Z"}},
            ("Cardiology", "since 2026-11-20", None),
        ),
        ({"period": {"start": "2026-11", "end": "2026-12-01"}}, ("Visit", "2026-11 to 2026-12-01", None)),
        (
            {"period": {"start": "2026-11-20T08:00:00Z", "end": "2026-11-20T09:00:00Z"}},
            ("Visit", "2026-11-20", None),
        ),
        ({"period": {"end": "2026"}}, ("Visit", "until 2026", None)),
    ],
)
def test_how_a_visit_is_told(said: dict[str, Any], shown: tuple[str, str, str | None]) -> None:
    choice = _choice({"resourceType": "Encounter", "id": "e", **said})
    assert (choice.what, choice.when, choice.status) == shown
