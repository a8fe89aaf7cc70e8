"""Two servers and two workers on one database, bucket and Redis, while one after another is killed."""

import itertools
import secrets
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import FileDataset

from tests.e2e.conftest import ServerProcess
from tests.services import loopback
from tests.services.postgresql import Cluster
from tests.services.redis import RedisServer, redis_server
from tests.services.s3 import s3_server

ANALYSIS_S = 200.0
TRIES = 60  # of one instance, before a sender gives up


@dataclass(slots=True)
class Fleet:
    """The parts, each with a data folder of its own, as on machines of their own."""

    servers: list[ServerProcess]
    ask: Callable[[str], list[Any]]  # a query of the database; the first column of each row
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def attempts(self, study_instance_uid: str) -> list[tuple[int, str]]:
        """The worker's process id and the outcome of each attempt at the study's workitem, in order."""
        query = f"""SELECT a.worker || ' ' || a.outcome FROM workitem_attempt a
                    JOIN workitem w ON w.pk = a.workitem_pk
                    WHERE w.study_instance_uid = '{study_instance_uid}' ORDER BY a.pk"""
        found = (each.split() for each in self.ask(query))
        return [(int(worker.split("-")[-2]), outcome) for worker, outcome in found]  # host-pid-random

    def start(self) -> None:
        for server in self.servers:
            server.start("--no-worker")
        token = self.servers[0].token()
        for server in self.servers:
            server.authorization = {"Authorization": f"Bearer {token}"}
            self.add_worker(server)

    def add_worker(self, beside: ServerProcess) -> None:
        with (beside.data / "worker.log").open("ab") as log:
            command, environment = beside.command("worker"), beside._environment()
            self.workers.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))

    def client(self, server: ServerProcess) -> httpx.Client:
        made = loopback.client(server.base, headers=server.authorization, timeout=60)
        server.clients.append(made)
        return made

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        for server in self.servers:
            server.close()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture
def fleet(tmp_path: Path, durable_postgresql: Cluster, redis: RedisServer) -> Iterator[Fleet]:
    name = f"fleet_{secrets.token_hex(6)}"
    durable_postgresql.run_sql(f"CREATE DATABASE {name}")
    with s3_server() as store:
        shared = {
            "ISTHMUS_DATABASE_URL": durable_postgresql.url(name),
            "ISTHMUS_OBJECTS_URL": f"s3://{store.bucket}/{name}",
            "ISTHMUS_OBJECTS_ENDPOINT": store.endpoint,
            "ISTHMUS_OBJECTS_REGION": "us-east-1",
            "ISTHMUS_OBJECTS_ACCESS_KEY": store.access_key,
            "ISTHMUS_OBJECTS_SECRET_KEY": store.secret_key,
            "ISTHMUS_OBJECTS_ALLOW_HTTP": "true",
            "ISTHMUS_REDIS_URL": redis.url,
            "ISTHMUS_MASTER_KEY": secrets.token_urlsafe(48),
            "ISTHMUS_LEASE_S": "3",
        }
        folders = [tmp_path / "one", tmp_path / "two"]
        for folder in folders:
            folder.mkdir()

        def ask(query: str) -> list[Any]:
            return [row[0] for row in durable_postgresql.run_sql(query, name)]

        made = Fleet([ServerProcess(folder, dict(shared)) for folder in folders], ask)
        made.start()
        yield made
        made.close()
    durable_postgresql.run_sql(f"DROP DATABASE {name} WITH (FORCE)")


def send(
    fleet: Fleet,
    kit: Any,
    study: Sequence[FileDataset],
    acknowledged: list[FileDataset],
    reached: threading.Event,
) -> None:
    """Store one instance a request, at any server that answers, until each is acknowledged."""
    clients = itertools.cycle([fleet.client(server) for server in fleet.servers])
    for dataset in study:
        for http in itertools.islice(clients, TRIES):
            try:
                answer = kit.store(http, [dataset])
            except httpx.TransportError:
                continue
            assert answer.status_code in (200, 503), answer.text
            if answer.status_code == 200:
                acknowledged.append(dataset)
                break
        if len(acknowledged) > 20:
            reached.set()


def test_one_server_one_worker_and_redis_are_killed_under_load(
    fleet: Fleet, redis: RedisServer, kit: Any, new_chest: Callable[..., Sequence[FileDataset]]
) -> None:
    killed, kept = fleet.servers
    http = fleet.client(kept)
    analysed = new_chest("FLEET-AI")
    kit.store(http, analysed).raise_for_status()
    studies = [list(new_chest(f"FLEET-{number}", 30)) for number in range(3)]
    acknowledged: list[FileDataset] = []
    reached = threading.Event()
    senders = [
        threading.Thread(target=send, args=(fleet, kit, study, acknowledged, reached)) for study in studies
    ]
    for sender in senders:
        sender.start()
    assert reached.wait(120)
    killed.kill()
    uid = str(analysed[0].StudyInstanceUID)
    ((busy, outcome),) = kept.wait_until(lambda: fleet.attempts(uid), ANALYSIS_S)
    assert outcome == "running"
    next(worker for worker in fleet.workers if worker.pid == busy).kill()
    redis.kill()
    for sender in senders:
        sender.join()
    assert len(acknowledged) == sum(map(len, studies))
    for dataset in acknowledged:
        path = (
            f"/dicom-web/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
            f"/instances/{dataset.SOPInstanceUID}"
        )
        assert http.get(path, headers={"Accept": "application/dicom"}).content == kit.part10(dataset)
    kept.wait_until(lambda: kit.states(http, uid) == ["COMPLETED"], ANALYSIS_S)
    assert [outcome for _, outcome in fleet.attempts(uid)] == ["lost", "completed"]
    assert len(kit.instances(http, uid, "SEG")) == len(kit.instances(http, uid, "SR")) == 1
    for study in studies:
        assert len(kit.instances(http, str(study[0].StudyInstanceUID), "CT")) == len(study)
    patient = http.get("/fhir/Patient", params={"identifier": "FLEET-AI"}).json()["entry"][0]["resource"]
    reports = http.get("/fhir/DiagnosticReport", params={"patient": patient["id"]}).json()["entry"]
    assert [report["resource"]["meta"]["versionId"] for report in reports] == ["1"]
    assert not http.get("/admin/api/jobs", params={"state": "failed"}).json()["jobs"]
    redis.start()
    killed.start("--no-worker")  # it comes back by itself
    again = fleet.client(killed)
    assert len(kit.instances(again, uid, "CT")) == len(analysed)
