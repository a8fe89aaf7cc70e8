"""Only versions that serve publish results: the version that serves takes over what others were to do.

What waits changes hands when it is claimed, also what is tried or run again: then nothing can slip through
between a decision and a schedule.
"""

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from dicomweb.worklist.change import WORKITEM
from dicomweb.worklist.codes import RESCHEDULED
from dicomweb.worklist.schedule import reassign, replace_performing
from dicomweb.worklist.state import State
from dicomweb.worklist.workitem import Claim, Reason
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault, FaultKind
from server.workflows.registry.stages import SERVING, Stage
from server.workflows.registry.traffic import serving
from server.workflows.registry.versions import VERSION, is_version

_TAKEN_OUT = Reason(RESCHEDULED, "The version of the model was taken out of service.")


class VersionOutOfService(Fault):
    """No version of the model serves, or not the one that made a result."""

    kind = FaultKind.CONFLICT


async def claim_for_serving(unit: UnitOfWork, claim: Claim) -> Claim:
    """The claim, for the version that serves: another one than it names takes it over.

    Raises:
        VersionOutOfService: no version of the model serves.
        LeaseLost: the claim is not the current one any more.
    """
    stage = await _stage(unit.connection, claim.model_name, claim.model_version)
    if stage is None or stage in SERVING:  # what is not registered, the loading of models refuses
        return claim
    now = await serving(unit.connection, claim.model_name)
    version = now.version_for(claim.model_name, claim.study_instance_uid, None)
    if version is None:
        raise VersionOutOfService("No version of the model is in production.")
    return await reassign(unit, claim, version)


async def require_in_service(unit: UnitOfWork, workitem: RowMapping) -> None:
    """Let no version publish that was taken out of service while it worked.

    Raises:
        VersionOutOfService: the workitem was asked to stop, and its version serves no longer.
    """
    if workitem["cancel_requested_us"] is None:
        return
    if await _stage(unit.connection, workitem["model_name"], workitem["model_version"]) not in SERVING:
        raise VersionOutOfService("The version of the model was taken out of service.")


async def replace_work(unit: UnitOfWork, version: RowMapping) -> None:
    """Stop what is under way on a version that serves no longer; the one that serves begins it anew."""
    c, name = WORKITEM.c, version["name"]
    of_version = (c.model_name == name) & (c.model_version == version["version"]) & (c.attempt > 0)
    query = select(WORKITEM).where(of_version, c.state == State.IN_PROGRESS.value)
    rows = (await unit.execute(query.order_by(c.pk).with_for_update())).mappings().all()
    now = await serving(unit.connection, name)
    for row in rows:
        successor = now.version_for(name, row["study_instance_uid"], None)
        await replace_performing(unit, row, successor, _TAKEN_OUT)


async def _stage(connection: AsyncConnection, name: str, version: str) -> Stage | None:
    query = select(VERSION.c.stage).where(is_version(name, version))
    found = (await connection.execute(query)).scalar_one_or_none()
    return None if found is None else Stage(found)
