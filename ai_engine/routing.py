"""Which instances of a study a rule sends to its model (DESIGN §2, Settled). Pure.

One workitem per rule and study: of the series that the model wants, the best one. A series with fewer slices
than the model needs is routed all the same, and ends as a refusal that people can see; what is not routed
leaves no trace.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec

from ai_engine.wants import Wants
from server.kernel.uids import hash_of_uids
from terminology.definitions.sop_classes import SecondaryCaptureImageStorage

DERIVED_MODALITIES = frozenset({"SR", "SEG", "KO", "PR"})  # PS3.3 C.7.3.1.1.1
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
class Demand:
    """The rule wants its model to run on these instances."""

    input: tuple[InputSeries, ...]

    @property
    def input_hash(self) -> str:
        """The hash over the input's SOP Instance UIDs: another hash is another demand."""
        return hash_of_uids(uid for series in self.input for uid in series.sop_instance_uids)


@dataclass(frozen=True, slots=True)
class NotWanted:
    """The rule has nothing to do in this study; `reason` is for people and logs."""

    reason: str


_Keep = Callable[[SeriesSummary, InstanceSummary], bool]


def route(wants: Wants, study: Sequence[SeriesSummary]) -> Demand | NotWanted:
    """What a rule wants of a study: the same answer for the same study, in whatever order its series come."""
    wanted = _narrowed(study, lambda series, instance: _accepts_class(wants, series, instance))
    if not wanted:
        return NotWanted(_no_series_of(wants))
    wanted = _narrowed(wanted, lambda _, instance: wants.accepts_image_type(instance.image_type))
    if not wanted:
        return NotWanted(f"Every image is of an excluded Image Type: {_listed(wants.excluded_image_types)}.")
    return _demand(min(wanted, key=lambda series: _rank(wants, series)))


def selection_of(text: str) -> Wants:
    """The selection of a rule, from its JSON."""
    return msgspec.json.decode(text, type=Wants)


def is_derived(modality: str, sop_class_uid: str) -> bool:
    """Whether an object is of a class that is made from images: SR, SEG, KO, PR or secondary capture."""
    # The multi-frame kinds lie below the first secondary capture class (PS3.4 Table B.5-1).
    captured = f"{sop_class_uid}.".startswith(f"{SecondaryCaptureImageStorage}.")
    return captured or modality in DERIVED_MODALITIES


def _accepts_class(wants: Wants, series: SeriesSummary, instance: InstanceSummary) -> bool:
    if instance.is_ours:
        return False
    named = instance.sop_class_uid in wants.sop_class_uids()
    if is_derived(series.modality, instance.sop_class_uid) and not named:
        return False
    return wants.accepts_series(series.modality, instance.sop_class_uid, series.body_part)


def _narrowed(study: Iterable[SeriesSummary], keep: _Keep) -> list[SeriesSummary]:
    """The series with only the instances that `keep` accepts; a series that loses all of them is left out."""
    return [
        replace(series, instances=kept)
        for series in study
        if (kept := tuple(instance for instance in series.instances if keep(series, instance)))
    ]


def _rank(wants: Wants, series: SeriesSummary) -> tuple[bool, bool, bool, int, float, str]:
    """The order of preference, smallest first.

    Enough slices for the model; acquired rather than computed (a projection or reformation has other values
    than the tissue); axial; then most slices, thinnest, last the UID, so that equal series do not take turns.
    """
    instances = series.instances
    slices = sum(instance.frames for instance in instances)
    return (
        slices < wants.minimum_slices,
        not all(ORIGINAL in instance.image_type[:1] for instance in instances),
        not all(_is_axial(instance.orientation_lps) for instance in instances),
        -slices,
        max(instance.slice_thickness_mm or NO_THICKNESS_MM for instance in instances),
        series.series_instance_uid,
    )


def _is_axial(orientation_lps: Sequence[float]) -> bool:
    """Whether the slice normal runs along the patient's long axis; not stated: no."""
    if len(orientation_lps) != 6:
        return False
    row_x, row_y, _, column_x, column_y, _ = orientation_lps
    return abs(row_x * column_y - row_y * column_x) >= AXIAL_COSINE


def _demand(series: SeriesSummary) -> Demand:
    of_class: dict[str, list[str]] = {}
    for instance in series.instances:
        of_class.setdefault(instance.sop_class_uid, []).append(instance.sop_instance_uid)
    return Demand(
        tuple(InputSeries(series.series_instance_uid, uid, tuple(uids)) for uid, uids in of_class.items())
    )


def _no_series_of(wants: Wants) -> str:
    demanded = (
        ("modality", wants.modalities),
        ("SOP class", wants.sop_classes),
        ("body part", wants.body_parts),
    )
    limits = [f"{name} {_listed(values)}" for name, values in demanded if values]
    return f"No series of images has {', '.join(limits)}." if limits else "The study has no images."


def _listed(values: Iterable[str]) -> str:
    return " or ".join(values)
