"""Fat outside and everything inside the muscle wall of the trunk, on one slice.

Fat under the skin hangs together with the skin; what does not is inside the wall. The wall has gaps, so only
passages wider than GAP_MM count.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SKIN_MM = 3.0
WALL_HU = -29  # muscle, bone and organs are denser
GAP_MM = 12.0
AIR_HU = -300

Plane = NDArray[np.generic]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class WallPlane:
    """One slice of the trunk."""

    trunk: Mask
    inside: Mask  # the muscle wall and what it encloses
    pixel_mm: tuple[float, float]


def find_wall(values: Plane, roughly: Mask, pixel_mm: tuple[float, float]) -> WallPlane:
    """The wall on a slice of HU without much noise; `roughly` holds the trunk and little else."""
    trunk = _largest(ndimage.binary_fill_holes(np.greater(values, AIR_HU) & roughly))
    below_skin = ndimage.distance_transform_edt(np.pad(trunk, 1), pixel_mm)[1:-1, 1:-1] > SKIN_MM
    free = np.pad(
        ~(below_skin & (np.greater_equal(values, WALL_HU) | _gas_within(values, below_skin))),
        1,
        constant_values=True,
    )
    reach_mm = GAP_MM / 2
    wide = ndimage.distance_transform_edt(free, pixel_mm) > reach_mm
    wide[0] = wide[-1] = wide[:, 0] = wide[:, -1] = True
    labels, _ = ndimage.label(wide)
    open_core = labels == labels[0, 0]
    outside = free & (ndimage.distance_transform_edt(~open_core, pixel_mm) <= reach_mm)
    return WallPlane(trunk, _largest(trunk & ~outside[1:-1, 1:-1]), pixel_mm)


def _gas_within(values: Plane, below_skin: Mask) -> Mask:
    """Gas in bowel, which is no way out."""
    gas: Mask = np.less(values, AIR_HU) & below_skin
    return gas


def _largest(mask: Mask) -> Mask:
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    kept: Mask = labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
    return kept
