"""One finding as measurement groups (PS3.16).

The first group says what was found and measured: TID 1411 with its segment, TID 1410 with its region on an
image, or TID 1501 when it is about all that was looked at. Further groups of the same tracking UID only say
where it lies or is shown: TID 1410 with its region on an image where the first has none, and TID 1410 with
its centre in the patient.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    FindingSite,
    MeasurementsAndQualitativeEvaluations,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegment,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)

from ai_engine.encode import codes as ours
from ai_engine.encode.analysed import Analysed
from ai_engine.encode.codes import coded
from ai_engine.encode.images import Source
from ai_engine.encode.numbers import measurements_of
from ai_engine.encode.regions import is_somewhere, point_in_patient, region_on_image
from ai_engine.encode.seg import EncodedSeg
from ai_engine.encode.uids import tracking_uid
from ai_engine.findings import Finding, Findings, ModelIdentity

Group = (
    MeasurementsAndQualitativeEvaluations
    | PlanarROIMeasurementsAndQualitativeEvaluations
    | VolumetricROIMeasurementsAndQualitativeEvaluations
)


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """What an SR rests on: what was found in which images, and the Segmentation that was made of it."""

    analysed: Analysed
    seg: EncodedSeg | None


def measurement_groups(finding: Finding, basis: Basis) -> Iterator[Group]:
    """The groups of this finding; their Tracking UID is the one of its segment."""
    findings, source = basis.analysed.findings, basis.analysed.source
    about = _about(finding, findings, source)
    segment = _segment(finding, basis)
    region = region_on_image(finding, basis.analysed, is_segmented=segment is not None)
    said = {
        **about,
        "finding_category": _category(finding, findings),
        "algorithm_id": algorithm_identification(findings.model),
        "measurements": list(measurements_of(finding, source)),
        "qualitative_evaluations": _laterality(finding),
    }
    if segment is not None:
        yield VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **said)
        yield PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **about)
    elif is_somewhere(finding, basis.analysed):
        yield PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **said)
    else:
        yield MeasurementsAndQualitativeEvaluations(**said)
        yield PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **about)
    point = None if finding.location is None else point_in_patient(finding.location, source)
    if point is not None:
        yield PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=point, **about)


def algorithm_identification(model: ModelIdentity) -> AlgorithmIdentification:
    """TID 4019."""
    return AlgorithmIdentification(
        name=model.name, version=model.version, family=coded(model.family), manufacturer=model.manufacturer
    )


def _about(finding: Finding, findings: Findings, source: Source) -> dict[str, Any]:
    """What every group of a finding says: which one it is, of what kind, in which part of the body."""
    study = str(source.first.StudyInstanceUID)
    uid = tracking_uid(study, findings.model, finding.tracking_id, finding.tracking_salt)
    return {
        "tracking_identifier": TrackingIdentifier(uid, finding.tracking_id),
        "finding_type": coded(finding.finding),
        "finding_sites": _sites(finding),
    }


def _segment(finding: Finding, basis: Basis) -> ReferencedSegment | None:
    """Built by hand: highdicom's from_segmentation fails on a Segmentation with one segment."""
    number = basis.seg.number_of.get(finding.segment_number or 0) if basis.seg else None
    if basis.seg is None or number is None:
        return None
    return ReferencedSegment(
        basis.seg.dataset.SOPClassUID,
        basis.seg.dataset.SOPInstanceUID,
        number,
        source_series=SourceSeriesForSegmentation(str(basis.analysed.source.first.SeriesInstanceUID)),
    )


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
