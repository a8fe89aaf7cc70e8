import asyncio
import json
from dataclasses import replace

import pytest
from sqlalchemy import update

from dicomweb.worklist.attempts import (
    LONGEST_OUTAGE_US,
    Heartbeat,
    LeaseLost,
    RetryPolicy,
    cancel,
    complete,
    fail_attempt,
    fence,
    heartbeat,
    postpone,
    release,
    standing_output,
)
from dicomweb.worklist.cancel import request_cancel
from dicomweb.worklist.change import WORKITEM
from dicomweb.worklist.claims import claim, is_any_claimable
from dicomweb.worklist.codes import OBJECT_SET_INCOMPLETE
from dicomweb.worklist.state import AlreadyCompleted, FinalStateNotMet, Notice, Priority, WorkitemUnknown
from dicomweb.worklist.workitem import Claim, Reason
from server.kernel.access import EVERYONE, Principal, Reach
from server.kernel.clock import now_us
from server.kernel.database import Database
from tests.unit.worklist.kit import (
    armed,
    armed_uid,
    attempts,
    audited,
    ct,
    events,
    let_back_off_end,
    let_leases_run_out,
    workitem,
)

ADA = Principal("user:ada", "Ada")
REFUSED = Reason(OBJECT_SET_INCOMPLETE, "The series has one slice.")


async def claimed(database: Database, worker: str = "w1") -> Claim:
    taken = await claim(database, worker, 30)
    assert taken is not None
    return taken


async def states(database: Database) -> list[str]:
    return [
        json.loads(payload)["state"] for kind, payload in await events(database) if kind == "workitem.changed"
    ]


async def test_claim_of_an_empty_worklist_is_none(database: Database) -> None:
    assert await claim(database, "w1", 30) is None


async def test_claim_starts_a_workitem(database: Database) -> None:
    uid = await armed_uid(database)
    taken = await claimed(database)
    row = await workitem(database, uid)
    assert (taken.workitem_uid, taken.attempt, taken.input) == (uid, 1, (ct(),))
    assert row["state"] == "IN PROGRESS"
    assert row["transaction_uid"].startswith("2.25.")
    assert await attempts(database) == [(1, "running")]
    assert ("system:worker:w1", "ups-change-state") in await audited(database)


async def test_claim_takes_stat_first_then_the_oldest(database: Database) -> None:
    for study, priority in (("1.1", "LOW"), ("1.2", "MEDIUM"), ("1.3", "MEDIUM"), ("1.4", "HIGH")):
        await armed(database, study, priority=Priority(priority))
    order = [(await claimed(database)).study_instance_uid for _ in range(4)]
    assert order == ["1.4", "1.2", "1.3", "1.1"]


async def test_twenty_workitems_are_claimed_once_each_by_two_processes(database: Database) -> None:
    for number in range(20):
        await armed(database, f"1.2.{number}")
    other = Database(database.url.render_as_string(hide_password=False))

    async def drain(handle: Database, worker: str) -> list[str]:
        taken = []
        while one := await claim(handle, worker, 30):
            taken.append(one.workitem_uid)
        return taken

    shares = await asyncio.gather(
        drain(database, "a"), drain(other, "b"), drain(database, "c"), drain(other, "d")
    )
    await other.close()
    everything = [uid for share in shares for uid in share]
    assert (len(everything), len(set(everything))) == (20, 20)


async def test_living_lease_keeps_others_away(database: Database) -> None:
    await armed(database)
    await claimed(database)
    assert await claim(database, "w2", 30) is None


async def test_expired_lease_is_a_new_attempt_and_stays_in_progress(database: Database) -> None:
    uid = await armed_uid(database)
    first = await claimed(database)
    transaction_uid = (await workitem(database, uid))["transaction_uid"]
    await let_leases_run_out(database)
    second = await claimed(database, "w2")
    row = await workitem(database, uid)
    assert (second.workitem_uid, second.attempt) == (first.workitem_uid, 2)
    assert (row["state"], row["transaction_uid"]) == ("IN PROGRESS", transaction_uid)
    assert await attempts(database) == [(1, "lost"), (2, "running")]
    assert await states(database) == ["SCHEDULED", "IN PROGRESS"]


async def test_lost_worker_can_do_nothing(database: Database) -> None:
    await armed(database)
    lost = await claimed(database)
    await let_leases_run_out(database)
    await claimed(database, "w2")
    with pytest.raises(LeaseLost):
        await database.transact(lambda unit: fence(unit, lost))
    with pytest.raises(LeaseLost):
        await database.transact(lambda unit: complete(unit, lost, (ct(),)))
    with pytest.raises(LeaseLost):
        await database.transact(lambda unit: cancel(unit, lost, REFUSED))
    with pytest.raises(LeaseLost):
        await fail_attempt(database, lost, REFUSED)
    with pytest.raises(LeaseLost):
        await heartbeat(database, lost, 30)


async def test_expired_lease_nobody_took_may_finish(database: Database) -> None:
    uid = await armed_uid(database)
    slow = await claimed(database)
    await let_leases_run_out(database)
    await database.transact(lambda unit: complete(unit, slow, (ct(),)))
    assert (await workitem(database, uid))["state"] == "COMPLETED"


async def test_heartbeat_prolongs_the_lease_and_tells_progress(database: Database) -> None:
    uid = await armed_uid(database)
    taken = await claimed(database)
    await let_leases_run_out(database)
    assert await heartbeat(database, taken, 30, progress=40, text="segmenting") == Heartbeat(False)
    assert await claim(database, "w2", 30) is None
    row = await workitem(database, uid)
    assert (row["progress"], row["progress_text"]) == (40, "segmenting")


async def test_worker_lost_too_often_ends_canceled(database: Database) -> None:
    uid = await armed_uid(database)
    for _ in range(3):
        await claimed(database)
        await let_leases_run_out(database)
    assert await claim(database, "w1", 30) is None
    row = await workitem(database, uid)
    assert (row["state"], row["reason_code"]) == ("CANCELED", "110513")
    assert "attempt 3" in row["reason_text"]
    assert await attempts(database) == [(1, "lost"), (2, "lost"), (3, "lost")]
    assert (await states(database))[-1] == "CANCELED"


async def test_given_up_workitem_does_not_hide_the_next(database: Database) -> None:
    await armed(database)
    await claimed(database)
    await let_leases_run_out(database)
    await armed(database, "1.9")
    taken = await claim(database, "w1", 30, RetryPolicy(attempts=1))
    assert taken is not None
    assert taken.study_instance_uid == "1.9"


async def test_failed_attempt_is_repeated_after_a_while(database: Database) -> None:
    uid = await armed_uid(database)
    assert await fail_attempt(database, await claimed(database), Reason(None, "The model raised."))
    row = await workitem(database, uid)
    assert row["state"] == "IN PROGRESS"
    assert "Attempt 1 failed" in row["progress_text"]
    assert await claim(database, "w1", 30) is None
    await let_back_off_end(database)
    assert (await claimed(database)).attempt == 2
    assert await attempts(database) == [(1, "failed"), (2, "running")]


async def test_failed_attempt_can_do_nothing_more(database: Database) -> None:
    await armed(database)
    failed = await claimed(database)
    await fail_attempt(database, failed, REFUSED)
    with pytest.raises(LeaseLost):
        await database.transact(lambda unit: complete(unit, failed, (ct(),)))
    with pytest.raises(LeaseLost):
        await heartbeat(database, failed, 30)


async def test_last_failure_ends_canceled_with_its_reason(database: Database) -> None:
    uid = await armed_uid(database)
    once = RetryPolicy(attempts=1)
    assert not await fail_attempt(database, await claimed(database), REFUSED, retry=once)
    row = await workitem(database, uid)
    assert (row["state"], row["reason_code"], row["reason_text"]) == ("CANCELED", "110523", REFUSED.text)
    assert row["ended_us"] is not None


async def test_failure_that_would_repeat_itself_is_not_repeated(database: Database) -> None:
    uid = await armed_uid(database)
    assert not await fail_attempt(database, await claimed(database), REFUSED, retryable=False)
    assert (await workitem(database, uid))["state"] == "CANCELED"


async def test_released_workitem_is_taken_at_once_and_was_not_tried(database: Database) -> None:
    uid = await armed_uid(database)
    once = RetryPolicy(attempts=1)
    for attempt in (1, 2, 3):
        taken = await claim(database, "w1", 30, once)
        assert taken is not None
        assert taken.attempt == attempt
        if attempt < 3:
            await database.transact(lambda unit, taken=taken: release(unit, taken))  # type: ignore[misc]
    assert (await workitem(database, uid))["state"] == "IN PROGRESS"
    assert await attempts(database) == [(1, "released"), (2, "released"), (3, "running")]
    assert await fail_attempt(database, taken, Reason(None, "killed"), retry=once) is None  # it was the first


async def test_outage_costs_no_attempt_until_it_has_lasted_too_long(database: Database) -> None:
    uid = await armed_uid(database)
    gone = Reason(None, "the inference server is not there")
    for attempt in (1, 2, 3, 4):
        taken = await claimed(database)
        assert taken.attempt == attempt
        again_us = await database.transact(lambda unit, taken=taken: postpone(unit, taken, gone))  # type: ignore[misc]
        assert again_us is not None
        assert again_us > now_us()
        assert await claim(database, "w1", 30) is None  # not before that
        await let_back_off_end(database)
    assert {outcome for _, outcome in await attempts(database)} == {"released"}
    taken = await claimed(database)
    long_ago = now_us() - LONGEST_OUTAGE_US - 1
    started = update(WORKITEM).where(WORKITEM.c.workitem_uid == uid).values(started_us=long_ago)
    await database.transact(lambda unit: unit.execute(started))
    assert await database.transact(lambda unit: postpone(unit, taken, gone)) is None
    assert (await attempts(database))[-1] == (5, "running")  # to be ended by `fail`, as the first that counts


async def test_who_released_a_workitem_can_do_nothing_more(database: Database) -> None:
    await armed(database)
    released = await claimed(database)
    await database.transact(lambda unit: release(unit, released))
    with pytest.raises(LeaseLost):
        await database.transact(lambda unit: complete(unit, released, (ct(),)))


async def test_request_to_a_released_workitem_cancels_at_the_next_claim(database: Database) -> None:
    uid = await armed_uid(database)
    taken = await claimed(database)
    await database.transact(lambda unit: request_cancel(unit, uid, EVERYONE, ADA, Reason(None, "stop")))
    await database.transact(lambda unit: release(unit, taken))
    assert await claim(database, "w2", 30) is None
    assert (await workitem(database, uid))["state"] == "CANCELED"


@pytest.mark.parametrize("moment", ["scheduled", "running", "lost"])
async def test_what_a_claim_would_take_is_told_without_taking_it(database: Database, moment: str) -> None:
    await armed(database)
    if moment != "scheduled":
        await claimed(database)
    if moment == "lost":
        await let_leases_run_out(database)
    async with database.read() as connection:
        assert await is_any_claimable(connection, now_us()) == (moment != "running")


def test_back_off_doubles() -> None:
    policy = RetryPolicy(first_delay_s=10)
    assert [policy.delay_us(n) for n in (1, 2, 3)] == [10_000_000, 20_000_000, 40_000_000]


async def test_complete_writes_output_and_ends(database: Database) -> None:
    uid = await armed_uid(database)
    taken = await claimed(database)
    await database.transact(lambda unit: complete(unit, taken, (ct(slices=1),)))
    row = await workitem(database, uid)
    assert (row["state"], row["progress"]) == ("COMPLETED", 100)
    assert await attempts(database) == [(1, "completed")]
    assert await states(database) == ["SCHEDULED", "IN PROGRESS", "COMPLETED"]
    with pytest.raises(LeaseLost):
        await database.transact(lambda unit: fence(unit, taken))


async def test_complete_without_output_is_refused_and_leaves_all_as_it_was(database: Database) -> None:
    uid = await armed_uid(database)
    taken = await claimed(database)
    with pytest.raises(FinalStateNotMet):
        await database.transact(lambda unit: complete(unit, taken, ()))
    assert (await workitem(database, uid))["state"] == "IN PROGRESS"


async def test_successor_waits_for_its_predecessor(database: Database) -> None:
    await armed(database)
    first = await claimed(database)
    second = await armed(database, slices=5)
    assert await claim(database, "w2", 30) is None
    assert await heartbeat(database, first, 30) == Heartbeat(cancel_requested=True)
    await database.transact(lambda unit: cancel(unit, first))
    row = await workitem(database, first.workitem_uid)
    assert (row["state"], row["reason_code"]) == ("CANCELED", "110528")
    assert (await claimed(database)).workitem_uid == second.workitem_uid


async def test_output_of_another_rule_for_the_same_model_is_superseded(database: Database) -> None:
    """Both are told of in one report."""
    await armed(database)
    first = await claimed(database)
    await database.transact(lambda unit: complete(unit, first, (ct(),)))
    await armed(database, rule="")  # as what is asked for from outside
    second = await claimed(database)
    assert await database.transact(lambda unit: standing_output(unit, second)) == (ct(),)
    other = replace(second, model_name="other")
    assert await database.transact(lambda unit: standing_output(unit, other)) == ()


async def test_worker_asked_to_stop_may_still_complete(database: Database) -> None:
    await armed(database)
    first = await claimed(database)
    await armed(database, slices=5)
    await database.transact(lambda unit: complete(unit, first, (ct(),)))
    row = await workitem(database, first.workitem_uid)
    assert (row["state"], row["reason_code"]) == ("COMPLETED", None)
    successor = await claimed(database)
    assert await database.transact(lambda unit: standing_output(unit, successor)) == (ct(),)


async def test_request_to_a_lost_worker_cancels_at_the_next_claim(database: Database) -> None:
    uid = await armed_uid(database)
    await claimed(database)
    await database.transact(
        lambda unit: request_cancel(unit, uid, EVERYONE, ADA, Reason(None, "wrong study"))
    )
    await let_leases_run_out(database)
    assert await claim(database, "w2", 30) is None
    row = await workitem(database, uid)
    assert (row["state"], row["reason_text"]) == ("CANCELED", "wrong study")


async def test_request_during_back_off_cancels_at_the_next_claim(database: Database) -> None:
    uid = await armed_uid(database)
    await fail_attempt(database, await claimed(database), Reason(None, "The model raised."))
    await database.transact(lambda unit: request_cancel(unit, uid, EVERYONE, ADA, Reason(None, "stop")))
    assert await claim(database, "w2", 30) is None
    assert (await workitem(database, uid))["state"] == "CANCELED"


async def test_failure_after_a_request_cancels_for_the_requests_reason(database: Database) -> None:
    uid = await armed_uid(database)
    taken = await claimed(database)
    await database.transact(lambda unit: request_cancel(unit, uid, EVERYONE, ADA, Reason(None, "stop")))
    assert not await fail_attempt(database, taken, Reason(None, "killed"))
    row = await workitem(database, uid)
    assert (row["state"], row["reason_text"]) == ("CANCELED", "stop")


async def test_first_request_keeps_its_reason(database: Database) -> None:
    uid = await armed_uid(database)
    await claimed(database)
    for text in ("first", "second"):
        reason = Reason(None, text)
        await database.transact(lambda unit, r=reason: request_cancel(unit, uid, EVERYONE, ADA, r))
    assert (await workitem(database, uid))["reason_text"] == "first"
    assert [kind for kind, _ in await events(database)].count("workitem.cancel-requested") == 1


async def test_request_cancels_a_scheduled_workitem_by_way_of_in_progress(database: Database) -> None:
    uid = await armed_uid(database)
    await database.transact(lambda unit: request_cancel(unit, uid, EVERYONE, ADA, REFUSED))
    assert (await workitem(database, uid))["state"] == "CANCELED"
    assert await states(database) == ["SCHEDULED", "IN PROGRESS", "CANCELED"]
    assert (await audited(database))[-1] == ("user:ada", "ups-request-cancel")
    assert await claim(database, "w1", 30) is None


async def test_request_to_an_ended_workitem(database: Database) -> None:
    uid = await armed_uid(database)
    taken = await claimed(database)
    await database.transact(lambda unit: complete(unit, taken, (ct(),)))
    with pytest.raises(AlreadyCompleted):
        await database.transact(lambda unit: request_cancel(unit, uid, EVERYONE, ADA, REFUSED))
    gone = await armed_uid(database, "1.9")
    for notice in (None, Notice.ALREADY_CANCELED):
        moved = await database.transact(lambda unit: request_cancel(unit, gone, EVERYONE, ADA, REFUSED))
        assert moved.notice is notice


async def test_request_out_of_reach_finds_nothing(database: Database) -> None:
    uid = await armed_uid(database, patient_id=None)
    for reach in (Reach(frozenset({"p2"})), Reach(frozenset())):
        with pytest.raises(WorkitemUnknown):
            await database.transact(lambda unit, reach=reach: request_cancel(unit, uid, reach, ADA, REFUSED))


async def test_outside_performer_is_left_alone(database: Database) -> None:
    await armed(database)
    taken_outside = update(WORKITEM).values(state="IN PROGRESS", transaction_uid="1.2.3.4")
    await database.transact(lambda unit: unit.execute(taken_outside))
    assert await claim(database, "w1", 30) is None
