"""Probabilities from evidence, and from which one a detection is reported: both of validation scans."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ai_engine.training.figures import hits_of, scan_scores
from ai_engine.training.recipe import SENSITIVITY, SPECIFICITY

Json = Any
NEWTON_STEPS = 30
RIDGE = 1e-3  # keeps the slope finite where everything is told apart


def fit(records: Sequence[Json]) -> tuple[list[float], float]:
    """Weights of the evidence and intercept of the logistic curve through the detections."""
    evidence = [each["evidence"] for record in records for each in record["detections"]]
    truths = hits_of(records)
    design = np.column_stack([np.array(evidence, np.float64), np.ones(len(evidence))])
    weights = np.zeros(design.shape[1])
    if len(set(truths)) < 2:
        weights[0] = 1.0
        return weights[:-1].tolist(), 0.0
    for _ in range(NEWTON_STEPS):
        probability = 1 / (1 + np.exp(-np.clip(design @ weights, -60, 60)))
        gradient = design.T @ (probability - truths) + RIDGE * weights
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design
        weights -= np.linalg.solve(curvature + RIDGE * np.eye(len(weights)), gradient)
    return weights[:-1].tolist(), float(weights[-1])


def calibrated(records: Sequence[Json], weights: Sequence[float], intercept: float) -> list[Json]:
    """The records with probabilities."""
    return [
        {**record, "detections": [_calibrated(each, weights, intercept) for each in record["detections"]]}
        for record in records
    ]


def choose_threshold(records: Sequence[Json]) -> float:
    """Where the smaller of sensitivity's and specificity's leads over what is aimed at is largest.

    Of a range of such thresholds its middle. One grows as the other falls: where they cross hangs less on
    single scans than where their sum is highest.
    """
    truths, scores = (np.array(each) for each in scan_scores(records))
    edges = np.unique(np.concatenate([[0.0], scores, [1.0]]))
    middles = (edges[1:] + edges[:-1]) / 2
    if truths.all() or not truths.any():
        return 0.5
    sensitivity = np.array([(scores[truths] >= at).mean() for at in middles])
    specificity = np.array([(scores[~truths] < at).mean() for at in middles])
    leads = np.minimum(sensitivity - SENSITIVITY, specificity - SPECIFICITY)
    best = np.flatnonzero(leads >= leads.max() - 1e-9)
    return round(float(middles[best[len(best) // 2]]), 3)


def _calibrated(detection: Json, weights: Sequence[float], intercept: float) -> Json:
    value = float(np.dot(detection["evidence"], weights)) + intercept
    return {**detection, "probability": round(float(1 / (1 + np.exp(-value))), 5)}
