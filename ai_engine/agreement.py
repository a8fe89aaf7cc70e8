"""Two versions' findings on one series, held against each other: numbers only. Pure.

A detection of the one is that of the other when their centres are nearest to each other and no further apart
than `SAME_PLACE_MM`; each is matched once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import dist
from typing import TYPE_CHECKING, Any

from ai_engine.evaluation.overlap import dice
from ai_engine.findings import CERTAIN

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ai_engine.encode.read_seg import ReadMask
    from ai_engine.findings import Code, Finding, Findings

SAME_PLACE_MM = 10.0
Json = dict[str, Any]


def summary_of(findings: Findings) -> Json:
    """What a run found, as JSON: numbers and codes, no pixels, and no text that model code has worded."""
    placed = [each for each in findings.findings if each.location is not None]
    return {
        "measurements": dict(_measurements(findings)),
        "detections": [_detection(each) for each in placed],
        "probabilities": {
            **{_key(each.finding): each.probability for each in findings.findings if _is_score(each)},
            **{_key(each.concept): each.probability for each in findings.evaluations},
        },
        "notMeasured": sorted(each.name for each in findings.not_measured),
        "segments": sorted(each.tracking_id for each in findings.segments),
        "quality": sorted(_key(each.concept) for each in findings.quality),
    }


def agreement_of(clinical: Json, other: Json) -> Json:
    """How the other run's summary differs from the clinical one's."""
    before, now = clinical["measurements"], other["measurements"]
    pairs = _pairs(clinical["detections"], other["detections"])
    said, says = clinical["probabilities"], other["probabilities"]
    return {
        "differences": {key: now[key] - before[key] for key in sorted(before.keys() & now.keys())},
        "onlyClinical": sorted(before.keys() - now.keys()),
        "onlyShadow": sorted(now.keys() - before.keys()),
        "detections": {
            "both": len(pairs),
            "onlyClinical": len(clinical["detections"]) - len(pairs),
            "onlyShadow": len(other["detections"]) - len(pairs),
        },
        "probabilityDifferences": {
            key: says[key] - said[key]
            for key in sorted(said.keys() & says.keys())
            if said[key] is not None and says[key] is not None
        },
    }


def dice_with(clinical: Iterable[ReadMask], findings: Findings) -> dict[str, float]:
    """Dice of every segment that either run drew; one that only one of them drew agrees in nothing.

    Where one run says how likely a segment is, the other's probabilities are held against it, not what it
    drew by a threshold of its own; a segment that has none there, or is less likely than one half in both,
    has no Dice.

    `clinical`: the masks of the one run, each let go before the next is asked for.
    """
    numbers = {each.tracking_id: each.number for each in findings.segments}
    found = dict.fromkeys(numbers, 0.0)
    for name, mask, is_likely in clinical:
        if name not in numbers or findings.labels is None:
            found[name] = 0.0
            continue
        other = _likely(findings, numbers[name]) if is_likely else findings.labels == numbers[name]
        overlap = None if other is None else dice(mask, other)
        if overlap is None:
            del found[name]
        else:
            found[name] = overlap
    return found


def _likely(findings: Findings, number: int) -> NDArray[np.bool_] | None:
    fraction = findings.fractions.get(number)
    return None if fraction is None else fraction >= CERTAIN / 2


def _measurements(findings: Findings) -> Iterator[tuple[str, float]]:
    """Of findings with a fixed name; detections are compared by their places instead."""
    for finding in findings.findings:
        if finding.location is None:
            for each in finding.measurements:
                derivation = f"/{_key(each.derivation)}" if each.derivation else ""
                yield f"{finding.tracking_id}/{_key(each.concept)}{derivation}", each.value


def _detection(finding: Finding) -> Json:
    assert finding.location is not None
    centre = finding.location.centre.lps_mm
    return {"finding": _key(finding.finding), "centreLpsMm": list(centre), "probability": finding.probability}


def _is_score(finding: Finding) -> bool:
    return finding.location is None and finding.probability is not None


def _key(code: Code) -> str:
    return f"{code.scheme}:{code.value}"


def _pairs(these: list[Json], those: list[Json]) -> list[tuple[int, int]]:
    """Indices of detections that are the same, the nearest first."""
    near = sorted(
        (apart, i, j)
        for i, one in enumerate(these)
        for j, other in enumerate(those)
        if one["finding"] == other["finding"]
        and (apart := dist(one["centreLpsMm"], other["centreLpsMm"])) <= SAME_PLACE_MM
    )
    taken: list[tuple[int, int]] = []
    for _, i, j in near:
        if all(i != a and j != b for a, b in taken):
            taken.append((i, j))
    return taken
