import asyncio
import json

import pytest

from dicomweb.worklist.attempts import complete
from dicomweb.worklist.cancel import request_cancel
from dicomweb.worklist.claims import claim
from dicomweb.worklist.schedule import Arming, WorkitemNotEnded, rerun
from dicomweb.worklist.state import Priority, WorkitemUnknown
from dicomweb.worklist.workitem import Reason, decode_series
from server.kernel.access import EVERYONE, Principal
from server.kernel.database import Database
from tests.unit.worklist.kit import armed, armed_uid, audited, ct, events, wanted, workitem

ADA = Principal("user:ada", "Ada")


async def finish(database: Database) -> str:
    claimed = await claim(database, "w1", 30)
    assert claimed is not None
    await database.transact(lambda unit: complete(unit, claimed, (ct(),)))
    return claimed.workitem_uid


async def test_first_demand_is_scheduled(database: Database) -> None:
    done = await armed(database)
    row = await workitem(database, done.workitem_uid)
    assert done.arming is Arming.SCHEDULED
    assert (row["state"], row["priority"], row["run"], row["transaction_uid"]) == (
        "SCHEDULED",
        "MEDIUM",
        1,
        None,
    )
    assert decode_series(row["input"]) == wanted().input
    assert [kind for kind, _ in await events(database)] == ["workitem.changed"]
    assert await audited(database) == [("system:engine", "ups-create")]


async def test_same_input_in_another_order_arms_nothing(database: Database) -> None:
    first = await armed(database)
    again = await armed(database)
    assert (again.arming, again.workitem_uid) == (Arming.UNCHANGED, first.workitem_uid)
    assert len(await events(database)) == 1


async def test_same_input_arms_nothing_after_completion(database: Database) -> None:
    await armed(database)
    uid = await finish(database)
    assert (await armed(database)).arming is Arming.UNCHANGED
    assert (await workitem(database, uid))["successor_uid"] is None


async def test_changed_input_updates_a_scheduled_workitem(database: Database) -> None:
    first = await armed(database)
    second = await armed(database, slices=5)
    row = await workitem(database, first.workitem_uid)
    assert (second.arming, second.workitem_uid) == (Arming.UPDATED, first.workitem_uid)
    assert row["input_hash"] == wanted(slices=5).input_hash
    assert len(decode_series(row["input"])[0].sop_instance_uids) == 5


async def test_changed_input_supersedes_a_completed_workitem(database: Database) -> None:
    await armed(database)
    uid = await finish(database)
    second = await armed(database, slices=5)
    assert (second.arming, second.predecessor_uid) == (Arming.SUPERSEDED, uid)
    assert (await workitem(database, uid))["successor_uid"] == second.workitem_uid
    assert (await workitem(database, uid))["cancel_requested_us"] is None


async def test_changed_input_asks_a_running_workitem_to_stop(database: Database) -> None:
    await armed(database)
    running = await claim(database, "w1", 30)
    assert running is not None
    second = await armed(database, slices=5)
    row = await workitem(database, running.workitem_uid)
    assert (second.arming, second.predecessor_uid) == (Arming.SUPERSEDED, running.workitem_uid)
    assert (row["state"], row["reason_code"]) == ("IN PROGRESS", "110528")
    assert row["cancel_requested_us"] is not None
    assert "workitem.cancel-requested" in [kind for kind, _ in await events(database)]


async def test_many_late_instances_lead_to_one_successor(database: Database) -> None:
    await armed(database)
    await claim(database, "w1", 30)
    uids = {(await armed(database, slices=n)).workitem_uid for n in (4, 5, 6)}
    assert len(uids) == 1


async def test_input_that_comes_back_is_a_run_of_its_own(database: Database) -> None:
    await armed(database)
    await finish(database)
    await armed(database, slices=5)
    await finish(database)
    third = await armed(database)
    assert third.arming is Arming.SUPERSEDED
    assert (await workitem(database, third.workitem_uid))["run"] == 2


async def test_rules_do_not_see_each_other(database: Database) -> None:
    one, other = await armed(database), await armed(database, rule="nodules")
    assert one.workitem_uid != other.workitem_uid


async def test_concurrent_demands_schedule_once(database: Database) -> None:
    uids = await asyncio.gather(*(armed_uid(database) for _ in range(5)))
    assert len(set(uids)) == 1


async def test_event_names_study_and_model_and_no_patient(database: Database) -> None:
    await armed(database)
    (_, payload), *_ = await events(database)
    assert json.loads(payload) == {
        "state": "SCHEDULED",
        "study_instance_uid": "1.2.3",
        "rule": "ct-quantification",
        "model_name": "ct-quantification",
        "model_version": "1.0.0",
        "assigned": True,
        "priority": "MEDIUM",
    }


async def test_canceled_workitem_runs_again_only_when_asked(database: Database) -> None:
    uid = await armed_uid(database)
    await database.transact(lambda unit: request_cancel(unit, uid, EVERYONE, ADA, Reason(None, "by mistake")))
    assert (await armed(database)).arming is Arming.UNCHANGED
    again = await database.transact(lambda unit: rerun(unit, uid, ADA, Priority.HIGH))
    row = await workitem(database, again)
    assert (row["run"], row["state"], row["priority"], row["predecessor_uid"]) == (
        2,
        "SCHEDULED",
        "HIGH",
        uid,
    )


async def test_rerun_of_an_open_workitem_is_refused(database: Database) -> None:
    uid = await armed_uid(database)
    with pytest.raises(WorkitemNotEnded):
        await database.transact(lambda unit: rerun(unit, uid, ADA))


async def test_rerun_of_an_unknown_workitem_is_refused(database: Database) -> None:
    with pytest.raises(WorkitemUnknown):
        await database.transact(lambda unit: rerun(unit, "1.9", ADA))
