"""What a worker does with a workitem: images → volume → model → findings → DICOM objects → published."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from zoneinfo import ZoneInfo

from pydicom.uid import Comprehensive3DSRStorage

from ai_engine.agreement import summary_of
from ai_engine.encode.equipment import Equipment
from ai_engine.encode.images import Source
from ai_engine.encode.publication import encode
from ai_engine.encode.source import InstanceReference, Making
from ai_engine.encode.uids import UidSource
from ai_engine.findings import Findings
from ai_engine.interpret import interpret
from ai_engine.preprocess.volume import Volume, build_volume
from ai_engine.runners.port import RunnerInput
from ai_engine.runners.process import RunnerPolicy
from dicomweb.worklist.attempts import standing_output
from dicomweb.worklist.state import Priority
from dicomweb.worklist.workitem import Claim, SeriesReference
from server.kernel.services import Services
from server.kernel.site import Site
from server.workflows.decoding import archive_decoding
from server.workflows.loaded_models import LoadedModel, LoadedModels
from server.workflows.model_input import load_input
from server.workflows.model_metrics import Stage, timed
from server.workflows.publish import publish
from server.workflows.registry.in_service import claim_for_serving
from server.workflows.registry.unpacked import UnpackedBundles
from server.workflows.warm_models import Room, room_here
from server.workflows.worker import Progress, Worker, WorkerSettings

ENGINE = f"Isthmus {version('isthmus')}"


@dataclass(frozen=True, slots=True)
class Analyst:
    """Analyses the workitems of one worker process; several at once, in other stages."""

    services: Services
    models: LoadedModels

    async def work(self, claim: Claim, progress: Progress) -> None:
        """Analyse and publish one workitem.

        Raises:
            Fault: it cannot be done, or not now; nothing is published then.
        """
        progress.at(5, "loading the images")
        claim = await self.services.database.transact(lambda unit: claim_for_serving(unit, claim))
        progress.version = claim.model_version
        with timed(claim, Stage.LOAD):
            model = await self.models.get(claim.model_name, claim.model_version)
            datasets = await load_input(self.services, claim)
        progress.at(25, "building the volume")
        wants = model.bundle.manifest.wants
        with timed(claim, Stage.PREPROCESS):
            volume = await asyncio.to_thread(build_volume, datasets, wants, archive_decoding())
        del datasets
        progress.at(40, f"running {model.bundle.manifest.title}")
        with timed(claim, Stage.MODEL):
            findings = await self._run(model, volume, urgent=claim.priority is Priority.HIGH)
        progress.at(80, "encoding the findings")
        with timed(claim, Stage.ENCODE):
            superseded = await self.services.database.transact(lambda unit: standing_output(unit, claim))
            making = self._making(claim, findings)
            source = Source(volume.slices, volume.frame_numbers, volume.voxels, bool(volume.images))
            asked, before = model.bundle.manifest.results, documents_of(superseded)
            result = await asyncio.to_thread(encode, findings, source, making, before, asked)
        progress.at(95, "publishing")
        with timed(claim, Stage.PUBLISH):
            await publish(self.services, claim, result, superseded, summary_of(findings))

    def _making(self, claim: Claim, findings: Findings) -> Making:
        made_by = Equipment.of(findings.model, ENGINE)
        return Making(made_by, local_now(self.services.site), UidSource(claim.workitem_uid))

    async def _run(self, model: LoadedModel, volume: Volume, *, urgent: bool) -> Findings:
        manifest = model.bundle.manifest
        images = volume.images
        work = RunnerInput(volume.voxels, volume.geometry, manifest.parameters, urgent, images)
        output = await model.runner.run(work)
        return await asyncio.to_thread(
            interpret, manifest, output, volume.geometry, volume.remarks, volume.slice_names
        )


def local_now(site: Site) -> datetime:
    """Now, on the site's clock; without a configured zone on this machine's. DICOM times are local times."""
    return datetime.now(ZoneInfo(site.timezone)) if site.timezone else datetime.now(UTC).astimezone()


def documents_of(superseded: Sequence[SeriesReference]) -> list[InstanceReference]:
    """The SRs among what a result replaces: its predecessor documents."""
    return [
        InstanceReference(each.study_instance_uid, each.series_instance_uid, each.sop_class_uid, uid)
        for each in superseded
        if each.sop_class_uid == Comprehensive3DSRStorage
        for uid in each.sop_instance_uids
    ]


def build_worker(
    services: Services,
    settings: WorkerSettings,
    policy: RunnerPolicy,
    unpacked: Path | None = None,
    room: Room | None = None,
) -> tuple[Worker, LoadedModels]:
    """A worker with its models; the caller closes the models at the end.

    `unpacked`: the folder for bundles that operators added; None: a temporary one. `room`: what models may
    have together; None: a share of this machine, and no GPU.
    """
    bundles = UnpackedBundles(services.database, unpacked)
    models = LoadedModels(services.database, policy, bundles, room or room_here())
    return Worker(services, settings, Analyst(services, models).work), models
