from typing import Any

import numpy as np
import pytest

from ai_engine.bundle import SHIPPED_BUNDLES, Bundle, load_bundle
from ai_engine.phantom.nodule_scans.population import Anatomy, NoduleMix, Population, Scanner
from ai_engine.phantom.nodule_scans.scan import NoduleScan, make_scan

# A short chest, so that a run takes a second. Nodules of a size and kind that nobody would miss.
SHORT = Anatomy(
    scale=(0.7, 0.7), base_z_mm=(-60, -60), top_z_mm=(60, 60), dome_mm=(18, 18), branchings=5, twigs=(10, 20)
)
CLEAN = Scanner(pixel_mm=(1.0, 1.0), slice_spacing_mm=(2.0, 2.0), noise_hu=(8.0, 8.0))
EASY = NoduleMix(
    positive_share=1.0,
    count=(1, 1),
    diameter_mm=(13.0, 14.0),
    kinds=(("solid", 1.0),),
    juxtapleural_share=0.0,
    juxtavascular_share=0.0,
    spiculated_share=0.0,
)


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return load_bundle(SHIPPED_BUNDLES / "lung_nodule_ct")


@pytest.fixture(scope="session")
def with_nodule() -> NoduleScan:
    made = make_scan(Population("easy", CLEAN, SHORT, EASY), 2)
    assert len(made.nodules) == 1
    made.voxels.setflags(write=False)
    return made


@pytest.fixture(scope="session")
def without_nodule() -> NoduleScan:
    made = make_scan(Population("empty", CLEAN, SHORT, NoduleMix(positive_share=0.0)), 3)
    made.voxels.setflags(write=False)
    return made


def flipped(scan: NoduleScan, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The same patient, stored with these axes the other way round."""
    affine = scan.geometry.affine.copy()
    for axis in axes:
        affine[:3, 3] += affine[:3, axis] * (scan.voxels.shape[axis] - 1)
        affine[:3, axis] *= -1
    return np.flip(scan.voxels, axes), affine


Json = Any
