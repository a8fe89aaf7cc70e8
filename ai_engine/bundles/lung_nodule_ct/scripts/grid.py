"""The box around the lungs on the network's grid: voxels of GRID_MM, canonical axes, and the way back."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .lungs import Mask, Spacing, block_means, coarse_factors, find_region, find_trunk, midline_of
from .orientation import Orientation

GRID_MM = 1.0
MULTIPLE = 8  # of the box's sides: the network halves its grid three times
MARGIN_MM = 8.0
LOWEST_HU, HIGHEST_HU = -1000.0, 400.0


@dataclass(frozen=True)
class Box:
    """`image` is float32, 0 at LOWEST_HU and 1 at HIGHEST_HU; `region` says where nodules may lie.

    Grid point i of axis a lies at canonical voxel `start[a] + i * GRID_MM / spacing_mm[a]`. `midline` is the
    grid column in the middle of the trunk, None where that is not known.
    """

    image: NDArray[np.float32]
    region: Mask
    start: tuple[float, float, float]
    spacing_mm: Spacing
    midline: float | None = None

    def canonical(self, axis: int, at: NDArray[np.floating]) -> NDArray[np.floating]:
        """Canonical voxel positions of grid positions."""
        return self.start[axis] + at * (GRID_MM / self.spacing_mm[axis])

    def of_canonical(self, axis: int, at: NDArray[np.floating]) -> NDArray[np.floating]:
        """Grid positions of canonical voxel positions."""
        return (at - self.start[axis]) * (self.spacing_mm[axis] / GRID_MM)


def lung_box(voxels: NDArray[np.generic], orientation: Orientation) -> Box | None:
    """The box of a canonical volume; None when it shows no lung."""
    spacing = orientation.spacing_mm
    factors = coarse_factors(spacing)
    coarse = block_means(voxels, factors)
    wide = (spacing[0] * factors[0], spacing[1] * factors[1], spacing[2] * factors[2])
    trunk = find_trunk(coarse, wide)
    region = find_region(coarse, trunk, wide)
    if not region.any():
        return None
    start, counts = _extent(region, factors, spacing, voxels.shape)
    hu = resample(voxels, start, counts, spacing)
    image = np.clip((hu - LOWEST_HU) * np.float32(1 / (HIGHEST_HU - LOWEST_HU)), 0, 1)
    return Box(
        image,
        _on_grid(region, factors, start, counts, spacing),
        start,
        spacing,
        _grid_column(midline_of(trunk, wide), factors[2], start[2], spacing[2]),
    )


def _grid_column(coarse: float | None, factor: int, start: float, spacing_mm: float) -> float | None:
    """A column of the coarse grid on the network's."""
    if coarse is None:
        return None
    return ((coarse + 0.5) * factor - 0.5 - start) * spacing_mm / GRID_MM


def _extent(
    region: Mask, factors: tuple[int, int, int], spacing: Spacing, shape: tuple[int, ...]
) -> tuple[tuple[float, float, float], tuple[int, int, int]]:
    """First canonical voxel of the box, and its grid points along each axis."""
    starts, counts = [], []
    for axis in range(3):
        there = np.flatnonzero(region.any(axis=tuple(other for other in range(3) if other != axis)))
        margin = MARGIN_MM / spacing[axis]
        first = max(0.0, there[0] * factors[axis] - margin)
        last = min(shape[axis] - 1.0, (there[-1] + 1) * factors[axis] - 1 + margin)
        count = int((last - first) * spacing[axis] / GRID_MM) + 1
        starts.append(float(first))
        counts.append(-(-count // MULTIPLE) * MULTIPLE)
    return (starts[0], starts[1], starts[2]), (counts[0], counts[1], counts[2])


def resample(
    voxels: NDArray[np.generic],
    start: tuple[float, float, float],
    counts: tuple[int, int, int],
    spacing: Spacing,
) -> NDArray[np.float32]:
    """Linear interpolation on the grid, the last voxels repeated beyond the ends."""
    along = [
        np.clip(start[axis] + np.arange(counts[axis]) * (GRID_MM / spacing[axis]), 0, voxels.shape[axis] - 1)
        for axis in range(3)
    ]
    rows, first_row = _weights(along[1])
    columns, first_column = _weights(along[2])
    cut = (slice(first_row, first_row + rows.shape[1]), slice(first_column, first_column + columns.shape[1]))
    result = np.empty(counts, np.float32)
    planes: dict[int, NDArray[np.float32]] = {}
    for at, z in enumerate(along[0]):
        low = min(int(z), max(0, len(voxels) - 2))
        for number in (low, min(low + 1, len(voxels) - 1)):
            if number not in planes:
                planes[number] = rows @ voxels[number][cut].astype(np.float32) @ columns.T
        for old in [number for number in planes if number < low]:
            del planes[old]
        share = np.float32(z - low)
        result[at] = planes[low] * (1 - share) + planes[min(low + 1, len(voxels) - 1)] * share
    return result


def _weights(at: NDArray[np.floating]) -> tuple[NDArray[np.float32], int]:
    """Matrix of linear interpolation (points, voxels from the first one used on), and which that is."""
    first = int(at[0])
    low = np.minimum(at.astype(int), max(first, int(np.ceil(at[-1])) - 1)) - first
    weights = np.zeros((len(at), int(low[-1]) + 2), np.float32)
    share = (at - first - low).astype(np.float32)
    weights[np.arange(len(at)), low] = 1 - share
    weights[np.arange(len(at)), low + 1] = share
    return weights, first


def _on_grid(
    region: Mask,
    factors: tuple[int, int, int],
    start: tuple[float, float, float],
    counts: tuple[int, int, int],
    spacing: Spacing,
) -> Mask:
    """The coarse region at the grid's points."""
    z, y, x = (
        np.clip(
            (start[axis] + np.arange(counts[axis]) * (GRID_MM / spacing[axis]) + 0.5) / factors[axis],
            0,
            region.shape[axis] - 1,
        ).astype(int)
        for axis in range(3)
    )
    on_grid: Mask = region[z][:, y][:, :, x]
    return on_grid
