r"""Where a finding lies, as regions of measurement groups (PS3.16 TID 1410, 1411; IHE RAD AIR, locations).

On an image a region is an SCOORD (PS3.3 C.18.6) in (column, row), where 0.0\0.0 is the outer corner of the
first pixel and its centre so 0.5\0.5. In the patient it is an SCOORD3D (C.18.9) in LPS mm. Both are named
Image Region (111030, DCM). Viewers draw the first one of a tracking UID, therefore that on an image leads.

Every finding gets a region, if only a slice to show it on: OHIF 3.13 fails on a whole document when one of
its findings has none.
"""

from collections.abc import Sequence

import numpy as np
from highdicom.sr import (
    GraphicTypeValues,
    GraphicTypeValues3D,
    ImageRegion,
    ImageRegion3D,
    SourceImageForRegion,
)
from numpy.typing import NDArray

from ai_engine.encode.analysed import Analysed
from ai_engine.encode.images import Source
from ai_engine.encode.source import frame_of_reference_uid
from ai_engine.findings import Finding, Location, Point

CENTRE_OF_PIXEL = 0.5

Points = list[tuple[float, float]]


def is_somewhere(finding: Finding, analysed: Analysed) -> bool:
    """Whether a finding lies or was measured at a place, rather than being about all that was looked at."""
    is_measured = any(each.slice_index is not None for each in finding.measurements)
    alone = len(analysed.source.slices) == 1
    return finding.location is not None or is_measured or alone


def region_on_image(finding: Finding, analysed: Analysed, *, is_segmented: bool) -> ImageRegion:
    """The region on the slice that shows a finding best.

    Where it lies: its long axis, box or centre; what has no segment is outlined rather than measured. Else
    the box around its segment. Else the whole of the slice that it was measured on, or of the middle one.
    """
    location, source = finding.location, analysed.source
    if location is not None:
        return _region(_points(location, is_segmented), analysed.within(location.slice_index), source)
    most, labels = analysed.slice_with_most_of(finding), analysed.findings.labels
    if most is not None and labels is not None:
        return _region(_around(labels[most] == finding.segment_number), most, source)
    at = next(analysed.slices_of(finding), len(source.slices) // 2)
    whole = float(source.slices[at].Columns), float(source.slices[at].Rows)
    return _region(_outline((0.0, 0.0), whole), at, source)


def point_in_patient(location: Location, source: Source) -> ImageRegion3D | None:
    """The centre in the frame of reference; None: the images do not say where they lie."""
    if not source.is_placed:
        return None
    place = np.array([location.centre.lps_mm], dtype=np.float64)
    return ImageRegion3D(GraphicTypeValues3D.POINT, place, frame_of_reference_uid(source.first))


def _points(location: Location, is_segmented: bool) -> Points:
    line = None if location.long_axis is None else [_on_image(each) for each in location.long_axis]
    outline = None if location.box is None else _outline(*_edges(location.box))
    return ((line or outline) if is_segmented else (outline or line)) or [_on_image(location.centre)]


def _region(points: Points, at: int, source: Source) -> ImageRegion:
    image, frame = source.slices[at], source.frame_number(at)
    from_image = SourceImageForRegion(
        str(image.SOPClassUID), str(image.SOPInstanceUID), None if frame is None else [frame]
    )
    kind = GraphicTypeValues.POINT if len(points) == 1 else GraphicTypeValues.POLYLINE
    return ImageRegion(kind, _inside(points, int(image.Columns), int(image.Rows)), from_image)


def _on_image(point: Point) -> tuple[float, float]:
    _, row, column = point.index
    return column + CENTRE_OF_PIXEL, row + CENTRE_OF_PIXEL


def _edges(box: tuple[Point, Point]) -> tuple[tuple[float, float], tuple[float, float]]:
    """The outer corners of the pixels that a box begins and ends with: both belong to it."""
    (_, top, left), (_, bottom, right) = (corner.index for corner in box)
    return (left, top), (right + 1.0, bottom + 1.0)


def _outline(first: tuple[float, float], last: tuple[float, float]) -> Points:
    """A rectangle as a closed line, from its first corner along the row, with the middles of its sides.

    OHIF would take one of four points for a rectangle of its own tools, and ask whether to track that.
    """
    (left, top), (right, bottom) = first, last
    middle, centre = (left + right) / 2, (top + bottom) / 2
    upper = [(left, top), (middle, top), (right, top), (right, centre)]
    return [*upper, (right, bottom), (middle, bottom), (left, bottom), (left, centre), (left, top)]


def _around(mask: NDArray[np.bool_]) -> Points:
    """The rectangle around pixels, along their outer edges."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return _outline((float(columns[0]), float(rows[0])), (columns[-1] + 1.0, rows[-1] + 1.0))


def _inside(points: Sequence[tuple[float, float]], columns: int, rows: int) -> NDArray[np.float64]:
    """The points, moved onto the image where they lie beside it: (0, 0) to (columns, rows)."""
    return np.clip(np.array(points, dtype=np.float64), 0.0, [float(columns), float(rows)])
