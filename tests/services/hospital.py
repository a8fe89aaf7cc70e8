"""A hospital for SMART apps to be launched in: a server with a user, and two patients with a study each."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydicom import FileDataset

PASSWORD = "correct horse battery"
SCOPE = "openid fhirUser offline_access patient/*.rs"


@dataclass(frozen=True)
class Record:
    """What belongs to one of the two patients."""

    patient: str
    family: str
    study: str
    observation: str


def open_hospital(make_server: Callable[..., Any], folder: Path, **environment: str) -> Any:
    """A server, started, where `ada` may log in."""
    server = make_server(folder, {"ISTHMUS_PASSWORD": PASSWORD, **environment})
    server.start("--no-worker")
    server.run("user", "add", "ada", "--fhir-user", "Practitioner/ada")
    return server


def fill(hospital: Any, kit: Any, new_chest: Callable[..., Sequence[FileDataset]]) -> Record:
    """Store for two patients; returns what is the second one's."""
    record = None
    for number in ("PATIENT-2", "PATIENT-1"):
        record = _admit(hospital, kit, list(new_chest(number, slices=1)), number)
    assert record is not None
    return record


def _admit(hospital: Any, kit: Any, chest: list[FileDataset], number: str) -> Record:
    http = hospital.client()
    kit.store(http, chest)
    mine = {"identifier": number}
    hospital.wait_until(lambda: http.get("/fhir/Patient", params=mine).json()["total"], 30)
    patient = http.get("/fhir/Patient", params=mine).json()["entry"][0]["resource"]
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{patient['id']}"},
    }
    made = http.post("/fhir/Observation", json=observation).json()
    study = str(chest[0].StudyInstanceUID)
    return Record(patient["id"], patient["name"][0]["family"], study, made["id"])


def register(hospital: Any, redirect_uri: str, scope: str) -> str:
    """The client_id of a new app."""
    said = hospital.run("client", "add", "--name", "App", "--scope", scope, "--redirect-uri", redirect_uri)
    return str(said.split()[1])


def form_token(page: httpx.Response) -> str:
    """What the forms of a page carry."""
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', page.text)
    assert found is not None, page.text
    return found[1]
