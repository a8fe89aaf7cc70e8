"""Detections and scores are given the manifest's meaning; what is not reported leaves no voxel."""

from typing import Any

import msgspec
import numpy as np
import pytest
from pydicom.sr.codedict import codes

from ai_engine.bundle import codes_of, disagreements
from ai_engine.detections import detected
from ai_engine.findings import Code
from ai_engine.geometry import Geometry
from ai_engine.interpret import interpret
from ai_engine.manifest import Manifest
from ai_engine.runners.port import Detection, ModelOutputInvalid, NamedValue, RunnerOutput, Score

LUNG = {"value": "39607008", "scheme": "SCT", "meaning": "Lung"}
NODULE = {"value": "27925004", "scheme": "SCT", "meaning": "Nodule"}
ABSENT = {"value": "2667000", "scheme": "SCT", "meaning": "Absent"}
MM = {"value": "mm", "scheme": "UCUM", "meaning": "millimeter"}

# Slices 2 mm apart, rows towards the back, columns to the left; the first voxel at (-10, -20, 30) mm.
GEOMETRY = Geometry(
    (4, 5, 6),
    np.array([[0, 0, 0.5, -10], [0, 0.5, 0, -20], [2, 0, 0, 30], [0, 0, 0, 1.0]]),
    "2.25.1",
)


def manifest_with(**changes: Any) -> Manifest:
    detection = {
        "name": "lung_nodule",
        "title": "Nodule",
        "finding": NODULE,
        "absent": ABSENT,
        "site": LUNG,
        "category": NODULE,
        "type": NODULE,
        "rgb": [255, 200, 0],
        "least_probability": 0.5,
        "most": 2,
        "measurements": [
            {"name": "diameter", "title": "Long axis", "concept": NODULE, "unit": MM, "maximum": 60}
        ],
        "none": "No nodule.",
        "found": "{count} nodules.",
        "each": "{number}: {diameter} mm on image {slice}, probability {probability}.",
    }
    plain = {
        "manifest_version": 1,
        "name": "finder",
        "title": "Finder",
        "version": "1.0.0",
        "manufacturer": "M",
        "family": NODULE,
        "intended_use": "Tests.",
        "runtime": {"kind": "python", "entry": "scripts.a:run", "memory_mb": 64, "timeout_s": 1},
        "wants": {"modalities": ["CT"], "sop_classes": []},
        "outputs": [],
        "conclusion": {"sentences": [], "nothing": "Nothing.", "statement": "End."},
        "segments": [],
        "detections": [detection],
        "scores": [],
        **changes,
    }
    return msgspec.convert(plain, Manifest)


SCORE = {
    "name": "effusion",
    "title": "Effusion",
    "finding": NODULE,
    "absent": ABSENT,
    "threshold": 0.4,
    "present_text": "Effusion ({probability}).",
    "absent_text": "No effusion ({probability}).",
}


def nodule(probability: float, label: int | None, column: float = 1.0, **more: Any) -> Detection:
    return Detection("lung_nodule", probability, (1.0, 2.0, column), label=label, **more)


def labels_with(*numbers: int) -> np.ndarray:
    labels = np.zeros(GEOMETRY.shape, np.uint8)
    labels[1, 2, : len(numbers)] = numbers
    return labels


def output(*detections: Detection, labels: np.ndarray | None = None, **more: Any) -> RunnerOutput:
    return RunnerOutput(labels, (), more.pop("not_measured", {}), detections, **more)


def test_detections_are_numbered_by_falling_probability_and_placed() -> None:
    long_axis = ((1.0, 2.0, 0.0), (1.0, 2.0, 4.0))
    likely = nodule(
        0.9123, 9, 2.0, long_axis=long_axis, side="left", values=(NamedValue("diameter", 2.04, 1),)
    )
    found = interpret(
        manifest_with(),
        output(nodule(0.6, 7, uncertainty=0.12345), likely, labels=labels_with(7, 9)),
        GEOMETRY,
    )
    first, second = found.findings
    assert (first.tracking_id, second.tracking_id) == ("lung-nodule-1", "lung-nodule-2")
    assert (first.segment_number, first.probability, second.uncertainty) == (9, 0.912, 0.123)
    assert first.location is not None
    assert first.location.centre.lps_mm == (-9.0, -19.0, 32.0)
    assert [end.lps_mm for end in first.location.long_axis or ()] == [(-10, -19, 32), (-8, -19, 32)]
    assert first.location.slice_index == 1
    assert first.laterality == Code(codes.SCT.Left.value, "SCT", codes.SCT.Left.meaning)
    assert [(m.value, m.unit.value) for m in first.measurements] == [(2.0, "mm")]
    assert [(s.number, s.label, s.tracking_id) for s in found.segments] == [
        (9, "Nodule 1", "lung-nodule-1"),
        (7, "Nodule 2", "lung-nodule-2"),
    ]
    assert found.evaluations == ()
    assert found.conclusion == (
        "2 nodules. 1: 2 mm on image 2 of 4 counted from the feet, probability 0.91. "
        "2: not measured mm on image 2 of 4 counted from the feet, probability 0.60. End."
    )


def test_a_slice_is_called_by_its_name() -> None:
    names = ("40", "39", "38", "37")
    found = interpret(manifest_with(), output(nodule(0.6, None)), GEOMETRY, names=names)
    assert found.conclusion == "1 nodules. 1: not measured mm on image 39, probability 0.60. End."


def test_a_side_that_the_manifest_does_not_trust_is_left_out() -> None:
    given = output(nodule(0.9, None, side="left"))
    assert interpret(manifest_with(), given, GEOMETRY).findings[0].laterality is not None
    (untrusted,) = manifest_with().detections
    manifest = manifest_with(detections=[{**msgspec.to_builtins(untrusted), "sides": False}])
    assert interpret(manifest, given, GEOMETRY).findings[0].laterality is None


def test_another_place_is_another_thing_to_track() -> None:
    here = interpret(manifest_with(), output(nodule(0.9, None, 1.0)), GEOMETRY).findings[0]
    there = interpret(manifest_with(), output(nodule(0.9, None, 5.0)), GEOMETRY).findings[0]
    assert here.tracking_id == there.tracking_id
    assert here.tracking_salt != there.tracking_salt


def test_what_is_not_reported_leaves_no_voxel() -> None:
    unlikely, last = nodule(0.49, 5), nodule(0.51, 6, 3.0)
    given = output(unlikely, last, nodule(0.8, 7, 4.0), nodule(0.7, 8, 5.0), labels=labels_with(5, 6, 7, 8))
    found = interpret(manifest_with(), given, GEOMETRY)
    assert [finding.segment_number for finding in found.findings] == [7, 8]
    assert "Nodule: the 2 likeliest of 3 are reported." in found.conclusion
    assert found.labels is not None
    assert set(np.unique(found.labels)) == {0, 7, 8}
    assert given.labels is not None
    assert set(np.unique(given.labels)) == {0, 5, 6, 7, 8}  # the model's own answer is as it was


def test_none_found_is_a_result() -> None:
    found = interpret(manifest_with(), output(nodule(0.3, None)), GEOMETRY)
    assert (found.findings, found.segments) == ((), ())
    assert [(each.concept.meaning, each.value.meaning) for each in found.evaluations] == [
        ("Nodule", "Absent")
    ]
    assert found.conclusion == "No nodule. End."


def test_not_looked_is_not_none_found() -> None:
    found = interpret(manifest_with(), output(not_measured={"lung_nodule": "no lung is in view"}), GEOMETRY)
    assert (found.findings, found.evaluations) == ((), ())
    assert found.conclusion == "Nothing. Not measured: Nodule (no lung is in view). End."


def test_implausible_measurement_is_left_out() -> None:
    far = nodule(0.9, None, values=(NamedValue("diameter", 61.0),))
    found = interpret(manifest_with(), output(far), GEOMETRY)
    assert found.findings[0].measurements == ()
    assert "not measured mm" in found.conclusion


@pytest.mark.parametrize(("probability", "present"), [(0.4, True), (0.3999, False)])
def test_scores_are_findings_from_their_threshold_on(probability: float, present: bool) -> None:
    manifest = manifest_with(detections=[], scores=[SCORE])
    found = interpret(manifest, output(scores=(Score("effusion", probability, 0.05),)), GEOMETRY)
    assert [finding.tracking_id for finding in found.findings] == (["effusion"] if present else [])
    assert [each.probability for each in found.evaluations] == ([] if present else [0.4])
    assert found.conclusion == ("Effusion (0.40). End." if present else "No effusion (0.40). End.")


def test_missing_score_is_said() -> None:
    found = interpret(manifest_with(detections=[], scores=[SCORE]), output(), GEOMETRY)
    assert [each.name for each in found.not_measured] == ["Effusion"]


def test_quality_flags_are_said() -> None:
    manifest = manifest_with(quality=[{"name": "motion", "concept": NODULE}])
    found = interpret(manifest, output(quality={"motion": "The heart moved."}), GEOMETRY)
    assert [(flag.concept.meaning, flag.text) for flag in found.quality] == [("Nodule", "The heart moved.")]
    assert found.conclusion == "No nodule. The heart moved. End."


REFUSED = {
    "unknown kind": output(Detection("cyst", 0.9, (1, 2, 3))),
    "unknown value": output(nodule(0.9, None, values=(NamedValue("weight", 1.0),))),
    "label without a map": output(nodule(0.9, 7)),
    "label without a voxel": output(nodule(0.9, 7), labels=labels_with(8)),
    "unlabelled voxels": output(nodule(0.9, 7), labels=labels_with(7, 8)),
    "found and not looked for": output(nodule(0.9, None), not_measured={"lung_nodule": "why"}),
    "unknown score": output(scores=(Score("cyst", 0.5),)),
    "unknown reason": output(not_measured={"nodul": "no lung is in view"}),
    "unknown flag": output(quality={"cyst": "x"}),
}


@pytest.mark.parametrize("given", REFUSED.values(), ids=REFUSED)
def test_output_beyond_the_manifest_is_refused(given: RunnerOutput) -> None:
    with pytest.raises(ModelOutputInvalid):
        interpret(manifest_with(), given, GEOMETRY)


def test_label_of_a_segment_is_refused() -> None:
    segment = {"number": 7, "label": "Lung", "category": NODULE, "type": LUNG, "tracking_id": "lung"}
    manifest = manifest_with(segments=[{**segment, "rgb": [0, 0, 0]}])
    with pytest.raises(ModelOutputInvalid, match="label 7"):
        detected(manifest, output(nodule(0.9, 7), labels=labels_with(7)), GEOMETRY)


def test_manifest_is_checked() -> None:
    assert list(disagreements(manifest_with())) == []
    clash = manifest_with(
        findings=[{"tracking_id": "lung-nodule-12", "finding": NODULE}], scores=[SCORE, SCORE]
    )
    told = list(disagreements(clash))
    assert [each.partition(":")[0] for each in told] == [
        "scores",
        "tracking id effusion occurs 2 times",
        "detections",
    ]
    worded = msgspec.to_builtins(manifest_with())
    worded["detections"][0]["each"] = "{weight}"
    assert list(disagreements(msgspec.convert(worded, Manifest))) == [
        "detections: lung_nodule: {weight} is unknown"
    ]


def test_codes_of_detections_and_scores_are_looked_at() -> None:
    odd = {"value": "1", "scheme": "99X", "meaning": "Odd"}
    manifest = manifest_with(
        scores=[{**SCORE, "absent": odd}], quality=[{"name": "motion", "concept": {**odd, "value": "2"}}]
    )
    assert {"1", "2"} <= {code.value for code in codes_of(manifest)}
