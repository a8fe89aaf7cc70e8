"""Which runner runs which kind of model; a kind is a line in a table."""

from collections.abc import Callable, Mapping
from pathlib import Path

from ai_engine.runners.port import Runner
from ai_engine.runners.process import ProcessRunner, RunnerLimits, RunnerPolicy
from server.kernel.faults import Fault, FaultKind

MakeRunner = Callable[[Path, str, RunnerLimits, RunnerPolicy], Runner]

RUNNERS: Mapping[str, MakeRunner] = {"python": ProcessRunner}


class UnsupportedRunnerKind(Fault):
    """A manifest names a kind that this installation cannot run."""

    kind = FaultKind.NOT_IMPLEMENTED


def runner_for(
    kind: str, bundle_path: Path, entry: str, limits: RunnerLimits, policy: RunnerPolicy
) -> Runner:
    """The runner of a bundle; no process starts before its first run.

    Raises:
        UnsupportedRunnerKind: no runner of that kind.
    """
    make = RUNNERS.get(kind)
    if make is None:
        raise UnsupportedRunnerKind(f"runner kind is not one of: {', '.join(sorted(RUNNERS))}")
    return make(bundle_path, entry, limits, policy)
