"""The gate before clinicians: what an evaluation must show of a version before it serves. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ai_engine.evaluation.proportion import Estimate

MARGIN = 0.02  # by which a figure may lie behind production's

# Figures of which less is better; of every other one more is.
LESS_IS_BETTER = ("brier", "calibration_error", "error", "false_positives_per_scan", "volume_error")

Metric = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_.-]+)?$", max_length=128)]
SetName = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class Criterion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One figure of an evaluation on one holdout set, and what it must reach.

    `bound` "interval" holds the unfavourable end of the 95 % interval to the threshold, "point" the figure
    itself. `margin`: how far the figure may lie behind that of the version in production.
    """

    metric: Metric
    holdout: SetName
    threshold: float
    bound: Literal["interval", "point"] = "interval"
    margin: Annotated[float, Meta(ge=0)] = MARGIN
    holdout_digest: Sha256 | None = None  # of the set's files; None: as it is registered


Figures = Mapping[str, Estimate]
Evaluations = Mapping[str, Figures]  # by holdout set: of the whole of it, as it is registered now


@dataclass(frozen=True, slots=True)
class Standing:
    """The version that a new one is compared with: in production, or last there."""

    version: str
    evaluations: Evaluations


def shortcomings(
    criteria: Sequence[Criterion], candidate: Evaluations, standing: Standing | None
) -> Iterator[str]:
    """What keeps a version from passing; nothing: it passes. `standing` None: there is no such version."""
    for criterion in criteria:
        yield from _of_one(criterion, candidate)
        if standing is not None:
            yield from _behind(criterion, candidate, standing)
    yield from _left_out(criteria, candidate)


def _left_out(criteria: Sequence[Criterion], candidate: Evaluations) -> Iterator[str]:
    """Shares that figures rest on, which fall short of all cases and no criterion speaks of.

    Else a model came better off by failing on what is hard: an error that was not measured is none.
    """
    named = {(each.holdout, each.metric) for each in criteria}
    for holdout, metric in dict.fromkeys(share for each in criteria for share in _rests_on(each)):
        figure = candidate.get(holdout, {}).get(metric)
        if figure is not None and figure.point < 1 and (holdout, metric) not in named:
            yield f"{metric} on {holdout}: {figure.point:.4g}, and no criterion says what is enough"


def _rests_on(criterion: Criterion) -> Iterator[tuple[str, str]]:
    yield criterion.holdout, "completed"
    kind, _, output = criterion.metric.partition(".")
    if kind == "error":
        yield criterion.holdout, f"measured.{output}"


def _of_one(criterion: Criterion, candidate: Evaluations) -> Iterator[str]:
    name = f"{criterion.metric} on {criterion.holdout}"
    if criterion.holdout not in candidate:
        yield f"not evaluated on the whole of {criterion.holdout} as it is registered"
        return
    figure = candidate[criterion.holdout].get(criterion.metric)
    if figure is None:
        yield f"{name}: the evaluation has no such figure"
    elif shortfall := _below(criterion, figure):
        yield f"{name}: {shortfall}"


def _behind(criterion: Criterion, candidate: Evaluations, standing: Standing) -> Iterator[str]:
    """How a version that has a figure lies behind the one that stands, or why nobody can tell."""
    figure = candidate.get(criterion.holdout, {}).get(criterion.metric)
    if figure is None:
        return
    if criterion.holdout not in standing.evaluations:
        unknown = f"is not evaluated on the whole of {criterion.holdout}"
        yield f"{standing.version}, which it is compared with, {unknown}"
        return
    name, before = f"{criterion.metric} on {criterion.holdout}", standing.evaluations[criterion.holdout]
    other = before.get(criterion.metric)
    if other is None:
        yield f"{name}: the evaluation of {standing.version} has no such figure to compare with"
    elif _is_worse(criterion, figure, other):
        yield (
            f"{name}: {figure.point:.4g} is more than {criterion.margin:g} worse than"
            f" the {other.point:.4g} of {standing.version}"
        )


def less_is_better(metric: str) -> bool:
    """Whether a smaller figure is the better one; `error.NAME` and the like go by their first word."""
    return metric.partition(".")[0] in LESS_IS_BETTER


def _below(criterion: Criterion, figure: Estimate) -> str | None:
    """How the figure falls short of the threshold; None: it reaches it."""
    is_less = less_is_better(criterion.metric)
    unfavourable = figure.upper if is_less else figure.lower
    value = unfavourable if criterion.bound == "interval" else figure.point
    what = ("upper bound" if is_less else "lower bound") if criterion.bound == "interval" else "value"
    if (value <= criterion.threshold) if is_less else (value >= criterion.threshold):
        return None
    return f"the {what} {value:.4g} is {'above' if is_less else 'below'} {criterion.threshold:g}"


def _is_worse(criterion: Criterion, figure: Estimate, standing: Estimate) -> bool:
    lead = figure.point - standing.point
    behind = lead if less_is_better(criterion.metric) else -lead
    return behind > criterion.margin + 1e-9  # the margin itself is allowed
