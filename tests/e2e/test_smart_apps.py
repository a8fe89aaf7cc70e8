"""SMART Health IT's client in Python launches against a server; that in JavaScript: `test_smart_browser`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fhirclient.client import FHIRClient
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from pydicom import FileDataset

from tests.services import loopback
from tests.services.hospital import PASSWORD, SCOPE, Record, fill, form_token, open_hospital, register


def test_fhirclient_python_launches(
    tmp_path: Path, make_server: Callable[..., Any], kit: Any, new_chest: Callable[..., Sequence[FileDataset]]
) -> None:
    """It finds the endpoints in the CapabilityStatement only."""
    hospital = open_hospital(make_server, tmp_path)
    try:
        launch(hospital, fill(hospital, kit, new_chest))
    finally:
        hospital.close()


def launch(hospital: Any, record: Record) -> None:
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
    back = walk_through(app.authorize_url, record.patient)
    app.handle_callback(back)
    assert app.patient_id == record.patient
    assert app.patient.name[0].family == record.family
    found = Observation.where({}).perform_resources_iter(app.server)
    assert [each.id for each in found] == [record.observation]
    assert [each.id for each in Patient.where({}).perform_resources_iter(app.server)] == [record.patient]
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
