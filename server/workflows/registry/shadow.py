"""Shadow runs: a version beside the one that serves, on the same input, whose results no clinician meets.

A clinical result defers, in its own transaction, a job for each shadow version of its model. The job writes
one row of `shadow_result` and nothing else: no object, no resource, no event, no audit entry. It stands back:
it comes last in the queue, stops as soon as a workitem waits, and is tried three times at most. What is not
the version's doing, an outage or the end of the worker, is no try.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from sqlalchemy import RowMapping, select, update

from ai_engine.agreement import agreement_of, dice_with, summary_of
from ai_engine.encode.read_seg import SEGMENTATION_CLASSES, masks_of_seg
from ai_engine.findings import Findings
from ai_engine.interpret import interpret
from ai_engine.preprocess.volume import Volume, build_volume
from ai_engine.runners.port import RemoteUnavailable, RunnerInput
from dicomweb.tables import Instance
from dicomweb.worklist.change import WORKITEM
from dicomweb.worklist.claims import is_any_claimable
from dicomweb.worklist.state import Priority, State
from dicomweb.worklist.workitem import NOBODYS, Claim, claim_of, decode_series
from server.kernel.database import UnitOfWork
from server.kernel.end_task import end_task
from server.kernel.faults import Busy
from server.kernel.jobs import Args, Handlers
from server.kernel.object_store import StoredRange
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.workflows.background import described
from server.workflows.decoding import archive_decoding
from server.workflows.loaded_models import LoadedModels
from server.workflows.model_input import load_input
from server.workflows.registry.shadow_rows import RUN, RUNNING, SHADOW_RESULT, is_result, shadow_job
from server.workflows.registry.stages import Stage
from server.workflows.registry.versions import VERSION, is_version
from server.workflows.worker import fault_code, verdict_on

log = structlog.get_logger(__name__)

MAX_TRIES = 3
AGAIN_S = 30.0  # after a failure that may pass
LOOK_S = 1.0  # between looks whether clinical work waits
COMPLETED, FAILED, CALLED_OFF = "completed", "failed", "called-off"  # ShadowResult.outcome

_INSTANCE = table_of(Instance)
_URGENT = (  # in the hands of a worker, which a shadow run would take the machine from
    select(WORKITEM.c.pk)
    .where(WORKITEM.c.state == State.IN_PROGRESS.value, WORKITEM.c.priority == Priority.HIGH.value)
    .where(WORKITEM.c.model_name != NOBODYS)
    .limit(1)
)


class ClinicalWorkWaits(Busy):
    """A workitem waits; the shadow run stands back and is tried again later."""


class ServerOutOfReach(Busy):
    """The version's inference server is; the run waits for it."""


@dataclass(frozen=True, slots=True)
class Run:
    """One shadow run that is to be done now."""

    claim: Claim
    version: str
    tries: int
    summary: Mapping[str, Any]  # of the clinical findings
    output: str  # of the workitem: what was published


@dataclass(frozen=True, slots=True)
class ShadowRuns:
    """What a worker does for shadow versions."""

    services: Services
    models: LoadedModels

    async def run(self, args: Args) -> None:
        """Do one run, or put it off.

        Raises:
            ClinicalWorkWaits: a workitem waits.
            ServerOutOfReach: the version's inference server is out of reach.
        """
        begun = await self.services.database.transact(lambda unit: _begin(unit, args))
        if begun is None:
            return
        started = time.perf_counter()
        try:
            findings, agreement = await self._unless_work_waits(begun)
        except (Busy, RemoteUnavailable, asyncio.CancelledError) as error:
            back = self.services.database.transact(lambda unit: _stand_back(unit, begun))
            await asyncio.shield(asyncio.create_task(back))
            if isinstance(error, RemoteUnavailable):
                raise ServerOutOfReach(str(error)) from None
            raise
        except Exception as error:  # noqa: BLE001  what becomes of a shadow run is told in its row, not as a failed job
            await self._note_failure(begun, args, error)
            return
        result = {
            "outcome": COMPLETED,
            "fault": None,
            "clinical": None,
            "duration_ms": round((time.perf_counter() - started) * 1000),
            "findings": orjson.dumps(findings).decode(),
            "agreement": orjson.dumps(agreement).decode(),
        }
        await self.services.database.transact(lambda unit: _write(unit, begun, result))

    async def _unless_work_waits(self, run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
        """The findings and the agreement; a workitem that comes to wait ends the run, with its model."""
        work = asyncio.create_task(self._work(run))
        try:
            while not (await asyncio.wait([work], timeout=LOOK_S))[0]:
                await self._require_idle()
        finally:
            await end_task(work)
        return work.result()

    async def _require_idle(self) -> None:
        """Go on only while no workitem waits, and none with STAT priority is in hand.

        Raises:
            ClinicalWorkWaits: one does, or is.
        """
        async with self.services.database.read() as connection:
            urgent = (await connection.execute(_URGENT)).first() is not None
            if urgent or await is_any_claimable(connection, self.services.clock()):
                raise ClinicalWorkWaits("Clinical work comes first.")

    async def _work(self, run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
        await self._require_idle()
        model = await self.models.get(run.claim.model_name, run.version)
        manifest = model.bundle.manifest
        datasets = await load_input(self.services, run.claim)
        volume = await asyncio.to_thread(build_volume, datasets, manifest.wants, archive_decoding())
        del datasets
        work = RunnerInput(volume.voxels, volume.geometry, manifest.parameters, images=volume.images)
        output = await model.runner.run(work)
        findings = await asyncio.to_thread(
            interpret, manifest, output, volume.geometry, volume.remarks, volume.slice_names
        )
        summary = await asyncio.to_thread(summary_of, findings)
        agreement = agreement_of(dict(run.summary), summary) | {
            "dice": await self._dice(run, findings, volume)
        }
        return summary, agreement

    async def _dice(self, run: Run, findings: Findings, volume: Volume) -> dict[str, float] | None:
        """Agreement in what was drawn; None: the clinical segmentation cannot be held against it."""
        named = [each for each in decode_series(run.output) if each.sop_class_uid in SEGMENTATION_CLASSES]
        if not named or any(number is not None for number in volume.frame_numbers):
            return None
        i = _INSTANCE.c
        at = select(i.object_name, i.object_offset, i.object_length)
        async with self.services.database.read() as connection:
            uid = named[0].sop_instance_uids[0]
            row = (await connection.execute(at.where(i.sop_instance_uid == uid))).one_or_none()
        if row is None:
            return None
        part10 = await self.services.objects.read(StoredRange(*row))
        try:
            return await asyncio.to_thread(lambda: dice_with(masks_of_seg(part10, volume.slices), findings))
        except ValueError:
            return None

    async def _note_failure(self, run: Run, args: Args, error: Exception) -> None:
        """Try again what may pass; write down what does not, or did not often enough."""
        _, retryable = verdict_on(error)
        again = retryable and run.tries < MAX_TRIES
        named = {"model": run.claim.model_name, "version": run.version}
        log.warning("shadow run failed", **named, again=again, **described(error))
        columns = {"outcome": RUNNING} if again else {"outcome": FAILED, "clinical": None}

        async def work(unit: UnitOfWork) -> None:
            await _write(unit, run, {**columns, "fault": fault_code(error)})
            if again:
                unit.defer(shadow_job(args["workitem"], run.version, AGAIN_S))

        await self.services.database.transact(work)


def shadow_handlers(runs: ShadowRuns) -> Handlers:
    """What the jobs of a worker do."""
    return {RUN: runs.run}


async def _begin(unit: UnitOfWork, args: Args) -> Run | None:
    """Count a try; None: the version has left shadow, the study is gone, or it was tried enough."""
    found = select(WORKITEM).where(WORKITEM.c.workitem_uid == args["workitem"])
    workitem = (await unit.execute(found)).mappings().one_or_none()
    if workitem is None:
        return None
    claim = claim_of(workitem, attempt=workitem["attempt"], worker="shadow")
    await unit.lock([f"shadow:{claim.workitem_uid}:{args['version']}"])
    row = await _row(unit, claim.workitem_uid, args["version"])
    if row is None or row["outcome"] != RUNNING or row["clinical"] is None:
        return None
    tries = row["tries"] + 1
    run = Run(claim, args["version"], tries, orjson.loads(row["clinical"]), workitem["output"])
    if not await _is_shadow(unit, claim.model_name, args["version"]):
        await _write(unit, run, {"outcome": CALLED_OFF, "clinical": None})
        return None
    if tries > MAX_TRIES:  # its worker was lost each time
        await _write(unit, run, {"outcome": FAILED, "fault": "worker-lost", "clinical": None})
        return None
    await _write(unit, run, {"tries": tries})
    return run


async def _is_shadow(unit: UnitOfWork, name: str, version: str) -> bool:
    query = select(VERSION.c.pk).where(is_version(name, version), VERSION.c.stage == Stage.SHADOW.value)
    return (await unit.execute(query)).first() is not None


async def _row(unit: UnitOfWork, workitem_uid: str, version: str) -> RowMapping | None:
    query = select(SHADOW_RESULT).where(is_result(workitem_uid, version))
    return (await unit.execute(query)).mappings().one_or_none()


async def _stand_back(unit: UnitOfWork, run: Run) -> None:
    """What stands back was not tried."""
    await _write(unit, run, {"tries": run.tries - 1})


async def _write(unit: UnitOfWork, run: Run, columns: Mapping[str, object]) -> None:
    values = {**columns, "at_us": unit.now_us}
    await unit.execute(
        update(SHADOW_RESULT).where(is_result(run.claim.workitem_uid, run.version)).values(values)
    )
