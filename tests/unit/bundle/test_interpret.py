"""What a model returned is given the manifest's meaning."""

import math

import msgspec
import numpy as np
import pytest

from ai_engine.bundle import load_bundle, shipped_bundles
from ai_engine.findings import Findings, NotMeasured
from ai_engine.geometry import Geometry
from ai_engine.interpret import NO_REASON
from ai_engine.interpret import interpret as interpret_in
from ai_engine.manifest import Manifest
from ai_engine.runners.port import ModelOutputInvalid, NamedValue, RunnerOutput


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return load_bundle(shipped_bundles()[0]).manifest


def output(
    *values: NamedValue, labels: np.ndarray | None = None, reasons: dict[str, str] | None = None
) -> RunnerOutput:
    return RunnerOutput(labels, values, reasons or {})


GEOMETRY = Geometry((2, 3, 4), np.diag([1.0, 1.0, 1.0, 1.0]), "2.25.1")


def interpret(manifest: Manifest, output: RunnerOutput, remarks: tuple[str, ...] = ()) -> Findings:
    return interpret_in(manifest, output, GEOMETRY, remarks)


def labels_with(*numbers: int) -> np.ndarray:
    labels = np.zeros((2, 3, 4), np.uint8)
    labels[0, 0, : len(numbers)] = numbers
    return labels


def test_values_become_measurements_of_their_finding(manifest: Manifest) -> None:
    found = interpret(
        manifest,
        output(
            NamedValue("lung_volume_right", 2085.4999),
            NamedValue("laa950_right", 5.449),
            NamedValue("fat_area", 216.2, 31),
            labels=labels_with(1, 4),
        ),
    )
    right, fat = found.findings
    assert (right.tracking_id, right.segment_number, right.laterality.meaning) == ("right-lung", 1, "Right")
    volume, laa = right.measurements
    assert (volume.value, volume.unit.value, volume.concept.meaning) == (2085.0, "cm3", "Volume")
    assert (laa.value, laa.concept.scheme) == (5.4, "99ISTHMUS")
    assert (fat.tracking_id, fat.measurements[0].slice_index) == ("fat", 31)
    assert [segment.number for segment in found.segments] == [1, 4]
    assert found.model.name == "ct-quantification"


def test_absent_segments_are_dropped(manifest: Manifest) -> None:
    found = interpret(manifest, output(NamedValue("lung_volume_left", 1), labels=labels_with(1)))
    assert [segment.number for segment in found.segments] == [1]
    assert {each.tracking_id: each.segment_number for each in found.findings} == {
        "right-lung": 1,
        "left-lung": None,
    }


def test_no_voxel_drawn_is_no_label_map(manifest: Manifest) -> None:
    assert interpret(manifest, output(labels=labels_with())).labels is None
    assert interpret(manifest, output()).segments == ()


def test_what_is_missing_is_said_with_its_reason(manifest: Manifest) -> None:
    found = interpret(manifest, output(reasons={"fat_area": "the trunk reaches beyond the field of view"}))
    assert NotMeasured("Fat area", "the trunk reaches beyond the field of view") in found.not_measured
    assert NotMeasured("Right lung LAA-950", NO_REASON) in found.not_measured
    names = {each.name for each in found.not_measured}
    assert "Lung volume in the field of view" not in names  # optional
    assert found.findings == ()


@pytest.mark.parametrize("value", [math.nan, math.inf, -1, 15001])
def test_an_implausible_value_is_withheld(value: float, manifest: Manifest) -> None:
    found = interpret(manifest, output(NamedValue("lung_volume_right", value)))
    assert found.findings == ()
    assert NotMeasured("Right lung volume", "the value was implausible and is withheld") in found.not_measured


def test_what_the_manifest_does_not_know_is_refused(manifest: Manifest) -> None:
    with pytest.raises(ModelOutputInvalid):
        interpret(manifest, output(NamedValue("surprise", 1)))
    with pytest.raises(ModelOutputInvalid, match="labels hold 200"):
        interpret(manifest, output(labels=labels_with(1, 200)))


def test_the_conclusion_says_the_rounded_values(manifest: Manifest) -> None:
    values = {"lung_volume_total": 4032.4, "lung_volume_right": 2085.2, "lung_volume_left": 1947.2}
    found = interpret(
        manifest,
        output(*(NamedValue(name, value) for name, value in values.items())),
        ("Left out of the analysis: 5 image(s), a repetition of another slice.",),
    )
    assert found.conclusion.startswith("Lung volume 4032 ml (right 2085 ml, left 1947 ml). Not measured: ")
    assert "Left out of the analysis: 5 image(s)" in found.conclusion
    assert found.conclusion.endswith("Research use only, not for clinical use.")
    assert "{" not in found.conclusion


def test_the_conclusion_falls_back_to_what_there_is(manifest: Manifest) -> None:
    right = interpret(manifest, output(NamedValue("lung_volume_right", 2000)))
    assert right.conclusion.startswith("Volume of the right lung 2000 ml. ")
    partial = interpret(
        manifest, output(NamedValue("partial_lung_volume", 600), NamedValue("partial_lung_density", -700))
    )
    assert partial.conclusion.startswith("Only part of the lungs is in the field of view: 600 ml ")
    nothing = interpret(manifest, output())
    assert nothing.conclusion.startswith("Nothing could be measured on this series. Not measured: ")


def test_slices_are_called_by_their_names(manifest: Manifest) -> None:
    names = ("fat_area", "muscle_area", "trunk_area", "slice_position")
    on_first = output(*(NamedValue(name, 100, 0) for name in names))
    assert (
        "On image 70 (z 100 mm)" in interpret_in(manifest, on_first, GEOMETRY, names=("70", "69")).conclusion
    )
    found = interpret(manifest, on_first)
    assert "On image 1 of 2 counted from the right (z 100 mm)" in found.conclusion
    without = interpret(manifest, output(*(NamedValue(name, 100) for name in names)))
    assert "On image" not in without.conclusion


def test_a_value_for_the_text_alone_is_no_measurement(manifest: Manifest) -> None:
    assert interpret(manifest, output(NamedValue("slice_position", 6.2, 3))).findings == ()


def test_a_manifest_survives_being_written_and_read(manifest: Manifest) -> None:
    assert msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest) == manifest


def test_a_group_missing_as_a_whole_is_named_once(manifest: Manifest) -> None:
    names = [output.name for output in manifest.outputs if not output.optional]
    found = interpret(manifest, output(reasons=dict.fromkeys(names, "no body was found in the images")))
    assert (
        "Not measured: lungs as a whole, right lung, left lung, coronary-region calcium (estimate, not "
        "gated), body composition at the L3-like level (no body was found in the images)." in found.conclusion
    )
    reasons = dict.fromkeys(["laa950_right", "perc15_right"], "slices lie more than 5 mm apart")
    part = interpret(manifest, output(NamedValue("lung_volume_right", 2000), reasons=reasons))
    assert "Right lung LAA-950, Right lung 15th percentile density (slices lie" in part.conclusion
