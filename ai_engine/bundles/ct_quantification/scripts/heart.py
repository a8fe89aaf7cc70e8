"""The region of the heart: soft tissue between the lungs, in front of the spine. Coarse grid.

Without contrast medium there is no edge between the heart and the roots of its vessels, nor towards the
diaphragm: the region holds their nearest parts too.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .grid import Coarse, Scene, around
from .lungs import LEFT, RIGHT

SOFT_HU = (-20, 400)  # a coarse voxel of heart, also with contrast medium
SPINE_HU = 120
SPINE_HALF_MM = 14.0
BEFORE_SPINE_MM = 20.0  # gullet, descending aorta
RIGHT_MM, LEFT_MM = 55.0, 100.0  # of the heart from the midline at most
HEIGHT_MM = 150.0  # from the carina to the heart's base at most
OPENING_MM = 12.0  # what is thinner is no heart
MARGIN_MM = 10.0  # of fat around it, in which the coronary arteries run
CORE_MM = 10.0  # this deep there is blood and muscle
SMALLEST_ML = 150.0


@dataclass(frozen=True)
class Heart:
    """Coarse masks."""

    region: NDArray[np.bool_]  # with the fat around it
    core: NDArray[np.bool_]  # blood and muscle


def find_heart(scene: Scene, lungs: NDArray[np.uint8], lumen: NDArray[np.bool_]) -> Heart | None:
    """The heart, or None when there is nothing of its size between the lungs."""
    coarse = scene.coarse
    between = between_lungs(lungs) & scene.body
    between &= _before_spine(coarse, scene.body)
    _limit_height(between, coarse, lungs, lumen)
    if not between.any():
        return None
    box = around(between, round((OPENING_MM + MARGIN_MM) / min(coarse.spacing_mm)) + 1)
    heart = _heart_in(between[box], coarse.voxels[box], coarse)
    if heart is None:
        return None
    region, core = np.zeros_like(between), np.zeros_like(between)
    region[box], core[box] = heart.region, heart.core
    return Heart(region, core)


def _heart_in(between: NDArray[np.bool_], voxels: NDArray[np.float32], coarse: Coarse) -> Heart | None:
    """The thickest soft tissue, and what lies around it."""
    soft = between & (voxels > SOFT_HU[0]) & (voxels < SOFT_HU[1])
    depth_mm = ndimage.distance_transform_edt(soft, coarse.spacing_mm)
    labels, count = ndimage.label(depth_mm > OPENING_MM)
    if not count:
        return None
    largest = labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
    away_mm = ndimage.distance_transform_edt(~largest, coarse.spacing_mm)
    heart = soft & (away_mm <= OPENING_MM)
    if heart.sum() * coarse.voxel_ml < SMALLEST_ML:
        return None
    return Heart(between & (away_mm <= OPENING_MM + MARGIN_MM), heart & (depth_mm > CORE_MM))


def between_lungs(lungs: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """In every row that meets both lungs, what lies between them."""
    right, left = lungs == RIGHT, lungs == LEFT
    width = lungs.shape[2]
    columns = np.arange(width)
    last_right = width - 1 - right[..., ::-1].argmax(axis=2)
    first_left = left.argmax(axis=2)
    both = right.any(axis=2) & left.any(axis=2)
    between: NDArray[np.bool_] = (
        (columns > last_right[..., None]) & (columns < first_left[..., None]) & both[..., None]
    )
    return between


def _before_spine(coarse: Coarse, body: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What lies well in front of the vertebrae and not too far from the midline, in every slice."""
    _, row_mm, column_mm = coarse.spacing_mm
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    midline = int(columns.mean())
    half = round(SPINE_HALF_MM / column_mm)
    band = coarse.voxels[:, :, midline - half : midline + half + 1].mean(axis=2)
    calm = ndimage.uniform_filter1d(band, max(1, round(30 / coarse.spacing_mm[0])), axis=0)
    rows = np.flatnonzero(body.any(axis=(0, 2)))
    behind = np.arange(band.shape[1]) > rows.mean()
    bony = (calm > SPINE_HU) & behind
    front = np.where(bony.any(axis=1), bony.argmax(axis=1), int(rows[-1])) - BEFORE_SPINE_MM / row_mm
    allowed = np.arange(band.shape[1])[None, :] < front[:, None]
    across = np.zeros(coarse.voxels.shape[2], bool)
    across[max(0, midline - round(RIGHT_MM / column_mm)) : midline + round(LEFT_MM / column_mm)] = True
    return allowed[:, :, None] & across


def _limit_height(
    between: NDArray[np.bool_], coarse: Coarse, lungs: NDArray[np.uint8], lumen: NDArray[np.bool_]
) -> None:
    """Nothing above the carina, or above the middle of the lungs when it is not seen, nor far below."""
    top = carina_of(lumen)
    if top is None:
        occupied = np.flatnonzero((lungs > 0).any(axis=(1, 2)))
        top = int(occupied.mean()) if occupied.size else 0
    between[top + 1 :] = False
    between[: max(0, top - round(HEIGHT_MM / coarse.spacing_mm[0]))] = False


def carina_of(lumen: NDArray[np.bool_]) -> int | None:
    """The highest coarse slice in which the airway is two; None when it never is."""
    for at in range(len(lumen) - 1, -1, -1):
        if lumen[at].any() and ndimage.label(lumen[at])[1] > 1:
            return at
    return None
