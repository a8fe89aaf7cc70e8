"""Subscription states of PS3.4 Table CC.2.3-2, as what an AE is told of."""

from typing import Any

import pytest

from dicomweb.search.conditions import InvalidQuery
from dicomweb.worklist.cancel import request_cancel
from dicomweb.worklist.change import SUBSCRIBED
from dicomweb.worklist.events import subscriptions
from dicomweb.worklist.events.filter import Filter, parse_filter
from dicomweb.worklist.events.subscriptions import (
    FILTERED_WORKLIST,
    WORKLIST,
    Subscriber,
    SubscriptionUnknown,
    TooManySubscriptions,
    Wanted,
    condition_of,
    rows_for,
    subscribe,
    suspend,
    unsubscribe,
)
from dicomweb.worklist.state import WorkitemUnknown
from dicomweb.worklist.workitem import Reason
from server.kernel.access import EVERYONE, Principal, Reach
from server.kernel.database import Database
from tests.unit.worklist.kit import armed_uid, audited, events, workitem

WATCHER = Subscriber(Principal("client:watcher", "watcher"), "WATCHER")


async def tell(database: Database, uid: str, subscriber: Subscriber = WATCHER) -> bool:
    """Whether the subscriber is told of the workitem, as far as no filter decides."""
    return await condition(database, uid, subscriber) is not None


async def condition(database: Database, uid: str, subscriber: Subscriber = WATCHER) -> Filter | None:
    pk = (await workitem(database, uid))["pk"]
    async with database.read() as connection:
        return condition_of(await rows_for(connection, subscriber, uid), pk)


async def do(database: Database, what: Any, target: str, subscriber: Subscriber = WATCHER) -> Any:
    return await database.transact(lambda unit: what(unit, subscriber, target, EVERYONE))


async def ask(
    database: Database, target: str, subscriber: Subscriber = WATCHER, reach: Reach = EVERYONE, **wanted: Any
) -> bool:
    return await database.transact(lambda unit: subscribe(unit, subscriber, Wanted(target, **wanted), reach))


async def test_nobody_is_told_who_did_not_ask(database: Database) -> None:
    assert not await tell(database, await armed_uid(database))


async def test_specific_subscription_with_lock_and_initial_report(database: Database) -> None:
    one, other = await armed_uid(database), await armed_uid(database, "1.2.4")
    assert await ask(database, one, deletion_lock=True)
    assert [await tell(database, uid) for uid in (one, other)] == [True, False]
    (told,) = [payload for kind, payload in await events(database) if kind == SUBSCRIBED]
    assert '"state":"SCHEDULED"' in told
    assert await ask(database, one)  # takes the lock back, and reports again
    assert len([kind for kind, _ in await events(database) if kind == SUBSCRIBED]) == 2
    await do(database, unsubscribe, one)
    assert not await tell(database, one)


async def test_worklist_subscription_is_for_all_and_grants_no_lock(database: Database) -> None:
    before = await armed_uid(database)
    assert not await ask(database, WORKLIST, deletion_lock=True)
    after = await armed_uid(database, "1.2.4")
    assert [await tell(database, uid) for uid in (before, after)] == [True, True]
    assert SUBSCRIBED not in [kind for kind, _ in await events(database)]


async def test_specific_instructions_take_precedence(database: Database) -> None:
    one, other = await armed_uid(database), await armed_uid(database, "1.2.4")
    await ask(database, WORKLIST)
    await do(database, unsubscribe, one)
    assert [await tell(database, uid) for uid in (one, other)] == [False, True]
    with pytest.raises(SubscriptionUnknown):
        await do(database, unsubscribe, one)
    await ask(database, WORKLIST)  # "Not Subscribed: all go to Subscribed"
    assert await tell(database, one)


async def test_suspended_goes_on_for_what_was_there(database: Database) -> None:
    before = await armed_uid(database)
    await ask(database, WORKLIST)
    await do(database, suspend, WORKLIST)
    after = await armed_uid(database, "1.2.4")
    assert [await tell(database, uid) for uid in (before, after)] == [True, False]
    with pytest.raises(SubscriptionUnknown):
        await do(database, suspend, WORKLIST)
    await ask(database, WORKLIST)
    assert await tell(database, after)


async def test_unsubscribing_from_the_worklist_ends_all(database: Database) -> None:
    one = await armed_uid(database)
    await ask(database, one, deletion_lock=True)
    await ask(database, WORKLIST)
    await do(database, unsubscribe, WORKLIST)
    assert not await tell(database, one)
    for what in (unsubscribe, suspend):
        with pytest.raises(SubscriptionUnknown):
            await do(database, what, WORKLIST)


async def test_suspending_a_single_workitem_means_nothing(database: Database) -> None:
    one = await armed_uid(database)
    await ask(database, one)
    with pytest.raises(SubscriptionUnknown):
        await do(database, suspend, one)


async def test_filtered_subscription_keeps_its_keys_and_an_unfiltered_one_wins(database: Database) -> None:
    one = await armed_uid(database)
    keys = parse_filter(["00741200=HIGH"])
    await ask(database, FILTERED_WORKLIST, filter=keys)
    assert await condition(database, one) == (("ScheduledProcedureStepPriority", "HIGH"),)
    await ask(database, WORKLIST)
    assert await condition(database, one) == ()
    await do(database, suspend, WORKLIST)
    later = await armed_uid(database, "1.2.4")
    assert await condition(database, later) == keys
    await do(database, unsubscribe, WORKLIST)
    assert await condition(database, later) == keys


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PatientAge=030Y",
        "StudyInstanceUID=x",
        "ProcedureStepState=SCHEDULED",
        "PatientID=",
        "PatientID",
        "a=\x00",
        "x" * 5000,
        ",".join(["InputReadinessState=" + "\\".join(f"C{number}" for number in range(100))] * 3),
    ],
)
def test_filter_that_cannot_be_kept_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuery):
        parse_filter([text])


async def test_titles_belong_to_their_principal(database: Database) -> None:
    one = await armed_uid(database)
    stranger = Subscriber(Principal("client:other", "other"), WATCHER.ae_title)
    await ask(database, one)
    assert not await tell(database, one, stranger)
    assert not await tell(database, one, Subscriber(WATCHER.principal, "ELSE"))
    with pytest.raises(SubscriptionUnknown):
        await do(database, unsubscribe, one, stranger)


async def test_what_is_out_of_reach_is_not_there(database: Database) -> None:
    one = await armed_uid(database)
    for reach in (Reach(frozenset({"p2"})), Reach(frozenset())):
        with pytest.raises(WorkitemUnknown):
            await ask(database, one, reach=reach)
    await ask(database, one, reach=Reach(frozenset({"p1"})))


async def test_number_is_bounded_and_what_has_ended_makes_room(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "MAX_SUBSCRIPTIONS", 2)
    uids = [await armed_uid(database, f"1.2.{number}") for number in (4, 5, 6)]
    for uid in uids[:2]:
        await ask(database, uid)
    with pytest.raises(TooManySubscriptions):
        await ask(database, uids[2])
    principal, reason = Principal("user:ada", "ada"), Reason(None, None)
    await database.transact(lambda unit: request_cancel(unit, uids[0], EVERYONE, principal, reason))
    with pytest.raises(TooManySubscriptions):
        await ask(database, uids[2])
    monkeypatch.setattr(subscriptions, "KEPT_US", -1)
    await ask(database, uids[2])
    assert [await tell(database, uid) for uid in uids] == [False, True, True]


async def test_acts_are_audited(database: Database) -> None:
    one = await armed_uid(database)
    await ask(database, one)
    await ask(database, WORKLIST)
    await do(database, suspend, WORKLIST)
    await do(database, unsubscribe, one)
    acts = [(who, act) for who, act in await audited(database) if who == WATCHER.principal.id]
    expected = ["ups-subscribe", "ups-subscribe", "ups-suspend", "ups-unsubscribe"]
    assert acts == [(WATCHER.principal.id, act) for act in expected]
