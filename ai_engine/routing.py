"""Which instances of a study a rule sends to its model (DESIGN §2, Settled). Pure.

One workitem per rule and study: of the series that the model wants, the best one. A series with fewer slices
than the model needs is routed all the same, and ends as a refusal that people can see; what is not routed
leaves no trace.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from ai_engine.attributes import Attributes
from ai_engine.kernels import Sharpness, sharpness_of
from ai_engine.wants import Wants
from server.kernel.uids import hash_of_uids
from terminology.definitions.sop_classes import SecondaryCaptureImageStorage

DERIVED_MODALITIES = frozenset({"SR", "SEG", "KO", "PR", "DOC"})  # PS3.3 C.7.3.1.1.1
AXIAL_COSINE = 0.9  # |cosine| between the slice normal and the long axis, from which a plane counts as axial
NO_THICKNESS_MM = 1_000.0  # stands for a slice thickness that is not stated: thinner is better

ORIGINAL = "ORIGINAL"  # Image Type value 1 (PS3.3 C.7.6.1.1.2)


@dataclass(frozen=True, slots=True)
class InstanceSummary:
    """What routing looks at in an instance."""

    sop_instance_uid: str
    sop_class_uid: str
    image_type: tuple[str, ...] = ()  # empty: not stated
    orientation_lps: tuple[float, ...] = ()  # Image Orientation (Patient), 6 cosines; empty: not stated
    slice_thickness_mm: float | None = None  # None: not stated
    frames: int = 1
    is_ours: bool = False  # whether this engine made it
    attributes: Attributes = field(default_factory=dict)  # of `ai_engine.attributes.ASKABLE`, those stated


@dataclass(frozen=True, slots=True)
class SeriesSummary:
    """What routing looks at in a series; its instances in the order of their numbers."""

    series_instance_uid: str
    modality: str  # "": not stated
    instances: tuple[InstanceSummary, ...]
    body_part: str | None = None  # None: not stated


@dataclass(frozen=True, slots=True)
class InputSeries:
    """Instances of one series and one SOP class."""

    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A series of the study that is no input, and why, in words that follow "the series"."""

    series_instance_uid: str
    reason: str


@dataclass(frozen=True, slots=True)
class Demand:
    """The rule wants its model to run on these instances; `passed_over` tells why not on others."""

    input: tuple[InputSeries, ...]
    passed_over: tuple[PassedOver, ...] = field(default=(), compare=False)

    @property
    def input_hash(self) -> str:
        """The hash over the input's SOP Instance UIDs: another hash is another demand."""
        return hash_of_uids(uid for series in self.input for uid in series.sop_instance_uids)


@dataclass(frozen=True, slots=True)
class NotWanted:
    """The rule has nothing to do in this study; `reason` is for people and logs."""

    reason: str
    passed_over: tuple[PassedOver, ...] = field(default=(), compare=False)


def route(wants: Wants, study: Sequence[SeriesSummary]) -> Demand | NotWanted:
    """What a rule wants of a study: the same answer for the same study, in whatever order its series come."""
    wanted: list[SeriesSummary] = []
    passed_over: list[PassedOver] = []
    misses: list[_Miss] = []
    for series in sorted(study, key=lambda each: each.series_instance_uid):
        missed = [_miss(wants, series, instance) for instance in series.instances]
        pairs = zip(series.instances, missed, strict=True)
        if kept := tuple(instance for instance, miss in pairs if miss is None):
            wanted.append(replace(series, instances=kept))
        elif found := [miss for miss in missed if miss is not None]:
            misses.append(max(found))  # of the instance that came furthest
            passed_over.append(PassedOver(series.series_instance_uid, misses[-1].words))
    if not wanted:
        return NotWanted(_no_series(wants, max(misses, default=None)), tuple(passed_over))
    if wants.input == "projections":
        return Demand(tuple(one for each in wanted for one in _demand(each).input), tuple(passed_over))
    best = min(wanted, key=lambda series: _rank(wants, series))
    others = (each for each in wanted if each is not best)
    passed_over.extend(PassedOver(each.series_instance_uid, _worse(wants, each, best)) for each in others)
    return replace(_demand(best), passed_over=tuple(passed_over))


def selection_of(text: str) -> Wants:
    """The selection of a rule, from its JSON."""
    return msgspec.json.decode(text, type=Wants)


def is_derived(modality: str, sop_class_uid: str) -> bool:
    """Whether an object is of a class that is made from images: SR, SEG, KO, PR, document or capture."""
    # The multi-frame kinds lie below the first secondary capture class (PS3.4 Table B.5-1).
    captured = f"{sop_class_uid}.".startswith(f"{SecondaryCaptureImageStorage}.")
    return captured or modality in DERIVED_MODALITIES


@dataclass(frozen=True, slots=True, order=True)
class _Miss:
    """Why an instance is no input: at which of the steps, and in words that follow "the series"."""

    step: int
    words: str


_KIND, _IMAGE_TYPE, _ATTRIBUTES = range(3)  # the steps, in their order


def _miss(wants: Wants, series: SeriesSummary, instance: InstanceSummary) -> _Miss | None:
    """The first thing that keeps an instance from being input; None: nothing."""
    if words := _wrong_kind(wants, series, instance):
        return _Miss(_KIND, words)
    if not wants.accepts_image_type(instance.image_type):
        return _Miss(_IMAGE_TYPE, "is of an excluded Image Type such as a localizer")
    if words := wants.unmet(instance.attributes):
        return _Miss(_ATTRIBUTES, words)
    return None


def _wrong_kind(wants: Wants, series: SeriesSummary, instance: InstanceSummary) -> str | None:
    if instance.is_ours:
        return "is made by this server"
    named = instance.sop_class_uid in wants.sop_class_uids()
    if is_derived(series.modality, instance.sop_class_uid) and not named:
        return "is derived from images"
    if wants.accepts_series(series.modality, instance.sop_class_uid, series.body_part):
        return None
    return "is of another modality, SOP class or body part"


def _slices(series: SeriesSummary) -> int:
    return sum(instance.frames for instance in series.instances)


def _thickness_mm(series: SeriesSummary) -> float:
    return max(instance.slice_thickness_mm or NO_THICKNESS_MM for instance in series.instances)


def _is_too_thick(wants: Wants, series: SeriesSummary) -> bool:
    limit = wants.maximum_slice_thickness_mm
    stated = (instance.slice_thickness_mm for instance in series.instances)
    return limit is not None and max((each for each in stated if each is not None), default=0.0) > limit


def _is_original(instance: InstanceSummary) -> bool:
    return ORIGINAL in instance.image_type[:1]


def _kernel_distance(wants: Wants, series: SeriesSummary) -> int:
    """0: all as the model likes it; 1: not known; 2: the other way."""
    if wants.kernel is None:
        return 0
    found = {_sharpness(instance) for instance in series.instances}
    return 0 if found == {wants.kernel} else 1 if found <= {wants.kernel, None} else 2


def _sharpness(instance: InstanceSummary) -> Sharpness | None:
    return sharpness_of(str(next(iter(instance.attributes.get("ConvolutionKernel", ())), "")))


def _is_axial(orientation_lps: Sequence[float]) -> bool:
    """Whether the slice normal runs along the patient's long axis; not stated: no."""
    if len(orientation_lps) != 6:
        return False
    row_x, row_y, _, column_x, column_y, _ = orientation_lps
    return abs(row_x * column_y - row_y * column_x) >= AXIAL_COSINE


_Preference = Callable[[Wants, SeriesSummary], bool | int | float | str]

# The order of preference: what is smaller is better. The words tell why a series lost by it.
_PREFERENCES: tuple[tuple[str, _Preference], ...] = (
    ("has fewer slices than the model needs", lambda wants, each: _slices(each) < wants.minimum_slices),
    ("has slices thicker than the model takes", _is_too_thick),
    # A projection or reformation has other values than the tissue.
    ("is computed, not acquired", lambda _, each: not all(map(_is_original, each.instances))),
    ("is not axial", lambda _, each: not all(_is_axial(one.orientation_lps) for one in each.instances)),
    ("is of a kernel that suits the model less", _kernel_distance),
    ("has fewer slices than another", lambda _, each: -_slices(each)),
    ("has thicker slices than another", lambda _, each: _thickness_mm(each)),
    # So that equal series, such as one sent twice, do not take turns.
    ("equals another whose UID comes first", lambda _, each: each.series_instance_uid),
)


def _rank(wants: Wants, series: SeriesSummary) -> tuple[bool | int | float | str, ...]:
    return tuple(key(wants, series) for _, key in _PREFERENCES)


def _worse(wants: Wants, series: SeriesSummary, best: SeriesSummary) -> str:
    """By what a series lost against the chosen one."""
    return next(words for words, key in _PREFERENCES if key(wants, series) != key(wants, best))


def _demand(series: SeriesSummary) -> Demand:
    of_class: dict[str, list[str]] = {}
    for instance in series.instances:
        of_class.setdefault(instance.sop_class_uid, []).append(instance.sop_instance_uid)
    return Demand(
        tuple(InputSeries(series.series_instance_uid, uid, tuple(uids)) for uid, uids in of_class.items())
    )


def _no_series(wants: Wants, furthest: _Miss | None) -> str:
    """Why nothing in the study is input, told by the series that came furthest."""
    if furthest is not None and furthest.step == _IMAGE_TYPE:
        return f"Every image is of an excluded Image Type: {_listed(wants.excluded_image_types)}."
    if furthest is not None and furthest.step == _ATTRIBUTES:
        return f"No series is as the model asks: the nearest one {furthest.words}."
    demanded = (
        ("modality", wants.modalities),
        ("SOP class", wants.sop_classes),
        ("body part", wants.body_parts),
    )
    limits = [f"{name} {_listed(values)}" for name, values in demanded if values]
    return f"No series of images has {', '.join(limits)}." if limits else "The study has no images."


def _listed(values: Iterable[str]) -> str:
    return " or ".join(values)
