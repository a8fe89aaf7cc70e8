"""Group commit of stores: one transaction for those that wait, and nobody fails for another."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import select

from dicomweb.response_codes import StoreFailure
from dicomweb.store import grouped
from dicomweb.store.grouped import GroupedIndex, Order
from dicomweb.store.index import index_instances
from dicomweb.store.instances import InstanceResult, StoredInstance, prepare_instance
from dicomweb.tables import Instance, Study
from server.kernel.access import EVERYONE, Principal, Reach
from server.kernel.request import ServedRequest, set_request
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.tables import AuditRow
from tests.conformance.ps3_18.kit import ct_file, place

ADA = Principal("user:ada", "Ada")


async def order(services: Services, study: int, instance: int = 1, reach: Reach = EVERYONE) -> Order:
    file = ct_file(place(study=study, instance=instance), PatientID=f"P{study}")
    (stored,) = await services.objects.put([file])
    return Order(ADA, reach, [StoredInstance(prepare_instance(file), stored)], [])


async def rows(services: Services, kind: Any) -> Sequence[Any]:
    async with services.database.read() as connection:
        return (await connection.execute(select(table_of(kind)))).all()


async def test_those_that_wait_are_one_transaction(services: Services) -> None:
    index = GroupedIndex(services.database, services.site)
    orders = [await order(services, study) for study in range(1, 9)]
    results = await asyncio.gather(*(index.index(each) for each in orders))
    assert [result.study_instance_uid for (result,) in results] == [place(s).study for s in range(1, 9)]
    assert all(result.refusal is None and result.patient_id for (result,) in results)
    instants = {row.created_us for row in await rows(services, Study)}
    assert len(instants) <= (2 if services.database.is_sqlite else 1 + grouped.GROUPS)
    assert len(await rows(services, AuditRow)) == 8


async def test_each_is_audited_as_of_its_own_request(services: Services) -> None:
    index = GroupedIndex(services.database, services.site)
    orders = []
    for study in (1, 2, 3):
        set_request(ServedRequest(f"r{study}", f"192.0.2.{study}"))
        orders.append(await order(services, study))
    set_request(None)
    await asyncio.gather(*(index.index(each) for each in orders))
    told = {(row.resource_id, row.request_id, row.address) for row in await rows(services, AuditRow)}
    assert told == {(place(s).study, f"r{s}", f"192.0.2.{s}") for s in (1, 2, 3)}


async def test_each_within_its_own_reach(services: Services) -> None:
    index = GroupedIndex(services.database, services.site)
    nobody = Reach(frozenset({"somebody-else"}))
    orders = [await order(services, 1), await order(services, 2, reach=nobody), await order(services, 3)]
    (first,), (refused,), (third,) = await asyncio.gather(*(index.index(each) for each in orders))
    assert refused.refusal is not None
    assert refused.refusal.reason is StoreFailure.NOT_AUTHORIZED
    assert first.refusal is third.refusal is None
    assert len(await rows(services, Instance)) == 2


async def test_the_same_instance_twice_is_stored_once(services: Services) -> None:
    index = GroupedIndex(services.database, services.site)
    orders = [await order(services, 1), await order(services, 1)]
    results = await asyncio.gather(*(index.index(each) for each in orders))
    assert sorted(result.already_stored for (result,) in results) == [False, True]
    assert len(await rows(services, Instance)) == 1


async def test_one_that_fails_fails_alone(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(unit: Any, stored: Sequence[StoredInstance], *rest: Any) -> list[InstanceResult]:
        results = await index_instances(unit, stored, *rest)
        if any(each.parsed.study_instance_uid == place(3).study for each in stored):
            raise RuntimeError("a defect that one data set brings out")
        return results

    monkeypatch.setattr(grouped, "index_instances", failing)
    index = GroupedIndex(services.database, services.site)
    orders = [await order(services, study) for study in range(1, 6)]
    outcomes = await asyncio.gather(*(index.index(each) for each in orders), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [list, list, RuntimeError, list, list]
    assert {row.study_instance_uid for row in await rows(services, Study)} == {
        place(study).study for study in (1, 2, 4, 5)
    }


async def test_one_that_is_given_up_holds_up_nobody(services: Services) -> None:
    index = GroupedIndex(services.database, services.site)
    tasks = [asyncio.create_task(index.index(await order(services, study))) for study in (1, 2, 3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    (first, _, third) = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(first, list)
    assert isinstance(third, list)
    await index.close()  # what was given up is under way until then
    assert len(await rows(services, Study)) == 3
