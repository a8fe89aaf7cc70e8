"""The entry of the bundle: one CT volume in, label map and named values out; deterministic.

Order: canonical view, coarse masks, full-resolution masks slice by slice, measurements and what could not
be measured.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .airways import find_airways, reach, with_wall
from .body import find_body
from .bronchi import follow_bronchi
from .calcium import NO_HEART, measure_calcium
from .composition import measure_composition
from .field import edge_band, lungs_reach_edge
from .grid import Scene, coarsen
from .heart import find_heart
from .lungs import find_lungs
from .measure import CALCIUM_NAMES, Limits, LungField, Report, measure_lungs
from .orientation import Orientation, orientation_of
from .refine import BODY, Airways, refine
from .tissue import measure_tissue
from .zones import measure_zones


def run(
    voxels: NDArray[np.generic], affine: NDArray[np.float64], parameters: Mapping[str, float | str]
) -> dict[str, Any]:
    """Measure one volume.

    Args:
        voxels: int16 or float HU with axes (slice, row, column); only read.
        affine: (slice, row, column, 1) to (x, y, z, 1) in LPS mm.
        parameters: of the manifest; see `Limits`.

    Returns:
        "labels": uint8 of the same shape or None; "values": [{"name", "value", "slice_index"}],
        `slice_index` only where a value belongs to one slice; "not_measured": name to reason.
    """
    limits = Limits.of(parameters)
    report = Report()
    orientation = orientation_of(affine)
    if orientation is None:
        report.nothing("the slices are not axial")
        return report.result(None)
    scene = look(voxels, orientation)
    if not scene.body.any():
        report.nothing("no body was found in the images")
        return report.result(None)
    labels = np.zeros(voxels.shape, np.uint8)
    drawing = orientation.to_canonical(labels)
    lungs = _lungs(scene, drawing, limits, report)
    if not lungs.seen:
        drawing[:] = 0
    index, place = measure_composition(scene, lungs, drawing, report), "l3_position"
    if index is None:
        index, place = measure_tissue(scene, lungs, drawing, report), "slice_position"
    if index is not None:
        height_mm = float(np.asarray(affine)[2] @ (index, *_centre(voxels.shape), 1))
        report.measured(place, height_mm, index)
    if limits.draw_body:
        draw_body(drawing, scene)
    return report.result(labels)


def look(voxels: NDArray[np.generic], orientation: Orientation) -> Scene:
    """The volume in canonical orientation with its coarse copy and the body in it."""
    canonical = orientation.to_canonical(voxels)
    coarse = coarsen(canonical, orientation.spacing_mm)
    return Scene(canonical, coarse, find_body(coarse), edge_band(coarse), orientation)


def draw_body(drawing: NDArray[np.uint8], scene: Scene) -> None:
    """Label what is left of the body."""
    for at, plane in enumerate(drawing):
        plane[(plane == 0) & scene.coarse.fine_slice(scene.body, at, plane.shape).astype(bool)] = BODY


def _lungs(scene: Scene, drawing: NDArray[np.uint8], limits: Limits, report: Report) -> LungField:
    """Draw and measure lungs, airways and the calcium between the lungs."""
    lumen = find_airways(scene.coarse, scene.body)
    lungs = find_lungs(scene.coarse, scene.body, with_wall(lumen))
    lumen &= reach(lumen, lungs)
    airways = Airways(lumen, follow_bronchi(scene, lungs, lumen))
    refined = refine(scene, lungs, airways, drawing)
    cut_at_side = lungs_reach_edge(scene.coarse, scene.band)
    field = measure_lungs(refined, scene.orientation, limits, report, cut_at_side=cut_at_side)
    if scene.orientation.spacing_mm[0] <= limits.density_slice_spacing_mm:
        measure_zones(refined, scene.orientation, field.measured, report)
    if field.seen:
        measure_calcium(scene, find_heart(scene, lungs, lumen), limits, drawing, report)
    else:
        report.not_measured.update(dict.fromkeys(CALCIUM_NAMES, NO_HEART))
    return field


def _centre(shape: tuple[int, ...]) -> tuple[float, float]:
    return (shape[1] - 1) / 2, (shape[2] - 1) / 2
