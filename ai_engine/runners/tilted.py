"""Stacks of a tilted gantry, put upright and laid back: each slice is moved in its plane; numpy.

A network learned from upright volumes. On the upright grid the slices stand over each other, and it is as
much wider as the stack leans: as MONAI's `Spacingd` makes it. What lies beside the slices has the volume's
lowest value, as padding has; MONAI repeats the slices' edges.

Rule: no import but numpy and its neighbours here; it also runs in the child, which sees nothing else of ours.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ai_engine.runners.resampling import resample

Extent = tuple[int, int, int]
Box = tuple[slice, slice, slice]

LEAST_DRIFT = 0.5  # of the last slice over the first, in pixels; below it a stack stands upright
NOISE = 1e-6  # of a place in pixels


@dataclass(frozen=True, slots=True, eq=False)
class Tilt:
    """How a stack leans: its voxel (n, row, column) stands upright at (n, row + drift, column + drift)."""

    stack_shape: Extent  # slice, row, column
    shape: Extent  # of the upright grid
    affine: NDArray[np.float64]  # of the upright grid to LPS mm
    per_slice: tuple[float, float]  # rows and columns
    first: tuple[float, float]  # of slice 0

    def drift(self, number: float) -> tuple[float, float]:
        """Rows and columns by which this slice is moved."""
        (rows, columns), (first_row, first_column) = self.per_slice, self.first
        return first_row + number * rows, first_column + number * columns

    def in_stack(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """The (slice, row, column) of places (n, 3) on the upright grid."""
        moved = places[:, :1] * np.array(self.per_slice) + np.array(self.first)
        return np.concatenate([places[:, :1], places[:, 1:] - moved], axis=1)


def tilt_of(shape: Extent, affine: NDArray[np.float64]) -> Tilt | None:
    """How a volume's stack leans; None: it stands upright, as good as."""
    step, row, column = affine[:3, :3].T
    along = float(step @ row / (row @ row)), float(step @ column / (column @ column))
    whole = [each * (shape[0] - 1) for each in along]
    if max(map(abs, whole)) < LEAST_DRIFT:
        return None
    first = max(0.0, -whole[0]), max(0.0, -whole[1])
    wider = [math.ceil(abs(each) - NOISE) for each in whole]
    standing = affine.copy()
    standing[:3, 0] = step - along[0] * row - along[1] * column
    standing[:3, 3] -= first[0] * row + first[1] * column
    return Tilt(shape, (shape[0], shape[1] + wider[0], shape[2] + wider[1]), standing, along, first)


def upright(stack: NDArray[np.generic], tilt: Tilt) -> NDArray[np.float32]:
    """The stack's values on the upright grid."""
    made = np.full(tilt.shape, stack.min(), np.float32)
    for number, plane in enumerate(stack):
        inside: list[slice] = []
        for axis, drift in enumerate(tilt.drift(number)):
            first = math.ceil(drift - NOISE)
            inside.append(slice(first, math.floor(drift + plane.shape[axis] - 1 + NOISE) + 1))
            plane = resample(plane, axis, np.arange(first, inside[axis].stop) - drift)  # noqa: PLW2901
        made[number][tuple(inside)] = plane
    return made


def upright_box(box: Box, tilt: Tilt) -> Box:
    """What of the upright grid a part of the stack stands on."""
    return _moved(box, tilt, 1, tilt.shape)


def box_in_stack(standing: Box, tilt: Tilt) -> Box:
    """What of the stack stands on a part of the upright grid."""
    return _moved(standing, tilt, -1, tilt.stack_shape)


def _moved(box: Box, tilt: Tilt, sign: int, shape: Extent) -> Box:
    ends = tilt.drift(box[0].start), tilt.drift(box[0].stop - 1)
    made: list[slice] = []
    for axis, part in enumerate(box[1:]):
        drifts = [sign * each[axis] for each in ends]
        first = max(0, math.floor(part.start + min(drifts)))
        last = min(shape[axis + 1] - 1, math.ceil(part.stop - 1 + max(drifts)))
        made.append(slice(min(first, last + 1), last + 1))
    return box[0], made[0], made[1]


def fallen(values: NDArray[np.float32], tilt: Tilt, standing: Box, box: Box) -> NDArray[np.float32]:
    """Values (channel, …) of this part of the upright grid, at the voxels of that part of the stack."""
    made = np.empty((len(values), *(part.stop - part.start for part in box)), np.float32)
    for number in range(box[0].start, box[0].stop):
        plane = values[:, number - standing[0].start]
        for axis, drift in enumerate(tilt.drift(number), 1):
            places = np.arange(box[axis].start, box[axis].stop) + drift - standing[axis].start
            plane = resample(plane, axis, places)
        made[:, number - box[0].start] = plane
    return made


def fallen_nearest(values: NDArray[np.uint8], tilt: Tilt) -> NDArray[np.uint8]:
    """Labels of the upright grid, at the voxels of the stack: each of the nearest."""
    made = np.empty(tilt.stack_shape, np.uint8)
    for number in range(tilt.stack_shape[0]):
        places = [
            np.clip(np.rint(np.arange(size) + drift).astype(int), 0, whole - 1)
            for size, drift, whole in zip(
                tilt.stack_shape[1:], tilt.drift(number), tilt.shape[1:], strict=True
            )
        ]
        made[number] = values[number][np.ix_(*places)]
    return made
