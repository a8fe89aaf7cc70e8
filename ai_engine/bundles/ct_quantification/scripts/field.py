"""Where the scanned field ends within a slice, and what is cut off there."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .grid import Coarse

CORNER = 4  # coarse pixels
BAND_STEPS = 2  # width in coarse pixels of the band along the inside of the field's edge
LUNG_LIKE_HU = (-900, -550)  # air around the patient is darker
CUT_LENGTH_MM = 25.0
NOISE_LENGTH_MM = 8.0  # of what hangs together
CUT_SLICES = 3
WITHIN_SLICE = np.zeros((3, 3, 3), bool)
WITHIN_SLICE[1] = True


def edge_band(coarse: Coarse) -> NDArray[np.bool_]:
    """The pixels just inside the field's edge: of the image, or of the circle it was reconstructed in.

    A circle is taken for granted when the corners hold one same value in every slice.
    """
    _, rows, columns = coarse.voxels.shape
    field = np.ones((rows, columns), bool)
    corners = [
        coarse.voxels[:, y, x]
        for y in (slice(CORNER), slice(-CORNER, None))
        for x in (slice(CORNER), slice(-CORNER, None))
    ]
    if len({float(corner.max()) for corner in corners} | {float(corner.min()) for corner in corners}) == 1:
        y, x = np.ogrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
        field = x**2 + y**2 < 1
    band: NDArray[np.bool_] = field & ~ndimage.binary_erosion(field, iterations=BAND_STEPS)
    return band


def lungs_reach_edge(coarse: Coarse, band: NDArray[np.bool_]) -> bool:
    """Whether lung is cut off at the side: where it lies open, it is not even enclosed by body.

    Single pixels are noise in the air around the patient.
    """
    low, high = LUNG_LIKE_HU
    like = (coarse.voxels > low) & (coarse.voxels < high) & band
    labels, count = ndimage.label(like, WITHIN_SLICE)
    large = np.bincount(labels.ravel(), minlength=count + 1) * edge_mm(coarse) > NOISE_LENGTH_MM
    large[0] = False
    at_edge = large[labels].sum(axis=(1, 2))
    return int((at_edge * edge_mm(coarse) > CUT_LENGTH_MM).sum()) >= CUT_SLICES


def trunk_reaches_edge(coarse: Coarse, trunk: NDArray[np.bool_], band: NDArray[np.bool_]) -> bool:
    """Whether a coarse slice of the trunk is cut off."""
    return float((trunk & band).sum() * edge_mm(coarse)) > CUT_LENGTH_MM


def edge_mm(coarse: Coarse) -> float:
    """Length along the edge that one pixel of the band stands for."""
    return float(np.sqrt(coarse.pixel_mm2)) / BAND_STEPS
