"""Shadow results are findings of patients: who may not read the study does not read them."""

import pytest
from sqlalchemy import insert, update

from ai_engine.tables import ShadowResult
from dicomweb.tables import Study
from dicomweb.worklist.tables import Workitem
from server.kernel.access import Reach
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.workflows.registry.overview import ShadowReach, list_evaluations, list_shadow_results
from server.workflows.registry.versions import ModelUnknown
from tests.conftest import sqlite_first

from .conftest import Registry
from .test_watch import DONE, experienced

EVERYONE = Reach(None)


async def results(registry: Registry) -> list[str]:
    """A shadow result of a study of each of two patients; returns the UIDs of their workitems."""
    await registry.add("1.0.0")
    uids = await experienced(registry, "1.0.0", [DONE, DONE])

    async def work(unit: UnitOfWork) -> None:
        for uid, patient in zip(uids, ("p1", "p2"), strict=True):
            study = {"study_instance_uid": f"{uid}.1", "patient_id": patient, "link_state": "linked"}
            study |= {"created_us": 1, "changed_us": 1, "attributes": "{}"}
            columns = table_of(Study).c
            empty = {each.name: "" for each in columns if not each.nullable and each.name != "id"}
            empty |= {"has_tombstones": False, "index_version": 0}
            await unit.execute(insert(table_of(Study)), [empty | study])
            w = table_of(Workitem)
            await unit.execute(update(w).where(w.c.workitem_uid == uid).values(patient_id=patient))
            row = {"workitem_uid": uid, "study_instance_uid": f"{uid}.1", "model_name": "tiny"}
            row |= {"version": "2.0.0", "clinical_version": "1.0.0", "tries": 1, "outcome": "completed"}
            await unit.execute(insert(table_of(ShadowResult)), [row | {"at_us": 1}])

    await registry.database.transact(work)
    return uids


@sqlite_first
async def test_shadow_results_within_reach(registry: Registry) -> None:
    first, second = await results(registry)
    only = Reach(frozenset({"p1"}))
    for reach, expected, whose in (
        (ShadowReach(EVERYONE, EVERYONE), [second, first], {"p1", "p2"}),
        (ShadowReach(only, EVERYONE), [first], {"p1"}),
        (ShadowReach(EVERYONE, only), [first], {"p1"}),
    ):
        answer, patients = await list_shadow_results(registry.database, "tiny", reach)
        assert [each["workitem"] for each in answer["shadowResults"]] == expected
        assert patients == whose


@sqlite_first
async def test_nothing_is_told_of_a_model_that_is_not_there(registry: Registry) -> None:
    with pytest.raises(ModelUnknown):
        await list_shadow_results(registry.database, "none", ShadowReach(EVERYONE, EVERYONE))
    with pytest.raises(ModelUnknown):
        await list_evaluations(registry.database, "none")
