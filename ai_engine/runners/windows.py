"""Sliding windows over a volume: where they lie, cut out in batches, and blended together again; pure numpy.

The layout is that of MONAI's `sliding_window_inference`: equal steps of roi × (1 − overlap), the last window
moved back to end with the volume, a volume smaller than the window padded on both sides.

Rule: no import but numpy and the standard library; it also runs in the child, which sees nothing else of
ours.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Extent = tuple[int, ...]  # of one window or volume, along each of its axes

GAUSSIAN_WIDTH = 0.125  # standard deviation of a window's weight, as a share of its extent (MONAI's)
LEAST_WEIGHT = 1e-3  # of a window's corner: where only corners cover, their word counts in full


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the windows of one volume lie; `starts` count in the padded volume."""

    roi: Extent
    before: Extent  # voxels padded before the volume's first, along each axis
    padded: Extent
    starts: tuple[Extent, ...]


def lay_out(shape: Sequence[int], roi: Sequence[int], overlap: float) -> Layout:
    """The windows that cover a volume of this shape; `overlap` is 0 to below 1 of a window's extent."""
    padded = tuple(max(size, window) for size, window in zip(shape, roi, strict=True))
    before = tuple((now - size) // 2 for now, size in zip(padded, shape, strict=True))
    along = [_starts(size, window, overlap) for size, window in zip(padded, roi, strict=True)]
    return Layout(tuple(roi), before, padded, tuple(itertools.product(*along)))


def size_up(shape: Sequence[int], roi: Sequence[int], overlap: float) -> tuple[int, int]:
    """Voxels of the padded volume and the count of its windows, without laying them out."""
    padded = [max(size, window) for size, window in zip(shape, roi, strict=True)]
    along = [_steps(size, window, overlap)[1] for size, window in zip(padded, roi, strict=True)]
    return math.prod(padded), math.prod(along)


def _starts(size: int, window: int, overlap: float) -> list[int]:
    step, count = _steps(size, window, overlap)
    return [min(index * step, size - window) for index in range(count)]


def _steps(size: int, window: int, overlap: float) -> tuple[int, int]:
    """Voxels from one window to the next, and how many windows there are."""
    step = max(1, int(window * (1 - overlap)))
    return step, math.ceil((size - window) / step) + 1


def pad(volume: NDArray[np.float32], layout: Layout, value: float) -> NDArray[np.float32]:
    """The volume with the layout's padding around it; itself when there is none."""
    if volume.shape == layout.padded:
        return volume
    padded = np.full(layout.padded, value, np.float32)
    padded[_inside(layout, volume.shape)] = volume
    return padded


def cut(padded: NDArray[np.float32], start: Extent, roi: Extent) -> NDArray[np.float32]:
    """The window that starts there; a view."""
    return padded[tuple(slice(at, at + size) for at, size in zip(start, roi, strict=True))]


def weights_of(roi: Extent, blending: str) -> NDArray[np.float32]:
    """How much each voxel of a window counts: `constant`, or `gaussian` falling from its centre."""
    if blending == "constant":
        return np.ones(roi, np.float32)
    weight = np.ones((1,) * len(roi))
    for axis, size in enumerate(roi):
        distance = (np.arange(size) - (size - 1) / 2) / (GAUSSIAN_WIDTH * size)
        shape = [size if each == axis else 1 for each in range(len(roi))]
        weight = weight * np.exp(-0.5 * distance**2).reshape(shape)
    return np.maximum(weight, LEAST_WEIGHT).astype(np.float32)


class Blend:
    """The weighted mean of what windows say about each voxel of one volume."""

    def __init__(self, layout: Layout, weights: NDArray[np.float32]) -> None:
        self._layout = layout
        self._weights = weights
        self._total: NDArray[np.float32] | None = None  # (channel, …): known with the first window
        self._weight = np.zeros(layout.padded, np.float32)

    def add(self, start: Extent, window: NDArray[np.float32]) -> None:
        """Take in the answer (channel, …) for the window that starts there."""
        if self._total is None:
            self._total = np.zeros((window.shape[0], *self._layout.padded), np.float32)
        at = tuple(slice(low, low + size) for low, size in zip(start, self._layout.roi, strict=True))
        self._total[(slice(None), *at)] += window * self._weights
        self._weight[at] += self._weights

    def result(self, shape: Sequence[int]) -> NDArray[np.float32]:
        """The mean (channel, …) for the volume of this shape, its padding taken off."""
        if self._total is None:
            raise ValueError("no window was added")
        self._total /= self._weight
        return self._total[(slice(None), *_inside(self._layout, shape))]


def _inside(layout: Layout, shape: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(low, low + size) for low, size in zip(layout.before, shape, strict=True))
