"""Models at work in a worker: registered bundles, checked against their registration, with warm runners."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from ai_engine.bundle import Bundle, load_bundle
from ai_engine.runners.kinds import runner_for
from ai_engine.runners.port import Runner
from ai_engine.runners.process import RunnerPolicy
from ai_engine.tables import ModelVersion
from server.kernel.database import Database
from server.kernel.faults import Fault, FaultKind
from server.kernel.rows import table_of
from server.workflows.registry.bundle_files import UnpackedBundles

_MODEL = table_of(ModelVersion)


class ModelNotUsable(Fault):
    """The model version that a workitem names cannot be loaded as it was registered."""

    kind = FaultKind.NOT_FOUND


@dataclass(slots=True)
class LoadedModel:
    """A registered version, ready to run."""

    bundle: Bundle
    runner: Runner


@dataclass(slots=True)
class LoadedModels:
    """The models of one worker process; their runners stay warm."""

    database: Database
    policy: RunnerPolicy
    unpacked: UnpackedBundles
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
            runner = runner_for(bundle, self.policy)
            loaded = self._loaded[name, version] = LoadedModel(bundle, runner)
        return loaded

    async def _load(self, name: str, version: str) -> Bundle:
        query = select(_MODEL.c.path, _MODEL.c.digest, _MODEL.c.files).where(
            _MODEL.c.name == name, _MODEL.c.version == version
        )
        async with self.database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise ModelNotUsable(f"Model {name} {version} is not registered.")
        path = row.path or await self.unpacked.path_of(name, version, row.digest, row.files)
        bundle = await asyncio.to_thread(load_bundle, Path(path))
        if bundle.digest != row.digest:
            raise ModelNotUsable(f"The files of model {name} {version} are not those that were registered.")
        return bundle

    async def close(self) -> None:
        """End every runner."""
        for model in self._loaded.values():
            await model.runner.close()
        self._loaded.clear()
        self.unpacked.close()
