"""Runs that wait together share a request, urgent ones first; a request that fails is taken apart."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from ai_engine.runners.port import ModelRaised, RunnerInput, RunnerOutput
from ai_engine.runners.together import Together


@dataclass
class Model:
    """Answers each run with its parameter; holds its requests until it is let go."""

    requests: list[list[float]] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception = field(default_factory=lambda: ModelRaised("thirteen"))
    cancelled: int = 0

    async def deliver(self, works: Sequence[RunnerInput]) -> Sequence[RunnerOutput]:
        numbers = [float(work.parameters["n"]) for work in works]
        self.requests.append(numbers)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if 13 in numbers:
            raise self.error
        return [RunnerOutput(None, (), {str(number): "x"}) for number in numbers]


def numbered(work: RunnerInput, number: float, *, urgent: bool = False) -> RunnerInput:
    return replace(work, parameters={"n": number}, urgent=urgent)


async def started(*runs: "asyncio.Task[RunnerOutput]") -> None:
    for _ in range(5):
        await asyncio.sleep(0)
    assert not any(run.done() for run in runs)


async def test_those_that_wait_go_together_the_urgent_first(work: RunnerInput) -> None:
    model = Model()
    together = Together(3, model.deliver)
    first = asyncio.create_task(together.run(numbered(work, 0)))
    await started(first)
    later = [asyncio.create_task(together.run(numbered(work, n, urgent=n == 4))) for n in (1, 2, 3, 4)]
    await started(*later)
    model.go.set()
    outputs = await asyncio.gather(first, *later)
    assert model.requests == [[0], [4, 1, 2], [3]]
    assert [list(output.not_measured) for output in outputs] == [["0.0"], ["1.0"], ["2.0"], ["3.0"], ["4.0"]]


async def test_a_volume_that_the_model_cannot_stand_hurts_only_itself(work: RunnerInput) -> None:
    model = Model()
    together = Together(3, model.deliver)
    first = asyncio.create_task(together.run(numbered(work, 0)))
    await started(first)
    later = [asyncio.create_task(together.run(numbered(work, n))) for n in (12, 13, 14)]
    await started(*later)
    model.go.set()
    outcomes = await asyncio.gather(*later, return_exceptions=True)
    assert [isinstance(each, ModelRaised) for each in outcomes] == [False, True, False]
    assert model.requests[:2] == [[0], [12, 13, 14]]
    assert sorted(model.requests[2:]) == [[12], [13], [14]]


async def test_what_is_no_fault_of_a_runner_goes_to_its_cause_too(work: RunnerInput) -> None:
    model = Model(error=ValueError("thirteen"))
    together = Together(3, model.deliver)
    first = asyncio.create_task(together.run(numbered(work, 0)))
    await started(first)
    later = [asyncio.create_task(together.run(numbered(work, n))) for n in (12, 13, 14)]
    await started(*later)
    model.go.set()
    outcomes = await asyncio.gather(*later, return_exceptions=True)
    assert [isinstance(each, ValueError) for each in outcomes] == [False, True, False]


async def test_request_goes_on_while_one_of_it_waits(work: RunnerInput) -> None:
    """Whoever gives up: what others asked for is not begun anew, and ends when nobody waits for it."""
    model = Model()
    together = Together(3, model.deliver)
    runs = [asyncio.create_task(together.run(numbered(work, n))) for n in (1, 2, 3)]
    await started(*runs)
    for run in runs[:2]:
        run.cancel()
    await asyncio.wait(runs[:2])
    await started(runs[2])
    assert (model.requests, model.cancelled) == ([[1, 2, 3]], 0)
    runs[2].cancel()
    await asyncio.wait(runs[2:])
    assert model.cancelled == 1
    model.go.set()
    assert list((await together.run(numbered(work, 4))).not_measured) == ["4.0"]


async def test_a_run_that_is_cancelled_leaves_the_others(work: RunnerInput) -> None:
    model = Model()
    together = Together(3, model.deliver)
    first = asyncio.create_task(together.run(numbered(work, 0)))
    await started(first)
    later = [asyncio.create_task(together.run(numbered(work, n))) for n in (1, 2)]
    await started(*later)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    model.go.set()
    assert len(await asyncio.gather(*later)) == 2
    assert model.requests == [[0], [1, 2]]
