"""A version that is taken out of service publishes nothing more; the one that serves takes its work over."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import RowMapping, select

from dicomweb.worklist.attempts import fail_attempt, fence
from dicomweb.worklist.change import WORKITEM
from dicomweb.worklist.claims import claim
from dicomweb.worklist.schedule import arm, rerun
from dicomweb.worklist.workitem import Claim, NewWorkitem, Reason, SeriesReference
from server.workflows.registry.decide import retire, roll_back, take_canary_back
from server.workflows.registry.in_service import VersionOutOfService, claim_for_serving, require_in_service
from server.workflows.registry.stages import Stage

from .conftest import WHO, Registry


async def schedule(registry: Registry, number: int) -> str:
    series = SeriesReference(f"1.2.{number}", f"1.2.{number}.1", "1.2", (f"1.2.{number}.1.1",))
    wanted = NewWorkitem("tiny", "tiny", "2.0.0", f"1.2.{number}", None, (series,))
    return (await registry.database.transact(lambda unit: arm(unit, wanted))).workitem_uid


async def take(registry: Registry) -> Claim:
    taken = await claim(registry.database, "w", 60)
    assert taken is not None
    return taken


async def given(registry: Registry, taken: Claim) -> Claim:
    return await registry.database.transact(lambda unit: claim_for_serving(unit, taken))


async def row_of(registry: Registry, uid: str) -> RowMapping:
    async with registry.database.read() as connection:
        query = select(WORKITEM).where(WORKITEM.c.workitem_uid == uid)
        return (await connection.execute(query)).mappings().one()


async def publishes(registry: Registry, taken: Claim) -> None:
    async def work(unit: Any) -> None:
        await require_in_service(unit, await fence(unit, taken))

    await registry.database.transact(work)


async def serve(registry: Registry, stage: Stage) -> None:
    for version, to in (("1.0.0", Stage.PRODUCTION), ("2.0.0", stage)):
        await registry.add(version)
        await registry.promote(version, to)


@pytest.mark.parametrize(
    ("stage", "decision"),
    [
        (Stage.PRODUCTION, roll_back),
        (Stage.CANARY, lambda unit, asked: take_canary_back(unit, asked, "2.0.0")),
        (Stage.CANARY, lambda unit, asked: retire(unit, asked, "2.0.0")),
    ],
    ids=["rollback", "canary taken back", "canary retired"],
)
async def test_version_that_serves_takes_over(
    registry: Registry, stage: Stage, decision: Callable[..., Any]
) -> None:
    await serve(registry, stage)
    await schedule(registry, 1)
    under_way = await take(registry)
    assert (await given(registry, under_way)).model_version == "2.0.0"  # as long as it serves
    waits = await schedule(registry, 2)
    await registry.do(decision)
    stopped = await row_of(registry, under_way.workitem_uid)
    assert stopped["cancel_requested_us"] is not None
    assert (await row_of(registry, stopped["successor_uid"]))["model_version"] == "1.0.0"
    with pytest.raises(VersionOutOfService):
        await publishes(registry, under_way)
    second = await given(registry, await take(registry))
    assert (second.workitem_uid, second.model_version) == (waits, "1.0.0")
    assert (await row_of(registry, waits))["model_version"] == "1.0.0"
    await publishes(registry, second)


async def test_what_is_run_again_is_run_by_the_version_that_serves(registry: Registry) -> None:
    await serve(registry, Stage.PRODUCTION)
    uid = await schedule(registry, 1)
    await fail_attempt(registry.database, await take(registry), Reason(None, "no"), retryable=False)
    await registry.do(roll_back)
    again = await registry.database.transact(lambda unit: rerun(unit, uid, WHO))
    taken = await given(registry, await take(registry))
    assert (taken.workitem_uid, taken.model_version) == (again, "1.0.0")


async def test_retired_production_leaves_nobody_to_publish(registry: Registry) -> None:
    await serve(registry, Stage.PRODUCTION)
    await schedule(registry, 1)
    under_way = await take(registry)
    await schedule(registry, 2)
    await registry.do(lambda unit, asked: retire(unit, asked, "2.0.0"), "recalled")
    assert (await row_of(registry, under_way.workitem_uid))["successor_uid"] is None
    with pytest.raises(VersionOutOfService):
        await publishes(registry, under_way)
    waiting = await take(registry)
    with pytest.raises(VersionOutOfService, match="No version"):
        await given(registry, waiting)
