"""Drawn against true: Dice's coefficient and the error of volume. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def dice(drawn: NDArray[np.bool_], true: NDArray[np.bool_]) -> float | None:
    """Twice the overlap by the sum of both; None: both are empty, which is agreement without measure.

    Args:
        drawn: mask of the model, any shape.
        true: mask of the truth, of the same shape.
    """
    _require_alike(drawn, true)
    both = int(np.count_nonzero(drawn)) + int(np.count_nonzero(true))
    return 2 * int(np.count_nonzero(drawn & true)) / both if both else None


def relative_volume_error(drawn: NDArray[np.bool_], true: NDArray[np.bool_]) -> float | None:
    """How much larger the drawn volume is, as a share of the true one; None: nothing is there to measure."""
    _require_alike(drawn, true)
    there = int(np.count_nonzero(true))
    return (int(np.count_nonzero(drawn)) - there) / there if there else None


def dice_of_labels(drawn: NDArray[np.uint8], true: NDArray[np.uint8]) -> dict[int, float]:
    """Dice of every label above 0 that either label map has."""
    _require_alike(drawn, true)
    labels = {int(each) for each in np.union1d(np.unique(drawn), np.unique(true))} - {0}
    found = {label: dice(drawn == label, true == label) for label in sorted(labels)}
    return {label: value for label, value in found.items() if value is not None}


def _require_alike(drawn: NDArray[np.generic], true: NDArray[np.generic]) -> None:
    if drawn.shape != true.shape:
        raise ValueError(f"shapes differ: {drawn.shape} and {true.shape}")
