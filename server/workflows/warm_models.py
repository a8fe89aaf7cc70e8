"""Which models may be warm at once: as many as fit, by what they declare; those used longest ago leave first.

A model takes memory of the machine, and of a GPU when it runs on one. Before it starts, models that do
nothing are ended until it fits; when all others are at work, it waits. One that is larger than all there is
runs alone.
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from ai_engine.runners.gpus import CPU, MEMORY_UNKNOWN_MB, gpu_of, memory_of_gpus, visible_gpus
from ai_engine.runners.port import Runner, RunnerInput, RunnerOutput

log = structlog.get_logger(__name__)

MACHINE = "machine"  # the key of its memory; GPUs go by "cuda:N"
SHARE_FOR_MODELS = 0.75  # of the machine's memory, unless a setting says otherwise
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def machine_memory_mb(limit: Path = CGROUP_LIMIT) -> int:
    """The memory that this process and its children may have: the container's, else the machine's."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    said = limit.read_text().strip() if limit.is_file() else ""
    return (min(physical, int(said)) if said.isdecimal() else physical) >> 20


@dataclass(slots=True, eq=False)
class WarmModel:
    """A runner that takes its room before it runs; a `Runner` itself."""

    name: str
    runner: Runner
    needs_mb: Mapping[str, int]
    room: "Room"
    runs: int = 0

    async def run(self, work: RunnerInput) -> RunnerOutput:
        """Run the model once there is room; see `Runner.run`."""
        await self.room.take(self)
        try:
            return await self.runner.run(work)
        finally:
            await self.room.leave(self)

    async def close(self) -> None:
        """End the runner's process."""
        await self.runner.close()


@dataclass(slots=True)
class Room:
    """The memory that models share; `budget_mb` by machine and GPU."""

    budget_mb: Mapping[str, int]
    _warm: dict[WarmModel, None] = field(default_factory=dict)  # in the order of their last use
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, model: WarmModel) -> None:
        """Let a model in; waits while it does not fit beside those at work."""
        async with self._changed:
            while not await self._make_room(model):
                await self._changed.wait()
            self._warm.pop(model, None)
            self._warm[model] = None
            model.runs += 1

    async def leave(self, model: WarmModel) -> None:
        """A run has ended; the model stays warm until its room is wanted."""
        async with self._changed:
            model.runs -= 1
            self._changed.notify_all()

    async def _make_room(self, model: WarmModel) -> bool:
        while model not in self._warm and self._warm and not self._fits(model):
            idle = next((each for each in self._warm if not each.runs), None)
            if idle is None:
                return False
            del self._warm[idle]
            log.info("model put away", model=idle.name, wanted=model.name)
            await idle.close()
        return True

    def _fits(self, model: WarmModel) -> bool:
        return all(
            needed + sum(each.needs_mb.get(place, 0) for each in self._warm) <= self.budget_mb.get(place, 0)
            for place, needed in model.needs_mb.items()
        )


def room_here(
    models_memory_mb: int | None = None, devices: str = CPU, gpu_memory_mb: int | None = None
) -> Room:
    """The room that a worker's settings give its models on this machine; see `InferenceSettings`. Blocks."""
    machine_mb = models_memory_mb or int(machine_memory_mb() * SHARE_FOR_MODELS)
    gpus = visible_gpus() if devices == "auto" else tuple(filter(gpu_of, devices.split(",")))
    told_mb = memory_of_gpus() if gpus and gpu_memory_mb is None else {}
    budgets_mb = {gpu: gpu_memory_mb or told_mb.get(gpu, MEMORY_UNKNOWN_MB) for gpu in gpus}
    return Room({MACHINE: machine_mb, **budgets_mb})
