"""Coarse masks carried to full resolution, slice by slice, and the counts that all lung measures need."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .bronchi import Bronchi
from .grid import Scene
from .lungs import AERATED_HU, LEFT, RIGHT

AIRWAYS, FAT, SOFT_TISSUE, BODY = 3, 4, 5, 6  # labels beside RIGHT and LEFT
LUMEN_EDGE_HU = -500
LOWEST_HU, HIGHEST_HU = -1024, 1023
PLUS = ndimage.generate_binary_structure(2, 1)


@dataclass(frozen=True)
class Refined:
    """Per side (0 right, 1 left) and canonical slice: voxels of each HU from LOWEST_HU up, and all pixels."""

    histograms: NDArray[np.int64]
    pixels: NDArray[np.int64]


@dataclass(frozen=True)
class Airways:
    """What belongs to no lung."""

    lumen: NDArray[np.bool_]  # of trachea and main bronchi, coarse
    bronchi: Bronchi


def refine(scene: Scene, lungs: NDArray[np.uint8], airways: Airways, labels: NDArray[np.uint8]) -> Refined:
    """Draw lungs and airways into `labels` (canonical) and count their voxels.

    Inside a lung the coarse mask holds; at its edge, one coarse voxel to either side, only aerated voxels do.
    """
    coarse, voxels, lumen = scene.coarse, scene.voxels, airways.lumen
    inner, outer = _edges(lungs, lumen)
    near_lumen = ndimage.binary_dilation(lumen, PLUS[None]) if lumen.any() else lumen
    histograms = np.zeros((2, len(voxels), HIGHEST_HU - LOWEST_HU + 1), np.int64)
    pixels = np.zeros((2, len(voxels)), np.int64)
    for at, plane in enumerate(voxels):
        if not outer[at // coarse.factors[0]].any() and not near_lumen[at // coarse.factors[0]].any():
            continue
        shape = plane.shape
        values = np.clip(plane, LOWEST_HU, HIGHEST_HU).astype(np.int16)
        drawn = coarse.fine_slice(inner, at, shape).astype(np.uint8)
        edge = (drawn == 0) & (values < AERATED_HU)
        drawn[edge] = coarse.fine_slice(outer, at, shape)[edge]
        drawn[(drawn == 0) & coarse.fine_slice(near_lumen, at, shape) & (values < LUMEN_EDGE_HU)] = AIRWAYS
        bronchi = airways.bronchi.plane(at)
        if bronchi is not None:
            drawn[airways.bronchi.box[1:]][bronchi] = AIRWAYS
        labels[at] = drawn
        for side in (RIGHT, LEFT):
            mask = drawn == side
            counts = np.bincount(values[mask] - LOWEST_HU, minlength=histograms.shape[2])
            histograms[side - 1, at] = counts
            pixels[side - 1, at] = counts.sum()
    return Refined(histograms, pixels)


def _edges(lungs: NDArray[np.uint8], lumen: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The lungs less one coarse voxel, and with one more; airways and the other lung stay out of both."""
    plus = PLUS[None]
    kept_free = ndimage.binary_dilation(lumen, plus, iterations=2) if lumen.any() else lumen
    inner, outer = np.zeros_like(lungs), np.zeros_like(lungs)
    for side in (RIGHT, LEFT):
        lung = lungs == side
        inner[ndimage.binary_erosion(lung, plus)] = side
        outer[
            ndimage.binary_dilation(lung, plus) & ~kept_free & (outer == 0) & (lungs != LEFT + RIGHT - side)
        ] = side
    outer[lungs > 0] = lungs[lungs > 0]
    return inner, outer
