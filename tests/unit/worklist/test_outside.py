"""The engine and outside performers on one worklist: each workitem has one performer (DESIGN §6)."""

from datetime import timedelta
from typing import Any

import pytest

from dicomweb.worklist.attempts import complete, heartbeat, standing_output
from dicomweb.worklist.cancel import request_cancel
from dicomweb.worklist.claims import claim, is_any_claimable
from dicomweb.worklist.dicom_json import DicomJson, attribute
from dicomweb.worklist.outside.change_state import StateChange, change_state_from_outside
from dicomweb.worklist.outside.columns import NEVER_US
from dicomweb.worklist.outside.create import NewFromOutside, create
from dicomweb.worklist.outside.engine import Assignment, as_series, input_of
from dicomweb.worklist.outside.requirements import complete_new
from dicomweb.worklist.outside.update import Update, seen, update
from dicomweb.worklist.schedule import NotTheEngines, rerun
from dicomweb.worklist.state import AlreadyInProgress, State, TransactionUidIncorrect
from dicomweb.worklist.withdraw import withdraw
from dicomweb.worklist.workitem import Reason
from server.kernel.access import EVERYONE, Principal
from server.kernel.clock import now_us
from server.kernel.database import Database
from server.kernel.faults import Busy
from server.kernel.site import Site
from tests.conformance.ps3_18.worklist import code, discontinued, performed, progress
from tests.conformance.ps3_18.worklist import input_of as input_item
from tests.conformance.ps3_18.worklist import workitem as sent
from tests.unit.worklist.kit import CT_IMAGE_STORAGE, armed_uid, ct, events, workitem

ADA = Principal("user:ada", "ada")
MINE, OTHERS = "2.25.1", "2.25.2"
SITE = Site()
ON_CT = input_item("1.2.3", "1.2.3.1", (CT_IMAGE_STORAGE, "1.2.3.1.1"))
FOR_MODEL = {
    "ScheduledStationNameCodeSequence": code("ct-quantification", "99ISTHMUS"),
    "InputInformationSequence": ON_CT,
}


async def created(database: Database, uid: str = "1.1", *, for_engine: bool = False, **said: Any) -> str:
    data_set = complete_new(sent(**((FOR_MODEL if for_engine else {}) | said)))
    assignment = None
    if for_engine:
        is_ready = said.get("InputReadinessState", "READY") == "READY"
        assignment = Assignment(
            "ct-quantification", "1.0.0", as_series(input_of(data_set)) if is_ready else ()
        )
    new = NewFromOutside(uid, data_set, assignment, ADA, EVERYONE)
    await database.transact(lambda unit: create(unit, new, SITE))
    return uid


async def start(database: Database, uid: str, transaction_uid: str = MINE) -> None:
    await to_state(database, uid, State.IN_PROGRESS, transaction_uid)


async def to_state(database: Database, uid: str, state: State, transaction_uid: str = MINE) -> None:
    asked = StateChange(state, transaction_uid)
    await database.transact(lambda unit: change_state_from_outside(unit, uid, asked, EVERYONE, ADA))


async def updated(
    database: Database,
    uid: str,
    changes: DicomJson,
    transaction_uid: str = "",
    assignment: Assignment | None = None,
) -> None:
    asked = Update(uid, changes, transaction_uid, ADA, EVERYONE)
    before = seen(await workitem(database, uid), changes)
    await database.transact(lambda unit: update(unit, asked, before, assignment, SITE))


async def test_engine_leaves_what_names_no_model(database: Database) -> None:
    uid = await created(database)
    assert await claim(database, "w", 30) is None
    async with database.read() as connection:
        assert not await is_any_claimable(connection, now_us())
    row = await workitem(database, uid)
    assert row["not_before_us"] == NEVER_US  # an engine of an earlier release leaves it too


async def test_engine_takes_what_names_its_model(database: Database) -> None:
    uid = await created(database, for_engine=True)
    taken = await claim(database, "w", 30)
    assert taken is not None
    assert (taken.workitem_uid, taken.model_name, taken.attempt) == (uid, "ct-quantification", 1)
    assert [each.sop_instance_uids for each in taken.input] == [("1.2.3.1.1",)]
    await database.transact(lambda unit: complete(unit, taken, (ct(),)))
    assert (await workitem(database, uid))["state"] == "COMPLETED"


async def test_engine_never_takes_what_an_outside_performer_has(database: Database) -> None:
    uid = await armed_uid(database)
    await start(database, uid)
    assert await claim(database, "w", 30) is None
    row = await workitem(database, uid)
    assert (row["state"], row["attempt"], row["transaction_uid"]) == ("IN PROGRESS", 0, MINE)


async def test_outside_performer_never_takes_what_the_engine_has(database: Database) -> None:
    uid = await armed_uid(database)
    taken = await claim(database, "w", 30)
    assert taken is not None
    for state in (State.IN_PROGRESS, State.COMPLETED, State.CANCELED):
        with pytest.raises(TransactionUidIncorrect):
            await to_state(database, uid, state)
    with pytest.raises(TransactionUidIncorrect):
        await updated(database, uid, progress(99), MINE)
    assert (await heartbeat(database, taken, 30)).cancel_requested is False


async def test_two_outside_performers_start_one_workitem_once(database: Database) -> None:
    uid = await created(database)
    await start(database, uid)
    with pytest.raises(TransactionUidIncorrect):
        await start(database, uid, OTHERS)
    with pytest.raises(AlreadyInProgress):
        await start(database, uid)


async def test_successor_does_not_wait_for_an_outside_performer(database: Database) -> None:
    """Who holds no lease may never end; the engine's next run on new input comes all the same."""
    first = await armed_uid(database)
    await start(database, first)
    successor = await armed_uid(database, slices=5)
    taken = await claim(database, "w", 30)
    assert taken is not None
    assert taken.workitem_uid == successor
    assert (await workitem(database, first))["cancel_requested_us"] is not None


async def test_output_of_an_outside_performer_is_not_superseded(database: Database) -> None:
    first = await armed_uid(database)
    taken = await claim(database, "w", 30)
    assert taken is not None
    await database.transact(lambda unit: complete(unit, taken, (ct(),)))
    second = await armed_uid(database, slices=4)
    await start(database, second)
    await updated(database, second, performed(), MINE)
    await to_state(database, second, State.COMPLETED)
    await armed_uid(database, slices=5)
    third = await claim(database, "w", 30)
    assert third is not None
    assert await database.transact(lambda unit: standing_output(unit, third)) == (ct(),)  # of the first
    assert (await workitem(database, first))["state"] == "COMPLETED"


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"InputReadinessState": "INCOMPLETE"}, id="input not ready"),
        pytest.param({"ScheduledProcedureStepStartDateTime": "20990101"}, id="to be started later"),
    ],
)
async def test_engine_waits_until_it_may_start(database: Database, said: dict[str, Any]) -> None:
    uid = await created(database, for_engine=True, **said)
    assert await claim(database, "w", 30) is None
    now = attribute("InputReadinessState", "READY") | attribute(
        "ScheduledProcedureStepStartDateTime", "20260101"
    )
    assignment = Assignment("ct-quantification", "1.0.0", (ct(),))
    await updated(database, uid, now, assignment=assignment)
    taken = await claim(database, "w", 30)
    assert taken is not None
    assert taken.input == (ct(),)


async def test_workitem_may_be_given_to_somebody_else(database: Database) -> None:
    uid = await created(database, for_engine=True)
    await updated(database, uid, attribute("ScheduledStationNameCodeSequence", code("WS1")))
    assert await claim(database, "w", 30) is None
    assert (await workitem(database, uid))["model_name"] == ""


async def test_update_prepared_before_another_one_is_repeated(database: Database) -> None:
    uid = await created(database)
    changes = attribute("ProcedureStepLabel", "first")
    before = seen(await workitem(database, uid), changes)
    await updated(database, uid, attribute("ProcedureStepLabel", "second"))
    asked = Update(uid, changes, "", ADA, EVERYONE)
    with pytest.raises(Busy):
        await database.transact(lambda unit: update(unit, asked, before, None, SITE))


async def test_request_to_cancel(database: Database) -> None:
    waiting, running = await created(database), await created(database, "1.2")
    await start(database, running)
    for uid in (waiting, running):
        await database.transact(
            lambda unit, uid=uid: request_cancel(unit, uid, EVERYONE, ADA, Reason(None, "x"))
        )
    assert (await workitem(database, waiting))["state"] == "CANCELED"
    assert (await workitem(database, running))["state"] == "IN PROGRESS"  # its performer decides
    await updated(database, running, discontinued(), MINE)
    await to_state(database, running, State.CANCELED)
    row = await workitem(database, running)
    assert (row["reason_code"], row["reason_text"]) == ("110501", "The scanner broke.")


async def test_deleted_input_ends_what_waits_for_it(database: Database) -> None:
    uid = await created(database, InputInformationSequence=ON_CT)
    await database.transact(lambda unit: withdraw(unit, "1.2.3", {"1.2.3.1.1"}, ADA))
    row = await workitem(database, uid)
    assert (row["state"], row["reason_code"]) == ("CANCELED", "110523")


async def test_only_the_engines_part_is_run_again(database: Database) -> None:
    outside, engines = await created(database), await created(database, "1.2", for_engine=True)
    with pytest.raises(NotTheEngines):
        await database.transact(lambda unit: rerun(unit, outside, ADA))
    taken = await claim(database, "w", 30)
    assert taken is not None
    await database.transact(lambda unit: complete(unit, taken, (ct(),)))
    again = await database.transact(lambda unit: rerun(unit, engines, ADA))
    row = await workitem(database, again)
    assert (row["predecessor_uid"], row["requested_by"]) == (engines, None)


async def test_start_time_without_offset_is_of_the_sites_zone(database: Database) -> None:
    local = await created(database, for_engine=True, ScheduledProcedureStepStartDateTime="20990101")
    row = await workitem(database, local)
    assert timedelta(microseconds=row["not_before_us"]).days == 47_117  # since 1970, in UTC


async def test_no_event_tells_who_the_patient_is(database: Database) -> None:
    uid = await created(database)
    await start(database, uid)
    await updated(database, uid, progress(10, "reading") | attribute("ProcedureStepLabel", "y"), MINE)
    told = "".join(payload for _, payload in await events(database))
    assert "Doe" not in told
    assert "MRN" not in told
