"""What a phantom may have more: an abdomen, bronchi, plaques, contrast medium; each with its truth."""

from dataclasses import replace

import numpy as np
import pytest

from ai_engine.phantom import anatomy, lumbar
from ai_engine.phantom.chest import AIRWAYS, Phantom, PhantomSpec, make_phantom

CHEST = PhantomSpec(seed=5, slices=60, rows=128, columns=128, noise_hu=0.0)
WHOLE = replace(
    CHEST, slices=90, below_mm=150.0, bronchus_generations=4, plaque_count=6, emphysema_rise=2.0, seed=5
)


@pytest.fixture(scope="module")
def chest() -> Phantom:
    return make_phantom(CHEST, "1.2")


@pytest.fixture(scope="module")
def whole() -> Phantom:
    return make_phantom(WHOLE, "1.2")


def heights(phantom: Phantom) -> np.ndarray:
    return phantom.geometry.affine[2, 3] + phantom.geometry.affine[2, 0] * np.arange(phantom.spec.slices)


def test_an_abdomen_leaves_the_chest_as_it_is(chest: Phantom) -> None:
    taller = make_phantom(replace(CHEST, slices=90, below_mm=150.0), "1.2")
    above = heights(taller) > lumbar.TOP_Z
    same = heights(chest) > lumbar.TOP_Z
    assert heights(taller)[-1] == heights(chest)[-1]
    assert np.array_equal(taller.voxels[above], chest.voxels[same])
    assert taller.truth.lungs_ml == chest.truth.lungs_ml


def test_the_abdomen_has_its_tissues(whole: Phantom) -> None:
    assert whole.truth.l3_z_mm is not None
    at = int(np.argmin(np.abs(heights(whole) - whole.truth.l3_z_mm)))
    assert whole.truth_tissue is not None
    values = {
        kind: np.median(whole.voxels[at][whole.truth_tissue[at] == kind])
        for kind in (lumbar.MUSCLE, lumbar.SUBCUTANEOUS_FAT, lumbar.VISCERAL_FAT)
    }
    assert list(values.values()) == [anatomy.MUSCLE_HU, anatomy.FAT_HU, anatomy.FAT_HU - 5]
    assert not whole.truth_tissue[heights(whole) > lumbar.TOP_Z].any()
    lateral_bone = (whole.voxels > 300)[:, :, :45].any(axis=(1, 2))
    assert lateral_bone[0]  # crests
    assert not lateral_bone[at]


def test_plaques_lie_beside_the_lungs_and_have_their_volume(whole: Phantom) -> None:
    fine = make_phantom(replace(WHOLE, slices=150, rows=192, columns=192, below_mm=0.0), "1.2")
    voxel_mm3 = float(np.prod(fine.spec.spacing_mm))
    inside = np.zeros(fine.voxels.shape, np.bool_)
    positions = np.indices(fine.voxels.shape, sparse=True)
    z, y, x = (
        fine.geometry.affine[row, column] * at + fine.geometry.affine[row, 3]
        for at, row, column in zip(positions, (2, 1, 0), (0, 1, 2), strict=True)
    )
    coronary = [plaque for plaque in fine.truth.plaques if plaque.coronary]
    assert len(coronary) == WHOLE.plaque_count
    for plaque in coronary:
        (cx, cy, cz), (rx, ry, rz) = plaque.centre_mm, plaque.radii_mm
        inside |= ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2 < 1
    assert inside.sum() * voxel_mm3 == pytest.approx(fine.truth.calcium_mm3, rel=0.15)
    assert not (inside & (fine.truth_labels > 0)).any()
    assert fine.voxels[inside].min() > anatomy.HEART_HU
    assert fine.truth.agatston > fine.truth.calcium_mm3 / 3


def test_bronchi_are_airways_and_no_parenchyma(chest: Phantom, whole: Phantom) -> None:
    plain, branched = ((each.truth_labels == AIRWAYS).sum() for each in (chest, whole))
    assert branched > plain * 1.2
    assert branched < plain * 2
    assert whole.truth.lungs_ml < chest.truth.lungs_ml


def test_emphysema_rises_towards_the_apex(whole: Phantom) -> None:
    shares = {(zone.side, zone.zone): zone.emphysema_percent for zone in whole.truth.zones}
    for side in ("right", "left"):
        assert shares[side, "upper"] > shares[side, "middle"] > shares[side, "lower"]
        volumes = [zone.volume_ml for zone in whole.truth.zones if zone.side == side]
        assert sum(volumes) == pytest.approx(getattr(whole.truth, f"{side}_lung_ml"))


def test_contrast_medium_is_in_the_blood(chest: Phantom) -> None:
    bright = make_phantom(replace(CHEST, contrast_hu=150.0), "1.2")
    brighter = bright.voxels != chest.voxels
    assert 200_000 < brighter.sum() * np.prod(CHEST.spacing_mm) < 1_500_000  # mm3
    assert np.median(bright.voxels[brighter]) == pytest.approx(anatomy.HEART_HU + 150, abs=2)
