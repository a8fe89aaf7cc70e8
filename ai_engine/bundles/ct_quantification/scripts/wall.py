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
SPECK_MM2 = {True: 40.0, False: 8.0}  # of muscle, of what is none

Plane = NDArray[np.generic]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class WallPlane:
    """One slice of the trunk."""

    trunk: Mask
    inside: Mask  # the muscle wall and what it encloses
    solid: Mask  # dense below the skin: muscle, bone, organs
    pixel_mm: tuple[float, float]


def find_wall(values: Plane, roughly: Mask, pixel_mm: tuple[float, float]) -> WallPlane:
    """The wall on a slice of HU without much noise; `roughly` holds the trunk and little else."""
    trunk = _largest(ndimage.binary_fill_holes(np.greater(values, AIR_HU) & roughly))
    below_skin = ndimage.distance_transform_edt(np.pad(trunk, 1), pixel_mm)[1:-1, 1:-1] > SKIN_MM
    solid = _without_specks(below_skin & np.greater_equal(values, WALL_HU), pixel_mm)
    gas = below_skin & np.less(values, AIR_HU)  # in bowel: no way out
    free = np.pad(~(solid | gas), 1, constant_values=True)
    reach_mm = GAP_MM / 2
    wide = ndimage.distance_transform_edt(free, pixel_mm) > reach_mm
    wide[0] = wide[-1] = wide[:, 0] = wide[:, -1] = True
    labels, _ = ndimage.label(wide)
    open_core = labels == labels[0, 0]
    outside = free & (ndimage.distance_transform_edt(~open_core, pixel_mm) <= reach_mm)
    return WallPlane(trunk, _largest(trunk & ~outside[1:-1, 1:-1]), solid, pixel_mm)


def _without_specks(mask: Mask, pixel_mm: tuple[float, float]) -> Mask:
    """The mask without small parts and small holes, which are noise or vessels in the fat."""
    for value in (True, False):
        labels, count = ndimage.label(mask == value)
        small = (
            np.bincount(labels.ravel(), minlength=count + 1) * pixel_mm[0] * pixel_mm[1] < SPECK_MM2[value]
        )
        small[0] = False
        mask = mask ^ small[labels]
    return mask


def _largest(mask: Mask) -> Mask:
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    kept: Mask = labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
    return kept
