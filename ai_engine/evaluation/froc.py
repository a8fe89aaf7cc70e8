"""Lesions found against false alarms: the free-response ROC curve. Pure.

Matching. A detection hits the lesion whose centre is nearest, of those whose centre lies no further from its
own than the lesion's radius, or than `TOLERANCE_MM` where the radius is smaller. A lesion is found at a
threshold when a detection that hits it scores at least that; further hits count neither for nor against.
A detection that hits no lesion is a false alarm. What hits a lesion that does not count (too small, or of
another class) is no false alarm, and finds nothing.

A scan that the model did not deliver on misses its lesions and is none of the scans that false alarms are
counted on: what was not read cannot thin them out.

Intervals. Scans are resampled, since lesions of one scan are found or missed together; the interval is no
narrower than Wilson's of as many lesions, and no bound better than that of as many scans without a miss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ai_engine.evaluation.intervals import (
    LEVEL,
    RESAMPLES,
    Estimate,
    event_rate,
    resampled,
    unbroken,
    unless_alike,
    widened,
    wilson_of_share,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Statistic = Callable[[NDArray[np.float64]], float]

TOLERANCE_MM = 3.0  # about two voxels of the grids that detectors work on
CPM_RATES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)  # false alarms a scan, of LUNA16
NEVER = -np.inf  # the score at which a lesion without a hit is found

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Detection:
    """Something a model points at."""

    centre_lps_mm: Point
    score: float


@dataclass(frozen=True, slots=True)
class Lesion:
    """Something that is there; `counts` False: neither finding nor missing it says anything here."""

    centre_lps_mm: Point
    diameter_mm: float
    counts: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """What came of one scan: the best score that found each lesion that counts, and the false alarms'."""

    found_at: NDArray[np.float64]  # shape (lesions that count,); NEVER: by nothing
    false_alarms: NDArray[np.float64]  # shape (false alarms,)
    delivered: bool = True  # False: the model failed on it


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The curve by falling threshold; all of shape (thresholds,)."""

    thresholds: NDArray[np.float64]
    false_alarms_per_scan: NDArray[np.float64]
    sensitivity: NDArray[np.float64]


def match(
    detections: Sequence[Detection], lesions: Sequence[Lesion], tolerance_mm: float = TOLERANCE_MM
) -> Scan:
    """The detections of one scan against its lesions, by the rule above."""
    best = [NEVER] * len(lesions)
    alarms = []
    for detection in detections:
        hit = _hit(detection, lesions, tolerance_mm)
        if hit is None:
            alarms.append(detection.score)
        else:
            best[hit] = max(best[hit], detection.score)
    found = [score for score, lesion in zip(best, lesions, strict=True) if lesion.counts]
    return Scan(np.array(found, np.float64), np.array(alarms, np.float64))


def _hit(detection: Detection, lesions: Sequence[Lesion], tolerance_mm: float) -> int | None:
    reached = []
    for index, lesion in enumerate(lesions):
        apart = np.subtract(lesion.centre_lps_mm, detection.centre_lps_mm)
        distance_mm = float(np.linalg.norm(apart))
        if distance_mm <= max(lesion.diameter_mm / 2, tolerance_mm):
            reached.append((distance_mm, index))
    return min(reached)[1] if reached else None


def curve(scans: Sequence[Scan]) -> Curve:
    """Sensitivity and false alarms a scan at every score that occurs, both at or above it."""
    found, alarms, _, _ = _pooled(scans)
    occurring = np.concatenate((found[found > NEVER], alarms))
    thresholds = np.unique(occurring)[::-1]
    return Curve(
        thresholds,
        _at_least(alarms, thresholds) / max(sum(scan.delivered for scan in scans), 1),
        _at_least(found, thresholds) / max(len(found), 1),
    )


def sensitivity_at_threshold(
    scans: Sequence[Scan], threshold: float, level: float = LEVEL, *, seed: int = 1
) -> Estimate | None:
    """Share of the lesions that are found at a threshold; None: there are none. It rests on the lesions."""
    found = _pooled(scans)[0]
    counts = np.array([len(scan.found_at) for scan in scans], np.float64)
    hits = np.array([np.sum(scan.found_at >= threshold) for scan in scans], np.float64)

    def statistic(weights: NDArray[np.float64]) -> float:
        lesions = float(weights @ counts)
        return float(weights @ hits) / lesions if lesions else float("nan")

    estimate = _sensitivity(scans, statistic, seed, RESAMPLES, level)
    return estimate and replace(estimate, of=len(found))


def _sensitivity(
    scans: Sequence[Scan], statistic: Statistic, seed: int, resamples: int, level: float
) -> Estimate | None:
    """A sensitivity with an interval that promises no more than so many lesions in so many scans can."""
    drawn = resampled(statistic, len(scans), seed=seed, resamples=resamples, level=level)
    estimate = unless_alike(drawn, level=level)
    if estimate is None:
        return None
    lesions = wilson_of_share(estimate.point, sum(len(scan.found_at) for scan in scans), level)
    best = unbroken(sum(len(scan.found_at) > 0 for scan in scans), level)
    return widened(estimate, min(lesions.lower, best), max(lesions.upper, 1 - best))


def false_alarms_at_threshold(scans: Sequence[Scan], threshold: float, *, seed: int) -> Estimate | None:
    """False alarms a scan at a threshold; None: no scan was delivered on.

    The wider of the interval of resampled scans and that of a Poisson count, which has a bound at 0 too.
    """
    delivered = [scan for scan in scans if scan.delivered]
    counts = np.array([np.sum(scan.false_alarms >= threshold) for scan in delivered], np.float64)
    estimate = event_rate(int(counts.sum()), len(delivered))
    drawn = resampled(lambda weights: float(np.average(counts, weights=weights)), len(delivered), seed=seed)
    return estimate if drawn is None or estimate is None else widened(drawn, estimate.lower, estimate.upper)


def sensitivity_at_rate(
    scans: Sequence[Scan], rate: float, *, seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> Estimate | None:
    """Lesion sensitivity at no more than `rate` false alarms a scan, with the interval of resampled scans.

    It is read at the lowest threshold that keeps the rate, without interpolation; each resample finds its own
    threshold. None: there is no lesion.
    """
    return _sensitivity(scans, _at_rates(scans, (rate,)), seed, resamples, level)


def cpm(
    scans: Sequence[Scan], *, seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> Estimate | None:
    """The competition performance metric: the mean sensitivity at `CPM_RATES`; None: there is no lesion."""
    return _sensitivity(scans, _at_rates(scans, CPM_RATES), seed, resamples, level)


def _at_rates(scans: Sequence[Scan], rates: Sequence[float]) -> Statistic:
    """The mean sensitivity at these rates, as a function of the scans' weights; NaN: no lesion was drawn."""
    found, alarms, of_found, of_alarm = _pooled(scans)
    by_score = np.argsort(-alarms, kind="stable")
    alarms, of_alarm = alarms[by_score], of_alarm[by_score]
    delivered = np.array([scan.delivered for scan in scans], np.float64)

    def statistic(weights: NDArray[np.float64]) -> float:
        lesions = weights[of_found]
        if lesions.sum() == 0:
            return float("nan")
        so_far = np.cumsum(weights[of_alarm])
        cut = [_score_beyond(alarms, so_far, rate * float(weights @ delivered)) for rate in rates]
        return float(np.mean([lesions[found > score].sum() for score in cut]) / lesions.sum())

    return statistic


def _score_beyond(alarms: NDArray[np.float64], so_far: NDArray[np.float64], allowed: float) -> float:
    """The score at which there are more false alarms than allowed: thresholds must lie above it."""
    beyond = int(np.searchsorted(so_far, allowed + 1e-9, side="right"))
    return float(alarms[beyond]) if beyond < len(alarms) else NEVER


def _pooled(
    scans: Sequence[Scan],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """All lesions' and all false alarms' scores, and of which scan each is."""
    found = [scan.found_at for scan in scans]
    alarms = [scan.false_alarms for scan in scans]
    index = np.arange(len(scans), dtype=np.intp)
    of_found = np.repeat(index, [len(each) for each in found])
    of_alarm = np.repeat(index, [len(each) for each in alarms])
    empty = [np.empty(0)]
    return np.concatenate(found or empty), np.concatenate(alarms or empty), of_found, of_alarm


def _at_least(scores: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many scores are at or above each threshold."""
    ascending = np.sort(scores)
    return (len(scores) - np.searchsorted(ascending, thresholds, side="left")).astype(np.float64)
