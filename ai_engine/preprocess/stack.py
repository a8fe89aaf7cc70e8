"""Planes of one series ordered into an evenly spaced stack, or a reason why they are none.

Slices are ordered by their place along the normal, never by Instance Number. Rules decided here:
two images at one place are one slice when their pixels are equal and a refusal when not; where slices are
missing, the longest evenly spaced run is used if it holds at least half of the slices; a stack sheared by a
tilted gantry is kept as it is, for its affine says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ai_engine.geometry import Geometry
from ai_engine.preprocess.plane import Plane
from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused

PARALLEL_COSINE = 0.9999  # 0.8 degrees
SAME_PLACE_MM = 0.01
SPACING_TOLERANCE = 0.2  # of the spacing: positions rounded to 0.1 mm pass, a missing slice (1.0) never does
SMALLEST_RUN_SHARE = 0.5
LARGEST_TILT_COSINE = 0.85  # 31 degrees; CT gantries tilt to 30


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image of the series that is not part of the volume, and why."""

    sop_instance_uid: str
    reason: str
    frame_number: int | None = None  # from 1; None: the whole instance


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Evenly spaced parallel planes along +normal, what was left out, and their geometry."""

    planes: tuple[Plane, ...]
    left_out: tuple[LeftOut, ...]
    geometry: Geometry


def arrange(planes: Sequence[Plane]) -> Stack:
    """The stack these planes form.

    Raises:
        SeriesRefused: they form none, or not one.
    """
    check_alike(planes)
    normal = planes[0].normal
    ordered = sorted(planes, key=lambda plane: (place(plane, normal), plane.order))
    distinct, repeated = drop_repeats(ordered, normal)
    run, outside = longest_run(distinct, normal)
    return Stack(tuple(run), tuple(repeated + outside), geometry_of(run))


def check_alike(planes: Sequence[Plane]) -> None:
    """Refuse planes that differ in what one volume has once."""
    first = planes[0]
    for plane in planes[1:]:
        if plane.frame_of_reference_uid != first.frame_of_reference_uid:
            raise SeriesRefused(RefusalReason.MIXED_SERIES, "FrameOfReferenceUID differs between slices")
        if plane.shape != first.shape:
            raise SeriesRefused(RefusalReason.MIXED_SERIES, "Rows or Columns differ between slices")
        if not np.allclose(plane.spacing_mm, first.spacing_mm, rtol=1e-3):
            raise SeriesRefused(RefusalReason.MIXED_SERIES, "PixelSpacing differs between slices")
        if (
            min(
                plane.row_direction @ first.row_direction,
                plane.column_direction @ first.column_direction,
            )
            < PARALLEL_COSINE
        ):
            raise SeriesRefused(
                RefusalReason.NOT_PARALLEL,
                "ImageOrientationPatient differs between slices: they are not parallel",
            )


def drop_repeats(ordered: Sequence[Plane], normal: NDArray[np.float64]) -> tuple[list[Plane], list[LeftOut]]:
    """One plane for each place; images repeated with equal pixels are left out."""
    kept: list[Plane] = []
    left_out: list[LeftOut] = []
    for plane in ordered:
        if not kept or place(plane, normal) - place(kept[-1], normal) > SAME_PLACE_MM:
            kept.append(plane)
        elif same_image(plane, kept[-1]):
            left_out.append(
                LeftOut(plane.sop_instance_uid, "a repetition of another slice", plane.image.frame_number)
            )
        else:
            raise SeriesRefused(
                RefusalReason.DUPLICATE_POSITION,
                "ImagePositionPatient: two different slices lie at the same place, the volume is not unique",
            )
    return kept, left_out


def longest_run(ordered: Sequence[Plane], normal: NDArray[np.float64]) -> tuple[list[Plane], list[LeftOut]]:
    """The longest part with even spacing; the first of several."""
    if len(ordered) < 3:
        return list(ordered), []
    begin, end = _longest_even(np.diff([place(plane, normal) for plane in ordered]))
    if end - begin < SMALLEST_RUN_SHARE * len(ordered):
        raise SeriesRefused(
            RefusalReason.MISSING_SLICES,
            f"ImagePositionPatient: slices are missing or unevenly spaced; the longest even part has "
            f"{end - begin} of {len(ordered)} slices",
        )
    outside = [*ordered[:begin], *ordered[end:]]
    return list(ordered[begin:end]), [
        LeftOut(
            plane.sop_instance_uid,
            "beyond a gap or change of spacing between slices",
            plane.image.frame_number,
        )
        for plane in outside
    ]


def geometry_of(run: Sequence[Plane]) -> Geometry:
    """The geometry of an evenly spaced run; its affine is sheared when the gantry was tilted."""
    first = run[0]
    positions = np.stack([plane.position_lps_mm for plane in run])
    step = (positions[-1] - positions[0]) / (len(run) - 1) if len(run) > 1 else first.normal
    expected = positions[0] + np.arange(len(run))[:, None] * step
    spacing = float(np.linalg.norm(step))
    if np.linalg.norm(positions - expected, axis=1).max() > max(
        SPACING_TOLERANCE * spacing, *first.spacing_mm
    ):
        raise SeriesRefused(
            RefusalReason.NOT_IN_LINE,
            "ImagePositionPatient: the slices do not lie on one evenly divided line",
        )
    if step @ first.normal < LARGEST_TILT_COSINE * spacing:
        raise SeriesRefused(
            RefusalReason.NOT_IN_LINE, "ImagePositionPatient: neighbouring slices are shifted sideways"
        )
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = first.column_direction * first.spacing_mm[0]
    affine[:3, 2] = first.row_direction * first.spacing_mm[1]
    affine[:3, 3] = positions[0]
    return Geometry((len(run), *first.shape), affine, first.frame_of_reference_uid)


def place(plane: Plane, normal: NDArray[np.float64]) -> float:
    """Where the plane lies along the normal, mm."""
    return float(plane.position_lps_mm @ normal)


def same_image(one: Plane, other: Plane) -> bool:
    """Whether two planes hold the same pixels with the same meaning."""
    rescale = ("RescaleSlope", "RescaleIntercept")
    return all(one.dataset.get(keyword) == other.dataset.get(keyword) for keyword in rescale) and (
        one.image.encoded().get("PixelData") == other.image.encoded().get("PixelData")
    )


def _longest_even(distances: NDArray[np.float64]) -> tuple[int, int]:
    """Begin and end (exclusive) of the longest run of planes whose distances agree with the run's first."""
    best = (0, 2)
    begin = 0
    for at in range(1, len(distances) + 1):
        reference = distances[begin]
        if at < len(distances) and abs(distances[at] - reference) <= SPACING_TOLERANCE * reference:
            continue
        if at + 1 - begin > best[1] - best[0]:
            best = (begin, at + 1)
        begin = at
    return best
