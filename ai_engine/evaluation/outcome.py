"""What a model made of one case of a holdout set, against the truth: plain values that can be written down.

A case that the model fails on counts as wrong in every figure that can be wrong. Of what has no worst value
(false alarms, errors in units) it is left out, so that such a figure alone says nothing: the gate asks for
the share that it rests on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np
from msgspec import Meta

from ai_engine.evaluation.froc import Detection, Lesion, match
from ai_engine.evaluation.overlap import dice, relative_volume_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ai_engine.findings import Findings
    from ai_engine.geometry import Geometry
    from ai_engine.manifest import Manifest
    from ai_engine.runners.port import RunnerOutput

Place = tuple[float, float, float]


class TrueLesion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A lesion that is there; `counts` false: neither finding nor missing it says anything."""

    centre_lps_mm: Place
    diameter_mm: Annotated[float, Meta(gt=0)]
    counts: bool = True


class Truth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is true of a case; what is left out is not asked."""

    positive: bool | None = None  # whether what is looked for is there at all
    lesions: tuple[TrueLesion, ...] | None = None
    values: dict[str, float] = {}  # by the names of outputs
    segments: dict[str, int] = {}  # tracking id of a segment → its number in the true label map


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a case."""

    positive: bool | None = None
    score: float | None = None  # of the scan: that it is positive
    called: bool | None = None  # positive, by what is reported
    found_at: tuple[float | None, ...] | None = (
        None  # of each lesion that counts, the best score; null: missed
    )
    false_alarms: tuple[float, ...] = ()  # scores
    reported_at: float | None = None  # the least score that is reported
    errors: dict[str, float | None] = {}  # measured less true, by output; null: not measured
    dice: dict[str, float] = {}  # by tracking id
    volume_errors: dict[str, float] = {}  # as shares of the true volume, by tracking id
    fault: str | None = None
    seconds: float = 0.0


def outcome_of(
    manifest: Manifest,
    made: tuple[RunnerOutput, Findings, Geometry],
    truth: Truth,
    true_labels: NDArray[np.uint8] | None,
) -> Outcome:
    """What a run says, held against the truth.

    `true_labels` has the shape and the axes of the run's label map; None: there are none.
    """
    output, findings, geometry = made
    scan = None
    if truth.lesions is not None:
        places = [
            Detection(geometry.position_lps_mm(each.centre), each.probability) for each in output.detections
        ]
        scan = match(
            places, [Lesion(each.centre_lps_mm, each.diameter_mm, each.counts) for each in truth.lesions]
        )
    overlaps = _overlaps(findings, truth, true_labels)
    return Outcome(
        positive=truth.positive,
        score=None if truth.positive is None else scan_score(output),
        called=None
        if truth.positive is None
        else any(each.probability is not None for each in findings.findings),
        found_at=None if scan is None else tuple(_finite(each) for each in scan.found_at.tolist()),
        false_alarms=() if scan is None else tuple(scan.false_alarms.tolist()),
        reported_at=min((each.least_probability for each in manifest.detections), default=None),
        errors=_errors(manifest, output, findings, truth),
        dice={name: value for name, (value, _) in overlaps.items()},
        volume_errors={name: error for name, (_, error) in overlaps.items() if error is not None},
    )


def failed(truth: Truth, fault: str) -> Outcome:
    """A case that the model did not deliver on: wrong in everything that is asked of it."""
    counted = [each for each in truth.lesions or () if each.counts]
    return Outcome(
        positive=truth.positive,
        score=None if truth.positive is None else float(not truth.positive),
        called=None if truth.positive is None else not truth.positive,
        found_at=None if truth.lesions is None else (None,) * len(counted),
        errors=dict.fromkeys(truth.values),
        dice=dict.fromkeys(truth.segments, 0.0),
        volume_errors=dict.fromkeys(truth.segments, -1.0),  # nothing was drawn
        fault=fault,
    )


def scan_score(output: RunnerOutput) -> float:
    """How sure the model is that the scan is positive: its score, else that of its likeliest detection."""
    if output.scores:
        return max(each.probability for each in output.scores)
    return max((each.probability for each in output.detections), default=0.0)


def _finite(score: float) -> float | None:
    return score if np.isfinite(score) else None


def _errors(
    manifest: Manifest, output: RunnerOutput, findings: Findings, truth: Truth
) -> dict[str, float | None]:
    """Measured less true; what was withheld as implausible was not measured."""
    withheld = {each.name for each in findings.not_measured}
    titles = {each.name: each.title for each in manifest.outputs}
    measured = {each.name: each.value for each in output.values if titles[each.name] not in withheld}
    return {name: measured[name] - true if name in measured else None for name, true in truth.values.items()}


def _overlaps(
    findings: Findings, truth: Truth, true_labels: NDArray[np.uint8] | None
) -> Mapping[str, tuple[float, float | None]]:
    """Dice and volume error of each segment asked for; of what is drawn where none is, Dice is 0."""
    if true_labels is None:
        return {}
    numbers = {each.tracking_id: each.number for each in findings.segments}
    drawn = findings.labels if findings.labels is not None else np.zeros_like(true_labels)
    found = {}
    for tracking_id, number in truth.segments.items():
        mask = drawn == numbers.get(tracking_id, 255)
        true = true_labels == number
        overlap, error = dice(mask, true), relative_volume_error(mask, true)
        if overlap is not None:
            found[tracking_id] = (overlap, error)
    return found
