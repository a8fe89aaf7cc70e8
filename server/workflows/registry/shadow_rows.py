"""Which shadow runs follow a clinical result, and the rows that they leave: all that servers need of them."""

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import ColumnElement, delete, insert, select

from ai_engine.tables import ShadowResult
from dicomweb.delete.rows import STUDY_DELETED
from dicomweb.worklist.workitem import Claim
from server.kernel.clock import SECOND_US
from server.kernel.database import UnitOfWork
from server.kernel.jobs import INFERENCE, LEISURE, Args, Emitted, Handlers, Job, Subscriptions
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.workflows.registry.stages import Stage
from server.workflows.registry.versions import VERSION

RUN, FORGET = "shadow-run", "forget-shadow-results"  # tasks
RUNNING = "running"  # ShadowResult.outcome: it waits, or is at work
KEPT_DAYS = 366  # of a shadow result
KEPT_US = KEPT_DAYS * 24 * 3600 * SECOND_US

SHADOW_RESULT = table_of(ShadowResult)


async def defer_shadow_runs(unit: UnitOfWork, claim: Claim, summary: Mapping[str, Any]) -> None:
    """Have each shadow version of the model run on the input of a workitem that is being completed.

    What the clinical run found waits in the row of the result, which goes with its study: jobs are kept
    longer, and shown.
    """
    query = select(VERSION.c.version).where(
        VERSION.c.name == claim.model_name, VERSION.c.stage == Stage.SHADOW.value
    )
    clinical = orjson.dumps(summary).decode()
    for version in sorted((await unit.execute(query)).scalars()):
        await unit.execute(insert(SHADOW_RESULT), [_row(unit, claim, version) | {"clinical": clinical}])
        unit.defer(shadow_job(claim.workitem_uid, version))


def _row(unit: UnitOfWork, claim: Claim, version: str) -> dict[str, object]:
    return {
        "workitem_uid": claim.workitem_uid,
        "study_instance_uid": claim.study_instance_uid,
        "model_name": claim.model_name,
        "version": version,
        "clinical_version": claim.model_version,
        "tries": 0,
        "outcome": RUNNING,
        "at_us": unit.now_us,
    }


def shadow_job(workitem_uid: str, version: str, delay_s: float = 0.0) -> Job:
    """The job of one shadow run."""
    arguments = {"workitem": workitem_uid, "version": version}
    return Job(RUN, arguments, INFERENCE, LEISURE, delay_s, f"{RUN}:{workitem_uid}:{version}")


def is_result(workitem_uid: str, version: str) -> ColumnElement[bool]:
    """The condition that a row is of this run."""
    return (SHADOW_RESULT.c.workitem_uid == workitem_uid) & (SHADOW_RESULT.c.version == version)


def _study_deleted(event: Emitted) -> Job:
    return Job(FORGET, {"study": event.subject}, dedupe_key=f"{FORGET}:{event.subject}")


SUBSCRIPTIONS: Subscriptions = {STUDY_DELETED: (_study_deleted,)}


def shadow_row_handlers(services: Services) -> Handlers:
    """What the jobs do."""

    async def forget(args: Args) -> None:
        async def work(unit: UnitOfWork) -> None:
            of_study = SHADOW_RESULT.c.study_instance_uid == args["study"]
            await unit.execute(delete(SHADOW_RESULT).where(of_study))

        await services.database.transact(work)

    return {FORGET: forget}
