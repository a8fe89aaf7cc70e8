"""The port between the trusted worker and whatever runs a model: arrays and numbers in and out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ai_engine.geometry import Geometry
from ai_engine.projection import ProjectionImage
from server.kernel.faults import Fault, FaultKind


@dataclass(frozen=True, slots=True, eq=False)
class RunnerInput:
    """One volume for one model.

    `voxels` is int16 or float32 with axes (slice, row, column) in `geometry`'s order, in Hounsfield units
    for CT. Radiographs are float32, axes (image, row, column), and have no place in the patient.
    """

    voxels: NDArray[np.generic]
    geometry: Geometry
    parameters: Mapping[str, float | str]  # of the manifest
    urgent: bool = False  # goes before others that wait for the same model
    images: tuple[ProjectionImage, ...] = ()  # of radiographs, each a part of `voxels` by itself; else none


@dataclass(frozen=True, slots=True)
class NamedValue:
    """A number by the name the manifest gives it meaning under."""

    name: str
    value: float
    slice_index: int | None = None


Index = tuple[float, float, float]  # slice, row, column of the input; counted from 0 at voxel centres


@dataclass(frozen=True, slots=True)
class Detection:
    """One thing that was found, by the name of its kind in the manifest.

    `label` is the value of its voxels in `RunnerOutput.labels`, one that no segment of the manifest has.
    """

    name: str
    probability: float  # 0 to 1
    centre: Index
    uncertainty: float | None = None  # standard deviation of the probability
    label: int | None = None
    long_axis: tuple[Index, Index] | None = None  # both ends on one slice
    box: tuple[Index, Index] | None = None  # least and greatest corner
    side: str | None = None  # "right" or "left" of the patient; None: neither, or not known
    values: tuple[NamedValue, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """The probability of something in the input as a whole, by its name in the manifest."""

    name: str
    probability: float  # 0 to 1
    uncertainty: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RunnerOutput:
    """What model code returned, checked for shape and type but not yet given meaning.

    `labels` is uint8 with the shape of the input, or None. `fractions` says how likely each of the manifest's
    segments is, in their order: uint8, (segment, slice, row, column), 255 is certain; None: only labels are.
    `not_measured` maps a name of the manifest to the reason why there is no value.
    `quality` maps the name of a quality flag to what there is to say.
    """

    labels: NDArray[np.uint8] | None
    values: tuple[NamedValue, ...]
    not_measured: Mapping[str, str]
    detections: tuple[Detection, ...] = ()
    scores: tuple[Score, ...] = ()
    quality: Mapping[str, str] = field(default_factory=dict)
    fractions: NDArray[np.uint8] | None = None


class RunnerFault(Fault):
    """The model did not deliver. `code` is for metrics and the workitem's reason; the text is for people."""

    kind = FaultKind.INTERNAL
    code: ClassVar[str] = "runner-failed"


class ModelRaised(RunnerFault):
    """Model code raised, or died."""

    code = "model-raised"


class ModelTimedOut(RunnerFault):
    """Model code ran past its wall clock and was killed."""

    code = "model-timed-out"


class ModelOutOfMemory(RunnerFault):
    """Model code asked for more memory than its limit."""

    code = "model-out-of-memory"


class ModelOutputInvalid(RunnerFault):
    """Model code returned something of the wrong shape or type."""

    code = "model-output-invalid"


class RemoteFailed(RunnerFault):
    """The inference server of the model is not there, is busy, or refuses the request."""

    code = "inference-server-failed"


class RemoteUnavailable(RemoteFailed):
    """The inference server is not there, or is busy: that says nothing of the model or the study.

    A server that takes a request and breaks it off may do so because of the request: `RemoteFailed`, and so
    what finds nobody after that.
    """


class SandboxUnavailable(RunnerFault):
    """The system offers no sandbox and the operator has not allowed running without one."""

    code = "sandbox-unavailable"


class Runner(Protocol):
    """Runs one version of one model."""

    async def run(self, work: RunnerInput) -> RunnerOutput:
        """Run the model once.

        Raises:
            RunnerFault: it did not deliver; the runner can be used again.
        """
        ...

    async def close(self) -> None:
        """End the runner's process."""
        ...
