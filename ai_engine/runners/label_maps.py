"""Probabilities on a network's grid to a label map on the volume's voxels, and to fractions of it; numpy.

They are brought back as probabilities and decided there, as MONAI's `Invertd` before `AsDiscreted` does it;
but only where a voxel of the grid is not background: between voxels that all are, nothing else can come out.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_engine.runners.grids import Grid, back_from, volume_box

SLAB = 16  # slices brought back at once: bounds the memory of channels × voxels
WHOLE = 255  # a fraction of 1
LEAST_FRACTION = 5  # of 255, 2 %: what is less likely counts as nothing, or every plane would hold a trace
MAX_FRACTIONS = 1 << 28  # voxels times segments; more would not be bounded, and the labels alone are given


def labels_from(
    likely: NDArray[np.float32], grid: Grid, network: Mapping[str, Any]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """The labels (slice, row, column) of probabilities (channel, …); channels stand for `labels`.

    And how likely each number of `fractions` is, (number, slice, row, column) in 255ths; None: not asked for.
    """
    shape = grid.volume_shape if grid.tilt is None else grid.tilt.stack_shape
    made = np.zeros(shape, np.uint8)
    fractions = room_for_fractions(shape, network)
    numbers, threshold = network["labels"], network["threshold"]
    wanted = _decided(likely, numbers, threshold) > 0
    if fractions is not None:
        wanted |= (_fractions(likely, network) > 0).any(axis=0)
    inside = np.nonzero(wanted)
    if not inside[0].size:
        return made, fractions
    slices, rows, columns = volume_box(grid, [at.min() for at in inside], [at.max() for at in inside])
    for start in range(slices.start, slices.stop, SLAB):
        slab = (slice(start, min(start + SLAB, slices.stop)), rows, columns)
        there = back_from(likely, grid, slab)
        made[slab] = _decided(there, numbers, threshold)
        if fractions is not None:
            fractions[(slice(None), *slab)] = _fractions(there, network)
    return made, fractions


def room_for_fractions(shape: Sequence[int], network: Mapping[str, Any]) -> NDArray[np.uint8] | None:
    """Zeros for the fractions of a volume; None: none are asked for, or they are too many."""
    count = count_fractions(shape, network)
    return np.zeros((count, *shape), np.uint8) if count else None


def count_fractions(shape: Sequence[int], network: Mapping[str, Any]) -> int:
    """How many numbers get fractions of a volume of this shape."""
    count = len(network.get("fractions") or ())
    return count if count * math.prod(shape) <= MAX_FRACTIONS else 0


def _fractions(likely: NDArray[np.float32], network: Mapping[str, Any]) -> NDArray[np.uint8]:
    """How likely each number is: the sum of its channels where one excludes the other, else the most."""
    together = np.add if network["activation"] == "softmax" else np.maximum
    made = np.zeros((len(network["fractions"]), *likely.shape[1:]), np.uint8)
    for fraction, number in zip(made, network["fractions"], strict=True):
        of_number = [at for at, each in enumerate(network["labels"]) if each == number]
        if of_number:
            share = np.clip(np.rint(together.reduce(likely[of_number]) * WHOLE), 0, WHOLE)
            fraction[...] = np.where(share >= LEAST_FRACTION, share, 0)
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
