"""Intervals of what is measured per scan, or counted in scans: percentiles of resampled scans. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ai_engine.evaluation.proportion import LEVEL, Estimate, normal_quantile, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LEVEL", "RESAMPLES", "Estimate", "mean_of_scans", "normal_quantile", "resampled", "wilson"]

RESAMPLES = 1000  # percentiles of 2.5 and 97.5 rest on 25 samples each


def resampled(
    statistic: Callable[[NDArray[np.float64]], float],
    scans: int,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Estimate | None:
    """The percentile bootstrap over scans; None: no scan, or the statistic has no value on them.

    Args:
        statistic: of weights, one a scan (how often it was drawn); NaN where it has no value.
        scans: how many there are; whole scans are drawn, since what one scan holds hangs together.
        seed: of the draws; the same seed gives the same interval.
        resamples: how often is drawn; draws on which the statistic has no value are left out.
        level: of the interval.
    """
    if scans == 0 or np.isnan(point := statistic(np.ones(scans))):
        return None
    random = np.random.default_rng(seed)
    drawn = random.multinomial(scans, np.full(scans, 1 / scans), size=resamples).astype(np.float64)
    values = np.array([statistic(weights) for weights in drawn])
    outside = (1 - level) / 2
    lower, upper = np.nanquantile(values, (outside, 1 - outside))
    return Estimate(float(point), float(lower), float(upper), scans)


def mean_of_scans(values: NDArray[np.float64], *, seed: int, level: float = LEVEL) -> Estimate | None:
    """The mean of one value a scan (Dice, volume error), with its bootstrap interval; None: no values."""
    values = np.asarray(values, np.float64)
    return resampled(
        lambda weights: float(np.average(values, weights=weights)), len(values), seed=seed, level=level
    )
