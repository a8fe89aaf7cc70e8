"""The tables of a model's card, made from the figures of its evaluation so that they cannot differ."""

from collections.abc import Iterator
from typing import Any

Json = Any
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
SETS = {
    "held_out": "Held out: the distribution it learned from",
    "shifted": "Shifted: other noise, kernels, spacings, builds and shapes; nothing was tuned on it",
    "other_generator": "Another generator: spheres in the chest of `ai_engine.phantom.chest`",
}


def with_figures(card: str, results: Json) -> str:
    """The card with the tables between its two marks."""
    before, rest = card.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n\n{tables_of(results)}\n{END}{after}"


def tables_of(results: Json) -> str:
    """Markdown: the targets, then each set."""
    parts = ["\n".join(_targets(results["targets"]))]
    for name, title in SETS.items():
        figures = results["figures"][name]
        parts.append(f"### {title}\n\n{figures['scans']} scans, {figures['nodules']} nodules.")
        parts += ["\n".join(_of_scans(figures)), "\n".join(_of_classes(figures))]
        parts += [_of_recorded(figures), _of_reported(figures)]
    return "\n\n".join(parts) + "\n"


def _targets(targets: Json) -> Iterator[str]:
    yield "| target | more than | reached | |"
    yield "|---|---|---|---|"
    for name, each in targets.items():
        verdict = "met" if each["passed"] else "**missed**"
        yield f"| {name} | {_percent(each['more_than'])} | {_percent(each['is'])} | {verdict} |"


def _of_scans(figures: Json) -> Iterator[str]:
    scan, nodule = figures["scan"], figures["nodule"]
    yield "| | figure | 95 % interval |"
    yield "|---|---|---|"
    yield f"| sensitivity of scans | {_row(scan['sensitivity'])} |"
    yield f"| specificity of scans | {_row(scan['specificity'])} |"
    yield f"| area under the ROC curve of scans | {_row(scan['auc'])} |"
    yield f"| nodules found | {_row(nodule['sensitivity'])} |"
    alarms = nodule["false_alarms_per_scan"]
    yield f"| false alarms a scan | {alarms['point']:.2f} | {alarms['lower']:.2f} to {alarms['upper']:.2f} |"
    for rate, value in nodule["sensitivity_at_rate"].items():
        yield f"| nodules found at {rate} false alarms a scan | {_row(value)} |"


def _of_classes(figures: Json) -> Iterator[str]:
    yield "| nodules | number | found at the threshold | at 0.5 false alarms a scan |"
    yield "|---|---|---|---|"
    by_size = sorted(figures["by_size_mm"].items(), key=lambda each: float(each[0].split()[0]))
    rows = [(f"{size} mm".replace("0 to", "under"), each) for size, each in by_size]
    rows.insert(1, ("6 mm and more", figures["at_least_6_mm"]))
    rows += [*figures["by_kind"].items(), *figures["by_place"].items()]
    for name, each in rows:
        found, at_half = each["sensitivity"], each["sensitivity_at_rate"]["0.5"]
        if found is not None:
            yield f"| {name} | {found['of']} | {_said(found)} | {_said(at_half)} |"


def _of_recorded(figures: Json) -> str:
    """What the curves are made of: likely enough for them, though mostly not for a report."""
    outline, calibration = figures["outline"], figures["calibration"]
    if outline is None:
        return "No nodule was drawn."
    errors = outline["volume_error_median"], outline["volume_error_absolute_median"]
    return (
        "Recorded for the curves, from a probability of 0.01 on: "
        f"of {outline['nodules']} nodules that any such detection touched "
        f"Dice {outline['dice_mean']:.2f} (mean), "
        f"{outline['dice_median']:.2f} (median); "
        f"volume wrong by {_percent(errors[0])} (median), "
        f"{_percent(errors[1])} without sign. "
        f"Probabilities of {calibration['detections']} detections: {_calibration(calibration)}."
    )


def _of_reported(figures: Json) -> str:
    reported = figures["reported"]
    calibration, sides = reported["calibration"], reported["sides"]
    found = f"{reported['nodules_found']} of {figures['nodules']} nodules are found"
    if not calibration["detections"]:
        return f"**Reported**, from the threshold of {figures['threshold']} on: {found}."
    return (
        f"**Reported**, from the threshold of {figures['threshold']} on: {found}. "
        f"Probabilities of {calibration['detections']} detections: {_calibration(calibration)}; "
        f"mean probability {calibration['mean_probability']:.2f}, "
        f"share that are nodules {calibration['precision']:.2f}. "
        f"Of {sides['hits']} that hit a nodule {sides['stated']} state a side, "
        f"{sides['right']} of them the right one."
    )


def _calibration(figures: Json) -> str:
    return f"Brier score {figures['brier']:.3f}, expected calibration error {figures['expected_error']:.3f}"


def _row(estimate: Json) -> str:
    if estimate is None:
        return "none | "
    low, high = _percent(estimate["lower"]), _percent(estimate["upper"])
    return f"{_percent(estimate['point'])} | {low} to {high}"


def _said(estimate: Json) -> str:
    if estimate is None:
        return ""
    low, high = _percent(estimate["lower"]), _percent(estimate["upper"])
    return f"{_percent(estimate['point'])} ({low} to {high})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
