"""The manifest beside a MONAI bundle (`isthmus.json`): what it wants, how it runs, what its outputs mean.

Rule: values only; unknown fields are refused, so that a misspelt limit is not silently none.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ai_engine.findings import Code, ModelIdentity
from ai_engine.gate import Criterion
from ai_engine.network import Network, RemoteModel
from ai_engine.wants import Wants

ModelName = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
OutputName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
TrackingId = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
Text = Annotated[str, Meta(min_length=1, max_length=1024)]
Byte = Annotated[int, Meta(ge=0, le=255)]


class Runtime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the model runs; the limits are enforced by its runner.

    `gpu_memory_mb`: of a GPU, when the worker has one; none: it runs on the CPU. `batch`: studies that wait
    for the model together and may go into one request.
    """

    kind: Literal["python", "torch", "onnx", "remote"]
    entry: str | None = None  # kind python: "package.module:function" inside the bundle
    memory_mb: Annotated[int, Meta(ge=64)]
    timeout_s: Annotated[float, Meta(gt=0)]
    threads: Annotated[int, Meta(ge=1)] = 1
    batch: Annotated[int, Meta(ge=1, le=8)] = 1
    gpu_memory_mb: Annotated[int, Meta(ge=64)] | None = None
    weights: str | None = None  # a file of the bundle; None: that of the kind, in `models`
    allow_pickled_weights: bool = (
        False  # kind torch: code in the weights may run, if the operator allows it too
    )
    precision: Literal["fp32", "bf16"] = "fp32"  # kind torch, on the CPU
    remote: RemoteModel | None = None


class SegmentMeaning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a number in the label map stands for."""

    number: Annotated[int, Meta(ge=1, le=255)]
    label: Annotated[str, Meta(min_length=1, max_length=64)]  # VR LO
    category: Code
    type: Code
    type_modifier: Code | None = None
    tracking_id: TrackingId
    rgb: tuple[Byte, Byte, Byte]


class FindingMeaning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measurement group, filled by the outputs that name its tracking id."""

    tracking_id: TrackingId
    finding: Code
    site: Code | None = None
    laterality: Code | None = None
    segment: int | None = None  # the segment it is measured on


class OutputMeaning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a named value of the model means.

    A value outside [`minimum`, `maximum`] (inclusive) is taken for a defect and not reported. `optional`:
    nothing is said when the model gives neither the value nor a reason. `finding` None: for the conclusion's
    text only.
    """

    name: OutputName
    title: Text  # for people, also in "not measured: …"
    group: Text | None = (
        None  # what the conclusion says instead when all outputs of the group are missing alike
    )
    concept: Code
    unit: Code  # UCUM
    finding: TrackingId | None = None
    derivation: Code | None = None
    method: Text | None = None
    decimals: Annotated[int, Meta(ge=0, le=6)] = 1
    minimum: float | None = None
    maximum: float | None = None
    optional: bool = False


class DetectionMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a named value of a detection means; a value outside the bounds (inclusive) is left out."""

    name: OutputName
    title: Text
    concept: Code
    unit: Code  # UCUM
    derivation: Code | None = None
    method: Text | None = None
    decimals: Annotated[int, Meta(ge=0, le=6)] = 1
    minimum: float | None = None
    maximum: float | None = None


class DetectionMeaning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a kind of thing that the model finds any number of means.

    Reported are those of at least `least_probability`, the `most` likeliest; a finding each, and a segment
    for those that have voxels. `none` and `found` (`{count}`) head the conclusion, then comes `each`, with
    `{number}`, `{slice}` (what its image is called, `slice_names`), `{probability}` and the names of
    measurements. When none is found, `absent` is the value of a qualitative evaluation of `finding`.
    """

    name: OutputName
    title: Annotated[str, Meta(min_length=1, max_length=56)]  # Segment Label, with its number
    finding: Code
    absent: Code
    site: Code | None = None
    sides: bool = True  # False: the side that the model states is left out, not being evaluated
    category: Code
    type: Code
    type_modifier: Code | None = None
    rgb: tuple[Byte, Byte, Byte]
    least_probability: Annotated[float, Meta(ge=0, le=1)]
    most: Annotated[int, Meta(ge=1, le=200)] = 50
    measurements: tuple[DetectionMeasurement, ...] = ()
    none: Text
    found: Text
    each: Text


class ScoreMeaning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a probability of the input as a whole means.

    At `threshold` and above it is a finding; below it a qualitative evaluation of `finding` with the value
    `absent`. The conclusion says `present_text` or `absent_text`, with `{probability}`.
    """

    name: OutputName
    title: Text
    finding: Code
    absent: Code
    site: Code | None = None
    threshold: Annotated[float, Meta(ge=0, le=1)]
    present_text: Text
    absent_text: Text


class QualityMeaning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a quality flag is about."""

    name: OutputName
    concept: Code


class ResultObjects(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which objects are made of the findings beside the SR."""

    segmentation: Literal["binary", "labelmap", "fractional"] = "binary"
    key_images: bool = False  # a Key Object Selection of the slices with findings
    secondary_capture: bool = False  # pictures of these slices with the findings drawn in
    pdf: bool = False  # an encapsulated PDF report


class ConclusionRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the conclusion is worded.

    Of each group in `sentences` the first one is used whose every `{name}` (the rounded value) and
    `{name.slice}` (what its image is called, `slice_names`) has a value. `nothing` stands where no
    group has one. Then come the reasons for what was not measured, and `statement`.
    """

    sentences: tuple[tuple[Text, ...], ...]
    nothing: Text
    statement: Text


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of `isthmus.json`."""

    manifest_version: Literal[1]
    name: ModelName
    title: Annotated[str, Meta(min_length=1, max_length=64)]
    version: Annotated[str, Meta(pattern=r"^\d+\.\d+\.\d+([-+][0-9A-Za-z.-]+)?$", max_length=64)]
    manufacturer: Annotated[str, Meta(min_length=1, max_length=64)]
    family: Code  # CID 7162
    intended_use: Text
    runtime: Runtime
    wants: Wants
    outputs: tuple[OutputMeaning, ...]
    conclusion: ConclusionRules
    parameters: dict[str, float | str] = {}
    segments: tuple[SegmentMeaning, ...] = ()
    findings: tuple[FindingMeaning, ...] = ()
    detections: tuple[DetectionMeaning, ...] = ()
    scores: tuple[ScoreMeaning, ...] = ()
    quality: tuple[QualityMeaning, ...] = ()
    results: ResultObjects = ResultObjects()
    network: Network | None = None
    gate: tuple[Criterion, ...] = ()  # what an evaluation must show before it serves

    @property
    def identity(self) -> ModelIdentity:
        """Who the results are by."""
        return ModelIdentity(
            self.name, self.title, self.version, self.manufacturer, self.family, self.intended_use
        )
