"""Apps that others wrote launch against a server: SMART Health IT's clients in JavaScript and in Python."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from fhirclient.client import FHIRClient
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from playwright.sync_api import Browser, Page
from pydicom import FileDataset

from tests.services import loopback
from tests.services.ohif import chromium
from tests.services.smart_app import app_site

PASSWORD = "correct horse battery"
SCOPE = "openid fhirUser offline_access patient/*.rs"


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
    """A server with a user, which pages of the app's site may ask."""
    server = make_server(
        tmp_path_factory.mktemp("server"),
        {"ISTHMUS_CORS_ORIGINS": json.dumps([site.rstrip("/")]), "ISTHMUS_PASSWORD": PASSWORD},
    )
    server.start("--no-worker")
    server.run("user", "add", "ada", "--fhir-user", "Practitioner/ada")
    yield server
    server.close()


@pytest.fixture(scope="module")
def record(hospital: Any, kit: Any, new_chest: Callable[..., Sequence[FileDataset]]) -> dict[str, str]:
    """Two patients with a study and an observation each; names of the first's."""
    http = hospital.client()
    told: dict[str, str] = {}
    for number in ("2", "1"):  # the first one's is what stays in `told`
        chest = new_chest(f"PATIENT-{number}", slices=1)
        kit.store(http, list(chest))
        mine = {"identifier": f"PATIENT-{number}"}
        hospital.wait_until(lambda: http.get("/fhir/Patient", params=mine).json()["total"], 30)  # noqa: B023  done at once
        patient = http.get("/fhir/Patient", params=mine).json()["entry"][0]["resource"]
        observation = {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": f"Patient/{patient['id']}"},
        }
        made = http.post("/fhir/Observation", json=observation).json()
        told = {"patient": patient["id"], "study": str(chest[0].StudyInstanceUID), "observation": made["id"]}
        told["family"] = patient["name"][0]["family"]
    return told


def register(hospital: Any, redirect_uri: str, scope: str) -> str:
    """The client_id of a new app."""
    said = hospital.run("client", "add", "--name", "App", "--scope", scope, "--redirect-uri", redirect_uri)
    return str(said.split()[1])


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
    hospital: Any, site: str, browser: Browser, record: dict[str, str]
) -> None:
    scope = f"launch/patient {SCOPE}"
    asked = {"client": register(hospital, f"{site}app.html", scope), "scope": scope}
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{site}launch.html?{urlencode({**asked, 'iss': f'{hospital.base}/fhir'})}")
    log_in(page)
    page.fill("#q", "PATIENT-1")
    page.click("text=Search")
    page.click(f"button[value='{record['patient']}']")
    page.click("button[value=allow]")
    told = told_by(page)
    assert (told["patient"], told["family"]) == (record["patient"], record["family"])
    assert told["user"] == "Practitioner/ada"  # relative to the server that the app was launched with
    assert told["observed"] == [record["observation"]]
    assert (told["studies"], told["refused"], told["refreshed"]) == ([record["study"]], 404, True)
    context.close()


def test_fhirclient_js_launches_from_an_ehr(
    hospital: Any, site: str, browser: Browser, record: dict[str, str]
) -> None:
    scope = f"launch {SCOPE}"
    client_id = register(hospital, f"{site}app.html", scope)
    url = f"{site}launch.html?{urlencode({'client': client_id, 'scope': scope})}"
    launch = hospital.run(
        "launch", "--client", client_id, "--user", "ada", "--study", record["study"], "--url", url
    )
    issuer = f"iss={hospital.base}/fhir"
    context = browser.new_context(java_script_enabled=True)
    page = context.new_page()
    page.goto(re.sub("iss=[^&]*", issuer, launch.strip()))  # the command does not know the port
    log_in(page)
    page.click("button[value=allow]")
    told = told_by(page)
    assert told["patient"] == record["patient"]
    (seen,) = told["state"]["fhirContext"]
    http = hospital.client()
    study = http.get(f"/fhir/{seen['reference']}").json()
    assert study["identifier"][0]["value"] == f"urn:oid:{record['study']}"
    context.close()


def test_fhirclient_python_launches(hospital: Any, record: dict[str, str]) -> None:
    """It finds the endpoints in the CapabilityStatement only."""
    redirect_uri = "http://127.0.0.1:9/back"
    scope = f"launch/patient {SCOPE}"
    app = FHIRClient(
        settings={
            "app_id": register(hospital, redirect_uri, scope),
            "api_base": f"{hospital.base}/fhir",
            "redirect_uri": redirect_uri,
            "scope": scope,
        }
    )
    app.server.session.trust_env = False
    back = walk_through(app.authorize_url, record["patient"])
    app.handle_callback(back)
    assert app.patient_id == record["patient"]
    assert app.patient.name[0].family == record["family"]
    found = Observation.where({}).perform_resources_iter(app.server)
    assert [each.id for each in found] == [record["observation"]]
    assert [each.id for each in Patient.where({}).perform_resources_iter(app.server)] == [record["patient"]]
    assert app.reauthorize()


def walk_through(url: str, patient_id: str) -> str:
    """The pages without a browser; returns where the app is sent back to."""
    with loopback.client() as http:
        response = http.get(url)
        for step in (
            {"step": "login", "name": "ada", "password": PASSWORD},
            {"step": "patient", "patient": patient_id},
            {"step": "allow", "scope": ["patient/*.rs", "offline_access"]},
        ):
            place = response.headers["location"]
            response = http.post(place, data={**step, "form_token": form_token(http.get(place))})
        return str(response.headers["location"])


def form_token(page: httpx.Response) -> str:
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', page.text)
    assert found is not None, page.text
    return found[1]
