"""What the models do: how their runs end, how long each stage takes, how long a result was waited for."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from time import perf_counter

from dicomweb.worklist.workitem import Claim
from server.kernel.clock import SECOND_US, now_us
from server.kernel.metrics import LONG_S, counter, histogram
from server.kernel.tracing import span

_LABELS = ("model", "version")

_PREDICTIONS = counter(
    "isthmus_predictions", "Attempts at workitems, by how they ended.", (*_LABELS, "outcome")
)
_STAGE = histogram(
    "isthmus_prediction_stage_seconds", "Time of one stage of an attempt.", (*_LABELS, "stage"), LONG_S
)
_TURNAROUND = histogram(
    "isthmus_report_turnaround_seconds",
    "From the scheduled workitem to the published report.",
    _LABELS,
    LONG_S,
)


class Ended(Enum):
    """How an attempt ended."""

    COMPLETED = "completed"
    REFUSED = "refused"  # the images are not what the model takes
    FAILED = "failed"  # everything else that should not be: model, sandbox, store, database
    CANCELED = "canceled"  # somebody asked for it
    LOST = "lost"  # the lease ran out
    WAITING = "waiting"  # what it needs is out of reach; it counts for nothing


class Stage(Enum):
    """What an attempt is made of."""

    LOAD = "load"
    PREPROCESS = "preprocess"
    MODEL = "model"
    ENCODE = "encode"
    PUBLISH = "publish"


def count_ended(claim: Claim, ended: Ended) -> None:
    """Count an attempt by the version that made it; call it once its end is written down."""
    _PREDICTIONS.labels(claim.model_name, claim.model_version, ended.value).inc()
    if ended is Ended.COMPLETED:
        waited_s = max(0, now_us() - claim.scheduled_us) / SECOND_US
        _TURNAROUND.labels(claim.model_name, claim.model_version).observe(waited_s)


@contextmanager
def timed(claim: Claim, stage: Stage) -> Iterator[None]:
    """Time one stage, also when it fails; it is a span of the workitem's trace."""
    begun = perf_counter()
    try:
        with span(stage.value, {"isthmus.model": claim.model_name, "isthmus.version": claim.model_version}):
            yield
    finally:
        _STAGE.labels(claim.model_name, claim.model_version, stage.value).observe(perf_counter() - begun)
