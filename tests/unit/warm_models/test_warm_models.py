"""Models share the memory there is: idle ones leave for others, those at work are waited for."""

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from ai_engine.geometry import Geometry
from ai_engine.runners.gpus import gpu_devices, gpu_of, visible_gpus
from ai_engine.runners.port import RunnerInput, RunnerOutput
from server.workflows.warm_models import MACHINE, Room, WarmModel, machine_memory_mb, room_here

WORK = RunnerInput(np.zeros((1, 1, 1), np.int16), Geometry((1, 1, 1), np.eye(4), "2.25.1"), {})
URGENT = replace(WORK, urgent=True)


@dataclass
class Model:
    """A runner that says when it starts and ends, and works until it is let go."""

    name: str
    said: list[str]
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, work: RunnerInput) -> RunnerOutput:
        assert work in (WORK, URGENT)
        self.said.append(f"{self.name} runs")
        await self.go.wait()
        return RunnerOutput(None, (), {})

    async def close(self) -> None:
        self.said.append(f"{self.name} ends")


class House:
    """Models in one room."""

    def __init__(self, **budget_mb: int) -> None:
        self.room = Room(budget_mb)
        self.said: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    def model(self, name: str, **needs_mb: int) -> WarmModel:
        inner = Model(name, self.said)
        self.gates[name] = inner.go
        return WarmModel(name, inner, needs_mb, self.room)


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_one_used_longest_ago_leaves_when_another_needs_its_room() -> None:
    house = House(machine=3000)
    models = {name: house.model(name, machine=1000) for name in "abcd"}
    for name in "abca":
        house.gates[name].set()
        await models[name].run(WORK)
    house.gates["d"].set()
    await models["d"].run(WORK)
    assert house.said == ["a runs", "b runs", "c runs", "a runs", "b ends", "d runs"]


async def test_models_at_work_are_waited_for() -> None:
    house = House(machine=1500)
    first, second = house.model("a", machine=1000), house.model("b", machine=1000)
    running = asyncio.create_task(first.run(WORK))
    await settled()
    waiting = asyncio.create_task(second.run(WORK))
    await settled()
    assert house.said == ["a runs"]
    house.gates["a"].set()
    house.gates["b"].set()
    await asyncio.gather(running, waiting)
    assert house.said == ["a runs", "a ends", "b runs"]


async def test_one_larger_than_all_there_is_runs_alone() -> None:
    house = House(machine=1500)
    small, large = house.model("small", machine=1000), house.model("large", machine=9000)
    for gate in house.gates.values():
        gate.set()
    for model in (small, large, small):
        await model.run(WORK)
    assert house.said == ["small runs", "small ends", "large runs", "large ends", "small runs"]


async def test_memory_of_a_gpu_counts_apart_and_a_cancelled_run_gives_its_room_back() -> None:
    house = House(machine=9000, **{"cuda:0": 4096})
    first = house.model("a", machine=1000, **{"cuda:0": 3000})
    second = house.model("b", machine=1000, **{"cuda:0": 2000})
    third = house.model("c", machine=1000)
    running = asyncio.create_task(first.run(WORK))
    await settled()
    waiting = asyncio.create_task(second.run(WORK))
    beside = asyncio.create_task(third.run(WORK))
    await settled()
    assert house.said == ["a runs", "c runs"]
    running.cancel()
    await settled()
    assert house.said == ["a runs", "c runs", "a ends", "b runs"]
    for task in (waiting, beside):
        task.cancel()
    await asyncio.gather(running, waiting, beside, return_exceptions=True)


async def test_a_warm_model_lets_those_in_that_came_before_its_next_run() -> None:
    house = House(machine=1500)
    first, second = house.model("a", machine=1000), house.model("b", machine=1000)
    runs = []
    for model, work in ((first, WORK), (second, URGENT), (first, WORK)):
        runs.append(asyncio.create_task(model.run(work)))
        await settled()
    assert house.said == ["a runs"]
    for gate in house.gates.values():
        gate.set()
    await asyncio.gather(*runs)
    assert house.said == ["a runs", "a ends", "b runs", "b ends", "a runs"]


async def test_urgent_ones_go_before_those_that_came_earlier_and_a_cancelled_one_holds_nobody() -> None:
    house = House(machine=1500)
    models = {name: house.model(name, machine=1000) for name in "abcd"}
    runs = {}
    for name, work in (("a", WORK), ("b", WORK), ("c", URGENT), ("d", URGENT)):
        runs[name] = asyncio.create_task(models[name].run(work))
        await settled()
    runs.pop("c").cancel()
    for gate in house.gates.values():
        gate.set()
    await asyncio.gather(*runs.values())
    assert house.said == ["a runs", "a ends", "d runs", "d ends", "b runs"]


async def test_idle_models_that_hold_nothing_scarce_stay_warm() -> None:
    house = House(machine=9000, **{"cuda:0": 4096})
    idle = house.model("idle", machine=1000)
    first, second = (house.model(name, machine=1000, **{"cuda:0": 3000}) for name in "ab")
    house.gates["idle"].set()
    await idle.run(WORK)
    runs = []
    for model in (first, second):
        runs.append(asyncio.create_task(model.run(WORK)))
        await settled()
    assert house.said == ["idle runs", "a runs"]
    for gate in house.gates.values():
        gate.set()
    await asyncio.gather(*runs)
    assert house.said == ["idle runs", "a runs", "a ends", "b runs"]


@pytest.mark.parametrize(("said", "mb"), [("max", None), ("2147483648", 2048)])
def test_a_container_limits_the_memory(tmp_path: Path, said: str, mb: int | None) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(f"{said}\n")
    assert machine_memory_mb(limit) == (mb or machine_memory_mb(tmp_path / "none"))


def test_settings_make_the_room() -> None:
    assert room_here(5000, "cuda:0,cuda:3", 4096).budget_mb == {MACHINE: 5000, "cuda:0": 4096, "cuda:3": 4096}
    assert room_here(5000, "cpu").budget_mb == {MACHINE: 5000}


def test_gpus_are_those_whose_device_files_are_here(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert visible_gpus(tmp_path) == ("cuda:0", "cuda:2", "cuda:10")
    assert gpu_of("cuda:10") == "10"
    assert gpu_of("cpu") == ""
    names = [Path(path).name for path in gpu_devices("2", tmp_path)]
    assert names == ["nvidia2", "nvidiactl", "nvidia-uvm"]
