"""The generator of nodule scans: what it says is there is there, of the size and density it says."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from ai_engine.phantom.nodule_scans.population import STANDARD, Anatomy, NoduleMix, Population, Scanner
from ai_engine.phantom.nodule_scans.scan import NoduleScan, make_scan

COARSE = Scanner(pixel_mm=(1.3, 1.3), slice_spacing_mm=(2.0, 2.0), noise_hu=(4.0, 4.0))
SMALL = Scanner(pixel_mm=(6.0, 6.0), slice_spacing_mm=(12.0, 12.0))
BARE = Anatomy(branchings=3, twigs=(0, 1))
MIX = NoduleMix(
    positive_share=1.0, count=(10, 10), diameter_mm=(7.0, 20.0), juxtapleural_share=0.4, spiculated_share=0.0
)


@pytest.fixture(scope="module")
def scan() -> NoduleScan:
    return make_scan(Population("test", COARSE, nodules=MIX), 3)


def test_nodules_have_the_volume_that_is_said(scan: NoduleScan) -> None:
    assert len(scan.nodules) >= 6
    for number, nodule in enumerate(scan.nodules, 1):
        drawn = (scan.nodule_numbers == number).sum() * scan.geometry.voxel_volume_mm3
        assert drawn == pytest.approx(nodule.volume_mm3, rel=0.15)
        assert nodule.volume_mm3 == pytest.approx(np.pi / 6 * nodule.diameter_mm**3, rel=1e-6)
        assert 6.2 < nodule.diameter_mm < 22


def test_nodules_lie_where_they_are_said_to(scan: NoduleScan) -> None:
    for number, nodule in enumerate(scan.nodules, 1):
        index = np.argwhere(scan.nodule_numbers == number).mean(axis=0)
        middle_zyx = (scan.geometry.affine @ [*index, 1])[2::-1]
        allowed = nodule.diameter_mm / 2 if nodule.place == "juxtapleural" else 2.0
        assert np.linalg.norm(middle_zyx - nodule.centre_mm) < allowed


def test_the_inside_of_a_nodule_has_its_density(scan: NoduleScan) -> None:
    kinds = set()
    for number, nodule in enumerate(scan.nodules, 1):
        core = ndimage.binary_erosion(scan.nodule_numbers == number, iterations=2)
        if nodule.place == "juxtavascular" or core.sum() < 20:
            continue
        kinds.add(nodule.kind)
        expected = nodule.core_hu if nodule.kind == "part-solid" else nodule.hu
        value = np.percentile(scan.voxels[core], 95 if nodule.kind == "part-solid" else 50)
        assert value == pytest.approx(expected, abs=60)
    assert len(kinds) >= 2


def test_the_same_seed_gives_the_same_scan_and_another_one_another() -> None:
    tiny = replace(STANDARD, scanner=SMALL, anatomy=BARE)
    first, again, other = make_scan(tiny, 5), make_scan(tiny, 5), make_scan(tiny, 6)
    assert np.array_equal(first.voxels, again.voxels)
    assert np.array_equal(first.nodule_numbers, again.nodule_numbers)
    assert first.voxels.shape != other.voxels.shape or not np.array_equal(first.voxels, other.voxels)


def test_half_of_the_standard_scans_have_no_nodule() -> None:
    tiny = replace(STANDARD, scanner=SMALL, anatomy=BARE)
    counts = [len(make_scan(tiny, seed).nodules) for seed in range(8)]
    assert 1 <= counts.count(0) <= 7
    assert max(counts) <= 4
