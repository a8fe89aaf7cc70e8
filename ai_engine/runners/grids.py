"""A network's grid: a volume turned to its axes, resampled to its spacing, and answers brought back; numpy.

As MONAI's `Orientationd` and `Spacingd` do it: the axes are permuted and flipped to the nearest of those
wanted (an oblique volume stays oblique), the first voxels coincide, values are linear between voxels and end
with the last. A stack of a tilted gantry is put upright first (`tilted`), but for axes that are its own.

Rule: no import but numpy and the standard library; it also runs in the child, which sees nothing else of
ours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ai_engine.runners.resampling import resample
from ai_engine.runners.tilted import Box, Extent, Tilt, box_in_stack, fallen, tilt_of, upright, upright_box

# Where an axis letter points, in LPS: "R" is an axis that grows towards the patient's right.
TOWARDS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
HALF = 0.5  # of a voxel: how far it reaches about its centre
NATIVE = "native"  # the volume's own axes: slice, row, column

MAX_GRID_VOXELS = 1 << 31  # as of a volume; a manifest may ask for any spacing


class GridTooLarge(MemoryError):
    """The spacing makes more voxels of the volume than anything can hold."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A network's grid over one volume; each tuple goes along the network's axes."""

    order: Extent  # the volume's axis
    flips: tuple[bool, bool, bool]  # whether it runs the other way
    steps: tuple[float, float, float]  # voxels of the volume from one voxel of the grid to the next
    shape: Extent
    volume_shape: Extent  # slice, row, column; upright where it was tilted
    tilt: Tilt | None = None  # of the volume as it came; None: it stood upright


def grid_over(
    shape: Extent, affine: NDArray[np.float64], axes: str, spacing_mm: Sequence[float] | None
) -> Grid:
    """The grid with these axes ("RAS": MONAI's) and spacing (None: the volume's own) over a volume.

    `affine` maps (slice, row, column) to LPS mm.

    Raises:
        GridTooLarge: it has more than `MAX_GRID_VOXELS`.
    """
    tilt = None if axes == NATIVE else tilt_of(shape, affine)
    if tilt is not None:
        shape, affine = tilt.shape, tilt.affine
    order, flips = ((0, 1, 2), (False, False, False)) if axes == NATIVE else _turned(affine, axes)
    own_mm = np.linalg.norm(affine[:3, :3], axis=0)[list(order)]
    wanted_mm = own_mm if spacing_mm is None else np.array(spacing_mm)
    steps = wanted_mm / own_mm
    sizes = np.array(shape)[list(order)]
    with np.errstate(over="ignore"):
        made = np.rint((sizes - 1) / steps) + 1
        if not max(np.prod(made), math.prod(shape)) <= MAX_GRID_VOXELS:
            raise GridTooLarge
    return Grid(order, flips, _three(steps, float), _three(made, int), shape, tilt)


def _turned(affine: NDArray[np.float64], axes: str) -> tuple[Extent, tuple[bool, bool, bool]]:
    """Which axis of the volume runs most along each letter, and whether against it."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    along = np.array([TOWARDS[letter][1] * directions[TOWARDS[letter][0]] for letter in axes])
    left = np.abs(along)
    order, flips = [0, 0, 0], [False, False, False]
    for _ in range(3):
        letter, axis = np.unravel_index(np.argmax(left), left.shape)
        order[letter], flips[letter] = int(axis), bool(along[letter, axis] < 0)
        left[letter, :] = left[:, axis] = -1
    return _three(order, int), _three(flips, bool)


def onto(volume: NDArray[np.generic], grid: Grid) -> NDArray[np.float32]:
    """The volume's values on the grid, float32; a copy."""
    standing = volume if grid.tilt is None else upright(volume, grid.tilt)
    values: NDArray[np.generic] = np.transpose(standing, grid.order)
    values = np.flip(values, tuple(axis for axis in range(3) if grid.flips[axis]))
    for axis in sorted(range(3), key=lambda each: -grid.steps[each]):  # what shrinks most goes first
        if grid.steps[axis] != 1 or grid.shape[axis] != values.shape[axis]:
            values = resample(values, axis, np.arange(grid.shape[axis]) * grid.steps[axis])
    made = np.ascontiguousarray(values, np.float32)
    return made.copy() if np.may_share_memory(made, volume) else made


def back_from(values: NDArray[np.float32], grid: Grid, box: Box) -> NDArray[np.float32]:
    """Values (channel, …) on the grid, at the volume's voxels inside `box` (slice, row, column)."""
    if grid.tilt is None:
        return _at_voxels(values, grid, box)
    standing = upright_box(box, grid.tilt)
    return fallen(_at_voxels(values, grid, standing), grid.tilt, standing, box)


def _at_voxels(values: NDArray[np.float32], grid: Grid, box: Box) -> NDArray[np.float32]:
    kept = [
        (box[grid.order[axis]].stop - box[grid.order[axis]].start) / grid.shape[axis] for axis in range(3)
    ]
    for axis in sorted(range(3), key=kept.__getitem__):  # what shrinks most goes first
        inside, size = box[grid.order[axis]], grid.volume_shape[grid.order[axis]]
        wanted = np.arange(inside.start, inside.stop)
        turned = size - 1 - wanted if grid.flips[axis] else wanted
        values = resample(values, axis + 1, turned / grid.steps[axis])
    return np.transpose(values, (0, *(1 + grid.order.index(axis) for axis in range(3))))


def volume_box(grid: Grid, low: Sequence[int], high: Sequence[int]) -> Box:
    """The part of the volume that the grid's voxels from `low` to `high` (inclusive) can tell of."""
    box = [slice(0, 0)] * 3
    for axis in range(3):
        size = grid.volume_shape[grid.order[axis]]
        first = max(0, int(np.floor((low[axis] - 1) * grid.steps[axis])))
        last = min(size - 1, int(np.ceil((high[axis] + 1) * grid.steps[axis])))
        if high[axis] == grid.shape[axis] - 1:
            last = size - 1  # what lies beyond the last voxel of the grid says what that says
        ends = (size - 1 - last, size - 1 - first) if grid.flips[axis] else (first, last)
        box[grid.order[axis]] = slice(ends[0], ends[1] + 1)
    standing = box[0], box[1], box[2]
    return standing if grid.tilt is None else box_in_stack(standing, grid.tilt)


def index_in_volume(grid: Grid, point: Sequence[float]) -> tuple[float, float, float]:
    """The (slice, row, column) of a point of the grid, which may lie between voxels; inside the volume."""
    (found,) = indices_in_volume(grid, np.array([point], np.float64))
    return _three(found, float)


def indices_in_volume(grid: Grid, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """`index_in_volume` of points (n, 3)."""
    found = _indices(grid, points)
    shape = grid.volume_shape if grid.tilt is None else grid.tilt.stack_shape
    return np.clip(found, 0, np.array(shape) - 1)


def lies_in_volume(grid: Grid, point: Sequence[float]) -> bool:
    """Whether a point of the grid is of the volume, and not beside a tilted stack."""
    if grid.tilt is None:
        return True
    (found,) = _indices(grid, np.array([point], np.float64))
    return bool((found >= -HALF).all() and (found <= np.array(grid.tilt.stack_shape) - HALF).all())


def _indices(grid: Grid, points: NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.empty_like(points)
    for axis in range(3):
        last = grid.volume_shape[grid.order[axis]] - 1
        at = np.clip(points[:, axis] * grid.steps[axis], 0, last)
        found[:, grid.order[axis]] = last - at if grid.flips[axis] else at
    return found if grid.tilt is None else grid.tilt.in_stack(found)


def _three(values: Sequence[object] | NDArray[np.generic], kind: type) -> tuple:  # type: ignore[type-arg]
    first, second, third = values
    return kind(first), kind(second), kind(third)
