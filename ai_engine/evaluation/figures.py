"""The figures of an evaluation, from what came of its cases. Pure; a gate names them by these names.

| name | what | interval |
|---|---|---|
| `completed` | share of the cases that the model delivered on | Wilson |
| `sensitivity`, `specificity` | of scans, as reported | Wilson |
| `auc` | area under the ROC curve of the scans' scores | DeLong, of the logit |
| `brier`, `calibration_error` | of the scans' scores | resampled scans |
| `lesion_sensitivity` | of lesions, at the threshold of what is reported | resampled scans, Wilson |
| `false_positives_per_scan` | at that threshold, of scans delivered on | resampled scans, Poisson |
| `lesion_sensitivity_at.R` | at R false positives a scan | resampled scans |
| `cpm` | mean of seven such | resampled scans |
| `dice`, `dice.SEGMENT` | of all segments, and of one | resampled scans |
| `volume_error.SEGMENT` | its size, as a share of the true volume | resampled scans |
| `error.OUTPUT` | its size, in the output's unit | resampled scans |
| `measured.OUTPUT` | share of the cases in which it was measured | Wilson |
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_engine.evaluation import froc
from ai_engine.evaluation.calibration import brier_parts, expected_calibration_error, reliability
from ai_engine.evaluation.classification import auc, confusion
from ai_engine.evaluation.froc import NEVER, Scan
from ai_engine.evaluation.intervals import mean_of_scans, resampled, unless_alike
from ai_engine.evaluation.outcome import Outcome
from ai_engine.evaluation.proportion import Estimate, wilson

SHARE = (0.0, 1.0)
RATES = (0.25, 0.5, 1.0, 2.0)  # false positives a scan
SEED = 1  # of the resampling: figures of the same outcomes are the same

Figure = tuple[str, Estimate | None]


def figures_of(outcomes: Sequence[Outcome]) -> dict[str, Estimate]:
    """Every figure that the outcomes have."""
    named = (
        *_completed(outcomes),
        *_scans(outcomes),
        *_lesions(outcomes),
        *_drawn(outcomes),
        *_measured(outcomes),
    )
    return {name: figure for name, figure in named if figure is not None}


def tables_of(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What no single figure says: counts of scans, the reliability table, the FROC curve."""
    truths, scores = _scored(outcomes)
    scans = _froc_scans(outcomes)
    tables: dict[str, Any] = {"faults": sum(each.fault is not None for each in outcomes)}
    if len(truths):
        tables["reliability"] = [asdict(each) for each in reliability(truths, scores)]
        tables["scans"] = {"positive": int(truths.sum()), "negative": int((~truths).sum())}
    if scans:
        curve = froc.curve(scans)
        tables["lesions"] = sum(len(each.found_at) for each in scans)
        tables["froc"] = [
            [round(float(each), 4) for each in point]
            for point in zip(curve.thresholds, curve.false_alarms_per_scan, curve.sensitivity, strict=True)
        ][:500]
    return tables


def _completed(outcomes: Sequence[Outcome]) -> Iterator[Figure]:
    yield "completed", wilson(sum(each.fault is None for each in outcomes), len(outcomes))


def _scans(outcomes: Sequence[Outcome]) -> Iterator[Figure]:
    asked = [each for each in outcomes if each.positive is not None]
    counts = confusion(
        [bool(each.positive) for each in asked], [float(bool(each.called)) for each in asked], 0.5
    )
    yield "sensitivity", counts.sensitivity()
    yield "specificity", counts.specificity()
    truths, scores = _scored(outcomes)
    yield "auc", auc(truths, scores)
    if len(truths):
        yield "brier", mean_of_scans(brier_parts(truths, scores), seed=SEED, within=SHARE)
        yield (
            "calibration_error",
            unless_alike(resampled(_drawn_error(truths, scores), len(truths), seed=SEED)),
        )


def _drawn_error(truths: NDArray[np.bool_], scores: NDArray[np.float64]) -> Any:
    def statistic(weights: NDArray[np.float64]) -> float:
        again = np.repeat(np.arange(len(truths)), weights.astype(np.intp))
        error = expected_calibration_error(reliability(truths[again], scores[again]))
        return float("nan") if error is None else error

    return statistic


def _lesions(outcomes: Sequence[Outcome]) -> Iterator[Figure]:
    scans = _froc_scans(outcomes)
    if not scans:
        return
    threshold = min((each.reported_at for each in outcomes if each.reported_at is not None), default=0.0)
    yield "lesion_sensitivity", froc.sensitivity_at_threshold(scans, threshold, seed=SEED)
    yield "false_positives_per_scan", froc.false_alarms_at_threshold(scans, threshold, seed=SEED)
    for rate in RATES:
        yield f"lesion_sensitivity_at.{rate:g}", froc.sensitivity_at_rate(scans, rate, seed=SEED)
    yield "cpm", froc.cpm(scans, seed=SEED)


def _drawn(outcomes: Sequence[Outcome]) -> Iterator[Figure]:
    every = [float(np.mean(list(each.dice.values()))) for each in outcomes if each.dice]
    yield "dice", mean_of_scans(np.array(every), seed=SEED, within=SHARE)
    for name in sorted({name for each in outcomes for name in each.dice}):
        values = [each.dice[name] for each in outcomes if name in each.dice]
        yield f"dice.{name}", mean_of_scans(np.array(values), seed=SEED, within=SHARE)
    for name in sorted({name for each in outcomes for name in each.volume_errors}):
        sizes = [abs(each.volume_errors[name]) for each in outcomes if name in each.volume_errors]
        yield f"volume_error.{name}", mean_of_scans(np.array(sizes), seed=SEED)


def _measured(outcomes: Sequence[Outcome]) -> Iterator[Figure]:
    for name in sorted({name for each in outcomes for name in each.errors}):
        errors = [each.errors[name] for each in outcomes if name in each.errors]
        sizes = [abs(error) for error in errors if error is not None]
        yield f"error.{name}", mean_of_scans(np.array(sizes), seed=SEED)
        yield f"measured.{name}", wilson(len(sizes), len(errors))


def _scored(outcomes: Sequence[Outcome]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    asked = [each for each in outcomes if each.positive is not None and each.score is not None]
    return np.array([each.positive for each in asked], bool), np.array([each.score for each in asked], float)


def _froc_scans(outcomes: Sequence[Outcome]) -> list[Scan]:
    return [
        Scan(
            np.array([NEVER if score is None else score for score in each.found_at], float),
            np.array(each.false_alarms, float),
            delivered=each.fault is None,
        )
        for each in outcomes
        if each.found_at is not None
    ]
