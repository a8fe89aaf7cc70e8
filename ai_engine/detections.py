"""Detections and scores of a model, given the meaning that its manifest states; pure.

Detections below their kind's threshold, or past the most that it reports, are dropped with their voxels. The
others are numbered by falling probability: "nodule-1" is the likeliest of this run, and may be another nodule
than that of an earlier run, wherefore its Tracking UID derives from its place as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom.sr.codedict import codes

from ai_engine.bundle import PLACEHOLDER
from ai_engine.findings import Code, Evaluation, Finding, Location, Measurement, Point, Segment
from ai_engine.geometry import Geometry
from ai_engine.manifest import DetectionMeaning, DetectionMeasurement, Manifest, ScoreMeaning
from ai_engine.runners.port import Detection, Index, ModelOutputInvalid, NamedValue, RunnerOutput, Score
from ai_engine.slice_names import counted_names, name_at

PROBABILITY_DECIMALS = 3
_SIDES: Mapping[str, Code] = {
    side: Code(code.value, code.scheme_designator, code.meaning)
    for side, code in (("right", codes.SCT.Right), ("left", codes.SCT.Left))
}


@dataclass(slots=True, eq=False)
class Detected:
    """What a run's detections and scores come to."""

    labels: NDArray[np.uint8] | None  # those of the output, without what is dropped
    findings: list[Finding] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)  # of the conclusion


def detected(
    manifest: Manifest, output: RunnerOutput, geometry: Geometry, names: Sequence[str] = ()
) -> Detected:
    """The detections and scores of one run in coded terms; `names` are those of the slices in sentences.

    Raises:
        ModelOutputInvalid: a name or a label that the manifest does not allow, or a label without voxels.
    """
    _check(manifest, output)
    names = names or counted_names(geometry.shape[0], geometry.affine[:3, 0])
    made = Detected(output.labels)
    dropped: list[Detection] = []
    for meaning in manifest.detections:
        of_kind = [each for each in output.detections if each.name == meaning.name]
        likely = _likely(meaning, of_kind)
        reported = likely[: meaning.most]
        dropped += [each for each in of_kind if each not in reported]
        if meaning.name not in output.not_measured:
            _add_detections(meaning, reported, geometry, made, names)
        if len(likely) > len(reported):
            made.sentences.append(
                f"{meaning.title}: the {len(reported)} likeliest of {len(likely)} are reported."
            )
    for score in output.scores:
        _add_score(_meaning_of(manifest, score), score, made)
    made.labels = _without(output.labels, dropped)
    return made


def _check(manifest: Manifest, output: RunnerOutput) -> None:
    kinds = {meaning.name: meaning for meaning in manifest.detections}
    fixed = {segment.number for segment in manifest.segments}
    for each in output.detections:
        if each.name not in kinds:
            raise ModelOutputInvalid("a detection has a name that the manifest does not describe")
        if each.name in output.not_measured:
            raise ModelOutputInvalid(f"{each.name}: found, and said to be not measured")
        known = {measurement.name for measurement in kinds[each.name].measurements}
        if any(value.name not in known for value in each.values):
            raise ModelOutputInvalid(f"{each.name}: it has a value that the manifest does not describe")
    labelled = {each.label for each in output.detections if each.label is not None}
    if labelled & fixed:
        raise ModelOutputInvalid(f"the label {min(labelled & fixed)} of a detection is that of a segment")
    if labelled and output.labels is None:
        raise ModelOutputInvalid("detections have labels, and there is no label map")
    if labelled and output.labels is not None:
        held = np.flatnonzero(np.bincount(output.labels.ravel(), minlength=256))
        if without := labelled - set(held.tolist()):
            raise ModelOutputInvalid(f"the label {min(without)} of a detection has no voxel")


def _likely(meaning: DetectionMeaning, of_kind: Sequence[Detection]) -> list[Detection]:
    """Those that are likely enough, the likeliest first; as likely ones in the order of their place."""
    likely = [each for each in of_kind if each.probability >= meaning.least_probability]
    return sorted(likely, key=lambda each: (-each.probability, each.centre))


def _add_detections(
    meaning: DetectionMeaning,
    reported: Sequence[Detection],
    geometry: Geometry,
    made: Detected,
    names: Sequence[str],
) -> None:
    if not reported:
        made.evaluations.append(Evaluation(meaning.finding, meaning.absent))
        made.sentences.append(meaning.none)
        return
    made.sentences.append(PLACEHOLDER.sub(str(len(reported)), meaning.found))
    for number, each in enumerate(reported, 1):
        finding = _finding(meaning, each, number, geometry)
        made.findings.append(finding)
        made.segments += _segment(meaning, finding, number)
        words = {**_words(meaning, each), "number": str(number)}
        words["probability"] = f"{finding.probability:.2f}"
        words["slice"] = "?" if finding.location is None else name_at(names, finding.location.slice_index)
        made.sentences.append(_filled(meaning.each, words))


def _finding(meaning: DetectionMeaning, found: Detection, number: int, geometry: Geometry) -> Finding:
    location = Location(
        _point(found.centre, geometry), _points(found.long_axis, geometry), _points(found.box, geometry)
    )
    place = ",".join(f"{coordinate:.0f}" for coordinate in location.centre.lps_mm)
    return Finding(
        tracking_id=f"{meaning.name.replace('_', '-')}-{number}",
        finding=meaning.finding,
        site=meaning.site,
        laterality=_SIDES[found.side] if found.side and meaning.sides else None,
        segment_number=found.label,
        measurements=tuple(_measurements(meaning, found.values)),
        probability=round(found.probability, PROBABILITY_DECIMALS),
        uncertainty=_rounded(found.uncertainty),
        location=location,
        tracking_salt=place,
    )


def _segment(meaning: DetectionMeaning, finding: Finding, number: int) -> Iterator[Segment]:
    if finding.segment_number is not None:
        yield Segment(
            number=finding.segment_number,
            label=f"{meaning.title} {number}",
            category=meaning.category,
            type=meaning.type,
            type_modifier=meaning.type_modifier,
            tracking_id=finding.tracking_id,
            recommended_rgb=meaning.rgb,
            tracking_salt=finding.tracking_salt,
        )


def _measurements(meaning: DetectionMeaning, values: Sequence[NamedValue]) -> Iterator[Measurement]:
    given = {value.name: value for value in values}
    for each in meaning.measurements:
        value = given.get(each.name)
        if value is not None and _is_plausible(each, value.value):
            yield Measurement(
                concept=each.concept,
                value=round(value.value, each.decimals) + 0.0,
                unit=each.unit,
                derivation=each.derivation,
                method=each.method,
                slice_index=value.slice_index,
            )


def _is_plausible(meaning: DetectionMeasurement, value: float) -> bool:
    above = meaning.minimum is None or value >= meaning.minimum
    return above and (meaning.maximum is None or value <= meaning.maximum)


def _words(meaning: DetectionMeaning, found: Detection) -> dict[str, str]:
    """What the placeholders of `each` that name measurements stand for; one that is left out has no word."""
    meanings = {each.name: each for each in meaning.measurements}
    return {
        value.name: f"{round(value.value, meanings[value.name].decimals) + 0.0:.15g}"
        for value in found.values
        if _is_plausible(meanings[value.name], value.value)
    }


def _filled(text: str, words: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda match: words.get(match.group(1), "not measured"), text)


def _meaning_of(manifest: Manifest, score: Score) -> ScoreMeaning:
    for meaning in manifest.scores:
        if meaning.name == score.name:
            return meaning
    raise ModelOutputInvalid("a score has a name that the manifest does not describe")


def _add_score(meaning: ScoreMeaning, score: Score, made: Detected) -> None:
    probability = round(score.probability, PROBABILITY_DECIMALS)
    spread = _rounded(score.uncertainty)
    if score.probability >= meaning.threshold:
        tracking_id = meaning.name.replace("_", "-")
        finding = Finding(
            tracking_id, meaning.finding, meaning.site, probability=probability, uncertainty=spread
        )
        made.findings.append(finding)
        text = meaning.present_text
    else:
        made.evaluations.append(Evaluation(meaning.finding, meaning.absent, probability, spread))
        text = meaning.absent_text
    made.sentences.append(_filled(text, {"probability": f"{probability:.2f}"}))


def _without(labels: NDArray[np.uint8] | None, dropped: Sequence[Detection]) -> NDArray[np.uint8] | None:
    numbers = [each.label for each in dropped if each.label is not None]
    if labels is None or not numbers:
        return labels
    table = np.arange(256, dtype=np.uint8)
    table[numbers] = 0
    return table[labels]


def _point(index: Index, geometry: Geometry) -> Point:
    return Point(index, geometry.position_lps_mm(index))


def _points(pair: tuple[Index, Index] | None, geometry: Geometry) -> tuple[Point, Point] | None:
    return None if pair is None else (_point(pair[0], geometry), _point(pair[1], geometry))


def _rounded(uncertainty: float | None) -> float | None:
    return None if uncertainty is None else round(uncertainty, PROBABILITY_DECIMALS)
