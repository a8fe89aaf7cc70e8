"""Models at work in a worker: registered bundles, checked against their registration, with warm runners.

A model that asks for a GPU is placed, for as long as it is loaded, on the one with the most memory to spare.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from ai_engine.bundle import Bundle, load_bundle
from ai_engine.runners.gpus import CPU
from ai_engine.runners.kinds import runner_for
from ai_engine.runners.process import RunnerPolicy
from ai_engine.tables import ModelVersion
from server.kernel.database import Database
from server.kernel.faults import Fault, FaultKind
from server.kernel.rows import table_of
from server.workflows.registry.bundle_files import is_intact
from server.workflows.registry.unpacked import BundleDamaged, UnpackedBundles
from server.workflows.warm_models import MACHINE, Room, WarmModel, room_here

_MODEL = table_of(ModelVersion)


class ModelNotUsable(Fault):
    """The model version that a workitem names cannot be loaded as it was registered."""

    kind = FaultKind.NOT_FOUND


@dataclass(slots=True)
class LoadedModel:
    """A registered version, ready to run."""

    bundle: Bundle
    runner: WarmModel


@dataclass(slots=True)
class LoadedModels:
    """The models of one worker process; their runners stay warm."""

    database: Database
    policy: RunnerPolicy
    unpacked: UnpackedBundles
    room: Room = field(default_factory=room_here)
    _loaded: dict[tuple[str, str], LoadedModel] = field(default_factory=dict)

    async def get(self, name: str, version: str) -> LoadedModel:
        """The model, loaded on first use.

        Raises:
            ModelNotUsable: it is not registered, or its files are not those that were registered.
            BundleInvalid: its files are no bundle any more.
        """
        loaded = self._loaded.get((name, version))
        if loaded is None:
            bundle = await self._load(name, version)
            loaded = self._loaded.get((name, version)) or self._place(bundle)  # another may have been quicker
            self._loaded[name, version] = loaded
        return loaded

    def _place(self, bundle: Bundle) -> LoadedModel:
        runtime = bundle.manifest.runtime
        device = self._device_for(runtime.gpu_memory_mb)
        needs_mb = {MACHINE: runtime.memory_mb}
        if device != CPU:
            needs_mb[device] = runtime.gpu_memory_mb or 0
        runner = runner_for(bundle, self.policy, device)
        return LoadedModel(bundle, WarmModel(bundle.manifest.name, runner, needs_mb, self.room))

    def _device_for(self, gpu_memory_mb: int | None) -> str:
        """The GPU with the most memory that no loaded model has asked for; the CPU when there is none."""
        spare = {place: budget for place, budget in self.room.budget_mb.items() if place != MACHINE}
        if gpu_memory_mb is None or not spare:
            return CPU
        for loaded in self._loaded.values():
            for place, needed in loaded.runner.needs_mb.items():
                if place in spare:
                    spare[place] -= needed
        return max(spare, key=lambda place: spare[place])

    async def _load(self, name: str, version: str) -> Bundle:
        query = select(_MODEL.c.path, _MODEL.c.digest, _MODEL.c.files).where(
            _MODEL.c.name == name, _MODEL.c.version == version
        )
        async with self.database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise ModelNotUsable(f"Model {name} {version} is not registered.")
        shipped = Path(row.path)
        if row.path and await asyncio.to_thread(is_intact, shipped, row.digest):
            return await asyncio.to_thread(load_bundle, shipped)
        try:  # an upgrade of the package has put other files there; those of this version are kept
            path = await self.unpacked.path_of(name, version, row.digest, row.files)
        except BundleDamaged:
            message = f"The files of model {name} {version} are not those that were registered."
            raise ModelNotUsable(message) from None
        return await asyncio.to_thread(load_bundle, path)

    async def close(self) -> None:
        """End every runner."""
        for model in self._loaded.values():
            await model.runner.close()
        self._loaded.clear()
        self.unpacked.close()
