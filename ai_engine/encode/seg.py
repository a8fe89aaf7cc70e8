"""Findings' label map as a Segmentation: BINARY or FRACTIONAL (PS3.3 A.51), or LABELMAP (A.51, Label Map).

Only the planes that a segment spans become frames. BINARY is one bit a voxel, uncompressed: readers agree on
it most. FRACTIONAL holds probabilities where the model gives those of all its segments and they are not too
many, else occupancy of 0 and 255, for a label map knows no more; it and LABELMAP are coded as RLE, which
more readers decode than JPEG-LS.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationFractionalTypeValues,
    SegmentationTypeValues,
    SegmentDescription,
)
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless

from ai_engine.encode.analysed import Analysed
from ai_engine.encode.codes import coded
from ai_engine.encode.images import NoPlaceInPatient
from ai_engine.encode.planes import Planes
from ai_engine.encode.source import Making, complete
from ai_engine.encode.uids import tracking_uid
from ai_engine.encode.wording import content_creator_name, content_label, series_description, series_number
from ai_engine.findings import Findings, ModelIdentity, Segment
from server.kernel.faults import Fault, FaultKind

SOURCE_SERIES_ATTRIBUTES = ("BodyPartExamined", "Laterality")

MAXIMUM_FRACTION = 255  # Maximum Fractional Value: all that a byte can tell apart
MAX_PROBABILITIES = 1 << 24  # pixels of all frames; highdicom copies floats: 230 MB at this bound

SegmentationKind = Literal["binary", "labelmap", "fractional"]
KINDS: Mapping[str, tuple[SegmentationTypeValues, UID]] = {
    "binary": (SegmentationTypeValues.BINARY, ExplicitVRLittleEndian),
    "labelmap": (SegmentationTypeValues.LABELMAP, RLELossless),
    "fractional": (SegmentationTypeValues.FRACTIONAL, RLELossless),
}


class UndescribedLabel(Fault):
    """The label map holds a number that no segment describes."""

    kind = FaultKind.INTERNAL


@dataclass(frozen=True, slots=True, eq=False)
class EncodedSeg:
    """A Segmentation, and which Segment Number in it each segment of the findings got (they count from 1)."""

    dataset: Dataset
    number_of: Mapping[int, int]


def build_seg(analysed: Analysed, making: Making, kind: SegmentationKind = "binary") -> EncodedSeg | None:
    """Encode the segments that have voxels; None when there are none.

    Args:
        analysed: the findings and the images (headers suffice) of one series.
        making: by whom, when, and the UIDs.
        kind: which Segmentation Type.

    Raises:
        ShapeMismatch: the labels do not cover exactly these slices.
        UndescribedLabel: a voxel belongs to no described segment.
        NoPlaceInPatient: the images do not say where they lie.
    """
    findings, source, counts = analysed.findings, analysed.source, analysed.areas
    if findings.labels is None:
        return None
    _check_described(counts, findings.segments)
    present = [segment for segment in findings.segments if counts[:, segment.number].any()]
    if not present:
        return None
    if not source.is_placed:
        raise NoPlaceInPatient("the images do not say where in the patient they lie: no segmentation can")
    number_of = {segment.number: number for number, segment in enumerate(present, 1)}
    drawn = _drawn(findings, counts, number_of, kind)
    planes = Planes(source, drawn.planes)
    made = _segmentation(
        planes.contexts(),
        drawn,
        [_description(segment, number_of, findings.model, source.first) for segment in present],
        (findings.model, source.first, making),
        kind,
    )
    planes.refer(made)
    _complete_seg(made, source.first, making)
    return EncodedSeg(made, number_of)


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """The pixels of some planes: labels (plane, row, column), or probabilities (…, segment) from 0 to 1."""

    planes: list[int]
    pixels: NDArray[np.uint8] | NDArray[np.float32]

    @property
    def fractional_type(self) -> SegmentationFractionalTypeValues:
        """What a fraction says (PS3.3 C.8.20.2.3)."""
        types = SegmentationFractionalTypeValues
        return types.PROBABILITY if self.pixels.ndim == 4 else types.OCCUPANCY


def _drawn(
    findings: Findings, counts: NDArray[np.intp], number_of: Mapping[int, int], kind: SegmentationKind
) -> _Drawn:
    assert findings.labels is not None
    if kind == "fractional" and number_of.keys() <= findings.fractions.keys():
        fractions = [findings.fractions[number] for number in number_of]
        planes = [at for at in range(len(counts)) if any(each[at].any() for each in fractions)]
        shape = (len(planes), *findings.labels.shape[1:], len(fractions))
        if math.prod(shape) <= MAX_PROBABILITIES:
            return _Drawn(planes, _probabilities(fractions, planes, shape))
    planes = np.flatnonzero(counts[:, 1:].any(axis=1)).tolist()
    return _Drawn(planes, _renumbered(findings.labels[planes], number_of))


def _probabilities(
    fractions: Sequence[NDArray[np.uint8]], planes: list[int], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    pixels = np.empty(shape, np.float32)
    for number, each in enumerate(fractions):
        np.divide(each[planes], MAXIMUM_FRACTION, out=pixels[..., number])
    return pixels


def _check_described(counts: NDArray[np.intp], segments: Sequence[Segment]) -> None:
    held = set(np.flatnonzero(counts.any(axis=0)).tolist())
    undescribed = held - {0} - {segment.number for segment in segments}
    if undescribed:
        raise UndescribedLabel(f"no segment has number {min(undescribed)}")


def _renumbered(labels: NDArray[np.uint8], number_of: Mapping[int, int]) -> NDArray[np.uint8]:
    if all(before == after for before, after in number_of.items()):
        return labels
    table = np.zeros(256, np.uint8)
    for before, after in number_of.items():
        table[before] = after
    return table[labels]


def _segmentation(
    images: Sequence[Dataset],
    drawn: _Drawn,
    descriptions: Sequence[SegmentDescription],
    about: tuple[ModelIdentity, Dataset, Making],
    kind: SegmentationKind,
) -> Segmentation:
    model, source, making = about
    segmentation_type, transfer_syntax = KINDS[kind]
    return Segmentation(
        images,
        drawn.pixels,
        segmentation_type,
        descriptions,
        fractional_type=drawn.fractional_type,
        max_fractional_value=MAXIMUM_FRACTION,
        series_instance_uid=making.uids.uid("seg-series"),
        series_number=series_number(source, "SEG"),
        sop_instance_uid=making.uids.uid("seg"),
        instance_number=1,
        series_description=series_description(model, "SEG"),
        content_label=content_label(model),
        content_description=series_description(model, "SEG"),
        content_creator_name=content_creator_name(model),
        transfer_syntax_uid=transfer_syntax,
        **making.made_by.as_attributes(),
    )


def _description(
    segment: Segment, number_of: Mapping[int, int], model: ModelIdentity, source: Dataset
) -> SegmentDescription:
    description = SegmentDescription(
        segment_number=number_of[segment.number],
        segment_label=segment.label[:64],
        segmented_property_category=coded(segment.category),
        segmented_property_type=coded(segment.type),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            model.title[:64], coded(model.family), model.version[:64], source=model.manufacturer[:64]
        ),
        tracking_uid=tracking_uid(
            str(source.StudyInstanceUID), model, segment.tracking_id, segment.tracking_salt
        ),
        tracking_id=segment.tracking_id,
        display_color=CIELabColor.from_rgb(*segment.recommended_rgb),
    )
    if segment.type_modifier is not None:
        item = description.SegmentedPropertyTypeCodeSequence[0]
        item.SegmentedPropertyTypeModifierCodeSequence = [coded(segment.type_modifier)]
    return description


def _complete_seg(made: Segmentation, source: Dataset, making: Making) -> None:
    organization = making.uids.uid("seg-dimensions")  # highdicom's own would differ each time
    made.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization
    for index in made.DimensionIndexSequence:
        index.DimensionOrganizationUID = organization
    measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    if "SliceThickness" in measures and measures.SliceThickness is None:
        del measures.SliceThickness  # Type 1C: unknown is absent
    for keyword in SOURCE_SERIES_ATTRIBUTES:
        if source.get(keyword):
            made[keyword] = source[keyword]
    complete(made, source, making)
