"""Change Workitem State, PS3.18 §11.7: the table of PS3.4 CC.1.1 over HTTP."""

import pytest

from server.kernel.access import Access
from server.kernel.services import Services
from tests.conformance.ps3_18.kit import confined_to, granted
from tests.conformance.ps3_18.test_11_6_update import in_state
from tests.conformance.ps3_18.worklist import (
    TRANSACTION,
    UID,
    Ups,
    code,
    discontinued,
    performed,
    progress,
    to_state,
    workitem,
)
from tests.unit.worklist.kit import armed_uid, store_study
from tests.unit.worklist.kit import workitem as row_of

OTHER = "1.9"
STATES = ("SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED")
MISSING = "The Transaction UID is missing."
INCORRECT = "The Transaction UID is incorrect."
INCONSISTENT = "The submitted request is inconsistent with the state of the UPS Instance."
COMPLETED, CANCELED = (f"The UPS is already in the requested state of {state}." for state in STATES[2:])


@pytest.mark.parametrize(
    ("state", "asked", "status", "warning"),
    [
        ("SCHEDULED", "IN PROGRESS", 200, None),
        ("SCHEDULED", "COMPLETED", 409, INCONSISTENT),
        ("SCHEDULED", "CANCELED", 409, INCONSISTENT),
        ("SCHEDULED", "SCHEDULED", 409, INCONSISTENT),
        ("IN PROGRESS", "IN PROGRESS", 409, INCONSISTENT),
        ("IN PROGRESS", "SCHEDULED", 409, INCONSISTENT),
        ("IN PROGRESS", "COMPLETED", 409, INCONSISTENT),  # final state requirements: next test
        ("COMPLETED", "IN PROGRESS", 409, INCONSISTENT),
        ("COMPLETED", "COMPLETED", 200, COMPLETED),
        ("COMPLETED", "CANCELED", 409, INCONSISTENT),
        ("CANCELED", "IN PROGRESS", 409, INCONSISTENT),
        ("CANCELED", "COMPLETED", 409, INCONSISTENT),
        ("CANCELED", "CANCELED", 200, CANCELED),
    ],
)
async def test_table_cc_1_1_2_with_the_transaction_uid(
    ups: Ups, state: str, asked: str, status: int, warning: str | None
) -> None:
    await in_state(ups, state)
    answer = await ups.change(asked)
    said = None if warning is None else f'299 isthmus "{warning}"'
    assert (answer.status_code, answer.headers.get("warning")) == (status, said), answer.text
    assert await ups.state() == (asked if status == 200 else state)


@pytest.mark.parametrize("state", STATES[1:])
@pytest.mark.parametrize("asked", STATES[1:])
async def test_table_cc_1_1_2_with_anothers_transaction_uid(ups: Ups, state: str, asked: str) -> None:
    await in_state(ups, state)
    answer = await ups.change(asked, OTHER)
    assert (answer.status_code, answer.headers["warning"]) == (400, f'299 isthmus "{INCORRECT}"')
    assert await ups.state() == state


@pytest.mark.parametrize(("transaction_uid", "status"), [(None, 400), ("x", 400)])
async def test_without_transaction_uid(ups: Ups, transaction_uid: str | None, status: int) -> None:
    await in_state(ups, "SCHEDULED")
    answer = await ups.change("IN PROGRESS", transaction_uid)
    assert answer.status_code == status
    if transaction_uid is None:
        assert answer.headers["warning"] == f'299 isthmus "{MISSING}"'
    assert await ups.state() == "SCHEDULED"


@pytest.mark.parametrize("asked", ["DISCONTINUED", "CANCELLED", "in progress", ""])
async def test_state_that_is_none_is_400(ups: Ups, asked: str) -> None:
    await in_state(ups, "SCHEDULED")
    assert (await ups.change(asked)).status_code == 400


async def test_unknown_workitem_is_404(ups: Ups) -> None:
    assert (await ups.change("IN PROGRESS")).status_code == 404


async def test_an_outside_performer_completes_a_workitem(ups: Ups, services: Services) -> None:
    """Claims it, tells how far it is, says what was made, completes it; no lease, no attempt."""
    await ups.create(workitem())
    assert (await ups.change("IN PROGRESS")).status_code == 200
    assert (await ups.update(progress(40, "reading"), TRANSACTION)).status_code == 200
    row = await row_of(services.database, UID)
    assert (row["attempt"], row["progress"], row["progress_text"]) == (0, 40, "reading")
    early = await ups.change("COMPLETED")
    assert (early.status_code, "final state requirements" in early.text) == (409, True)
    assert (await ups.update(performed(), TRANSACTION)).status_code == 200
    assert (await ups.change("COMPLETED")).status_code == 200
    shown = await ups.get()
    assert shown["00741216"] == performed()["00741216"]
    assert shown["00741002"]["Value"][0]["00741004"]["Value"] == [40]
    assert "00081195" not in shown


async def test_an_outside_performer_cancels_a_workitem(ups: Ups) -> None:
    await in_state(ups, "IN PROGRESS")
    assert (await ups.change("CANCELED")).status_code == 409  # no reason: Final State X
    await ups.update(discontinued(), TRANSACTION)
    assert (await ups.change("CANCELED")).status_code == 200
    details = (await ups.get())["00741002"]["Value"][0]
    assert details["0074100E"]["Value"][0]["00080100"]["Value"] == ["110501"]
    assert details["00741238"]["Value"] == ["The scanner broke."]
    assert details["00404052"]["Value"]  # Procedure Step Cancellation DateTime, given here


async def test_engines_workitem_is_completed_from_outside(ups: Ups, services: Services) -> None:
    uid = await armed_uid(services.database)
    assert (await ups.change("IN PROGRESS", uid=uid)).status_code == 200
    shown = await ups.get(uid)
    assert "Value" not in shown["00741216"]  # nothing says that the model performs it
    await ups.update(performed(), TRANSACTION, uid)
    assert (await ups.change("COMPLETED", uid=uid)).status_code == 200
    shown = await ups.get(uid)
    assert shown["00741216"] == performed()["00741216"]
    assert (await row_of(services.database, uid))["output"] == "[]"  # nothing for the engine to supersede


async def test_state_is_changed_within_reach_only(
    ups: Ups, services: Services, accesses: dict[str, Access]
) -> None:
    await store_study(services.database, "1.1", "p1")
    uid = await armed_uid(services.database, "1.1")
    for access, status in (
        (confined_to("p2"), 404),
        (granted("Task", "crds"), 403),
        (confined_to("p1"), 200),
    ):
        accesses["some"] = access
        ups.http.headers["Authorization"] = "Bearer some"
        answer = await ups.send("PUT", f"/workitems/{uid}/state", to_state("IN PROGRESS"))
        assert answer.status_code == status


async def test_model_may_be_performed_by_somebody_else(ups: Ups) -> None:
    named = workitem(ScheduledWorkitemCodeSequence=code("ct-quantification", "99ISTHMUS"))
    await ups.create(named)
    assert (await ups.change("IN PROGRESS")).status_code == 200
