"""The shipped nodule model on phantoms: an easy nodule is found where it is, and nothing where nothing is."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import UID, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from ai_engine.bundle import SHIPPED_BUNDLES, Bundle
from ai_engine.bundles.lung_nodule_ct.scripts.candidates import Candidate
from ai_engine.bundles.lung_nodule_ct.scripts.detect import run
from ai_engine.bundles.lung_nodule_ct.scripts.grid import Box
from ai_engine.bundles.lung_nodule_ct.scripts.measure import draw
from ai_engine.bundles.lung_nodule_ct.scripts.orientation import orientation_of
from ai_engine.interpret import interpret
from ai_engine.phantom.datasets import PhantomStudy, slice_dataset
from ai_engine.phantom.enhanced import enhanced
from ai_engine.phantom.nodule_scans.scan import NoduleScan
from ai_engine.preprocess.volume import build_volume
from ai_engine.runners.kinds import runner_for
from ai_engine.runners.port import RunnerInput
from ai_engine.runners.process import RunnerPolicy

from .conftest import Json, flipped

SCRIPTS = SHIPPED_BUNDLES / "lung_nodule_ct" / "scripts"


def reported(bundle: Bundle, said: Json) -> list[Json]:
    """What the manifest's threshold lets through."""
    least = bundle.manifest.detections[0].least_probability
    return [each for each in said["detections"] if each["probability"] >= least]


@pytest.fixture(scope="module")
def said(bundle: Bundle, with_nodule: NoduleScan) -> Json:
    return run(with_nodule.voxels, with_nodule.geometry.affine, bundle.manifest.parameters)


def test_an_easy_nodule_is_found(bundle: Bundle, with_nodule: NoduleScan, said: Json) -> None:
    (found,) = reported(bundle, said)
    nodule = with_nodule.nodules[0]
    there = with_nodule.nodule_numbers == 1
    drawn = said["labels"] == found["label"]
    assert 2 * (drawn & there).sum() / (drawn.sum() + there.sum()) > 0.75
    assert np.linalg.norm(np.array(found["center"]) - np.argwhere(there).mean(axis=0)) < 2
    values = {each["name"]: each["value"] for each in found["values"]}
    assert values["volume"] == pytest.approx(nodule.volume_mm3, rel=0.35)
    assert values["long_axis"] == pytest.approx(2 * nodule.radii_mm.max(), rel=0.35)
    assert -150 < values["mean_density"] < 60
    assert found["side"] == ("left" if nodule.centre_mm[2] > 0 else "right")
    assert 0 <= found["uncertainty"] < 0.3


def test_a_white_lung_moves_no_nodule_to_the_other_side(
    bundle: Bundle, with_nodule: NoduleScan, said: Json
) -> None:
    """Only the lung that holds the nodule is left: its own middle says nothing of the patient's."""
    (before,) = reported(bundle, said)
    voxels = with_nodule.voxels.copy()
    middle = voxels.shape[2] // 2
    other = voxels[:, :, :middle] if before["center"][2] > middle else voxels[:, :, middle:]
    other[(other < -300) & (other > -980)] = 40
    (after,) = reported(
        bundle, run(voxels, with_nodule.geometry.affine, {**bundle.manifest.parameters, "tta": "none"})
    )
    assert after["side"] == before["side"] in {"left", "right"}


def test_no_side_is_stated_where_the_trunk_is_cut_off(
    bundle: Bundle, with_nodule: NoduleScan, said: Json
) -> None:
    (before,) = reported(bundle, said)
    cut = 60  # columns, of 1 mm
    voxels, affine = with_nodule.voxels, with_nodule.geometry.affine.copy()
    if before["center"][2] > voxels.shape[2] / 2:
        voxels, affine[:, 3] = voxels[:, :, cut:], affine @ [0, 0, cut, 1]
    else:
        voxels = voxels[:, :, :-cut]
    (after,) = reported(bundle, run(voxels, affine, {**bundle.manifest.parameters, "tta": "none"}))
    assert after["side"] is None


def test_no_side_is_stated_where_a_round_field_of_view_cuts_the_trunk_off(
    bundle: Bundle, with_nodule: NoduleScan, said: Json
) -> None:
    """Scanners reconstruct a circle and pad the corners: the trunk ends at what looks like air."""
    (before,) = reported(bundle, said)
    slices, rows, columns = with_nodule.voxels.shape
    off = 50 if before["center"][2] < columns / 2 else -50  # columns, of 1 mm: the nodule's side stays
    square = np.full((slices, columns, columns), -1000, np.int16)
    top = (columns - rows) // 2
    square[:, top : top + rows] = with_nodule.voxels
    square = np.roll(square, off, axis=2)
    at = np.arange(columns) - (columns - 1) / 2
    square[:, np.hypot(at[:, None], at) > columns / 2] = -1024
    affine = with_nodule.geometry.affine.copy()
    affine[:, 3] = affine @ [0, -top, -off, 1]
    (after,) = reported(bundle, run(square, affine, {**bundle.manifest.parameters, "tta": "none"}))
    assert after["side"] is None


def test_nothing_is_found_where_nothing_is(bundle: Bundle, without_nodule: NoduleScan) -> None:
    said = run(without_nodule.voxels, without_nodule.geometry.affine, bundle.manifest.parameters)
    assert reported(bundle, said) == []
    assert said["not_measured"] == {}


def test_the_way_it_is_stored_changes_little(bundle: Bundle, with_nodule: NoduleScan, said: Json) -> None:
    voxels, affine = flipped(with_nodule, (0, 1))
    turned = run(voxels, affine, {**bundle.manifest.parameters, "tta": "none"})
    (before,), (after,) = reported(bundle, said), reported(bundle, turned)
    size = np.array(voxels.shape) - 1
    expected = [size[0] - before["center"][0], size[1] - before["center"][1], before["center"][2]]
    assert np.allclose(after["center"], expected, atol=1.0)
    assert after["side"] == before["side"]
    assert after["uncertainty"] is None


@pytest.mark.parametrize("sop_class", [EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage])
def test_frames_come_as_the_same_volume(sop_class: UID, bundle: Bundle, with_nodule: NoduleScan) -> None:
    study, geometry = PhantomStudy(), with_nodule.geometry
    slices = [slice_dataset(each, geometry, at, study) for at, each in enumerate(with_nodule.voxels)]
    image = enhanced(slices, list(range(len(slices)))[::-1])
    image.SOPClassUID = sop_class
    volume = build_volume([image], bundle.manifest.wants)
    assert np.array_equal(volume.voxels, with_nodule.voxels)
    np.testing.assert_allclose(volume.geometry.affine, geometry.affine, atol=1e-3)


async def test_it_runs_in_the_sandbox(bundle: Bundle, with_nodule: NoduleScan, said: Json) -> None:
    runner = runner_for(bundle, RunnerPolicy())
    try:
        output = await runner.run(
            RunnerInput(with_nodule.voxels, with_nodule.geometry, bundle.manifest.parameters)
        )
    finally:
        await runner.close()
    assert np.array_equal(output.labels, said["labels"])
    findings = interpret(bundle.manifest, output, with_nodule.geometry)
    assert [finding.finding.meaning for finding in findings.findings] == ["Nodule"]
    assert "Possible pulmonary nodules detected: 1." in findings.conclusion
    assert "not for clinical use" in findings.conclusion.lower()


def test_what_is_no_chest_is_said_to_be_none(bundle: Bundle) -> None:
    said = run(
        np.full((30, 64, 64), 40, np.int16), np.diag([0.0, 0, 0, 1]) + AXIAL, bundle.manifest.parameters
    )
    assert said["not_measured"] == {"nodule": "no lung was found in the images"}
    said = run(np.zeros((30, 64, 64), np.int16), np.diag([2.0, 2, 2, 1]), bundle.manifest.parameters)
    assert said["not_measured"] == {"nodule": "the slices are not axial"}


AXIAL = np.array([[0.0, 0, 2, 0], [0, 2, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]])


def test_a_ball_is_measured() -> None:
    """A candidate whose probability falls off from 1 in the middle to half at 6 mm."""
    orientation = orientation_of(np.diag([0.0, 0, 0, 1]) + AXIAL)
    assert orientation is not None
    at = np.indices((21, 21, 21)) - 10
    weights = np.clip(1 - np.sqrt((at**2).sum(axis=0)) / 12, 0, 1).astype(np.float32)
    box = Box(
        np.zeros((64, 64, 64), np.float32), np.ones((64, 64, 64), bool), (0.0, 0.0, 0.0), (2.0, 2.0, 2.0)
    )
    part = (slice(20, 41), slice(20, 41), slice(20, 41))
    candidate = Candidate(np.array([30.0, 30, 30]), part, weights, 0.5, 1.0)
    drawn = draw(candidate, box, np.full((32, 32, 32), 30, np.int16), orientation)
    assert np.allclose(drawn.centre, [15, 15, 15], atol=0.3)
    assert drawn.volume_ml * 1000 == pytest.approx(4 / 3 * np.pi * 6**3, rel=0.2)
    assert drawn.long_axis_mm == pytest.approx(12, abs=2.1)
    assert drawn.mean_hu == 30


def test_scripts_need_nothing_but_what_the_sandbox_has() -> None:
    allowed = {"numpy", "scipy", "onnxruntime"} | set(sys.stdlib_module_names)
    for file in sorted(Path(SCRIPTS).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name.partition(".")[0] for alias in node.names} <= allowed
            elif isinstance(node, ast.ImportFrom) and not node.level:
                assert (node.module or "").partition(".")[0] in allowed
