"""Intervals of what is measured per scan, or counted in scans: percentiles of resampled scans. Pure.

Resampling knows only what was seen. Where every resample says the same it says nothing: then the interval
reaches as far as the share of scans that this many cannot exclude (`unbroken`) could move the figure.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from ai_engine.evaluation.proportion import (
    LEVEL,
    Estimate,
    event_rate,
    normal_quantile,
    unbroken,
    wilson,
    wilson_of_share,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "Estimate",
    "alike",
    "event_rate",
    "mean_of_scans",
    "normal_quantile",
    "resampled",
    "unbroken",
    "unless_alike",
    "widened",
    "wilson",
    "wilson_of_share",
]

RESAMPLES = 1000  # percentiles of 2.5 and 97.5 rest on 25 samples each

Range = tuple[float, float]


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
    if np.isnan(values).all():  # of few draws each may have missed the scans that it has a value on
        values = np.array([point])
    outside = (1 - level) / 2
    lower, upper = np.nanquantile(values, (outside, 1 - outside))
    return Estimate(float(point), float(lower), float(upper), scans)


def unless_alike(
    estimate: Estimate | None, within: Range | None = (0.0, 1.0), level: float = LEVEL
) -> Estimate | None:
    """A resampled estimate, widened by `alike` where resampling says nothing.

    `within`: what the figure of one scan can be; None: no end is known, and a single scan has no interval.
    """
    if estimate is None or estimate.upper - estimate.lower > 1e-12:  # what rounding leaves
        return estimate
    if within is None:
        return estimate if estimate.of > 1 else None
    return widened(estimate, *alike(estimate.point, estimate.of, within, level))


def alike(point: float, scans: int, within: Range = (0.0, 1.0), level: float = LEVEL) -> Range:
    """The interval of what is the same in every scan: the scans not excluded lie at an end of `within`."""
    other = 1 - unbroken(scans, level)
    return point - (point - within[0]) * other, point + (within[1] - point) * other


def widened(estimate: Estimate, lower: float, upper: float) -> Estimate:
    """The estimate with an interval that covers this one too."""
    return Estimate(estimate.point, min(estimate.lower, lower), max(estimate.upper, upper), estimate.of)


def mean_of_scans(
    values: NDArray[np.float64], *, seed: int, level: float = LEVEL, within: Range | None = None
) -> Estimate | None:
    """The mean of one value a scan (Dice, volume error); None: no values, or one of which no end is known.

    The wider of the bootstrap, which is too narrow for few scans, and Student's interval.
    """
    values = np.asarray(values, np.float64)
    drawn = resampled(
        lambda weights: float(np.average(values, weights=weights)), len(values), seed=seed, level=level
    )
    estimate = unless_alike(drawn, within, level)
    if estimate is None or len(values) < 2:
        return estimate
    half = _student(len(values) - 1, level) * float(values.std(ddof=1)) / sqrt(len(values))
    least, most = within or (-np.inf, np.inf)
    return widened(estimate, max(least, estimate.point - half), min(most, estimate.point + half))


def _student(freedom: int, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + level / 2))
