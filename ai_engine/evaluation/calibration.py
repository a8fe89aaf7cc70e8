"""Whether probabilities mean what they say: Brier score, calibration error, reliability table. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BINS = 10


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The cases whose probability lies in [`lower`, `upper`), of the last bin 1 included."""

    lower: float
    upper: float
    cases: int
    mean_probability: float | None  # None: no case
    share_positive: float | None  # None: no case


def brier(truths: ArrayLike, probabilities: ArrayLike) -> float | None:
    """The mean squared distance of probability and truth (G. W. Brier, 1950); None: no case."""
    parts = brier_parts(truths, probabilities)
    return float(np.mean(parts)) if len(parts) else None


def brier_parts(truths: ArrayLike, probabilities: ArrayLike) -> NDArray[np.float64]:
    """The squared distance of each case."""
    truth, probability = _pairs(truths, probabilities)
    parts: NDArray[np.float64] = (probability - truth) ** 2
    return parts


def reliability(truths: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """What was said and what was, in bins of equal width."""
    truth, probability = _pairs(truths, probabilities)
    which = np.minimum((probability * bins).astype(np.intp), bins - 1)
    return tuple(
        _bin(index, bins, truth[which == index], probability[which == index]) for index in range(bins)
    )


def expected_calibration_error(table: tuple[ReliabilityBin, ...]) -> float | None:
    """The mean distance of what was said and what was, bins weighted by their cases; None: no case."""
    cases = sum(each.cases for each in table)
    gaps = (
        each.cases * abs(each.mean_probability - each.share_positive)
        for each in table
        if each.mean_probability is not None and each.share_positive is not None
    )
    return sum(gaps) / cases if cases else None


def _bin(
    index: int, bins: int, truth: NDArray[np.float64], probability: NDArray[np.float64]
) -> ReliabilityBin:
    lower, upper = index / bins, (index + 1) / bins
    if len(truth) == 0:
        return ReliabilityBin(lower, upper, 0, None, None)
    return ReliabilityBin(lower, upper, len(truth), float(probability.mean()), float(truth.mean()))


def _pairs(truths: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    truth, probability = np.asarray(truths, np.float64), np.asarray(probabilities, np.float64)
    if truth.shape != probability.shape or truth.ndim != 1:
        raise ValueError("one truth and one probability a case")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("probabilities lie in 0 to 1")
    return truth, probability
