"""What the manifest says of a network that has no code of its own: what goes in, and what comes out.

For the kinds `onnx` and `remote` it is all there is, for `torch` what a MONAI bundle does not say itself.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Size = Annotated[int, Meta(ge=1, le=4096)]
Spacing = Annotated[float, Meta(gt=0)]
TensorName = Annotated[str, Meta(min_length=1, max_length=128)]
PAIRS = ("LR", "PA", "IS")


class Intensity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values from `low` to `high` become `to_low` to `to_high`; with `clip` none lies outside."""

    low: float
    high: float
    to_low: float = 0.0
    to_high: float = 1.0
    clip: bool = True


class Network(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network over windows of a volume; what follows the axes of the network stands in their order.

    Each channel of the output stands for a label number (`labels`, 0: nothing) or a name of `scores` or
    `detections` (`names`, "": nothing). `volumes` gives the volume in cm3 of a label to an output.
    """

    task: Literal["segmentation", "classification", "detection"]
    axes: str = "RAS"  # where the axes point; "native": slice, row, column as they are
    spacing_mm: tuple[Spacing, Spacing, Spacing] | None = None  # None: the volume's own
    intensity: Intensity | None = None
    roi: tuple[Size, Size, Size] | None = None
    overlap: Annotated[float, Meta(ge=0, lt=1)] = 0.25
    blending: Literal["gaussian", "constant"] = "gaussian"
    padding: float = 0.0  # around a volume smaller than the window, after scaling
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    threshold: Annotated[float, Meta(ge=0, le=1)] | None = None  # None: the likeliest channel
    labels: tuple[Annotated[int, Meta(ge=0, le=255)], ...] = ()
    names: tuple[str, ...] = ()
    volumes: dict[str, str] = {}
    first_label: Annotated[int, Meta(ge=1, le=255)] = 1  # of detections; above the segments' numbers
    batch: Annotated[int, Meta(ge=1, le=256)] = 4  # windows at once
    input: TensorName | None = None  # None: the first one
    output: TensorName | None = None
    datatype: Literal["FP32", "FP16"] = "FP32"


class RemoteModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model of an inference server (Open Inference Protocol); its address is the operator's setting."""

    server: Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
    model: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=128)]
    version: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)] | None = None


def faults_of(
    network: Network, *, segments: Iterable[int], scores: Iterable[str], detections: Iterable[str]
) -> Iterator[str]:
    """What of a network that is driven by windows does not fit itself or the rest of the manifest."""
    if network.roi is None:
        yield "roi is missing"
    if network.axes != "native" and not _are_axes(network.axes):
        yield 'axes is neither "native" nor one letter each of L R, P A, I S'
    if network.intensity is not None and network.intensity.low >= network.intensity.high:
        yield "intensity.low is not below intensity.high"
    if network.task == "segmentation":
        yield from _strangers("labels", network.labels, {0, *segments})
    if network.task == "classification":
        yield from _strangers("names", network.names, {"", *scores})
    if network.task == "detection":
        yield from _strangers("names", network.names, {"", *detections})
        if network.threshold is None:
            yield "threshold is missing"
        if any(number >= network.first_label for number in segments):
            yield "first_label is not above the numbers of the segments"


def _are_axes(letters: str) -> bool:
    return len(letters) == len(PAIRS) and all(
        sum(letter in pair for letter in letters) == 1 for pair in PAIRS
    )


def _strangers(field: str, given: Iterable[object], known: set[object]) -> Iterator[str]:
    given = list(given)
    if not given:
        yield f"{field} is missing"
    for each in given:
        if each not in known:
            yield f"{field} holds {each}, which the manifest does not describe"
