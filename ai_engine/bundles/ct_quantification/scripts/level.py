"""The height of the third lumbar vertebra, told from bones in the trunk's wall: ribs, iliac crests.

The crests' top lies level with the fourth lumbar vertebra or the disc below it, so the middle of the third
lies about CREST_TO_L3_MM higher. Where the field of view ends above the crests, the twelfth ribs' ends, level
with the second, must do.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .grid import Scene
from .measure import LungField
from .wall import find_wall

BONE_HU = 160  # of a coarse voxel
FROM_MIDLINE_MM = 50.0  # nearer are vertebrae and their processes
WALL_DEPTH_MM = 24.0  # ribs and crests lie in the wall; bright kidneys and bowel further in
LEAST_BONE_MM2 = 40.0
SHORTEST_RUN_MM = 15.0  # without bone in the wall, between ribs and crests
CREST_TO_L3_MM = 45.0
RIBS_TO_L3_MM = -32.0
BELOW_LUNGS_MM = 40.0  # the level lies at least this far below the lungs
MARGIN_MM = 5.0  # of the stack above and below the level

NOT_THERE = "the level of the third lumbar vertebra is not in the field of view, or was not found"


@dataclass(frozen=True)
class Level:
    """Where the third lumbar vertebra lies."""

    slice_index: int  # canonical
    by_crests: bool


def find_l3(scene: Scene, lungs: LungField) -> Level | None:
    """The slice nearest to the estimate; None when the bones it follows from are not in the field of view."""
    slice_mm = scene.coarse.spacing_mm[0]
    factor, count = scene.coarse.factors[0], len(scene.coarse.voxels)
    if lungs.seen and lungs.lowest // factor * slice_mm < BELOW_LUNGS_MM:
        return None
    top = (3 * lungs.lowest + lungs.highest) // 4 // factor if lungs.seen else count
    boned = wall_bone_mm2(scene, top) >= LEAST_BONE_MM2
    estimate = _from_bones(_closed(boned, slice_mm), slice_mm)
    if estimate is None:
        return None
    height_mm, by_crests = estimate
    total_mm = len(scene.voxels) * scene.orientation.spacing_mm[0]
    if not MARGIN_MM <= height_mm <= total_mm - MARGIN_MM:
        return None
    return Level(int(height_mm / scene.orientation.spacing_mm[0]), by_crests)


def wall_bone_mm2(scene: Scene, top: int) -> NDArray[np.float64]:
    """Area of bone in the wall, away from the spine, of every coarse slice below `top`."""
    coarse = scene.coarse
    midline = float(np.flatnonzero(scene.body.any(axis=(0, 1))).mean())
    aside = np.abs(np.arange(scene.body.shape[2]) - midline) * coarse.spacing_mm[2] > FROM_MIDLINE_MM
    areas = np.zeros(top)
    for at, values in enumerate(coarse.voxels[:top]):
        bone = (values > BONE_HU) & scene.body[at] & aside
        if bone.any():
            plane = find_wall(values, scene.body[at], coarse.spacing_mm[1:])
            depth_mm = ndimage.distance_transform_edt(plane.inside, coarse.spacing_mm[1:])
            areas[at] = (bone & (depth_mm <= WALL_DEPTH_MM)).sum() * coarse.pixel_mm2
    return areas


def _closed(boned: NDArray[np.bool_], slice_mm: float) -> NDArray[np.bool_]:
    """Without runs that are too short: gaps between ribs, bone that is none."""
    shortest = SHORTEST_RUN_MM / slice_mm
    closed = boned.copy()
    for value in (False, True):
        for low, high in runs(closed, value):
            if high - low < shortest and low > 0 and high < len(closed):
                closed[low:high] = not value
    return closed


def runs(values: NDArray[np.bool_], value: bool) -> list[tuple[int, int]]:
    """First and stop of each run of `value`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], values == value, [False]]).astype(np.int8)))
    return [(int(low), int(high)) for low, high in zip(edges[::2], edges[1::2], strict=True)]


def _from_bones(boned: NDArray[np.bool_], slice_mm: float) -> tuple[float, bool] | None:
    """Height of the level above the lowest slice, in mm, and whether the crests gave it."""
    free = runs(boned, value=False)
    if not free:
        return None
    low, high = max(free, key=lambda run: run[1] - run[0])
    if low > 0:
        return low * slice_mm + CREST_TO_L3_MM, True
    if high < len(boned):
        return high * slice_mm + RIBS_TO_L3_MM, False
    return None
