"""Trachea and main bronchi, followed slice by slice from the neck downwards.

The lumen is darker than lung: where the region would spill into lung the threshold falls, and where that does
not hold it back, the region may only shrink within the slice above.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .grid import Coarse

LUMEN_HU = (-800, -900, -940, -960)
SMALLEST_TRACHEA_MM2 = 60.0
LARGEST_TRACHEA_MM2 = 700.0
LARGEST_LUMEN_MM2 = 1100.0  # at the carina
LARGEST_BRONCHUS_MM2 = 350.0
SMALLEST_LUMEN_MM2 = 15.0
LARGEST_GROWTH = 1.6  # of the area from one slice to the next
SHORTEST_TRACHEA_MM = 25.0
OFF_MIDLINE_MM = 40.0
BELOW_CARINA_MM = 45.0
REACH_STEPS = 4  # coarse voxels between the end of a main bronchus and its lung
WALL_STEPS = 1  # coarse voxels of wall around the lumen


def find_airways(coarse: Coarse, body: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The lumen of trachea and main bronchi on the coarse grid; empty when no trachea is in the field."""
    depth = len(body)
    shortest = max(3, round(SHORTEST_TRACHEA_MM / coarse.spacing_mm[0]))
    for top in range(depth - 1, -1, -1):
        for seed in _tracheal_regions(coarse, body, top):
            lumen = _follow(coarse, body, top, seed)
            if lumen.any(axis=(1, 2)).sum() >= shortest:
                return lumen
    return np.zeros_like(body)


def reach(lumen: NDArray[np.bool_], lungs: NDArray[np.uint8]) -> bool:
    """Whether the lumen leads to both lungs, as a trachea does and gas in stomach or gullet does not."""
    near = ndimage.binary_dilation(lumen, iterations=REACH_STEPS) if lumen.any() else lumen
    return np.unique(lungs[near & (lungs > 0)]).size == 2


def with_wall(lumen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The lumen and its wall."""
    return ndimage.binary_dilation(lumen, iterations=WALL_STEPS) if lumen.any() else lumen


def _tracheal_regions(coarse: Coarse, body: NDArray[np.bool_], at: int) -> Iterator[NDArray[np.bool_]]:
    """Round dark regions of a trachea's size near the midline of one slice."""
    if not body[at].any():
        return
    midline = np.flatnonzero(body[at].any(axis=0)).mean()
    labels, count = ndimage.label((coarse.voxels[at] < LUMEN_HU[0]) & body[at])
    for number, box in enumerate(ndimage.find_objects(labels, count), 1):
        region = labels[box] == number
        area = region.sum() * coarse.pixel_mm2
        centre = (box[1].start + box[1].stop - 1) / 2
        off_midline = abs(centre - midline) * coarse.spacing_mm[2]
        round_enough = region.mean() > 0.5 and 0.4 < region.shape[0] / region.shape[1] < 2.5
        if (
            SMALLEST_TRACHEA_MM2 <= area <= LARGEST_TRACHEA_MM2
            and off_midline <= OFF_MIDLINE_MM
            and round_enough
        ):
            yield labels == number


def _follow(coarse: Coarse, body: NDArray[np.bool_], top: int, seed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The lumen from `top` downwards, until it ends or is well below the carina."""
    lumen = np.zeros_like(body)
    lumen[top] = seed
    carina: int | None = None
    for at in range(top - 1, -1, -1):
        here = np.zeros_like(seed)
        branches, count = ndimage.label(lumen[at + 1])
        for number in range(1, count + 1):
            here |= _next_region(coarse, body, at, branches == number)
        if not here.any():
            break
        lumen[at] = here
        if carina is None and ndimage.label(here)[1] > 1:
            carina = at
        if carina is not None and (carina - at) * coarse.spacing_mm[0] > BELOW_CARINA_MM:
            break
    return lumen


def _next_region(
    coarse: Coarse, body: NDArray[np.bool_], at: int, above: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Where one branch goes in the next slice down; empty where it ends."""
    area_above = above.sum() * coarse.pixel_mm2
    limit = min(LARGEST_LUMEN_MM2, max(area_above * LARGEST_GROWTH, area_above + 60))
    near = ndimage.binary_dilation(above, iterations=2)
    for threshold in LUMEN_HU:
        dark = (coarse.voxels[at] < threshold) & body[at]
        labels, _ = ndimage.label(dark)
        touched = np.unique(labels[above & dark])
        region = np.isin(labels, touched[touched > 0])
        area = region.sum() * coarse.pixel_mm2
        if area < SMALLEST_LUMEN_MM2:
            return np.zeros_like(above)
        if area <= limit:
            return region
    held: NDArray[np.bool_] = near & (coarse.voxels[at] < LUMEN_HU[1])
    fits = SMALLEST_LUMEN_MM2 <= held.sum() * coarse.pixel_mm2 <= LARGEST_BRONCHUS_MM2
    return held if fits else np.zeros_like(above)
