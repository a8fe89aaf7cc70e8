"""What the runners of this process did."""

from server.kernel.metrics import LONG_S, counter, histogram

_RUNS = counter("isthmus_job_runs", "Runs of background jobs.", ("task", "outcome"))
_SECONDS = histogram("isthmus_job_run_seconds", "How long a run of a background job took.", ("task",), LONG_S)


def observe_run(task: str, outcome: str, seconds: float) -> None:
    """Count a run; `task` is one that this program knows."""
    _RUNS.labels(task, outcome).inc()
    _SECONDS.labels(task).observe(seconds)
