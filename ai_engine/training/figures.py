"""The figures of a trial: per scan, per nodule, per class of nodules; calibration and outlines."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from ai_engine.evaluation import calibration, froc
from ai_engine.evaluation.classification import auc, confusion
from ai_engine.evaluation.froc import Detection, Lesion, Scan
from ai_engine.evaluation.intervals import Estimate

Json = Any
SEED = 8  # of resampling
RATES = (0.125, 0.25, 0.5, 1.0)
LARGE_MM = 6.0
SIZES_MM = ((0.0, 6.0), (6.0, 8.0), (8.0, 15.0), (15.0, 31.0))
Counts = Callable[[Json], bool]


def scan_scores(records: Sequence[Json]) -> tuple[list[bool], list[float]]:
    """Of each scan whether it has nodules, and its likeliest detection."""
    truths = [bool(record["nodules"]) for record in records]
    scores = [max((each["probability"] for each in record["detections"]), default=0.0) for record in records]
    return truths, scores


def matched(record: Json, counts: Counts = lambda _: True) -> Scan:
    """The detections of a scan against those of its nodules that count."""
    return froc.match(
        [Detection(tuple(each["centre_lps_mm"]), each["probability"]) for each in record["detections"]],
        [
            Lesion(tuple(each["centre_lps_mm"]), each["diameter_mm"], counts(each))
            for each in record["nodules"]
        ],
    )


def hits_of(records: Sequence[Json]) -> list[bool]:
    """Of every detection whether it hits a nodule."""
    return [
        len(matched({**record, "detections": [{"probability": 0.5, **each}]}).false_alarms) == 0
        for record in records
        for each in record["detections"]
    ]


def figures_of(records: Sequence[Json], threshold: float) -> Json:
    """All figures at the operating point `threshold`."""
    truths, scores = scan_scores(records)
    told_apart = confusion(truths, scores, threshold)
    scans = [matched(record) for record in records]
    return {
        "scans": len(records),
        "nodules": sum(len(record["nodules"]) for record in records),
        "threshold": threshold,
        "scan": {
            "counts": asdict(told_apart),
            "sensitivity": _plain(told_apart.sensitivity()),
            "specificity": _plain(told_apart.specificity()),
            "auc": _plain(auc(truths, scores)),
        },
        "nodule": {
            "sensitivity": _plain(froc.sensitivity_at_threshold(scans, threshold)),
            "false_alarms_per_scan": _plain(froc.false_alarms_at_threshold(scans, threshold, seed=SEED)),
            "sensitivity_at_rate": _at_rates(scans),
        },
        "at_least_6_mm": _class(records, threshold, partial(_is_of_size, LARGE_MM, np.inf)),
        "by_size_mm": {
            f"{low:g} to {high:g}": _class(records, threshold, partial(_is_of_size, low, high))
            for low, high in SIZES_MM
        },
        "by_kind": _by(records, threshold, "kind"),
        "by_place": _by(records, threshold, "place"),
        "outline": _outline(records),
        "calibration": _calibration(records),
        "reported": _reported(records, threshold),
    }


def _reported(records: Sequence[Json], threshold: float) -> Json:
    """Of what the product reports: the detections of at least `threshold`, and no others."""
    reported = [
        {**record, "detections": [each for each in record["detections"] if each["probability"] >= threshold]}
        for record in records
    ]
    truths = hits_of(reported)
    probabilities = [each["probability"] for record in reported for each in record["detections"]]
    found = froc.sensitivity_at_threshold([matched(record) for record in records], threshold)
    return {
        "nodules_found": 0 if found is None else round(found.point * found.of),
        "sides": _sides(reported),
        "calibration": {
            **_calibration(reported),
            "mean_probability": _rounded(float(np.mean(probabilities)) if truths else None),
            "precision": _rounded(float(np.mean(truths)) if truths else None),
        },
    }


def _sides(records: Sequence[Json]) -> Json:
    """Of detections that hit a nodule: how many state a side, and how many of those the right one.

    The phantoms' middle is x = 0 of the patient (LPS).
    """
    hitting = [each for record in records for each in _hitting(record)]
    stated = [each for each in hitting if each.get("side")]
    right = [each for each in stated if (each["side"] == "left") == (each["centre_lps_mm"][0] > 0)]
    return {"hits": len(hitting), "stated": len(stated), "right": len(right)}


def _hitting(record: Json) -> list[Json]:
    alone = [{**record, "detections": [each]} for each in record["detections"]]
    return [one["detections"][0] for one in alone if hits_of([one])[0]]


def _by(records: Sequence[Json], threshold: float, field: str) -> Json:
    names = sorted({each[field] for record in records for each in record["nodules"]})
    return {name: _class(records, threshold, partial(_is_of, field, name)) for name in names}


def _is_of_size(low_mm: float, high_mm: float, nodule: Json) -> bool:
    return bool(low_mm <= nodule["diameter_mm"] < high_mm)


def _is_of(field: str, name: str, nodule: Json) -> bool:
    return bool(nodule[field] == name)


def _class(records: Sequence[Json], threshold: float, counts: Counts) -> Json:
    scans = [matched(record, counts) for record in records]
    return {
        "sensitivity": _plain(froc.sensitivity_at_threshold(scans, threshold)),
        "sensitivity_at_rate": _at_rates(scans, (0.5,)),
    }


def _at_rates(scans: Sequence[Scan], rates: Sequence[float] = RATES) -> Json:
    return {
        f"{rate:g}": _plain(froc.sensitivity_at_rate(scans, rate, seed=SEED, resamples=500)) for rate in rates
    }


def _outline(records: Sequence[Json]) -> Json:
    """Of nodules that some detection overlaps."""
    drawn = [each for record in records for each in record["nodules"] if "dice" in each]
    if not drawn:
        return None
    errors = np.array([each["volume_error"] for each in drawn])
    return {
        "nodules": len(drawn),
        "dice_mean": round(float(np.mean([each["dice"] for each in drawn])), 4),
        "dice_median": round(float(np.median([each["dice"] for each in drawn])), 4),
        "volume_error_median": round(float(np.median(errors)), 4),
        "volume_error_absolute_median": round(float(np.median(np.abs(errors))), 4),
    }


def _calibration(records: Sequence[Json]) -> Json:
    truths = hits_of(records)
    probabilities = [each["probability"] for record in records for each in record["detections"]]
    table = calibration.reliability(truths, probabilities)
    return {
        "detections": len(truths),
        "brier": _rounded(calibration.brier(truths, probabilities)),
        "expected_error": _rounded(calibration.expected_calibration_error(table)),
        "bins": [{name: _rounded(value) for name, value in asdict(each).items()} for each in table],
    }


def _plain(estimate: Estimate | None) -> Json:
    return None if estimate is None else {name: _rounded(value) for name, value in asdict(estimate).items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
