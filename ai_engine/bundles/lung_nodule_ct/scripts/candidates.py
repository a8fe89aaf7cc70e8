"""What the first network marked, as separate candidates, and the cubes by which they are judged."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .lungs import Mask

Array = NDArray[np.float32]
MARKED_AT = 0.2  # probability of a candidate's voxels at least
DRAWN_SHARE = 0.5  # of its highest probability: from there on a voxel is drawn
FEWEST_VOXELS = 5
MOST_CANDIDATES = 120  # the most marked ones


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A connected marked region. `box` is its bounding box in grid voxels, `weights` its probabilities there.

    Drawn is what reaches `level`; `centre` is the middle of that.
    """

    centre: NDArray[np.float64]
    box: tuple[slice, slice, slice]
    weights: Array
    level: float
    highest: float


def find_candidates(probability: Array, region: Mask) -> list[Candidate]:
    """The candidates, the most marked first; `probability` is set to 0 outside `region`."""
    probability[~region] = 0
    labels, count = ndimage.label(probability > MARKED_AT)
    found = []
    for number, box in enumerate(ndimage.find_objects(labels, count), 1):
        there = labels[box] == number
        if there.sum() >= FEWEST_VOXELS:
            found.append(_candidate(np.where(there, probability[box], 0), box))
    found.sort(key=lambda each: (-each.highest, *(part.start for part in each.box)))
    return found[:MOST_CANDIDATES]


def _candidate(weights: Array, box: tuple[slice, slice, slice]) -> Candidate:
    highest = float(weights.max())
    level = max(MARKED_AT, DRAWN_SHARE * highest)
    centre = np.argwhere(weights > level).mean(axis=0) + [part.start for part in box]
    return Candidate(centre, box, weights, level, highest)


def cubes(volumes: tuple[Array, ...], centres: NDArray[np.floating], size: int) -> Array:
    """The volumes around each centre, (n, volumes, size, size, size); their edges are repeated."""
    result = np.empty((len(centres), len(volumes), size, size, size), np.float32)
    for number, centre in enumerate(np.rint(centres).astype(int)):
        axes = [
            np.clip(np.arange(at - size // 2, at - size // 2 + size), 0, whole - 1)
            for at, whole in zip(centre, volumes[0].shape, strict=True)
        ]
        for channel, volume in enumerate(volumes):
            result[number, channel] = volume[np.ix_(*axes)]
    return result
