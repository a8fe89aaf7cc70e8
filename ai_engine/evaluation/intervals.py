"""A figure with its confidence interval: Wilson's of a proportion, percentiles of resampled scans. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 1000  # percentiles of 2.5 and 97.5 rest on 25 samples each


@dataclass(frozen=True, slots=True)
class Estimate:
    """A point estimate with its two-sided interval; `of` counts what it rests on (scans, lesions)."""

    point: float
    lower: float
    upper: float
    of: int


def normal_quantile(level: float = LEVEL) -> float:
    """The z of a two-sided interval of this level: 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def wilson(successes: int, trials: int, level: float = LEVEL) -> Estimate | None:
    """Wilson's score interval of a proportion, without continuity correction; None: nothing was tried.

    E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209; method 3 of R. G. Newcombe, Stat. Med. 17 (1998) 857.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is no proportion")
    if trials == 0:
        return None
    z = normal_quantile(level)
    share, spread = successes / trials, z * z / trials
    middle = share + spread / 2
    half = z * sqrt((share * (1 - share) + spread / 4) / trials)
    lower, upper = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    # the bounds are exact at the ends, where rounding would leave a trace
    return Estimate(share, 0.0 if successes == 0 else lower, 1.0 if successes == trials else upper, trials)


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
