"""Which models may be warm at once: as many as fit, by what they declare; those used longest ago leave first.

A model takes memory of the machine, and of a GPU when it runs on one. Before it starts, models that do
nothing and hold what is scarce are ended until it fits; when that is not enough, it waits. Urgent runs wait
before others, then those that came first; what a waiting one lacks, none after it takes, not even a model
that is warm. One that is larger than all there is runs alone.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
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
        await self.room.take(self, urgent=work.urgent)
        try:
            return await self.runner.run(work)
        finally:
            await self.room.leave(self)

    async def close(self) -> None:
        """End the runner's process."""
        await self.runner.close()


@dataclass(frozen=True, slots=True, order=True)
class _Waiting:
    """A run that is not let in yet; the least goes first."""

    routine: bool
    arrival: int
    model: WarmModel = field(compare=False)


@dataclass(slots=True)
class Room:
    """The memory that models share; `budget_mb` by machine and GPU."""

    budget_mb: Mapping[str, int]
    _warm: dict[WarmModel, None] = field(default_factory=dict)  # in the order of their last use
    _waiting: list[_Waiting] = field(default_factory=list)
    _arrivals: Iterator[int] = field(default_factory=count)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, model: WarmModel, *, urgent: bool = False) -> None:
        """Let a model in; waits for its turn, and while it does not fit beside those at work."""
        async with self._changed:
            turn = _Waiting(not urgent, next(self._arrivals), model)
            self._waiting.append(turn)
            try:
                while not self._may_enter(turn):
                    await self._changed.wait()
                await self._make_room(model)
                self._warm.pop(model, None)
                self._warm[model] = None
                model.runs += 1
            finally:
                self._waiting.remove(turn)
                self._changed.notify_all()

    async def leave(self, model: WarmModel) -> None:
        """A run has ended; the model stays warm until its room is wanted."""
        async with self._changed:
            model.runs -= 1
            self._changed.notify_all()

    def _may_enter(self, turn: _Waiting) -> bool:
        """Whether nothing is short for it, and it takes nothing that is kept for one before it."""
        kept: set[str] = set()
        for each in sorted(self._waiting):
            short = self._short(each.model)
            free = not short and kept.isdisjoint(each.model.needs_mb)
            if each is turn:
                return free
            kept |= each.model.needs_mb.keys() if free else short
        return False

    def _short(self, model: WarmModel) -> set[str]:
        """Where there is no room for a model though all that do nothing leave."""
        if model in self._warm:
            return set()
        busy = [each for each in self._warm if each.runs]
        held = {place for each in busy for place in each.needs_mb}
        return self._too_full(model, busy) & held

    def _too_full(self, model: WarmModel, others: Iterable[WarmModel]) -> set[str]:
        taken = Counter[str]()
        for each in others:
            taken.update(each.needs_mb)
        return {
            place
            for place, needed in model.needs_mb.items()
            if needed + taken[place] > self.budget_mb.get(place, 0)
        }

    async def _make_room(self, model: WarmModel) -> None:
        if model in self._warm:
            return
        for idle in [each for each in self._warm if not each.runs]:
            if not self._too_full(model, self._warm).isdisjoint(idle.needs_mb):
                del self._warm[idle]
                log.info("model put away", model=idle.name, wanted=model.name)
                await idle.close()


def room_here(
    models_memory_mb: int | None = None, devices: str = CPU, gpu_memory_mb: int | None = None
) -> Room:
    """The room that a worker's settings give its models on this machine; see `InferenceSettings`. Blocks."""
    machine_mb = models_memory_mb or int(machine_memory_mb() * SHARE_FOR_MODELS)
    gpus = visible_gpus() if devices == "auto" else tuple(filter(gpu_of, devices.split(",")))
    told_mb = memory_of_gpus() if gpus and gpu_memory_mb is None else {}
    budgets_mb = {gpu: gpu_memory_mb or told_mb.get(gpu, MEMORY_UNKNOWN_MB) for gpu in gpus}
    return Room({MACHINE: machine_mb, **budgets_mb})
