"""What a model returned, given the meaning that its manifest states; pure.

The conclusion is worded from the rounded values, so it says the same numbers as the SR and the Observations.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ai_engine.bundle import PLACEHOLDER
from ai_engine.detections import Detected, detected
from ai_engine.findings import Finding, Findings, Measurement, NotMeasured, QualityFlag, Segment
from ai_engine.geometry import Geometry
from ai_engine.manifest import FindingMeaning, Manifest, OutputMeaning, SegmentMeaning
from ai_engine.runners.port import ModelOutputInvalid, NamedValue, RunnerOutput
from ai_engine.slice_names import counted_names, name_at

NO_REASON = "the model gave no value and no reason"


def interpret(
    manifest: Manifest,
    output: RunnerOutput,
    geometry: Geometry,
    remarks: Sequence[str] = (),
    names: Sequence[str] = (),
) -> Findings:
    """The findings of one run.

    Args:
        manifest: of the bundle that ran.
        output: what it returned.
        geometry: where the voxels of its input lie.
        remarks: sentences about the input that a reader should know; they follow the measurements.
        names: what to call each slice in the conclusion; none at all: they are counted.

    Raises:
        ModelOutputInvalid: it returned a value or a segment that the manifest does not describe.
    """
    values = _values_by_name(manifest, output.values)
    _check_reasons(manifest, output)
    names = names or counted_names(geometry.shape[0], geometry.affine[:3, 0])
    found = detected(manifest, output, geometry, names)
    present = segments_present(manifest, found)
    missing = tuple(_not_measured(manifest, values, output))
    quality = tuple(_quality(manifest, output.quality))
    said = [*found.sentences, *_measured(manifest, values, names)]
    segments = (*(_segment(segment) for segment in present), *found.segments)
    return Findings(
        model=manifest.identity,
        segments=segments,
        labels=found.labels if segments else None,
        findings=(
            *found.findings,
            *_findings(manifest, values, {segment.number for segment in present}),
        ),
        not_measured=missing,
        conclusion=conclusion_of(manifest, said, missing, [*(flag.text for flag in quality), *remarks]),
        evaluations=tuple(found.evaluations),
        quality=quality,
        fractions=_fractions(manifest, output),
    )


def _fractions(manifest: Manifest, output: RunnerOutput) -> dict[int, NDArray[np.uint8]]:
    numbers = [segment.number for segment in manifest.segments]
    return {} if output.fractions is None else dict(zip(numbers, output.fractions, strict=True))


def segments_present(manifest: Manifest, found: Detected) -> tuple[SegmentMeaning, ...]:
    """The segments of the manifest that have at least one voxel."""
    if found.labels is None:
        return ()
    numbers = set(np.flatnonzero(np.bincount(found.labels.ravel(), minlength=1)).tolist()) - {0}
    numbers -= {segment.number for segment in found.segments}
    unknown = numbers - {segment.number for segment in manifest.segments}
    if unknown:
        raise ModelOutputInvalid(f"labels hold {min(unknown)}, which the manifest does not describe")
    return tuple(segment for segment in manifest.segments if segment.number in numbers)


def conclusion_of(
    manifest: Manifest, said: Sequence[str], missing: Sequence[NotMeasured], remarks: Sequence[str]
) -> str:
    """The conclusion in plain sentences: what was found and measured, what was not, what else to know."""
    rules = manifest.conclusion
    reasons = [
        f"Not measured: {', '.join(_names_missing(manifest, reason, missing))} ({reason})."
        for reason in dict.fromkeys(each.reason for each in missing)
    ]
    return " ".join([*(said or [rules.nothing]), *reasons, *remarks, rules.statement])


def _check_reasons(manifest: Manifest, output: RunnerOutput) -> None:
    described = {meaning.name for meaning in manifest.outputs}
    described |= {meaning.name for meaning in manifest.detections}
    described |= {meaning.name for meaning in manifest.scores}
    if set(output.not_measured) - described:
        raise ModelOutputInvalid("not_measured has a name that the manifest does not describe")


def _measured(manifest: Manifest, values: Mapping[str, NamedValue], names: Sequence[str]) -> Iterator[str]:
    for group in manifest.conclusion.sentences:
        if text := _first_said(group, values, names):
            yield text


def _quality(manifest: Manifest, said: Mapping[str, str]) -> Iterator[QualityFlag]:
    meanings = {meaning.name: meaning for meaning in manifest.quality}
    if set(said) - set(meanings):
        raise ModelOutputInvalid("a quality flag has a name that the manifest does not describe")
    for name, meaning in meanings.items():
        if name in said:
            yield QualityFlag(meaning.concept, said[name])


def rounded(value: float, decimals: int) -> float:
    """The value as it is reported everywhere; never a negative zero."""
    return round(value, decimals) + 0.0


def _values_by_name(manifest: Manifest, values: Sequence[NamedValue]) -> dict[str, NamedValue]:
    """The plausible values, rounded."""
    meanings = {output.name: output for output in manifest.outputs}
    unknown = [value.name for value in values if value.name not in meanings]
    if unknown:
        raise ModelOutputInvalid("a value has a name that the manifest does not describe")
    return {
        value.name: NamedValue(
            value.name, rounded(value.value, meanings[value.name].decimals), value.slice_index
        )
        for value in values
        if _plausible(meanings[value.name], value.value)
    }


def _plausible(meaning: OutputMeaning, value: float) -> bool:
    low = -math.inf if meaning.minimum is None else meaning.minimum
    high = math.inf if meaning.maximum is None else meaning.maximum
    return math.isfinite(value) and low <= value <= high


def _not_measured(
    manifest: Manifest, values: Mapping[str, NamedValue], output: RunnerOutput
) -> Iterator[NotMeasured]:
    """What has no value, with the reason the model gave or ours."""
    given = {value.name for value in output.values}
    for meaning in manifest.outputs:
        if meaning.name in values:
            continue
        if meaning.name in output.not_measured:
            yield NotMeasured(meaning.title, output.not_measured[meaning.name])
        elif meaning.name in given:
            yield NotMeasured(meaning.title, "the value was implausible and is withheld")
        elif not meaning.optional:
            yield NotMeasured(meaning.title, NO_REASON)
    for detection in manifest.detections:
        if detection.name in output.not_measured:
            yield NotMeasured(detection.title, output.not_measured[detection.name])
    scored = {score.name for score in output.scores}
    for score in manifest.scores:
        if score.name not in scored:
            yield NotMeasured(score.title, output.not_measured.get(score.name, NO_REASON))


def _findings(manifest: Manifest, values: Mapping[str, NamedValue], numbers: set[int]) -> Iterator[Finding]:
    """The groups that hold a measurement or stand for a segment."""
    for meaning in manifest.findings:
        segment = meaning.segment if meaning.segment in numbers else None
        measurements = tuple(_measurements(manifest, meaning, values))
        if measurements or segment is not None:
            yield Finding(
                tracking_id=meaning.tracking_id,
                finding=meaning.finding,
                site=meaning.site,
                laterality=meaning.laterality,
                segment_number=segment,
                measurements=measurements,
            )


def _measurements(
    manifest: Manifest, finding: FindingMeaning, values: Mapping[str, NamedValue]
) -> Iterator[Measurement]:
    for output in manifest.outputs:
        if output.finding == finding.tracking_id and output.name in values:
            value = values[output.name]
            yield Measurement(
                concept=output.concept,
                value=value.value,
                unit=output.unit,
                derivation=output.derivation,
                method=output.method,
                slice_index=value.slice_index,
            )


def _segment(meaning: SegmentMeaning) -> Segment:
    return Segment(
        number=meaning.number,
        label=meaning.label,
        category=meaning.category,
        type=meaning.type,
        type_modifier=meaning.type_modifier,
        tracking_id=meaning.tracking_id,
        recommended_rgb=meaning.rgb,
    )


def _first_said(group: Sequence[str], values: Mapping[str, NamedValue], names: Sequence[str]) -> str | None:
    """The first sentence of a group whose every placeholder has a value, filled in."""
    for text in group:
        asked = PLACEHOLDER.findall(text)
        words = [_slice_word(values.get(n), names) if part else _word(values.get(n)) for n, part in asked]
        if None not in words:
            return _filled(text, words)
    return None


def _filled(text: str, words: Sequence[str | None]) -> str:
    fill = iter(words)
    return PLACEHOLDER.sub(lambda _: str(next(fill)), text)


def _word(value: NamedValue | None) -> str | None:
    """A value as the conclusion writes it: at most 15 digits, and no decimals that say nothing."""
    return None if value is None else f"{value.value:.15g}"


def _slice_word(value: NamedValue | None, names: Sequence[str]) -> str | None:
    """The name of the slice that a value belongs to."""
    return None if value is None or value.slice_index is None else name_at(names, value.slice_index)


def _names_missing(manifest: Manifest, reason: str, missing: Sequence[NotMeasured]) -> list[str]:
    """What is missing for this reason; a group by its own name when all of it is."""
    titles = {each.name for each in missing if each.reason == reason}
    whole = {
        group
        for group in {output.group for output in manifest.outputs if output.group}
        if titles.issuperset(output.title for output in manifest.outputs if output.group == group)
    }
    group_of = {output.title: output.group for output in manifest.outputs if output.group in whole}
    names = (group_of.get(each.name) or each.name for each in missing if each.reason == reason)
    return list(dict.fromkeys(names))
