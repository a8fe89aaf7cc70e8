import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from ai_engine.geometry import Geometry
from ai_engine.runners.port import RunnerInput
from ai_engine.runners.process import ProcessRunner, Program, RunnerLimits, RunnerPolicy

MakeRunner = Callable[..., ProcessRunner]


@pytest.fixture
def work() -> RunnerInput:
    shape = (4, 5, 6)
    voxels = np.arange(120, dtype=np.int16).reshape(shape) - 60
    affine = np.diag([2.0, 0.5, 0.5, 1.0])
    return RunnerInput(voxels, Geometry(shape, affine, "2.25.1"), {"threshold": 3.0, "mode": "x"})


@pytest.fixture
async def make_runner(tmp_path: Path) -> AsyncIterator[MakeRunner]:
    """Makes a runner of a bundle whose one function is given as source; every runner is closed at the end."""
    made: list[ProcessRunner] = []

    def make(
        source: str,
        *,
        timeout_s: float = 20.0,
        memory_mb: int = 1024,
        policy: RunnerPolicy | None = None,
        batch: int = 1,
    ) -> ProcessRunner:
        bundle = tmp_path / f"bundle{len(made)}"
        (bundle / "scripts").mkdir(parents=True)
        (bundle / "scripts" / "model.py").write_text(textwrap.dedent(source))
        runner = ProcessRunner(
            bundle,
            Program("scripts.model:run", batch=batch),
            RunnerLimits(memory_mb, timeout_s),
            policy or RunnerPolicy(),
        )
        made.append(runner)
        return runner

    yield make
    for runner in made:
        await runner.close()
