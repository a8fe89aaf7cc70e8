"""The bronchi beyond the main ones, as far as they can be followed without leaking into lung.

Everything dark that hangs together with trachea and main bronchi is a candidate; emphysema hangs on it
wherever a thin wall is lost in the blur. A bronchus has a wall, a leak is surrounded by lung: parts without
wall are cut off, with all that hangs on them. Should more be left than bronchi can hold, a darker threshold
is tried.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .grid import Box, Scene, around

THRESHOLDS_HU = (-900, -940)
LARGEST_ML = 40.0  # of bronchi beyond the main ones
WIDEST_SPACING_MM = 3.05  # between slices: bronchi beyond are lost in thicker ones
WALL_HU = -750  # lighter than lung
WALL_SHARE = 0.45  # of what surrounds a bronchus; vessels are much less of what surrounds a leak
WALL_REACH_MM = 6.0  # half the width of the box in which the share is counted


@dataclass(frozen=True)
class Bronchi:
    """Lumen at full resolution within `box` of the canonical volume."""

    lumen: NDArray[np.bool_]
    box: Box

    @classmethod
    def none(cls) -> "Bronchi":
        """No bronchus could be followed."""
        return cls(np.zeros((0, 0, 0), bool), (slice(0, 0),) * 3)

    def plane(self, at: int) -> NDArray[np.bool_] | None:
        """The lumen within the box's rows and columns of one slice; None where there is none."""
        first, stop = self.box[0].start, self.box[0].stop
        return self.lumen[at - first] if first <= at < stop else None


def follow_bronchi(scene: Scene, lungs: NDArray[np.uint8], lumen: NDArray[np.bool_]) -> Bronchi:
    """Bronchi that hang together with the coarse `lumen` of trachea and main bronchi."""
    if scene.orientation.spacing_mm[0] > WIDEST_SPACING_MM or not lumen.any():
        return Bronchi.none()
    near_lumen = ndimage.binary_dilation(lumen)
    box = _fine_box(scene, (lungs > 0) | near_lumen)
    allowed = _fine(scene, (lungs > 0) | near_lumen, box)
    seed = _fine(scene, lumen, box)
    beyond = allowed & ~_fine(scene, near_lumen, box)
    voxels = scene.voxels[box]
    for threshold in THRESHOLDS_HU:
        candidate = _connected(np.less(voxels, threshold) & allowed, seed)
        walled = _walled(scene, voxels, candidate, seed)
        found = (
            _walled(scene, voxels, walled, seed) & beyond
        )  # where a leak was cut off, it shows its lack of wall
        if found.sum() * scene.orientation.voxel_mm3 / 1000 <= LARGEST_ML:
            return Bronchi(found, box)
    return Bronchi.none()


def _connected(dark: NDArray[np.bool_], seed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What of `dark` hangs together with the seed."""
    labels, count = ndimage.label(dark)
    touched = np.bincount(labels[seed & dark], minlength=count + 1) > 0
    touched[0] = False
    connected: NDArray[np.bool_] = touched[labels]
    return connected


def _walled(
    scene: Scene, voxels: NDArray[np.generic], found: NDArray[np.bool_], seed: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """The candidate without what has no wall."""
    box = around(found, 3)
    inside = found[box]
    shell = ndimage.binary_dilation(inside) & ~inside
    dense = shell & np.greater(voxels[box], WALL_HU)
    size = [2 * max(1, round(WALL_REACH_MM / spacing)) + 1 for spacing in scene.orientation.spacing_mm]
    support = ndimage.uniform_filter(dense.astype(np.float32), size, mode="constant")
    every = ndimage.uniform_filter(shell.astype(np.float32), size, mode="constant")
    kept = np.zeros_like(found)
    kept[box] = _connected((inside & (support >= WALL_SHARE * every)) | (inside & seed[box]), seed[box])
    return kept


def _fine_box(scene: Scene, mask: NDArray[np.bool_]) -> Box:
    """The part of the volume that holds a coarse mask."""
    coarse_box = around(mask, 0)
    box = tuple(
        slice(part.start * factor, min(part.stop * factor, size))
        for part, factor, size in zip(coarse_box, scene.coarse.factors, scene.voxels.shape, strict=True)
    )
    return box[0], box[1], box[2]


def _fine(scene: Scene, mask: NDArray[np.bool_], box: Box) -> NDArray[np.bool_]:
    """A coarse mask at full resolution within a box that `_fine_box` made."""
    fine = mask
    for axis, (part, factor) in enumerate(zip(box, scene.coarse.factors, strict=True)):
        where = slice(part.start // factor, -(-part.stop // factor))
        fine = fine[(slice(None),) * axis + (where,)].repeat(factor, axis)
        fine = fine[(slice(None),) * axis + (slice(0, part.stop - part.start),)]
    return fine
