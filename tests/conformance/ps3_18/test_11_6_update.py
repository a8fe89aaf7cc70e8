"""Update Workitem, PS3.18 §11.6."""

from typing import Any

import pytest

from dicomweb.worklist.dicom_json import attribute
from server.kernel.access import Access
from server.kernel.services import Services
from tests.conformance.ps3_18.kit import confined_to, granted
from tests.conformance.ps3_18.worklist import (
    TRANSACTION,
    UID,
    Ups,
    code,
    discontinued,
    input_of,
    performed,
    workitem,
)
from tests.unit.worklist.kit import armed_uid, store_study

LABEL = attribute("ProcedureStepLabel", "Read again")
NOT_CLAIMED = '299 isthmus "The target URI did not reference a claimed Workitem."'
INCONSISTENT = '299 isthmus "The submitted request is inconsistent with the current state of the Workitem."'


async def in_state(ups: Ups, state: str) -> None:
    """Bring the workitem into a state."""
    await ups.create(workitem())
    if state != "SCHEDULED":
        assert (await ups.change("IN PROGRESS")).status_code == 200
    if state in ("COMPLETED", "CANCELED"):
        final = performed() if state == "COMPLETED" else discontinued()
        assert (await ups.update(final, TRANSACTION)).status_code == 200
        assert (await ups.change(state)).status_code == 200


@pytest.mark.parametrize(
    ("state", "transaction_uid", "status", "warning"),
    [
        pytest.param("SCHEDULED", None, 200, None, id="scheduled: nobody's yet"),
        pytest.param("SCHEDULED", TRANSACTION, 409, NOT_CLAIMED, id="scheduled: it has no Transaction UID"),
        pytest.param("IN PROGRESS", TRANSACTION, 200, None, id="in progress: by its performer"),
        pytest.param("IN PROGRESS", None, 400, NOT_CLAIMED, id="in progress: without Transaction UID"),
        pytest.param("IN PROGRESS", "1.9", 400, NOT_CLAIMED, id="in progress: with another's"),
        pytest.param("COMPLETED", TRANSACTION, 400, INCONSISTENT, id="completed"),
        pytest.param("CANCELED", TRANSACTION, 400, INCONSISTENT, id="canceled"),
    ],
)
async def test_table_11_6_3_1(
    ups: Ups, state: str, transaction_uid: str | None, status: int, warning: str | None
) -> None:
    await in_state(ups, state)
    answer = await ups.update(LABEL, transaction_uid)
    assert (answer.status_code, answer.headers.get("warning")) == (status, warning)
    label = "Read again" if status == 200 else "Read CT"
    assert (await ups.get())["00741204"]["Value"] == [label]


async def test_unknown_workitem_is_404(ups: Ups) -> None:
    assert (await ups.update(LABEL)).status_code == 404


@pytest.mark.parametrize("where", ["payload", "bare query"])
async def test_transaction_uid_may_come_in_the_payload_or_alone(ups: Ups, where: str) -> None:
    await in_state(ups, "IN PROGRESS")
    if where == "payload":
        answer = await ups.update(LABEL | attribute("TransactionUID", TRANSACTION))
    else:
        answer = await ups.send("POST", f"/workitems/{UID}?{TRANSACTION}", LABEL)
    assert answer.status_code == 200
    assert "00081195" not in await ups.get()


async def test_two_transaction_uids_are_400(ups: Ups) -> None:
    await in_state(ups, "IN PROGRESS")
    assert (await ups.update(LABEL | attribute("TransactionUID", "1.9"), TRANSACTION)).status_code == 400


async def test_attributes_replace_those_of_their_name_and_no_others(ups: Ups) -> None:
    station = workitem(ScheduledStationNameCodeSequence=code("WS1"), PatientComments="as sent")
    await ups.create(station)
    before = await ups.get()
    changes = attribute("ScheduledStationNameCodeSequence", code("WS2")) | {
        "00091001": {"vr": "LO", "Value": ["new"]}
    }
    assert (await ups.update(changes)).status_code == 200
    after = await ups.get()
    modified = "00404010"  # Scheduled Procedure Step Modification DateTime
    assert after == before | changes | {modified: after[modified]}
    assert after[modified] != before[modified]


@pytest.mark.parametrize(
    "keyword",
    ["PatientID", "PatientName", "PatientSex", "AdmissionID", "SOPInstanceUID", "ProcedureStepState"],
)
async def test_what_n_set_does_not_allow_is_400(ups: Ups, keyword: str) -> None:
    await in_state(ups, "SCHEDULED")
    value: Any = {"Alphabetic": "Other"} if keyword == "PatientName" else "1.2.3"
    answer = await ups.update(attribute(keyword, value))
    assert answer.status_code == 400
    assert keyword in answer.text


async def test_what_was_retrieved_may_come_back(ups: Ups) -> None:
    await in_state(ups, "SCHEDULED")
    assert (await ups.update(await ups.get() | LABEL)).status_code == 200


async def test_value_of_type_1_cannot_be_emptied(ups: Ups) -> None:
    await in_state(ups, "SCHEDULED")
    assert (await ups.update(attribute("ProcedureStepLabel"))).status_code == 400


async def test_engines_workitem_takes_only_some(ups: Ups, services: Services) -> None:
    uid = await armed_uid(services.database)
    answer = await ups.update(LABEL | attribute("ScheduledProcedureStepPriority", "HIGH"), uid=uid)
    assert answer.status_code == 200
    assert answer.headers["warning"] == '299 isthmus "Requested optional Attributes are not supported."'
    shown = await ups.get(uid)
    assert shown["00741200"]["Value"] == ["HIGH"]
    assert shown["00741204"]["Value"] == ["ct-quantification 1.0.0"]


async def test_token_of_a_patient_takes_no_other_study_in(
    ups: Ups, services: Services, accesses: dict[str, Access]
) -> None:
    await store_study(services.database, "1.1", "p1")
    await store_study(services.database, "1.2", "p2")
    accesses["patient"] = confined_to("p1")
    await ups.create(workitem(InputInformationSequence=input_of("1.1"), PatientID=[]))
    ups.http.headers["Authorization"] = "Bearer patient"
    both = attribute("InputInformationSequence", input_of("1.1"), input_of("1.2"))
    assert (await ups.update(both)).status_code == 403
    assert (await ups.update(LABEL)).status_code == 200
    accesses["patient"] = confined_to("p2")
    assert (await ups.update(LABEL)).status_code == 404
    accesses["patient"] = granted("Task", "crs")
    assert (await ups.update(LABEL)).status_code == 403
