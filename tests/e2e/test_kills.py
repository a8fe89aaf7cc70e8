"""Killed at bad moments: what was acknowledged is there, whole; what was begun is finished, once."""

import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import httpx
import pytest
from pydicom import FileDataset, dcmread

from tests.conftest import on_both_databases
from tests.services import loopback

ANALYSIS_S = 150.0


def instance_path(dataset: FileDataset) -> str:
    return (
        f"/dicom-web/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
        f"/instances/{dataset.SOPInstanceUID}"
    )


def read_back(http: httpx.Client, dataset: FileDataset) -> bytes:
    answer = http.get(instance_path(dataset), headers={"Accept": "application/dicom"})
    assert answer.status_code == 200, answer.text
    return answer.content


def store_until_killed(
    server: Any, kit: Any, datasets: Sequence[FileDataset], acknowledged: list[FileDataset]
) -> None:
    """Store one instance a request until the connection breaks; note what was acknowledged."""
    with loopback.client(server.base, headers=server.authorization, timeout=30) as http:
        for dataset in datasets:
            try:
                answer = kit.store(http, [dataset])
            except httpx.TransportError:
                return
            if answer.status_code == 200:
                acknowledged.append(dataset)


@pytest.mark.parametrize(
    ("server_database", "seed"),
    [
        ("sqlite", 1),
        pytest.param("sqlite", 2, marks=pytest.mark.slow),
        pytest.param("postgresql", 1, marks=pytest.mark.slow),
        pytest.param("postgresql", 2, marks=pytest.mark.slow),
    ],
    indirect=["server_database"],
)
def test_acknowledged_instances_survive_a_kill(
    server_process: Any, kit: Any, new_chest: Callable[..., Sequence[FileDataset]], seed: int
) -> None:
    server_process.start("--no-worker")
    server_process.authorization = {"Authorization": f"Bearer {server_process.token()}"}
    studies = [list(new_chest(f"KILL-{number}")) for number in range(3)]
    acknowledged: list[FileDataset] = []
    senders = [
        threading.Thread(target=store_until_killed, args=(server_process, kit, study, acknowledged))
        for study in studies
    ]
    for sender in senders:
        sender.start()
    time.sleep(random.Random(seed).uniform(0.2, 1.2))
    server_process.kill()
    for sender in senders:
        sender.join()
    server_process.start("--no-worker")
    http = server_process.client()
    for dataset in acknowledged:
        assert read_back(http, dataset) == kit.part10(dataset)
    listed = [uid for study in studies for uid in kit.instances(http, str(study[0].StudyInstanceUID), "CT")]
    assert {str(dataset.SOPInstanceUID) for dataset in acknowledged} <= set(listed)
    for study in studies:  # what is listed can be read, also what was not acknowledged in time
        for dataset in study:
            if str(dataset.SOPInstanceUID) in listed:
                dcmread(BytesIO(read_back(http, dataset)))
    again = [kit.store(http, study).status_code for study in studies]
    assert again == [200, 200, 200]  # a client that tries again ends with everything stored, once
    for study in studies:
        assert len(kit.instances(http, str(study[0].StudyInstanceUID), "CT")) == len(study)


@pytest.mark.slow  # test_fleet.py kills one in `make test`
@on_both_databases
@pytest.mark.parametrize(
    "moment", ["loading the images", "running CT quantification", "encoding the findings"]
)
def test_killed_worker_is_replaced_and_the_result_is_there_once(
    server_process: Any, kit: Any, chest: Sequence[FileDataset], moment: str
) -> None:
    server_process.environment["ISTHMUS_LEASE_S"] = "3"
    server_process.start()
    http = server_process.client()
    uid = str(chest[0].StudyInstanceUID)
    kit.store(http, chest).raise_for_status()
    worker = server_process.worker()

    def reached() -> bool:
        found = kit.workitems(http, uid)
        states = [each["00741000"]["Value"][0] for each in found]
        return states == ["COMPLETED"] or (states == ["IN PROGRESS"] and moment in str(found[0]))

    server_process.wait_until(reached, ANALYSIS_S)
    worker.send_signal(signal.SIGKILL)
    server_process.wait_until(lambda: kit.states(http, uid) == ["COMPLETED"], ANALYSIS_S)
    assert len(kit.instances(http, uid, "SEG")) == 1
    assert len(kit.instances(http, uid, "SR")) == 1
    reports = http.get("/fhir/DiagnosticReport").json()
    assert reports["entry"][0]["resource"]["meta"]["versionId"] == "1"
    assert len(reports["entry"]) == 1


@pytest.mark.parametrize(
    "server_database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
def test_killed_server_goes_on_with_the_analysis(
    server_process: Any, kit: Any, chest: Sequence[FileDataset]
) -> None:
    server_process.environment["ISTHMUS_LEASE_S"] = "3"
    server_process.start()
    http = server_process.client()
    uid = str(chest[0].StudyInstanceUID)
    kit.store(http, chest).raise_for_status()
    server_process.wait_until(lambda: kit.states(http, uid) == ["IN PROGRESS"], ANALYSIS_S)
    server_process.kill()
    server_process.start()
    http = server_process.client()
    server_process.wait_until(lambda: kit.states(http, uid) == ["COMPLETED"], ANALYSIS_S)
    assert len(kit.instances(http, uid, "SEG")) == len(kit.instances(http, uid, "SR")) == 1
    stops_in_order(server_process)


def stops_in_order(server_process: Any) -> None:
    """Told by SIGTERM, server and worker end, and say so."""
    worker = server_process.worker()
    assert server_process.stop() in (0, -signal.SIGTERM)  # uvicorn raises the signal again once it is done
    assert "Application shutdown complete" in server_process.log()
    assert not worker.is_running()


@pytest.mark.slow  # test_worker.py asks the same of the worker itself
@on_both_databases
def test_stopped_worker_gives_its_workitem_back(
    server_process: Any, kit: Any, chest: Sequence[FileDataset]
) -> None:
    server_process.environment |= {"ISTHMUS_LEASE_S": "3600", "ISTHMUS_WORKER_GRACE_S": "0"}
    server_process.start()
    http = server_process.client()
    uid = str(chest[0].StudyInstanceUID)
    kit.store(http, chest).raise_for_status()
    worker = server_process.worker()
    server_process.wait_until(lambda: kit.states(http, uid) == ["IN PROGRESS"], ANALYSIS_S)
    worker.terminate()  # the next one does not wait for the lease, which would take an hour
    server_process.wait_until(lambda: kit.states(http, uid) == ["COMPLETED"], ANALYSIS_S)
    assert len(kit.instances(http, uid, "SEG")) == len(kit.instances(http, uid, "SR")) == 1
    assert "workitem given back" in server_process.log()
