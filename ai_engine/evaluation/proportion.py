"""Proportions and counts with their score intervals. Pure, and without numpy: servers hold limits by it."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

LEVEL = 0.95


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
    return wilson_of_share(successes / trials, trials, level) if trials else None


def wilson_of_share(share: float, trials: int, level: float = LEVEL) -> Estimate:
    """Wilson's interval of a share of at least one trial; the share may be a mean of such."""
    z = normal_quantile(level)
    spread = z * z / trials
    middle = share + spread / 2
    half = z * sqrt((share * (1 - share) + spread / 4) / trials)
    lower, upper = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    # the bounds are exact at the ends, where rounding would leave a trace
    return Estimate(share, 0.0 if share == 0 else lower, 1.0 if share == 1 else upper, trials)


def unbroken(trials: int, level: float = LEVEL) -> float:
    """The exact lower bound of a proportion when all trials succeed (C. J. Clopper, E. S. Pearson, 1934)."""
    outside = (1 - level) / 2
    return float(outside ** (1 / trials))


def event_rate(events: int, units: int, level: float = LEVEL) -> Estimate | None:
    """Events a unit with the score interval of a Poisson count, Wilson's for rates; None: no unit."""
    if units == 0:
        return None
    z = normal_quantile(level)
    middle, half = events + z * z / 2, z * sqrt(events + z * z / 4)
    lower = 0.0 if events == 0 else (middle - half) / units
    return Estimate(events / units, lower, (middle + half) / units, units)
