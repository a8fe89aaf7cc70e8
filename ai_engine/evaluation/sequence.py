"""Bounds of a proportion that may be looked at as often as one likes. Pure, and without numpy.

A pointwise interval that is looked at again and again leaves the truth outside sooner or later. A confidence
sequence covers it at all looks together with the probability that it states: H. Robbins, Ann. Math. Stat. 41
(1970) 1397, by J. Ville's inequality (1939). The mixture here is the uniform one.
"""

from collections.abc import Callable
from math import inf, lgamma, log

from ai_engine.evaluation.proportion import LEVEL, Estimate

HALVINGS = 50


def sequence_bounds(successes: int, trials: int, level: float = LEVEL) -> Estimate | None:
    """The bounds of a proportion after so many trials, for every number of trials at once; None: no trial.

    A proportion is outside when the data were 1/(1 - level) times likelier under the mixture of all
    proportions than under it.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is no proportion")
    if trials == 0:
        return None
    share, enough = successes / trials, -log(1 - level)

    def is_outside(proportion: float) -> bool:
        return log_evidence(successes, trials, proportion) >= enough

    lower = 0.0 if successes == 0 else _edge(0.0, share, is_outside)
    upper = 1.0 if successes == trials else _edge(1.0, share, is_outside)
    return Estimate(share, lower, upper, trials)


def log_evidence(successes: int, trials: int, proportion: float) -> float:
    """How much the data speak against a proportion: the log of an e-value, of which time makes no more."""
    failures = trials - successes
    mixed = lgamma(successes + 1) + lgamma(failures + 1) - lgamma(trials + 2)
    return mixed - _times_log(successes, proportion) - _times_log(failures, 1 - proportion)


def _times_log(count: int, share: float) -> float:
    if count == 0:
        return 0.0
    return count * log(share) if share > 0 else -inf


def _edge(outside: float, inside: float, is_outside: Callable[[float], bool]) -> float:
    """Where a bound lies, told from the far side: never nearer than it is."""
    for _ in range(HALVINGS):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if is_outside(middle) else (outside, middle)
    return outside
