"""Scans told apart: sensitivity and specificity at a threshold, and the area under the ROC curve. Pure.

A scan is called positive when its score is at or above the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, sqrt
from typing import TYPE_CHECKING

import numpy as np

from ai_engine.evaluation.intervals import LEVEL, Estimate, alike, normal_quantile, unbroken, wilson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Confusion:
    """How many scans were called what they are, and what they are not."""

    true_positives: int
    false_negatives: int
    true_negatives: int
    false_positives: int

    def sensitivity(self, level: float = LEVEL) -> Estimate | None:
        """Share of the positive scans that were called so; None: there are none."""
        return wilson(self.true_positives, self.true_positives + self.false_negatives, level)

    def specificity(self, level: float = LEVEL) -> Estimate | None:
        """Share of the negative scans that were called so; None: there are none."""
        return wilson(self.true_negatives, self.true_negatives + self.false_positives, level)


def confusion(truths: ArrayLike, scores: ArrayLike, threshold: float) -> Confusion:
    """The scans by truth and by what they are called at this threshold."""
    truth, score = _pairs(truths, scores)
    called = score >= threshold
    return Confusion(
        int(np.sum(truth & called)),
        int(np.sum(truth & ~called)),
        int(np.sum(~truth & ~called)),
        int(np.sum(~truth & called)),
    )


def auc(truths: ArrayLike, scores: ArrayLike, level: float = LEVEL) -> Estimate | None:
    """The area under the ROC curve, ties counted half; None: fewer than two scans of either kind.

    The variance is DeLong's (E. R. DeLong et al., Biometrics 44 (1988) 837), computed by midranks as X. Sun
    and W. Xu do (IEEE Signal Process. Lett. 21 (2014) 1389), the interval that of the logit of the area:
    near 1 the area is far from normal (G. Qin, L. Hotilovac, Stat. Methods Med. Res. 17 (2008) 207).
    Where every pair is told apart the variance of the sample is 0, which does not make the area certain: as
    many scans of the smaller group as it cannot exclude may lie wrong. No bound is better than that one.
    """
    truth, score = _pairs(truths, scores)
    positive, negative = score[truth], score[~truth]
    smaller = min(len(positive), len(negative))
    if smaller < 2:
        return None
    of_positive, of_negative = _placements(positive, negative)
    area = float(of_positive.mean())
    if np.ptp(of_positive) == 0 and np.ptp(of_negative) == 0:
        return Estimate(area, *alike(area, smaller, level=level), len(score))
    error = sqrt(_variance_of_mean(of_positive) + _variance_of_mean(of_negative))
    half = normal_quantile(level) * error / (area * (1 - area))
    middle, best = log(area / (1 - area)), unbroken(smaller, level)
    return Estimate(area, min(best, _share(middle - half)), max(1 - best, _share(middle + half)), len(score))


def _share(logit: float) -> float:
    return 1 / (1 + exp(-logit))


def _placements(
    positive: NDArray[np.float64], negative: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each positive scan the share of negatives below it, of each negative that of positives above."""
    together = midranks(np.concatenate((positive, negative)))
    above = (together[: len(positive)] - midranks(positive)) / len(negative)
    below = 1 - (together[len(positive) :] - midranks(negative)) / len(positive)
    return above, below


def midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[which]
    return ranks


def _variance_of_mean(values: NDArray[np.float64]) -> float:
    return float(values.var(ddof=1)) / len(values)


def _pairs(truths: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    truth, score = np.asarray(truths, bool), np.asarray(scores, np.float64)
    if truth.shape != score.shape or truth.ndim != 1:
        raise ValueError("one truth and one score a scan")
    if not np.isfinite(score).all():
        raise ValueError("scores must be finite")
    return truth, score
