"""Who uses the server in the peak hour: modalities, viewers, EHRs (`tests/load/peak_hour.py` starts this).

Requests have the names under which they are judged. Names that begin with "long:" are long transfers: a whole
series counts until its first byte, and a Store request of 50 instances carries 26 MB.
"""

import itertools
import json
import os
import random
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from locust import events, task
from locust.contrib.fasthttp import FastHttpUser

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a file: the tests are no installed package

from tests.load.plan import (
    EHR_CALLS,
    EHRS,
    FRAMES,
    HOUR_S,
    OPENED,
    PER_REQUEST,
    PROBES,
    STUDIES,
    VIEWERS,
    WHOLE_EVERY,
    load_plan,
)
from tests.load.record import Ledger, Record
from tests.load.studies import BOUNDARY, Study, load_template

PLAN = load_plan(os.environ["ISTHMUS_LOAD"])
TEMPLATE = load_template(PLAN.template)
BASES = itertools.cycle(PLAN.bases)
NUMBERS = itertools.count(1)  # of new studies
TURNS: defaultdict[type, "itertools.count[int]"] = defaultdict(itertools.count)
DICOM_JSON = {"Accept": "application/dicom+json"}
FHIR_JSON = {"Accept": "application/fhir+json", "Content-Type": "application/fhir+json"}
FRAME = {"Accept": 'multipart/related; type="application/octet-stream"'}
ANY_SYNTAX = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
STORE = {
    **DICOM_JSON,
    "Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY.decode()}',
}
CHUNK_BYTES = 1 << 20
STORED_EACH = STUDIES * PLAN.slices / len(PER_REQUEST)  # instances that each modality stores in the hour
COMPLETE: list[Study] = []  # stored whole, the newest last
LEDGER = Ledger(PLAN.ledger)
RECORD = Record()


class Client(FastHttpUser):
    """Somebody with a token and a connection to one of the servers."""

    abstract = True
    tasks_per_hour = 0.0  # of all of a kind together, at rate 1; 0: no pause between two tasks
    due_s: float | None = None  # the next task; None: before the first

    def __init__(self, environment: Any) -> None:
        self.host = next(BASES)
        super().__init__(environment)
        self.authorization = {"Authorization": f"Bearer {PLAN.token}"}

    def on_start(self) -> None:
        """Wait for one's turn."""
        self.wait()  # type: ignore[no-untyped-call]

    def wait_time(self) -> float:
        """Until the next task, at an even pace over all of a kind; who was kept waiting makes it up."""
        interval_s = HOUR_S / (self.tasks_per_hour * PLAN.rate) if self.tasks_per_hour else 0.0
        if self.due_s is None:
            self.due_s = time.monotonic() + next(TURNS[type(self)]) * interval_s
        else:
            self.due_s += interval_s * self.fixed_count
        return max(0.0, self.due_s - time.monotonic())

    def ask(self, name: str, path: str, headers: dict[str, str], **more: Any) -> Any:
        """One GET."""
        return self.client.get(path, headers={**headers, **self.authorization}, name=name, **more)


class Modality(Client):
    """Stores one study after another, each in requests of the same size, at an even pace."""

    abstract = True
    per_request = 1
    study: Study | None = None
    next_slice = 0

    @task
    def store(self) -> None:
        """The next slices; what was refused is sent again."""
        if self.study is None:
            self.study, self.next_slice = PLAN.study(next(NUMBERS)), 0
        count = min(self.per_request, PLAN.slices - self.next_slice)
        body = TEMPLATE.request(self.study, range(self.next_slice, self.next_slice + count))
        name = f"{'long: ' if self.per_request > 10 else ''}store, {self.per_request} a request"
        headers = {**STORE, **self.authorization}
        with self.client.post(
            "/dicom-web/studies", data=body, headers=headers, name=name, catch_response=True
        ) as response:
            if not is_stored(response, count):
                response.failure(f"not stored: {response.status_code} {(response.text or '')[:200]}")
                return
        LEDGER.add(self.study, self.next_slice, count)
        self.next_slice += count
        if self.next_slice == PLAN.slices:
            COMPLETE.append(self.study)
            self.study = None


def is_stored(response: Any, count: int) -> bool:
    """Whether the answer says that all instances were stored (PS3.18 10.5.3)."""
    if response.status_code != 200:
        return False
    answer = json.loads(response.text)
    return len(answer["00081199"]["Value"]) == count and "00081198" not in answer


class SingleModality(Modality):
    """One instance a request."""

    fixed_count = 1
    per_request = PER_REQUEST[0]
    tasks_per_hour = STORED_EACH / per_request


class TensModality(Modality):
    """Ten instances a request."""

    fixed_count = 1
    per_request = PER_REQUEST[1]
    tasks_per_hour = STORED_EACH / per_request


class FiftiesModality(Modality):
    """Fifty instances a request."""

    fixed_count = 1
    per_request = PER_REQUEST[2]
    tasks_per_hour = STORED_EACH / per_request


class Reader(Client):
    """Fetches whole series."""

    abstract = True

    def fetch_whole(self, study: Study) -> None:
        """All instances of a series, as stored."""
        with self.ask(
            "long: series, first byte", study.path, ANY_SYNTAX, stream=True, catch_response=True
        ) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
                return
            begun, length = time.perf_counter(), 0
            while chunk := response.stream.read(CHUNK_BYTES):
                length += len(chunk)
            if length < PLAN.slices * len(TEMPLATE.instance(study, 0)):
                response.failure(f"only {length} bytes")
        RECORD.transferred(length, time.perf_counter() - begun)


class Viewer(Reader):
    """Opens a study now and then: the list, the study, its metadata, some frames, sometimes all of it."""

    fixed_count = VIEWERS
    tasks_per_hour = OPENED
    opened = 0

    @task
    def open_study(self) -> None:
        """One of the newest studies."""
        study = random.choice(COMPLETE[-20:])
        self.ask("search studies", "/dicom-web/studies?limit=25", DICOM_JSON)
        self.ask("search series", f"/dicom-web/studies/{study.uid}/series", DICOM_JSON)
        self.ask("metadata of a series", f"{study.path}/metadata", DICOM_JSON)
        first = random.randrange(max(1, PLAN.slices - FRAMES))
        for index in range(first, min(first + FRAMES, PLAN.slices)):
            self.ask("frame", f"{study.instance_path(index)}/frames/1", FRAME)
        self.opened += 1
        if self.opened % WHOLE_EVERY == 0:
            self.fetch_whole(study)


class Puller(Reader):
    """Fetches one whole series after another without a pause."""

    abstract = PLAN.pullers == 0
    fixed_count = PLAN.pullers

    @task
    def pull(self) -> None:
        """Any series."""
        self.fetch_whole(random.choice(COMPLETE))


class Ehr(Client):
    """Asks for what is new of its patients, and orders examinations."""

    fixed_count = EHRS
    tasks_per_hour = EHR_CALLS

    @task(4)
    def poll_reports(self) -> None:
        """Reports of a patient that are new since some minutes."""
        since = (datetime.now(UTC) - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.ask(
            "search DiagnosticReport",
            f"/fhir/DiagnosticReport?patient={self.patient()}&_lastUpdated=ge{since}",
            FHIR_JSON,
        )

    @task(2)
    def search_observations(self) -> None:
        """A patient's observations."""
        self.ask("search Observation", f"/fhir/Observation?patient={self.patient()}&_count=50", FHIR_JSON)

    @task(3)
    def read_patient(self) -> None:
        """A patient."""
        self.ask("read Patient", f"/fhir/Patient/{self.patient()}", FHIR_JSON)

    @task(1)
    def order(self) -> None:
        """An order for an examination."""
        headers = {**FHIR_JSON, **self.authorization}
        body = json.dumps(
            {
                "resourceType": "ServiceRequest",
                "status": "active",
                "intent": "order",
                "subject": {"reference": f"Patient/{self.patient()}"},
                "code": {"text": "CT of the chest"},
                "authoredOn": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )
        self.client.post("/fhir/ServiceRequest", data=body, headers=headers, name="create ServiceRequest")

    def patient(self) -> str:
        """Any of the patients."""
        return random.choice(PLAN.patients)


class Probe(Client):
    """Asks for one study by its patient, at an even pace: what somebody waits who wants little."""

    fixed_count = 1
    tasks_per_hour = PROBES / PLAN.rate  # whatever the rate of the others

    @task
    def search(self) -> None:
        """A quick look-up."""
        self.ask(
            "search studies by patient",
            f"/dicom-web/studies?PatientID={PLAN.study(1).patient_id}",
            DICOM_JSON,
        )


@events.test_start.add_listener
def know_the_first_studies(**_given: Any) -> None:
    """The studies that are there from the start."""
    COMPLETE.extend(PLAN.study(number) for number in LEDGER.read())
    for _ in COMPLETE:
        next(NUMBERS)


events.request.add_listener(RECORD.note)


@events.quitting.add_listener
def write(**_: Any) -> None:
    """Leave the figures to who started this."""
    RECORD.save(PLAN.requests)
