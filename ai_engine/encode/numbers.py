"""Numbers with their meaning: NUM items by TID 300, and what qualifies them (PS3.16 TID 310, TID 320)."""

from collections.abc import Iterator
from typing import Any

from highdicom.sr import (
    ContentSequence,
    Measurement,
    NumContentItem,
    RelationshipTypeValues,
    SourceImageForMeasurement,
    TextContentItem,
)
from pydicom import Dataset

from ai_engine import findings as found
from ai_engine.encode import codes as ours
from ai_engine.encode.codes import coded
from ai_engine.encode.images import Source
from ai_engine.findings import Code, Finding

SIGNIFICANT_DIGITS = 9  # the most that always fit VR DS, which has 16 characters


def reported(value: float) -> float:
    """The value that a decimal string can say; never a negative zero."""
    return float(decimal_string(value)) + 0.0


def decimal_string(value: float) -> str:
    """The number as a person would write it: 2085, not 2085.0."""
    return f"{value + 0.0:.{SIGNIFICANT_DIGITS}g}"


def measurements_of(finding: Finding, source: Source) -> Iterator[Measurement]:
    """What was measured of a finding, then its probability."""
    for each in finding.measurements:
        yield _measurement(each, source)
    if finding.probability is not None:
        probability = _number(ours.PROBABILITY, finding.probability, ours.NO_UNITS)
        if finding.uncertainty is not None:
            probability[0].ContentSequence = ContentSequence([spread(finding.uncertainty)])
        yield probability


def probability_of(value: float, uncertainty: float | None) -> NumContentItem:
    """The probability that what was evaluated is there, as a property of the evaluation."""
    item = _property(ours.PROBABILITY, value)
    if uncertainty is not None:
        item.ContentSequence = ContentSequence([spread(uncertainty)])
    return item


def spread(uncertainty: float) -> NumContentItem:
    """The standard deviation of a probability, as a property of it."""
    return _property(ours.STANDARD_DEVIATION, uncertainty)


def _property(concept: Code, value: float) -> NumContentItem:
    has_properties = RelationshipTypeValues.HAS_PROPERTIES
    item = NumContentItem(
        coded(concept), reported(value), coded(ours.NO_UNITS), relationship_type=has_properties
    )
    _write(item, value)
    return item


def _number(concept: Code, value: float, unit: Code, **more: Any) -> Measurement:
    made = Measurement(name=coded(concept), value=reported(value), unit=coded(unit), **more)
    _write(made[0], value)
    return made


def _write(item: Dataset, value: float) -> None:
    item.MeasuredValueSequence[0].NumericValue = decimal_string(value)


def _measurement(each: found.Measurement, source: Source) -> Measurement:
    """The number, with the slice it was measured on as its source (TID 320)."""
    made = _number(
        each.concept,
        each.value,
        each.unit,
        derivation=None if each.derivation is None else coded(each.derivation),
        referenced_images=None if each.slice_index is None else [_source_image(source, each.slice_index)],
    )
    if each.method is not None:
        method = TextContentItem(
            name=coded(ours.METHOD_IN_WORDS),
            value=each.method,
            relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD,
        )
        made[0].ContentSequence = ContentSequence([method, *made[0].get("ContentSequence", ())])
    return made


def _source_image(source: Source, at: int) -> SourceImageForMeasurement:
    image, frame = source.slices[at], source.frame_number(at)
    frames = None if frame is None else [frame]
    return SourceImageForMeasurement(str(image.SOPClassUID), str(image.SOPInstanceUID), frames)
