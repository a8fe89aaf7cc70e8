"""Fat and soft tissue by Hounsfield windows on one slice that a rule chooses.

The slice lies half way between the top and the base of the lungs when both are whole in the field of view,
else in the middle of the stack. Arms that lie apart from the trunk do not count. Pixels beside air are left
out: there the blur between air and tissue looks like fat.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .field import trunk_reaches_edge
from .grid import Scene
from .lungs import AERATED_HU
from .measure import TISSUE_NAMES, LungField, Report
from .refine import FAT, PLUS, SOFT_TISSUE

FAT_HU = (-190, -30)
MUSCLE_HU = (-29, 150)


def measure_tissue(scene: Scene, lungs: LungField, labels: NDArray[np.uint8], report: Report) -> int | None:
    """Report the areas and draw them into `labels`; the source index of the slice, or None."""
    count = len(scene.voxels)
    at = (lungs.lowest + lungs.highest) // 2 if lungs.whole else (count - 1) // 2
    values = scene.voxels[at]
    reason = _why_not(scene, at)
    if reason:
        report.not_measured.update(dict.fromkeys(TISSUE_NAMES, reason))
        return None
    trunk = scene.coarse.fine_slice(scene.body, at, values.shape).astype(bool)
    fat, muscle = tissue_masks(values, trunk)
    index = scene.orientation.source_slice(at, count)
    pixel_cm2 = scene.orientation.spacing_mm[1] * scene.orientation.spacing_mm[2] / 100
    for name, mask in zip(TISSUE_NAMES, (fat, muscle, trunk), strict=True):
        report.measured(name, float(mask.sum() * pixel_cm2), index)
    free = labels[at] == 0
    labels[at][fat & free] = FAT
    labels[at][muscle & free] = SOFT_TISSUE
    return index


def tissue_masks(
    values: NDArray[np.generic], trunk: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Fat and soft tissue of one slice (bounds inclusive), after a 3 by 3 median against noise."""
    calm = ndimage.median_filter(values, size=3)
    beside_air = ndimage.binary_dilation(calm < AERATED_HU, PLUS)
    inside = trunk & ~beside_air
    fat = inside & (calm >= FAT_HU[0]) & (calm <= FAT_HU[1])
    muscle = inside & (calm >= MUSCLE_HU[0]) & (calm <= MUSCLE_HU[1])
    return fat, muscle


def _why_not(scene: Scene, at: int) -> str | None:
    trunk = scene.body[at // scene.coarse.factors[0]]
    if not trunk.any():
        return "the trunk does not reach the slice to be measured"
    cut = trunk_reaches_edge(scene.coarse, trunk, scene.band)
    return "the trunk reaches beyond the field of view" if cut else None
