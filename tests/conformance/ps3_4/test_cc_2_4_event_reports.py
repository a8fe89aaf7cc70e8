"""Event reports, PS3.4 CC.2.4: Table CC.2.4-1, and when the SCP sends which."""

from typing import Any

import orjson
import pytest
from sqlalchemy import select

from dicomweb.worklist.attempts import Claim, cancel, fail, heartbeat
from dicomweb.worklist.cancel import request_cancel
from dicomweb.worklist.change import WORKITEM
from dicomweb.worklist.claims import claim
from dicomweb.worklist.events.report import KINDS, message, reports_of
from dicomweb.worklist.events.subscriptions import Subscriber, Wanted, subscribe
from dicomweb.worklist.workitem import Reason
from server.kernel.access import EVERYONE, Principal
from server.kernel.database import Database
from server.kernel.outbox import START, read_events
from tests.unit.worklist.kit import armed_uid

ADA = Principal("user:ada", "ada")
STATE, CANCEL_REQUESTED, PROGRESS, ASSIGNED = 1, 2, 3, 5


async def reported(database: Database) -> list[dict[str, Any]]:
    """Every report so far, as it would be sent."""
    async with database.read() as connection:
        events = await read_events(connection, START, KINDS)
        rows = {row["workitem_uid"]: row for row in (await connection.execute(select(WORKITEM))).mappings()}
    reports = [
        (event.subject, report)
        for event in events
        for report in reports_of(event, orjson.loads(event.payload), rows[event.subject])
    ]
    return [message(report, uid, number) for number, (uid, report) in enumerate(reports, 1)]


def told(messages: list[dict[str, Any]]) -> list[tuple[int, str | None]]:
    """(Event Type ID, Procedure Step State) of each."""
    return [
        (each["00001002"]["Value"][0], each.get("00741000", {"Value": [None]})["Value"][0])
        for each in messages
    ]


async def claimed(database: Database) -> Claim:
    taken = await claim(database, "w", 30)
    assert taken is not None
    return taken


async def test_created_workitem_is_reported_as_scheduled_and_assigned(database: Database) -> None:
    uid = await armed_uid(database)
    state, assigned = await reported(database)
    assert state == {
        "00000002": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.34.6.1"]},  # UPS Push, whoever asks
        "00000110": {"vr": "US", "Value": [1]},
        "00001000": {"vr": "UI", "Value": [uid]},
        "00001002": {"vr": "US", "Value": [STATE]},
        "00404041": {"vr": "CS", "Value": ["READY"]},
        "00741000": {"vr": "CS", "Value": ["SCHEDULED"]},
    }
    assert assigned["00001002"]["Value"] == [ASSIGNED]
    (station,) = assigned["00404025"]["Value"]
    assert station["00080119"]["Value"] == ["ct-quantification"]  # Long Code Value: over 16 characters


async def test_each_state_that_it_passes_through_is_reported(database: Database) -> None:
    await armed_uid(database)
    taken = await claimed(database)
    await database.transact(lambda unit: cancel(unit, taken, Reason(None, "no reason")))
    messages = await reported(database)
    expected = [(STATE, "SCHEDULED"), (ASSIGNED, None), (STATE, "IN PROGRESS"), (STATE, "CANCELED")]
    assert told(messages) == expected
    assert messages[-1]["00741238"]["Value"] == ["no reason"]
    assert messages[-1]["0074100E"]["Value"][0]["00080104"]["Value"]  # a code: CANCELED has one
    assert "00741238" not in messages[2]


async def test_progress_is_reported_when_it_changes(database: Database) -> None:
    await armed_uid(database)
    taken = await claimed(database)
    for percent, text in ((10, "loading"), (10, "loading"), (20, None)):
        await heartbeat(database, taken, 30, progress=percent, text=text)
    first, second = [each for each in await reported(database) if each["00001002"]["Value"] == [PROGRESS]]
    (information,) = first["00741002"]["Value"]
    assert information["00741004"]["Value"] == [10]
    assert information["00741006"]["Value"] == ["loading"]
    (information,) = second["00741002"]["Value"]
    assert (information["00741004"]["Value"], information["00741006"]["Value"]) == ([20], ["loading"])


async def test_failed_attempt_is_progress(database: Database) -> None:
    await armed_uid(database)
    taken = await claimed(database)
    await heartbeat(database, taken, 30, progress=50, text="running")
    await database.transact(lambda unit: fail(unit, taken, Reason(None, "lost")))
    last = (await reported(database))[-1]
    assert last["00741002"]["Value"][0]["00741004"]["Value"] == [0]


async def test_request_to_cancel_is_reported_with_its_reason(database: Database) -> None:
    uid = await armed_uid(database)
    await claimed(database)
    reason = Reason(None, "wrong patient")
    await database.transact(lambda unit: request_cancel(unit, uid, EVERYONE, ADA, reason))
    last = (await reported(database))[-1]
    assert last["00001002"]["Value"] == [CANCEL_REQUESTED]
    assert last["00741236"] == {"vr": "AE", "Value": ["ISTHMUS"]}
    assert last["00741238"]["Value"] == ["wrong patient"]


async def test_subscriber_is_told_the_state_at_once(database: Database) -> None:
    uid = await armed_uid(database)
    await claimed(database)
    wanted = Wanted(uid)
    await database.transact(lambda unit: subscribe(unit, Subscriber(ADA, "ADA"), wanted, EVERYONE))
    assert told(await reported(database))[-1] == (STATE, "IN PROGRESS")


@pytest.mark.parametrize("forbidden", ["00081195", "00100010", "00100020"])
async def test_no_lock_and_no_patient_is_in_a_report(database: Database, forbidden: str) -> None:
    await armed_uid(database)
    await claimed(database)
    assert all(forbidden not in each for each in await reported(database))
