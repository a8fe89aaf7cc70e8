"""The database goes away under a running server: clear refusals, nothing half-stored, recovery by itself."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import psutil
import pytest
from pydicom import FileDataset

from tests.e2e.conftest import ServerProcess
from tests.services import loopback
from tests.services.postgresql import Cluster, cluster

RECOVERY_S = 60.0


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[Cluster]:
    """A cluster that the tests may stop; it keeps its promises over a crash."""
    with cluster({}) as running:
        running.run_sql("CREATE DATABASE isthmus")
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, own_cluster: Cluster) -> Iterator[ServerProcess]:
    environment = {"ISTHMUS_DATABASE_URL": own_cluster.url("isthmus"), "ISTHMUS_DATABASE_TIMEOUT_S": "2"}
    made = ServerProcess(tmp_path_factory.mktemp("server"), environment)
    made.start("--no-worker")
    yield made
    made.close()


def readiness(server: ServerProcess) -> tuple[int, str]:
    answer = loopback.get(f"{server.base}/readyz", timeout=30)
    return answer.status_code, answer.json()["checks"]["database"]


def is_ready(server: ServerProcess) -> bool:
    return readiness(server)[0] == 200


def is_known(http: httpx.Client, patient_id: str) -> bool:
    return "entry" in http.get("/fhir/Patient", params={"identifier": patient_id}).json()


def assert_refused(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert "retry later" in answer.text
    for word in ("Traceback", "asyncpg", "sqlalchemy", "127.0.0.1"):
        assert word not in answer.text


def test_stopped_database(
    server: ServerProcess, own_cluster: Cluster, kit: Any, new_chest: Callable[..., Sequence[FileDataset]]
) -> None:
    http = server.client()
    before, during = new_chest("BEFORE", 5), new_chest("DURING", 5)
    kit.store(http, before).raise_for_status()
    server.wait_until(lambda: is_known(http, "BEFORE"), RECOVERY_S)
    own_cluster.stop("immediate")
    assert_refused(kit.store(http, during))
    assert_refused(http.get("/dicom-web/studies"))
    assert_refused(http.get("/fhir/Patient"))
    assert http.get("/fhir/Patient").json()["resourceType"] == "OperationOutcome"
    status, reason = readiness(server)
    assert (status, "not available" in reason) == (503, True)
    assert loopback.get(f"{server.base}/livez").status_code == 200
    own_cluster.start()
    server.wait_until(lambda: is_ready(server), RECOVERY_S)
    assert kit.instances(http, str(during[0].StudyInstanceUID), "CT") == []
    assert len(kit.instances(http, str(before[0].StudyInstanceUID), "CT")) == 5
    kit.store(http, during).raise_for_status()
    assert len(kit.instances(http, str(during[0].StudyInstanceUID), "CT")) == 5
    server.wait_until(lambda: is_known(http, "DURING"), RECOVERY_S)  # background work goes on by itself


def test_hanging_database(
    server: ServerProcess, own_cluster: Cluster, kit: Any, chest: Sequence[FileDataset]
) -> None:
    """A server that keeps the connection and says nothing: the time limits of the client hold."""
    http = server.client()
    kit.store(http, chest[:1]).raise_for_status()
    postmaster = psutil.Process(int((own_cluster.folder / "data/postmaster.pid").read_text().split()[0]))
    stopped = [*postmaster.children(), postmaster]
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    try:
        assert_refused(kit.store(http, chest[1:2]))
        assert readiness(server)[0] == 503
        assert loopback.get(f"{server.base}/livez").status_code == 200
    finally:
        for process in stopped:
            process.send_signal(signal.SIGCONT)
    server.wait_until(lambda: is_ready(server), RECOVERY_S)
    kit.store(http, chest[1:2]).raise_for_status()
    assert len(kit.instances(http, str(chest[0].StudyInstanceUID), "CT")) == 2


def test_database_crashes_under_writers(
    server: ServerProcess, own_cluster: Cluster, kit: Any, new_chest: Callable[..., Sequence[FileDataset]]
) -> None:
    """Crashes in the middle of transactions: what was acknowledged is there, bit for bit, nothing is torn."""
    http = server.client()
    studies = [list(new_chest(f"CRASH-{number}", 40)) for number in range(3)]
    acknowledged: list[FileDataset] = []
    crashed = threading.Event()

    def send(study: Sequence[FileDataset]) -> None:
        with loopback.client(server.base, headers=http.headers, timeout=60) as sender:
            for dataset in study:
                answer = kit.store(sender, [dataset])
                assert answer.status_code in (200, 503), answer.text
                if answer.status_code == 200:
                    acknowledged.append(dataset)
                if len(acknowledged) > 20:
                    crashed.set()

    senders = [threading.Thread(target=send, args=(study,)) for study in studies]
    for sender in senders:
        sender.start()
    assert crashed.wait(60)
    own_cluster.stop("immediate")
    own_cluster.start()
    for sender in senders:
        sender.join()
    server.wait_until(lambda: is_ready(server), RECOVERY_S)
    assert len(acknowledged) > 20
    for dataset in acknowledged:
        path = (
            f"/dicom-web/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
            f"/instances/{dataset.SOPInstanceUID}"
        )
        assert http.get(path, headers={"Accept": "application/dicom"}).content == kit.part10(dataset)
    for study in studies:  # whoever tries again has everything stored, once
        kit.store(http, study).raise_for_status()
        assert len(kit.instances(http, str(study[0].StudyInstanceUID), "CT")) == len(study)
