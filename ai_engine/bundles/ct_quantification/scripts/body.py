"""The trunk: the largest thing denser than -300 HU, without table, clothes and arms that lie apart."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .grid import Coarse

BODY_HU = -300
TABLE_MM = 4.0  # sheets up to twice as thick are removed before the largest component is taken
IN_PLANE = ndimage.generate_binary_structure(3, 1) & np.array([[[0]], [[1]], [[0]]], bool)


def find_body(coarse: Coarse) -> NDArray[np.bool_]:
    """The filled trunk on the coarse grid; empty when nothing is dense enough."""
    dense = coarse.voxels > BODY_HU
    steps = max(1, round(TABLE_MM / coarse.spacing_mm[1]))
    core = ndimage.binary_erosion(dense, IN_PLANE, iterations=steps)
    labels, count = ndimage.label(core)
    if not count:
        return np.zeros(dense.shape, bool)
    largest = labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
    body = ndimage.binary_dilation(largest, IN_PLANE, iterations=steps + 1, mask=dense)
    return fill_slices(body)


def fill_slices(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Each slice with its holes filled: lungs, airways and bowel gas belong to the body."""
    return np.stack([ndimage.binary_fill_holes(plane) for plane in mask])
