"""Event reports of workitems from outside, PS3.4 CC.2.4: each change tells its subscribers."""

from typing import Any

import orjson
import pytest

from dicomweb.worklist.dicom_json import attribute
from dicomweb.worklist.events.channel import Channel
from dicomweb.worklist.events.filter import parse_filter
from dicomweb.worklist.events.report import KINDS
from dicomweb.worklist.events.subscriptions import (
    FILTERED_WORKLIST,
    WORKLIST,
    Subscriber,
    Wanted,
    subscribe,
    suspend,
)
from dicomweb.worklist.state import State
from server.kernel.access import EVERYONE, Access
from server.kernel.outbox import START, read_events
from server.kernel.services import Services
from tests.conformance.ps3_18.kit import EVERYTHING, confined_to
from tests.conformance.ps3_18.worklist import code, discontinued, performed, progress
from tests.unit.worklist.kit import store_study
from tests.unit.worklist.test_outside import MINE, created, start, to_state, updated

STATE, CANCEL_REQUESTED, PROGRESS, ASSIGNED = 1, 2, 3, 5
ME = Subscriber(EVERYTHING.principal, "WATCHER")


async def subscribed(services: Services, target: str, keys: tuple[str, ...] = ()) -> None:
    wanted = Wanted(target, filter=parse_filter(keys) if keys else ())
    await services.database.transact(lambda unit: subscribe(unit, ME, wanted, EVERYONE))


async def told(services: Services, access: Access = EVERYTHING) -> list[dict[str, Any]]:
    """What an open channel would have been sent of everything so far."""
    channel = Channel(services, Subscriber(access.principal, "WATCHER"), access)
    async with services.database.read() as connection:
        events = await read_events(connection, START, KINDS)
    return [orjson.loads(message) for event in events for message in await channel.messages(event)]


def kinds(messages: list[dict[str, Any]]) -> list[tuple[int, str | None]]:
    """(Event Type ID, Procedure Step State) of each."""
    return [
        (each["00001002"]["Value"][0], each.get("00741000", {"Value": [None]})["Value"][0])
        for each in messages
    ]


async def test_the_life_of_an_outside_workitem(services: Services) -> None:
    await subscribed(services, WORKLIST)
    database = services.database
    uid = await created(database)
    await start(database, uid)
    await updated(database, uid, progress(40, "reading"), MINE)
    await updated(database, uid, performed(), MINE)
    await to_state(database, uid, State.COMPLETED)
    messages = await told(services)
    assert kinds(messages) == [
        (STATE, "SCHEDULED"),
        (STATE, "IN PROGRESS"),
        (PROGRESS, None),
        (STATE, "COMPLETED"),
    ]
    assert {each["00001000"]["Value"][0] for each in messages} == {uid}
    (details,) = messages[2]["00741002"]["Value"]
    assert (details["00741004"]["Value"], details["00741006"]["Value"]) == ([40], ["reading"])
    assert not {"00081195", "00100010", "00100020"} & {key for each in messages for key in each}


async def test_assignment_is_reported(services: Services) -> None:
    await subscribed(services, WORKLIST)
    uid = await created(services.database, ScheduledStationNameCodeSequence=code("WS1"))
    await updated(services.database, uid, attribute("ScheduledStationNameCodeSequence", code("WS2")))
    messages = await told(services)
    assert kinds(messages) == [(STATE, "SCHEDULED"), (ASSIGNED, None), (ASSIGNED, None)]
    assert messages[-1]["00404025"]["Value"][0]["00080100"]["Value"] == ["WS2"]


async def test_readiness_is_reported_and_other_attributes_are_not(services: Services) -> None:
    await subscribed(services, WORKLIST)
    uid = await created(services.database, InputReadinessState="INCOMPLETE")
    await updated(services.database, uid, attribute("ProcedureStepLabel", "another"))
    await updated(services.database, uid, attribute("InputReadinessState", "READY"))
    messages = await told(services)
    assert kinds(messages) == [(STATE, "SCHEDULED"), (STATE, "SCHEDULED")]
    assert messages[-1]["00404041"]["Value"] == ["READY"]


async def test_reason_of_the_performer_is_reported(services: Services) -> None:
    await subscribed(services, WORKLIST)
    uid = await created(services.database)
    await start(services.database, uid)
    await updated(services.database, uid, discontinued(), MINE)
    await to_state(services.database, uid, State.CANCELED)
    last = (await told(services))[-1]
    assert last["00741238"]["Value"] == ["The scanner broke."]


@pytest.mark.parametrize(
    ("key", "is_told"),
    [
        ("ScheduledStationNameCodeSequence.CodeValue=WS1", True),
        ("ScheduledStationNameCodeSequence.CodeValue=WS2", False),
        ("WorklistLabel=Read*", True),
        ("WorklistLabel=Isthmus AI", False),
        ("ScheduledProcedureStepStartDateTime=20260115", True),
    ],
)
async def test_filtered_worklist(services: Services, key: str, is_told: bool) -> None:
    await subscribed(services, FILTERED_WORKLIST, (key,))
    await created(services.database, ScheduledStationNameCodeSequence=code("WS1"))
    assert bool(await told(services)) is is_told


async def test_suspended_worklist_goes_on_with_what_was_there(services: Services) -> None:
    await subscribed(services, WORKLIST)
    known = await created(services.database)
    await services.database.transact(lambda unit: suspend(unit, ME, WORKLIST, EVERYONE))
    await created(services.database, "1.2")
    await start(services.database, known)
    assert {each["00001000"]["Value"][0] for each in await told(services)} == {known}


async def test_nothing_is_told_of_another_patients(services: Services) -> None:
    await store_study(services.database, "1.2.3", "p1")
    confined = confined_to("p2")
    mine = Subscriber(confined.principal, "WATCHER")
    await services.database.transact(lambda unit: subscribe(unit, mine, Wanted(WORKLIST), EVERYONE))
    await created(services.database, for_engine=True, PatientID=[])
    assert await told(services, confined) == []
    assert await told(services, Access(confined.principal, confined.grants, frozenset({"p1"})))
