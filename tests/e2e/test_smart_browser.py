"""SMART Health IT's client in JavaScript launches against a server, in Chromium: one token for both doors."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page
from pydicom import FileDataset

from tests.services.hospital import PASSWORD, SCOPE, Record, fill, open_hospital, register
from tests.services.ohif import chromium
from tests.services.smart_app import app_site

pytestmark = pytest.mark.slow  # Chromium, and npm for the client


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with app_site() as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def hospital(
    tmp_path_factory: pytest.TempPathFactory, make_server: Callable[..., Any], site: str
) -> Iterator[Any]:
    """One that pages of the app's site may ask."""
    origins = json.dumps([site.rstrip("/")])
    server = open_hospital(make_server, tmp_path_factory.mktemp("server"), ISTHMUS_CORS_ORIGINS=origins)
    yield server
    server.close()


@pytest.fixture(scope="module")
def record(hospital: Any, kit: Any, new_chest: Callable[..., Sequence[FileDataset]]) -> Record:
    return fill(hospital, kit, new_chest)


def log_in(page: Page) -> None:
    page.fill("#name", "ada")
    page.fill("#password", PASSWORD)
    page.click("button.main")


def told_by(page: Page) -> Any:
    """What the app's page says once it is ready."""
    page.wait_for_function("document.title === 'ready' || document.title === 'failed'")
    assert page.title() == "ready", page.inner_text("body")
    return json.loads(page.inner_text("body"))


def test_fhirclient_js_launches_standalone(
    hospital: Any, site: str, browser: Browser, record: Record
) -> None:
    scope = f"launch/patient {SCOPE}"
    asked = {"client": register(hospital, f"{site}app.html", scope), "scope": scope}
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{site}launch.html?{urlencode({**asked, 'iss': f'{hospital.base}/fhir'})}")
    log_in(page)
    page.fill("#q", "PATIENT-1")
    page.click("text=Search")
    page.click(f"button[value='{record.patient}']")
    page.click("button[value=allow]")
    told = told_by(page)
    assert (told["patient"], told["family"]) == (record.patient, record.family)
    assert told["user"] == "Practitioner/ada"  # relative to the server that the app was launched with
    assert told["observed"] == [record.observation]
    assert (told["studies"], told["refused"], told["refreshed"]) == ([record.study], 404, True)
    context.close()


def test_fhirclient_js_launches_from_an_ehr(
    hospital: Any, site: str, browser: Browser, record: Record
) -> None:
    scope = f"launch {SCOPE}"
    client_id = register(hospital, f"{site}app.html", scope)
    url = f"{site}launch.html?{urlencode({'client': client_id, 'scope': scope})}"
    launch = hospital.run(
        "launch", "--client", client_id, "--user", "ada", "--study", record.study, "--url", url
    )
    issuer = f"iss={hospital.base}/fhir"
    context = browser.new_context(java_script_enabled=True)
    page = context.new_page()
    page.goto(re.sub("iss=[^&]*", issuer, launch.strip()))  # the command does not know the port
    log_in(page)
    page.click("button[value=allow]")
    told = told_by(page)
    assert told["patient"] == record.patient
    (seen,) = told["state"]["fhirContext"]
    http = hospital.client()
    study = http.get(f"/fhir/{seen['reference']}").json()
    assert study["identifier"][0]["value"] == f"urn:oid:{record.study}"
    context.close()
