"""Findings with a place, for the tests of locations and of what is drawn."""

import dataclasses

import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes

from ai_engine.encode.codes import code_of
from ai_engine.findings import (
    Evaluation,
    Finding,
    Findings,
    Location,
    Measurement,
    Point,
    QualityFlag,
    Segment,
)

from .conftest import MODEL, make_findings

MM = code_of(codes.UCUM.Millimeter)
NODULE = code_of(codes.SCT.Nodule)
ABSENT = code_of(codes.SCT.Absent)


def point(slices: list[Dataset], at: float, row: float, column: float) -> Point:
    """A place by its index, with its position by PS3.3 Equation C.7.6.2.1-1 on planes in between."""
    first, last = slices[0], slices[-1]
    step = np.subtract(last.ImagePositionPatient, first.ImagePositionPatient) / max(1, len(slices) - 1)
    orientation = np.array(first.ImageOrientationPatient, float)
    row_spacing, column_spacing = first.PixelSpacing
    place = np.array(first.ImagePositionPatient, float) + at * step
    place += column * column_spacing * orientation[:3] + row * row_spacing * orientation[3:]
    x, y, z = map(float, place)
    return Point((at, row, column), (x, y, z))


def nodule(slices: list[Dataset], number: int = 1, **more: object) -> Finding:
    """A nodule on slice 2 with its long axis, and a segment of that number when it is given."""
    made = Finding(
        tracking_id=f"nodule-{number}",
        finding=NODULE,
        site=code_of(codes.SCT.Lung),
        measurements=(Measurement(code_of(codes.SCT.Diameter), 7.5, MM),),
        probability=0.91,
        uncertainty=0.04,
        location=Location(
            point(slices, 2.0, 4.0, 5.0),
            long_axis=(point(slices, 2.0, 3.0, 4.0), point(slices, 2.0, 5.0, 6.0)),
        ),
        tracking_salt=f"at-{number}",
    )
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


def detected(slices: list[Dataset], *findings: Finding) -> Findings:
    """A result with these findings, and voxels for those that have a segment."""
    labels = np.zeros((len(slices), slices[0].Rows, slices[0].Columns), np.uint8)
    segments = []
    for each in findings:
        if each.segment_number is not None:
            labels[1:4, 3:6, 4:7] = each.segment_number
            segments.append(
                Segment(
                    number=each.segment_number,
                    label="Nodule",
                    category=code_of(codes.SCT.MorphologicallyAbnormalStructure),
                    type=NODULE,
                    type_modifier=None,
                    tracking_id=each.tracking_id,
                    recommended_rgb=(255, 60, 60),
                    tracking_salt=each.tracking_salt,
                )
            )
    return dataclasses.replace(
        make_findings(labels if segments else None),
        model=MODEL,
        segments=tuple(segments),
        findings=findings,
        not_measured=(),
        conclusion="Nodules were looked for. Research use only.",
    )


def nothing_found(slices: list[Dataset]) -> Findings:
    """A result that says what was looked for and is not there, and that something was not as it should be."""
    return dataclasses.replace(
        detected(slices),
        evaluations=(Evaluation(NODULE, ABSENT, 0.03, 0.01),),
        quality=(QualityFlag(code_of(codes.DCM.ImageArtifacts), "Motion between images 3 and 4."),),
    )
