"""The shipped model against phantoms with known truth, and what it says of too small a field of view."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest

from ai_engine.bundle import SHIPPED_BUNDLES
from ai_engine.bundles.ct_quantification.scripts.lungs import LEFT, RIGHT
from ai_engine.bundles.ct_quantification.scripts.measure import CALCIUM_NAMES, COMPOSITION_NAMES
from ai_engine.bundles.ct_quantification.scripts.refine import AIRWAYS, BODY, FAT, SOFT_TISSUE
from ai_engine.phantom.chest import Phantom, PhantomSpec, make_phantom

SCRIPTS = SHIPPED_BUNDLES / "ct_quantification" / "scripts"
LUNG_VALUES = [
    f"{what}_{side}"
    for what in ("lung_volume", "lung_density", "laa950", "perc15")
    for side in ("right", "left", "total")
]


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


def flipped(phantom: Phantom, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The same patient, stored with these axes the other way round."""
    affine = phantom.geometry.affine.copy()
    for axis in axes:
        affine[:3, 3] += affine[:3, axis] * (phantom.voxels.shape[axis] - 1)
        affine[:3, axis] *= -1
    return np.flip(phantom.voxels, axes), affine


def test_lungs_of_a_phantom(phantom: Phantom, expected) -> None:
    result = expected
    truth = phantom.truth
    assert set(result.not_measured) == {*CALCIUM_NAMES, *COMPOSITION_NAMES}
    assert result.labels is not None
    assert result.labels.dtype == np.uint8
    for label in (RIGHT, LEFT):
        assert dice(result.labels == label, phantom.truth_labels == label) > 0.97
    assert result.values["lung_volume_right"] == pytest.approx(truth.right_lung_ml, rel=0.03)
    assert result.values["lung_volume_left"] == pytest.approx(truth.left_lung_ml, rel=0.03)
    assert result.values["lung_volume_total"] == pytest.approx(truth.lungs_ml, rel=0.03)
    assert result.values["lung_density_total"] == pytest.approx(truth.mean_parenchyma_hu, abs=20)
    assert result.values["laa950_total"] == pytest.approx(truth.emphysema_percent, abs=2)
    assert -1000 < result.values["perc15_total"] < result.values["lung_density_total"]


def test_a_phantom_of_full_size(quantify) -> None:
    phantom = make_phantom(PhantomSpec(seed=2, slices=60), "1.2")
    result = quantify(phantom.voxels, phantom.geometry.affine)
    for label in (RIGHT, LEFT, AIRWAYS):
        assert dice(result.labels == label, phantom.truth_labels == label) > 0.98
    assert result.values["lung_volume_total"] == pytest.approx(phantom.truth.lungs_ml, rel=0.01)
    assert result.values["laa950_total"] == pytest.approx(phantom.truth.emphysema_percent, abs=1.5)


@pytest.mark.parametrize(
    "axes", [(0,), (1, 2), (0, 1), (2,)], ids=["feet first", "prone", "both", "mirrored columns"]
)
def test_the_way_it_is_stored_changes_nothing(
    axes: tuple[int, ...], phantom: Phantom, expected, quantify
) -> None:
    voxels, affine = flipped(phantom, axes)
    result = quantify(voxels, affine)
    assert np.array_equal(np.flip(result.labels, axes), expected.labels)
    assert result.values == pytest.approx(expected.values)
    last = len(voxels) - 1
    assert result.slices["fat_area"] == (
        last - expected.slices["fat_area"] if 0 in axes else expected.slices["fat_area"]
    )


def test_rows_and_columns_may_be_exchanged(phantom: Phantom, expected, quantify) -> None:
    result = quantify(phantom.voxels.transpose(0, 2, 1), phantom.geometry.affine[:, [0, 2, 1, 3]])
    assert np.array_equal(result.labels.transpose(0, 2, 1), expected.labels)


def test_the_same_input_gives_the_same_output(phantom: Phantom, expected, quantify) -> None:
    again = quantify(phantom.voxels, phantom.geometry.affine)
    assert np.array_equal(again.labels, expected.labels)
    assert again.values == expected.values


def test_float_voxels_give_the_same(phantom: Phantom, expected, quantify) -> None:
    result = quantify(phantom.voxels.astype(np.float32), phantom.geometry.affine)
    assert result.values == pytest.approx(expected.values)


def test_areas_are_of_the_slice_they_name(phantom: Phantom, expected) -> None:
    result = expected
    index = result.slices["fat_area"]
    occupied = np.flatnonzero((phantom.truth_labels == RIGHT).any(axis=(1, 2)))
    assert abs(index - occupied.mean()) < 4
    drawn = np.flatnonzero(np.isin(result.labels, (FAT, SOFT_TISSUE)).any(axis=(1, 2)))
    assert drawn.tolist() == [index]
    pixel_cm2 = 3 * 3 / 100
    assert (result.labels == FAT).sum() * pixel_cm2 == pytest.approx(result.values["fat_area"])
    assert result.values["fat_area"] + result.values["muscle_area"] < result.values["trunk_area"]
    assert result.values["slice_position"] == pytest.approx(
        phantom.geometry.position_lps_mm((index, 0, 0))[2]
    )


def test_a_partial_lung_field_has_no_lung_volume(phantom: Phantom, quantify) -> None:
    affine = phantom.geometry.affine
    for part in (phantom.voxels[:40], phantom.voxels[30:]):
        result = quantify(part, affine)
        assert {result.not_measured[name] for name in LUNG_VALUES} == {
            "part of the lung lies outside the field of view"
        }
        assert not set(LUNG_VALUES) & set(result.values)
        assert 300 < result.values["partial_lung_volume"] < phantom.truth.lungs_ml
        assert result.values["partial_lung_density"] < -800
        assert result.slices["fat_area"] == (len(part) - 1) // 2


def test_no_lung_at_all(phantom: Phantom, quantify) -> None:
    result = quantify(phantom.voxels[:8], phantom.geometry.affine)
    assert set(result.not_measured) == {*LUNG_VALUES, *CALCIUM_NAMES, *COMPOSITION_NAMES}
    assert "less than 100 ml" in result.not_measured["lung_volume_total"]
    assert not np.isin(result.labels, (RIGHT, LEFT, AIRWAYS)).any()
    assert "fat_area" in result.values


def test_gas_in_the_stomach_is_no_lung(phantom: Phantom, expected) -> None:
    gas = (phantom.voxels < -950) & (phantom.truth_labels == 0)
    gas[30:] = gas[:, 60:] = gas[..., :70] = gas[..., 110:] = gas[:, :30] = False
    assert gas.sum() > 300
    assert not expected.labels[gas].any()


def test_one_lung_only(phantom: Phantom, quantify) -> None:
    voxels = phantom.voxels.copy()
    voxels[phantom.truth_labels == LEFT] = 40
    result = quantify(voxels, phantom.geometry.affine)
    assert result.values["lung_volume_right"] == pytest.approx(phantom.truth.right_lung_ml, rel=0.03)
    assert result.not_measured["lung_volume_left"] == "no aerated lung was found on this side"
    assert result.not_measured["lung_volume_total"] == "no aerated lung was found on this side"


def test_touching_lungs_are_parted(phantom: Phantom, quantify) -> None:
    voxels = phantom.voxels.copy()
    middle = voxels.shape[2] // 2
    right, left = (phantom.truth_labels == side for side in (RIGHT, LEFT))
    row = 40
    for at in range(35, 45):  # a bridge of lung in front of the heart
        columns = np.flatnonzero((right | left)[at, row])
        voxels[at, row - 1 : row + 2, columns.min() : columns.max()] = -860
    result = quantify(voxels, phantom.geometry.affine)
    assert not set(LUNG_VALUES) & set(result.not_measured)
    assert dice(result.labels == RIGHT, right) > 0.95
    assert dice(result.labels == LEFT, left) > 0.95
    assert (result.labels[..., : middle - 12] == LEFT).sum() == 0


def test_consolidated_lung_counts_as_chest_wall_and_spoils_nothing_else(
    phantom: Phantom, expected, quantify
) -> None:
    z, y, x = np.indices(phantom.voxels.shape)
    dense = ((z - 30) * 4) ** 2 + ((y - 82) * 3) ** 2 + ((x - 32) * 3) ** 2 < 30**2
    dense &= phantom.truth_labels == RIGHT
    assert dense.sum() * 0.036 > 50  # ml
    voxels = np.where(dense, 30, phantom.voxels).astype(np.int16)
    result = quantify(voxels, phantom.geometry.affine)
    remaining = (phantom.truth_labels == RIGHT) & ~dense
    assert dice(result.labels == RIGHT, remaining) > 0.96
    assert np.array_equal(result.labels == LEFT, expected.labels == LEFT)
    assert result.values["laa950_right"] == pytest.approx(expected.values["laa950_right"], abs=1)


def test_arms_beside_the_trunk_are_no_part_of_it(phantom: Phantom, expected, quantify) -> None:
    margin = 40
    wide = np.pad(phantom.voxels, ((0, 0), (0, 0), (margin, margin)), constant_values=-1000)
    z, y, x = np.indices(wide.shape, sparse=True)
    for centre in (18, wide.shape[2] - 19):
        arm = (y - 64) ** 2 + (x - centre) ** 2
        wide[np.broadcast_to((arm < 15**2) & (z > 5), wide.shape)] = 50
        wide[np.broadcast_to((arm < 4**2) & (z > 5), wide.shape)] = 700
    affine = phantom.geometry.affine.copy()
    affine[:3, 3] -= affine[:3, 2] * margin
    result = quantify(wide, affine)
    assert np.array_equal(result.labels[..., margin:-margin], expected.labels)
    assert result.values == pytest.approx(expected.values)


def test_much_noise_moves_the_volume_little(phantom: Phantom, quantify) -> None:
    noise = np.random.default_rng(1).normal(0, 60, phantom.voxels.shape)
    result = quantify((phantom.voxels + noise).astype(np.int16), phantom.geometry.affine)
    assert result.values["lung_volume_total"] == pytest.approx(phantom.truth.lungs_ml, rel=0.05)


def test_wide_slices_have_no_density_shares(phantom: Phantom, quantify) -> None:
    affine = phantom.geometry.affine @ np.diag([2.0, 1, 1, 1])
    result = quantify(phantom.voxels[::2], affine)
    assert result.not_measured["laa950_total"] == "slices lie more than 5 mm apart"
    assert result.values["lung_volume_total"] == pytest.approx(phantom.truth.lungs_ml, rel=0.05)


def test_a_trunk_wider_than_the_image_has_no_areas(phantom: Phantom, quantify) -> None:
    narrow = phantom.voxels[:, :, 16:-16]
    result = quantify(narrow, phantom.geometry.affine)
    assert result.not_measured["fat_area"] == "the trunk reaches beyond the field of view"


def test_lungs_cut_off_at_the_side_have_no_volume(phantom: Phantom, quantify) -> None:
    narrow = phantom.voxels[:, :, 45:]
    result = quantify(narrow, phantom.geometry.affine)
    assert result.not_measured["lung_volume_total"] == "part of the lung lies outside the field of view"


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        ([[0, 0, 1], [1, 0, 0], [0, -1, 0]], "the slices are not axial"),  # coronal
        ([[1, 0, 0], [0, 1, 0], [0, 0, -1]], "the slices are not axial"),  # sagittal
    ],
)
def test_other_planes_are_not_measured(
    turn: list[list[int]], reason: str, phantom: Phantom, quantify
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = turn
    result = quantify(phantom.voxels, affine)
    assert result.labels is None
    assert set(result.not_measured.values()) == {reason}


def test_an_empty_scan_has_nothing(quantify) -> None:
    result = quantify(np.full((20, 32, 32), -1000, np.int16), np.diag([5.0, 5, 5, 1])[[2, 1, 0, 3]])
    assert result.labels is None
    assert set(result.not_measured.values()) == {"no body was found in the images"}


def test_the_body_can_be_drawn(phantom: Phantom, quantify) -> None:
    result = quantify(phantom.voxels, phantom.geometry.affine, draw_body=1)
    outside = phantom.voxels[:, 120:]
    assert (result.labels == BODY).mean() > 0.2
    assert (result.labels[:, 120:][outside > 0] == 0).all()  # the table


def test_scripts_stand_alone() -> None:
    """Bundle code is not trusted: it may use numpy, scipy and the standard library, nothing of the server."""
    for file in sorted(Path(SCRIPTS).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            roots = {name.split(".")[0] for name in names}
            assert roots <= {"numpy", "scipy", *sys.stdlib_module_names}, file.name
