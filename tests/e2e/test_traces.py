"""One trace from the request through the queue to the model, over real processes and a real receiver."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.services.otlp import ReceivedSpan, Receiver, otlp_receiver

CLIENT_TRACE, CLIENT_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = {"traceparent": f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-01"}
STAGES = ("load", "preprocess", "model", "encode", "publish")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with otlp_receiver() as receiving:
        yield receiving


def of_client(receiver: Receiver, name: str) -> list[ReceivedSpan]:
    return [span for span in receiver.named(name) if span.trace_id == CLIENT_TRACE]


@pytest.mark.slow
def test_request_that_arms_and_the_work_it_causes_are_one_trace(
    server_process: Any, receiver: Receiver, kit: Any, chest: Any
) -> None:
    server_process.environment |= {
        "ISTHMUS_OTLP_ENDPOINT": receiver.endpoint,
        "ISTHMUS_QUIET_TIME_S": "3600",  # settled when told
    }
    server_process.start()
    http = server_process.client()
    uid = str(chest[0].StudyInstanceUID)
    kit.store(http, chest).raise_for_status()
    http.post(f"/admin/api/studies/{uid}/settled", headers=TRACEPARENT).raise_for_status()
    server_process.wait_until(lambda: kit.states(http, uid) == ["COMPLETED"], 240)
    http.get("/dicom-web/studies", params={"PatientID": "DEMO-1"})
    server_process.stop()

    (settled,) = of_client(receiver, "POST /admin/api/studies/{study_instance_uid}/settled")
    assert (settled.parent_id, settled.service) == (CLIENT_SPAN, "isthmus-server")
    (armed,) = of_client(receiver, "enqueue workitem")
    assert settled.name in receiver.ancestry(armed)
    (workitem,) = of_client(receiver, "workitem")
    assert (workitem.parent_id, workitem.service) == (armed.span_id, "isthmus-worker")
    assert workitem.attributes["isthmus.outcome"] == "completed"
    for stage in ("claim", *STAGES):
        (span,) = of_client(receiver, stage)
        assert receiver.ancestry(span)[:2] == ["workitem", "enqueue workitem"]
    writes = [receiver.ancestry(span) for span in of_client(receiver, "database write")]
    assert any("publish" in names for names in writes)

    says_nothing_of_the_patient(receiver, uid)
    correlates(server_process.log(), workitem)


def says_nothing_of_the_patient(
    receiver: Receiver, study_instance_uid: str, *, searched: bool = True
) -> None:
    assert bool(receiver.named("GET /dicom-web/studies")) is searched
    everything = b"".join(receiver.bodies)
    for word in (b"DEMO-1", b"Phantom", study_instance_uid.encode()):
        assert word not in everything


def correlates(log: str, workitem: ReceivedSpan) -> None:
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    (completed,) = [line for line in lines if line["event"] == "workitem completed"]
    assert (completed["trace_id"], completed["span_id"]) == (workitem.trace_id, workitem.span_id)
    (request,) = [
        line for line in lines if line["event"] == "request" and line.get("trace_id") == CLIENT_TRACE
    ]
    assert request["route"].endswith("/settled")


def test_store_and_the_work_it_causes_after_the_quiet_time_are_one_trace(
    server_process: Any, receiver: Receiver, kit: Any, chest: Any
) -> None:
    server_process.environment |= {
        "ISTHMUS_OTLP_ENDPOINT": receiver.endpoint,
        "ISTHMUS_QUIET_TIME_S": "0.5",
    }
    server_process.start()
    http = server_process.client()
    http.headers.update(TRACEPARENT)
    kit.store(http, chest).raise_for_status()
    del http.headers["traceparent"]
    uid = str(chest[0].StudyInstanceUID)
    server_process.wait_until(lambda: kit.states(http, uid) == ["COMPLETED"], 240)
    server_process.stop()

    (stored,) = of_client(receiver, "POST /dicom-web/studies")
    assert stored.parent_id == CLIENT_SPAN
    (workitem,) = of_client(receiver, "workitem")
    way = [name for name in receiver.ancestry(workitem) if not name.startswith("database")]
    assert way == ["enqueue workitem", "job look-at-study", "job note-study-changed", stored.name]
    assert stored.name in receiver.ancestry(of_client(receiver, "job project-study")[0])
    (published,) = of_client(receiver, "publish")
    assert receiver.ancestry(published)[0] == "workitem"
    (put, *_) = of_client(receiver, "object put")
    assert stored.name in receiver.ancestry(put)
    says_nothing_of_the_patient(receiver, uid, searched=False)
