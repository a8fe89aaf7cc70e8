"""A candidate drawn at the resolution of the images, and what is measured on it there."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .candidates import Candidate
from .grid import Box
from .lungs import Mask
from .orientation import Orientation

AROUND = 2  # grid voxels beyond the candidate's bounding box
Ends = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A nodule in canonical voxels: where its mask lies, and what it measures."""

    box: tuple[slice, slice, slice]
    mask: Mask
    centre: NDArray[np.float64]
    long_axis: Ends
    long_axis_mm: float
    volume_ml: float
    mean_hu: float


def draw(candidate: Candidate, box: Box, voxels: NDArray[np.generic], orientation: Orientation) -> Drawn:
    """The candidate on the canonical volume `voxels`."""
    part, mask = _mask(candidate, box, voxels.shape)
    where = np.argwhere(mask)
    ends, length = _long_axis(mask, orientation.spacing_mm)
    corner = np.array([each.start for each in part], np.float64)
    return Drawn(
        box=part,
        mask=mask,
        centre=where.mean(axis=0) + corner,
        long_axis=(ends[0] + corner, ends[1] + corner),
        long_axis_mm=length,
        volume_ml=len(where) * orientation.voxel_mm3 / 1000,
        mean_hu=float(voxels[part][mask].mean()),
    )


def _mask(candidate: Candidate, box: Box, shape: tuple[int, ...]) -> tuple[tuple[slice, slice, slice], Mask]:
    """The candidate's probabilities interpolated at the images' voxels; never empty."""
    padded = np.pad(candidate.weights, AROUND)
    slices, positions = [], []
    for axis, part in enumerate(candidate.box):
        low, high = box.canonical(axis, np.array([part.start - 1.0, part.stop]))
        first = int(np.clip(np.floor(low), 0, shape[axis] - 1))
        slices.append(slice(first, max(first + 1, min(shape[axis], int(np.ceil(high)) + 1))))
        at = np.arange(slices[-1].start, slices[-1].stop, dtype=np.float64)
        positions.append(box.of_canonical(axis, at) - part.start + AROUND)
    grid = np.stack(np.meshgrid(*positions, indexing="ij"))
    mask: Mask = ndimage.map_coordinates(padded, grid, order=1) > candidate.level
    if not mask.any():
        away = [np.abs(at - np.mean(at)) for at in positions]
        mask[tuple(int(each.argmin()) for each in away)] = True
    return (slices[0], slices[1], slices[2]), mask


def _long_axis(mask: Mask, spacing_mm: tuple[float, float, float]) -> tuple[Ends, float]:
    """The longest line across the mask on the slice where it is largest, from edge to edge of its pixels."""
    at = int(mask.sum(axis=(1, 2)).argmax())
    plane = mask[at]
    rim = np.argwhere(plane & ~ndimage.binary_erosion(plane)).astype(np.float64)
    scale = np.array(spacing_mm[1:])
    between = rim[:, None] * scale - rim[None] * scale
    lengths = np.sqrt((between**2).sum(axis=2))
    first, second = np.unravel_index(int(lengths.argmax()), lengths.shape)
    along = between[second, first] / lengths.max() if lengths.max() > 0 else np.array([0.0, 1.0])
    half = along * 0.5 * float(scale.mean())
    ends = rim[first] - half / scale, rim[second] + half / scale
    length = float(lengths.max() + scale.mean())
    return (np.array([at, *ends[0]]), np.array([at, *ends[1]])), length
