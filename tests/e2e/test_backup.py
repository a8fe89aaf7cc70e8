"""The drill: back up while serving, lose everything, restore to either database, and find it all again."""

import asyncio
import itertools
import random
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import FileDataset, dcmread
from sqlalchemy import select

from server.kernel.database import Database
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow
from server.settings import Settings
from tests.conformance.ps3_18.kit import Place, ct_file
from tests.services import loopback

ANALYSIS_S = 150.0
BETWEEN_S = 0.05  # of the writer, from one study to the next: the machine has other work
STUDY_INSTANCES = 3  # stored in one request by the writer
FHIR = {"Content-Type": "application/fhir+json"}
KEY = "correct horse battery staple"

RESOURCES = {
    "Patient": {"name": [{"family": "Müller-Λάμδα", "given": ["日本語 \U0001f600"]}], "birthDate": "1970-01"},
    "Observation": {
        "status": "final",
        "code": {"text": 'odd "decimals" \\ and\ttabs'},
        "valueQuantity": {"value": "DECIMAL", "unit": "µm"},
    },
}
DECIMALS = ("1.00", "0.10", "1E-7", "12345678901234567890.123456789")

New = Callable[[str], Any]  # a server on a database of this kind, not started


@pytest.fixture
def new_server(request: pytest.FixtureRequest, tmp_path: Path, server_kit: Any) -> Iterator[New]:
    """Makes installations, each with a folder and a database of its own."""
    made: list[Any] = []
    dropped: list[Callable[[], object]] = []

    def make(kind: str) -> Any:
        folder = tmp_path / f"installation {len(made)}"
        folder.mkdir()
        environment = {"ISTHMUS_LEASE_S": "3", "ISTHMUS_BACKUP_KEY": KEY}
        if kind == "postgresql":
            cluster = request.getfixturevalue("durable_postgresql")
            name = f"drill_{uuid.uuid4().hex[:12]}"
            cluster.run_sql(f"CREATE DATABASE {name}")
            dropped.append(lambda: cluster.run_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            environment["ISTHMUS_DATABASE_URL"] = cluster.url(name)
        made.append(server_kit(folder, environment))
        return made[-1]

    yield make
    for server in made:
        server.close()
    for drop in dropped:
        drop()


@dataclass
class Writer:
    """Stores one small study after another, until it is told to stop or the server is gone."""

    server: Any
    kit: Any
    headers: dict[str, str]
    acknowledged: dict[str, bytes] = field(default_factory=dict)  # path → file
    is_stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self.write)
        self.thread.start()

    def write(self) -> None:
        with loopback.client(self.server.base, headers=self.headers, timeout=30) as http:
            for number in itertools.count():
                if self.is_stopped.wait(BETWEEN_S):
                    return
                places = [Place(f"2.25.7{number}", f"2.25.8{number}", f"2.25.9{number}{n}") for n in range(3)]
                files = {place.path: ct_file(place, PatientID=f"WRITER-{number % 5}") for place in places}
                body = self.kit.multipart(list(files.values()))
                try:
                    answer = http.post("/dicom-web/studies", content=body, headers=self.kit.stow_headers)
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    self.acknowledged |= files

    def wait_for(self, more: int) -> dict[str, bytes]:
        """What is acknowledged once so many more instances are."""
        wanted = len(self.acknowledged) + more
        self.server.wait_until(lambda: len(self.acknowledged) >= wanted, 60)
        return dict(self.acknowledged)

    def end(self) -> None:
        self.is_stopped.set()
        self.thread.join()


def paths(uid: str, patient: str) -> list[str]:
    return [
        f"/dicom-web/studies?StudyInstanceUID={uid}&includefield=all",
        f"/dicom-web/studies/{uid}/series?includefield=all",
        f"/dicom-web/studies/{uid}/instances?includefield=all",
        f"/dicom-web/studies/{uid}/metadata",
        f"/dicom-web/workitems?StudyInstanceUID={uid}",
        f"/fhir/DiagnosticReport?patient={patient}&_include=DiagnosticReport:result",
        f"/fhir/ImagingStudy?patient={patient}",
        "/fhir/Observation?status=amended&_sort=_lastUpdated",
        f"/fhir/Patient/{patient}",
    ]


def look(http: httpx.Client, asked: list[str], base: str) -> dict[str, str]:
    """The answers' texts, without the server's own address; of a search only what was found."""
    answers = {path: http.get(path) for path in asked}
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(asked, 200)
    texts = {path: answer.text.replace(base, "http://base") for path, answer in answers.items()}
    return {path: text.partition('"entry":')[2] if "Bundle" in text else text for path, text in texts.items()}


def audit_of(server: Any, up_to: int | None = None) -> list[Any]:
    """The rows of the audit trail."""
    url = server.environment.get("ISTHMUS_DATABASE_URL") or Settings(data=server.data).database

    async def read() -> list[Any]:
        database = Database(url)
        audit = table_of(AuditRow)
        query = select(audit).order_by(audit.c.sequence)
        async with database.read() as connection:
            rows = (await connection.execute(query)).all()
        await database.close()
        return [tuple(row) for row in rows if up_to is None or row.sequence <= up_to]

    return asyncio.run(read())


def create_record(http: httpx.Client) -> list[str]:
    """Resources with what is easily lost, each in two versions; returns their paths."""
    made = []
    for decimal in DECIMALS:
        for resource_type, content in RESOURCES.items():
            text = httpx.Response(200, json={"resourceType": resource_type, **content}).text
            created = http.post(
                f"/fhir/{resource_type}", content=text.replace('"DECIMAL"', decimal), headers=FHIR
            )
            assert created.status_code == 201, created.text
            identity = created.json()["id"]
            changed = created.text.replace("final", "amended").replace("1970-01", "1970-01-02")
            updated = http.put(f"/fhir/{resource_type}/{identity}", content=changed, headers=FHIR)
            assert updated.status_code == 200, updated.text
            made += [f"/fhir/{resource_type}/{identity}", f"/fhir/{resource_type}/{identity}/_history/1"]
    return made


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [("sqlite", "postgresql"), ("postgresql", "sqlite")], ids=str)
@pytest.mark.timeout(600)
def test_drill(
    new_server: New,
    kit: Any,
    new_chest: Callable[..., Sequence[FileDataset]],
    tmp_path: Path,
    before: str,
    after: str,
) -> None:
    """With AI, for which each side has its turn on either database; the ways without: test_round_trip.py."""
    repository = str(tmp_path / "backups")
    lost = new_server(before)
    lost.start()
    token = lost.token()
    http = lost.client(token)
    done, open_ = new_chest("DONE"), new_chest("OPEN")
    done_uid, open_uid = str(done[0].StudyInstanceUID), str(open_[0].StudyInstanceUID)
    kit.store(http, done).raise_for_status()
    record = create_record(http)
    lost.wait_until(lambda: kit.states(http, done_uid) == ["COMPLETED"], ANALYSIS_S)
    patient = find_patient(http, "DONE")
    merged = kit.store(http, new_chest("MERGED", 1))
    merged.raise_for_status()
    other = lost.wait_until(lambda: find_patient(http, "MERGED"), 30)
    answer = http.post("/admin/api/patients/merge", json={"source": other, "target": patient})
    assert answer.status_code == 200, answer.text
    patients_token = lost.token("patient/*.rs", patient)
    lost.stop()

    lost.start("--no-worker")  # what is stored now is analysed only after the disaster
    http = lost.client(token)
    kit.store(http, open_).raise_for_status()
    answer = http.post(f"/admin/api/studies/{open_uid}/settled")
    assert [each["outcome"] for each in answer.json()] == ["scheduled"], answer.text
    writer = Writer(lost, kit, {"Authorization": f"Bearer {token}"})
    writer.wait_for(30)
    first = lost.run("backup", repository)
    acknowledged = writer.wait_for(30)
    asked = [*paths(done_uid, patient), *record]
    seen = look(http, asked, lost.base)
    mine = look(lost.client(patients_token), ["/dicom-web/studies"], lost.base)
    audit = audit_of(lost)
    second = lost.run("backup", repository)
    writer.wait_for(3)
    lost.kill()
    writer.end()
    shutil.rmtree(lost.data)
    assert new_bytes(second) < new_bytes(first) / 2

    found = new_server(after)
    assert "restored" in found.run("restore", repository)
    found.start()
    http = found.client(token)
    for path, file in acknowledged.items():
        assert http.get(path, headers={"Accept": "application/dicom"}).content == file, path
    assert_no_half_study(http, writer.acknowledged)
    assert look(http, asked, found.base) == seen
    assert look(found.client(patients_token), ["/dicom-web/studies"], found.base) == mine
    assert audit_of(found, up_to=audit[-1][0]) == audit
    found.wait_until(lambda: kit.states(http, open_uid) == ["COMPLETED"], ANALYSIS_S)
    assert len(kit.instances(http, open_uid, "SEG")) == len(kit.instances(http, open_uid, "SR")) == 1
    assert kit.states(http, done_uid) == ["COMPLETED"]
    kit.store(http, new_chest("NEW", 1)).raise_for_status()
    found.wait_until(lambda: find_patient(http, "NEW"), 30)  # its projection goes on, too


def find_patient(http: httpx.Client, identifier: str) -> str | None:
    found = http.get("/fhir/Patient", params={"identifier": identifier}).json().get("entry", [])
    return found[0]["resource"]["id"] if found else None


def new_bytes(printed: str) -> float:
    return float(printed.partition(" MB written")[0].rpartition(" ")[2])


def assert_no_half_study(http: httpx.Client, stored: dict[str, bytes]) -> None:
    """A study of the writer is there with all its instances, which can be read, or not at all."""
    studies = {path.split("/")[2]: 0 for path in stored}
    for uid in studies:
        answer = http.get(f"/dicom-web/studies/{uid}/instances")
        listed = answer.json() if answer.status_code == 200 else []
        assert len(listed) in (0, STUDY_INSTANCES)
        for each in listed:
            uids = [each[tag]["Value"][0] for tag in ("0020000E", "00080018")]
            path = f"/dicom-web/studies/{uid}/series/{uids[0]}/instances/{uids[1]}"
            dcmread(BytesIO(http.get(path, headers={"Accept": "application/dicom"}).content))


@pytest.mark.parametrize("kills", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_killed_backups_leave_a_repository_that_goes_on(
    new_server: New, kit: Any, tmp_path: Path, kills: int
) -> None:
    repository, dice = tmp_path / "backups", random.Random(3)
    server = new_server("sqlite")
    server.start("--no-worker")
    http = server.client()
    stored = {}
    for study in range(kills):
        for number in range(4):
            place = Place(f"2.25.7{study}", f"2.25.8{study}", f"2.25.9{study}{number}")
            pixels = {"Rows": 256, "Columns": 256, "PixelData": dice.randbytes(256 * 256 * 2)}
            stored[place.path] = ct_file(place, **pixels)
        body = kit.multipart(list(stored.values())[-4:])
        http.post("/dicom-web/studies", content=body, headers=kit.stow_headers).raise_for_status()
        backup = subprocess.Popen(
            server.command("backup", str(repository)), env=server._environment(), stdout=subprocess.DEVNULL
        )
        wait_for_incoming(repository, backup)
        time.sleep(dice.uniform(0, 0.05))
        backup.send_signal(signal.SIGKILL)
        backup.wait()
    server.run("backup", str(repository))
    verify = [*server.command("backup", "verify", str(repository))[:-2]]  # it needs no data folder
    assert (
        "whole"
        in subprocess.run(
            verify, env=server._environment(), check=True, capture_output=True, text=True
        ).stdout
    )
    assert list((repository / "incoming").iterdir()) == []
    restored = new_server("sqlite")
    restored.run("restore", str(repository))
    restored.start("--no-worker")
    http = restored.client()
    for path, file in stored.items():
        assert http.get(path, headers={"Accept": "application/dicom"}).content == file


def wait_for_incoming(repository: Path, backup: subprocess.Popen[bytes]) -> None:
    """Until it writes a file, or has ended."""
    incoming = repository / "incoming"
    while backup.poll() is None and not (incoming.is_dir() and any(incoming.iterdir())):
        time.sleep(0.001)
