"""Bronchi, zones, calcium of the coronary region, muscle and fat: on one phantom that has it all."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import ndimage

from ai_engine.bundles.ct_quantification.scripts import calcium, composition, heart, level
from ai_engine.bundles.ct_quantification.scripts.airways import find_airways, with_wall
from ai_engine.bundles.ct_quantification.scripts.bronchi import follow_bronchi
from ai_engine.bundles.ct_quantification.scripts.grid import Scene
from ai_engine.bundles.ct_quantification.scripts.lungs import find_lungs
from ai_engine.bundles.ct_quantification.scripts.measure import (
    CALCIUM_NAMES,
    COMPOSITION_NAMES,
    Limits,
    LungField,
    Report,
)
from ai_engine.bundles.ct_quantification.scripts.orientation import orientation_of
from ai_engine.bundles.ct_quantification.scripts.quantify import look
from ai_engine.bundles.ct_quantification.scripts.refine import AIRWAYS, FAT
from ai_engine.bundles.ct_quantification.scripts.zones import SIDES, ZONES
from ai_engine.phantom import anatomy, lumbar
from ai_engine.phantom.chest import AIRWAYS as TRUE_AIRWAYS
from ai_engine.phantom.chest import Phantom

NO_LUNGS = LungField(seen=False, whole=False)


@dataclass(frozen=True)
class Chest:
    """The phantom as the steps after the lungs see it."""

    scene: Scene
    lungs: np.ndarray
    lumen: np.ndarray
    heart: heart.Heart


@pytest.fixture(scope="module")
def chest(whole: Phantom) -> Chest:
    orientation = orientation_of(whole.geometry.affine)
    assert orientation is not None
    scene = look(whole.voxels, orientation)
    lumen = find_airways(scene.coarse, scene.body)
    lungs = find_lungs(scene.coarse, scene.body, with_wall(lumen))
    found = heart.find_heart(scene, lungs, lumen)
    assert found is not None
    return Chest(scene, lungs, lumen, found)


def calcium_of(chest: Chest, voxels: np.ndarray, parameters: Mapping[str, float | str]) -> Report:
    report = Report()
    drawing = np.zeros(voxels.shape, np.uint8)
    scene = replace(chest.scene, voxels=voxels)
    calcium.measure_calcium(scene, chest.heart, Limits.of(parameters), drawing, report)
    return report


def values_of(report: Report) -> dict[str, float]:
    return {each["name"]: each["value"] for each in report.values}


def scene_of(phantom: Phantom, low: int, high: int) -> Scene:
    """A part of the stack by itself."""
    orientation = orientation_of(phantom.geometry.affine)
    assert orientation is not None
    return look(phantom.voxels[low:high], orientation)


def slice_at(phantom: Phantom, z_mm: float) -> int:
    return round((z_mm - phantom.geometry.affine[2, 3]) / phantom.spec.spacing_mm[0])


def test_everything_is_measured(seen) -> None:
    assert seen.not_measured == {}
    assert not {"fat_area", "slice_position"} & set(seen.values)
    assert not (seen.labels == FAT).any()


def test_bronchi_are_followed_and_do_not_leak(whole: Phantom, chest: Chest, seen) -> None:
    truth, found = whole.truth_labels == TRUE_AIRWAYS, seen.labels == AIRWAYS
    rim = ndimage.binary_dilation(truth)
    assert (found & truth).sum() > 0.75 * truth.sum()
    assert (found & ~rim).sum() < 0.08 * found.sum()
    bronchi = follow_bronchi(chest.scene, chest.lungs, chest.lumen)
    assert bronchi.lumen.sum() > 500
    assert truth[bronchi.box][bronchi.lumen].mean() > 0.75


def test_a_hole_in_a_bronchus_is_no_way_out(whole: Phantom, chest: Chest) -> None:
    """Emphysema that opens into a main bronchus is not taken for airway."""
    voxels = whole.voxels.copy()
    z, y, x = np.indices(voxels.shape, sparse=True)
    at = slice_at(whole, 5.0)
    middle = (whole.spec.rows - 1) / 2
    hole = (z - at) ** 2 * 9 + (y - middle - 12) ** 2 + (x - middle + 78) ** 2 < 30**2
    way = (np.abs(z - at) < 2) & (np.abs(y - middle - 12) < 3) & (x > middle - 78) & (x < middle - 45)
    leak = (hole | way) & (chest_lungs := (whole.truth_labels > 0))
    assert chest_lungs.any()
    voxels[leak & (whole.truth_labels != TRUE_AIRWAYS)] = -985
    bronchi = follow_bronchi(replace(chest.scene, voxels=voxels), chest.lungs, chest.lumen)
    assert leak.sum() * 0.003 > 60  # ml
    assert (bronchi.lumen & leak[bronchi.box]).sum() < 0.1 * leak.sum()


def test_zones_are_thirds_of_each_lung(whole: Phantom, seen) -> None:
    for zone in whole.truth.zones:
        name = f"{zone.side}_{zone.zone}"
        assert seen.values[f"zone_volume_{name}"] == pytest.approx(zone.volume_ml, rel=0.05)
        assert seen.values[f"zone_laa950_{name}"] == pytest.approx(zone.emphysema_percent, abs=2.5)
    for side in SIDES:
        total = sum(seen.values[f"zone_volume_{side}_{zone}"] for zone in ZONES)
        assert total == pytest.approx(seen.values[f"lung_volume_{side}"])


def test_calcium_of_the_coronary_region_is_counted(whole: Phantom, seen) -> None:
    assert seen.values["calcium_volume"] == pytest.approx(whole.truth.calcium_mm3, rel=0.15)
    assert seen.values["calcium_score"] == pytest.approx(whole.truth.agatston, rel=0.15)
    drawn = (seen.labels == calcium.CALCIUM).sum() * np.prod(whole.spec.spacing_mm)
    assert drawn == pytest.approx(seen.values["calcium_volume"], rel=0.01)
    for plaque in whole.truth.plaques:
        x, y, z = plaque.centre_mm
        middle = (whole.spec.columns - 1) / 2
        step = whole.spec.spacing_mm[1]
        place = (slice_at(whole, z), round(y / step + middle), round(x / step + middle))
        around = tuple(slice(at - 1, at + 2) for at in place)
        assert (seen.labels[around] == calcium.CALCIUM).any() == plaque.coronary


def test_without_plaques_there_is_no_calcium(
    whole: Phantom, chest: Chest, seen, parameters: Mapping[str, float | str]
) -> None:
    around = ndimage.binary_dilation(seen.labels == calcium.CALCIUM, iterations=2)
    voxels = np.where(around & (whole.voxels > 100), 45, whole.voxels)
    assert values_of(calcium_of(chest, voxels, parameters)) == dict.fromkeys(CALCIUM_NAMES, 0.0)


@pytest.mark.parametrize(
    ("added", "noise", "reason"),
    [
        (120, 0, calcium.BRIGHT),
        (0, 90, calcium.NOISY),
        (20, 20, None),
    ],
    ids=["contrast medium", "noise", "a little of both"],
)
def test_calcium_is_not_measured_where_it_would_mislead(
    added: int,
    noise: int,
    reason: str | None,
    whole: Phantom,
    chest: Chest,
    parameters: Mapping[str, float | str],
) -> None:
    voxels = whole.voxels + np.random.default_rng(2).normal(added, noise, whole.voxels.shape).astype(np.int16)
    report = calcium_of(chest, voxels, parameters)
    expected = dict.fromkeys(CALCIUM_NAMES, reason) if reason else {}
    assert report.not_measured == expected
    assert bool(report.values) is (reason is None)


def test_muscle_and_fat_at_the_third_lumbar_level(whole: Phantom, seen) -> None:
    assert whole.truth.l3_z_mm is not None
    assert whole.truth_tissue is not None
    assert seen.values["l3_position"] == pytest.approx(whole.truth.l3_z_mm, abs=15)
    at = seen.slices["l3_muscle_area"]
    pixel_cm2 = whole.spec.spacing_mm[1] ** 2 / 100
    for name, kind, label, share in (
        ("l3_muscle_area", lumbar.MUSCLE, composition.MUSCLE, 0.03),
        ("l3_subcutaneous_fat_area", lumbar.SUBCUTANEOUS_FAT, composition.SUBCUTANEOUS_FAT, 0.06),
        ("l3_visceral_fat_area", lumbar.VISCERAL_FAT, composition.VISCERAL_FAT, 0.06),
    ):
        truth = (whole.truth_tissue[at] == kind).sum() * pixel_cm2
        assert seen.values[name] == pytest.approx(truth, rel=share)
        assert (seen.labels[at] == label).sum() * pixel_cm2 == pytest.approx(seen.values[name])
    assert seen.values["l3_muscle_density"] == pytest.approx(anatomy.MUSCLE_HU, abs=4)


def test_the_ribs_tell_the_level_where_the_crests_are_cut_off(whole: Phantom) -> None:
    assert whole.truth.l3_z_mm is not None
    low, high = slice_at(whole, whole.truth.l3_z_mm) - 8, slice_at(whole, -90)
    found = level.find_l3(scene_of(whole, low, high), NO_LUNGS)
    assert found is not None
    assert not found.by_crests
    at_mm = whole.geometry.affine[2, 3] + (low + found.slice_index) * whole.spec.spacing_mm[0]
    assert at_mm == pytest.approx(whole.truth.l3_z_mm, abs=25)


@pytest.mark.parametrize(
    ("low_mm", "high_mm"), [(-299, -260), (-180, -100), (-150, 150)], ids=["pelvis", "upper abdomen", "chest"]
)
def test_no_level_without_its_bones(low_mm: float, high_mm: float, whole: Phantom) -> None:
    scene = scene_of(whole, slice_at(whole, low_mm), slice_at(whole, high_mm))
    report = Report()
    assert composition.measure_composition(scene, NO_LUNGS, np.zeros(1, np.uint8), report) is None
    assert report.not_measured == dict.fromkeys(COMPOSITION_NAMES, level.NOT_THERE)


def test_bowel_on_the_wall_is_no_muscle() -> None:
    y, x = np.ogrid[-100:100, -140:140]
    radius = np.hypot(x / 1.35, y)
    values = np.full(radius.shape, -1000, np.int16)
    values[radius < 98] = -100
    wall = (radius < 84) & (radius > 72)
    values[wall] = 50
    values[(np.hypot(x, y + 62) < 12) & (radius <= 72)] = 30  # in front, against the wall
    spine = composition.Spine(np.hypot(x, y - 55) < 18, 137, 155, 140, 18.0)
    found = composition.compose(values, radius < 99, spine, (1.0, 1.0))
    assert (found.muscle & ~wall).sum() < 0.02 * wall.sum()
    assert (found.muscle & wall).sum() > 0.97 * wall.sum()
    assert not (found.visceral_fat & (radius > 72)).any()


def test_a_gap_in_the_wall_is_closed() -> None:
    y, x = np.ogrid[-100:100, -140:140]
    radius = np.hypot(x / 1.35, y)
    values = np.full(radius.shape, -1000, np.int16)
    values[radius < 98] = -100
    values[(radius < 84) & (radius > 72)] = 50
    values[(np.abs(x) < 4) & (y < 0) & (radius < 98)] = -100  # linea alba
    spine = composition.Spine(np.hypot(x, y - 55) < 18, 137, 155, 140, 18.0)
    found = composition.compose(values, radius < 99, spine, (1.0, 1.0))
    assert not (found.subcutaneous_fat & (radius < 70)).any()
    assert (found.visceral_fat & (radius < 70)).sum() > 8000


def test_a_stack_from_the_head_downwards_is_the_same(whole: Phantom, seen, quantify) -> None:
    affine = whole.geometry.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (len(whole.voxels) - 1)
    affine[:3, 0] *= -1
    result = quantify(whole.voxels[::-1], affine)
    assert np.array_equal(result.labels[::-1], seen.labels)
    assert result.values == pytest.approx(seen.values)
    assert result.slices["l3_muscle_area"] == len(whole.voxels) - 1 - seen.slices["l3_muscle_area"]
