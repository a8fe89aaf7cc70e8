"""One finding as a measurement group: TID 1411 when it has a segment, else TID 1501 (PS3.16)."""

from collections.abc import Iterator, Sequence
from typing import Any

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ContentSequence,
    FindingSite,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceImageForMeasurement,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom import Dataset

from ai_engine import findings as found
from ai_engine.encode import codes as ours
from ai_engine.encode.codes import coded
from ai_engine.encode.seg import EncodedSeg
from ai_engine.encode.uids import tracking_uid
from ai_engine.findings import Code, Finding, Findings, ModelIdentity

SIGNIFICANT_DIGITS = 9  # the most that always fit VR DS, which has 16 characters


def measurement_group(
    finding: Finding, findings: Findings, slices: Sequence[Dataset], seg: EncodedSeg | None
) -> MeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations:
    """The group of this finding; its Tracking UID is the one of its segment."""
    model, source = findings.model, slices[0]
    study = str(source.StudyInstanceUID)
    attributes: dict[str, Any] = {
        "tracking_identifier": TrackingIdentifier(
            tracking_uid(study, model, finding.tracking_id, finding.tracking_salt), finding.tracking_id
        ),
        "finding_type": coded(finding.finding),
        "finding_category": _category(finding, findings),
        "finding_sites": _sites(finding),
        "algorithm_id": algorithm_identification(model),
        "measurements": list(_measurements(finding, slices)),
        "qualitative_evaluations": _laterality(finding),
    }
    number = seg.number_of.get(finding.segment_number or 0) if seg else None
    if seg is None or number is None:
        return MeasurementsAndQualitativeEvaluations(**attributes)
    # built by hand: highdicom's from_segmentation fails on a Segmentation with one segment
    region = ReferencedSegment(
        seg.dataset.SOPClassUID,
        seg.dataset.SOPInstanceUID,
        number,
        source_series=SourceSeriesForSegmentation(str(source.SeriesInstanceUID)),
    )
    return VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=region, **attributes)


def algorithm_identification(model: ModelIdentity) -> AlgorithmIdentification:
    """TID 4019."""
    return AlgorithmIdentification(
        name=model.name, version=model.version, family=coded(model.family), manufacturer=model.manufacturer
    )


def reported(value: float) -> float:
    """The value that a decimal string can say; never a negative zero."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") + 0.0


def _category(finding: Finding, findings: Findings) -> CodedConcept | None:
    for segment in findings.segments:
        if segment.number == finding.segment_number:
            return coded(segment.category)
    return None


def _sites(finding: Finding) -> list[FindingSite] | None:
    if finding.site is None:
        return None
    laterality = None if finding.laterality is None else coded(finding.laterality)
    return [FindingSite(anatomic_location=coded(finding.site), laterality=laterality)]


def _laterality(finding: Finding) -> list[QualitativeEvaluation] | None:
    """A side that no site carries."""
    if finding.laterality is None or finding.site is not None:
        return None
    return [QualitativeEvaluation(name=coded(ours.LATERALITY), value=coded(finding.laterality))]


def _number(concept: Code, value: float, unit: Code, **more: Any) -> Measurement:
    """TID 300; the decimal string says the number as a person would write it: 2085, not 2085.0."""
    made = Measurement(name=coded(concept), value=reported(value), unit=coded(unit), **more)
    made[0].MeasuredValueSequence[0].NumericValue = f"{reported(value):.{SIGNIFICANT_DIGITS}g}"
    return made


def _measurements(finding: Finding, slices: Sequence[Dataset]) -> Iterator[Measurement]:
    for each in finding.measurements:
        yield _measurement(each, slices)
    if finding.probability is not None:
        yield _number(ours.PROBABILITY, finding.probability, ours.NO_UNITS)


def _measurement(each: found.Measurement, slices: Sequence[Dataset]) -> Measurement:
    """The number, with the slice it was measured on as its source (TID 320)."""
    made = _number(
        each.concept,
        each.value,
        each.unit,
        derivation=None if each.derivation is None else coded(each.derivation),
        referenced_images=None if each.slice_index is None else [_source_image(slices[each.slice_index])],
    )
    if each.method is not None:
        method = TextContentItem(
            name=coded(ours.METHOD_IN_WORDS),
            value=each.method,
            relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD,
        )
        made[0].ContentSequence = ContentSequence([method, *made[0].get("ContentSequence", ())])
    return made


def _source_image(image: Dataset) -> SourceImageForMeasurement:
    return SourceImageForMeasurement(str(image.SOPClassUID), str(image.SOPInstanceUID))
