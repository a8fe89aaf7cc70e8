"""Probabilities on a network's grid to a label map on the volume's voxels; numpy.

They are brought back as probabilities and decided there, as MONAI's `Invertd` before `AsDiscreted` does it;
but only where a voxel of the grid is not background: between voxels that all are, nothing else can come out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_engine.runners.grids import Grid, back_from, volume_box

SLAB = 16  # slices brought back at once: bounds the memory of channels × voxels


def labels_from(likely: NDArray[np.float32], grid: Grid, network: Mapping[str, Any]) -> NDArray[np.uint8]:
    """The labels (slice, row, column) of probabilities (channel, …); channels stand for `labels`."""
    made = np.zeros(grid.volume_shape if grid.tilt is None else grid.tilt.stack_shape, np.uint8)
    numbers, threshold = network["labels"], network["threshold"]
    inside = np.nonzero(_decided(likely, numbers, threshold))
    if not inside[0].size:
        return made
    slices, rows, columns = volume_box(grid, [at.min() for at in inside], [at.max() for at in inside])
    for start in range(slices.start, slices.stop, SLAB):
        slab = (slice(start, min(start + SLAB, slices.stop)), rows, columns)
        made[slab] = _decided(back_from(likely, grid, slab), numbers, threshold)
    return made


def _decided(
    likely: NDArray[np.float32], numbers: Sequence[int], threshold: float | None
) -> NDArray[np.uint8]:
    """The number of the likeliest channel; with a threshold, of the last channel that reaches it, else 0."""
    if threshold is None:
        likeliest: NDArray[np.uint8] = np.array(numbers, np.uint8)[np.argmax(likely, axis=0)]
        return likeliest
    made = np.zeros(likely.shape[1:], np.uint8)
    for number, channel in zip(numbers, likely, strict=True):
        if number:
            made[channel >= threshold] = number
    return made
