"""Calcium in the coronary region, counted the way Agatston did (1990), which makes it an estimate here.

Agatston's score is defined for 3 mm slices of an ECG-gated scan at 120 kVp without contrast medium. What was
gated, and at what voltage, cannot be seen in the voxels. Slices thinner than 3 mm are averaged to about 3 mm.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .grid import Scene
from .heart import Heart
from .measure import CALCIUM_NAMES, Limits, Report

CALCIUM = 10  # label
CALCIUM_HU = 130
WEIGHTS_HU = (130, 200, 300, 400)  # weight 1, 2, 3, 4: by the peak of a lesion in a slice
AGATSTON_MM = 3.0
SMALLEST_MM2 = 1.0
LARGEST_MM3 = 5000.0  # larger: bone, metal
SHARE_INSIDE = 0.5  # of a lesion, which must lie in the region: bone reaches out of it
NOISES = 5.0  # a lesion's peak must exceed the blood by this many times the noise
WIDEST_PIXEL_MM = 1.05

NO_HEART = "no heart was found between the lungs"
THICK = "slices lie more than {:g} mm apart"
WIDE = "pixels are wider than 1 mm"
BRIGHT = "the blood is too bright, as after contrast medium"
NOISY = "the images are too noisy"


@dataclass(frozen=True)
class Slabs:
    """The heart's part of the volume, averaged to slabs."""

    voxels: NDArray[np.float32]
    region: NDArray[np.bool_]
    first: int  # canonical slice of the lowest
    factor: int  # slices in one slab
    rows: slice
    columns: slice


def measure_calcium(
    scene: Scene, heart: Heart | None, limits: Limits, labels: NDArray[np.uint8], report: Report
) -> None:
    """Report volume and score and draw the lesions into `labels` (canonical)."""
    reason = _why_not(scene, heart, limits)
    if reason is None and heart is not None:
        slabs = _slabs(scene, heart)
        blood, noise = _blood(slabs, scene, heart)
        reason = (
            BRIGHT if blood > limits.calcium_blood_hu else NOISY if noise > limits.calcium_noise_hu else None
        )
    if reason is not None or heart is None:
        report.not_measured.update(dict.fromkeys(CALCIUM_NAMES, reason or NO_HEART))
        return
    lesions = _lesions(slabs, scene, max(float(CALCIUM_HU), blood + NOISES * noise))
    voxel_mm3 = scene.orientation.voxel_mm3 * slabs.factor
    report.measured("calcium_volume", float((lesions > 0).sum() * voxel_mm3))
    report.measured("calcium_score", _score(slabs, lesions, scene))
    for at, plane in enumerate(lesions > 0):
        for fine in range(slabs.first + at * slabs.factor, slabs.first + (at + 1) * slabs.factor):
            drawn = labels[fine, slabs.rows, slabs.columns]
            drawn[plane & (drawn == 0)] = CALCIUM


def _why_not(scene: Scene, heart: Heart | None, limits: Limits) -> str | None:
    spacing = scene.orientation.spacing_mm
    if spacing[0] > limits.density_slice_spacing_mm:
        return THICK.format(limits.density_slice_spacing_mm)
    if max(spacing[1:]) > WIDEST_PIXEL_MM:
        return WIDE
    return NO_HEART if heart is None else None


def _slabs(scene: Scene, heart: Heart) -> Slabs:
    """The box of the heart's region, with slices averaged towards AGATSTON_MM."""
    fz, fy, fx = scene.coarse.factors
    z, y, x = (np.flatnonzero(heart.region.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    rows = slice(int(y[0]) * fy, min((int(y[-1]) + 1) * fy, scene.voxels.shape[1]))
    columns = slice(int(x[0]) * fx, min((int(x[-1]) + 1) * fx, scene.voxels.shape[2]))
    factor = max(1, int(AGATSTON_MM / scene.orientation.spacing_mm[0] + 0.01))
    first = int(z[0]) * fz
    count = (min((int(z[-1]) + 1) * fz, len(scene.voxels)) - first) // factor
    voxels = np.empty((count, rows.stop - rows.start, columns.stop - columns.start), np.float32)
    region = np.empty(voxels.shape, bool)
    for at in range(count):
        low = first + at * factor
        voxels[at] = scene.voxels[low : low + factor, rows, columns].mean(axis=0, dtype=np.float32)
        region[at] = _plane(scene, heart.region, low + factor // 2)[rows, columns]
    return Slabs(voxels, region, first, factor, rows, columns)


def _blood(slabs: Slabs, scene: Scene, heart: Heart) -> tuple[float, float]:
    """Median HU of blood and heart muscle, and the noise in it: the deviation, not led astray by calcium."""
    values = []
    for at, plane in enumerate(slabs.voxels):
        middle = slabs.first + at * slabs.factor + slabs.factor // 2
        values.append(plane[_plane(scene, heart.core, middle)[slabs.rows, slabs.columns]])
    every = np.concatenate(values)
    median = float(np.median(every))
    return median, 1.4826 * float(np.median(np.abs(every - median)))


def _plane(scene: Scene, mask: NDArray[np.bool_], at: int) -> NDArray[np.bool_]:
    """A slice of a coarse mask at full resolution."""
    _, rows, columns = scene.voxels.shape
    return scene.coarse.fine_slice(mask, at, (rows, columns)).astype(bool)


def _lesions(slabs: Slabs, scene: Scene, least_peak_hu: float) -> NDArray[np.int32]:
    """Numbered lesions: connected in three dimensions, with the peak, size and place of coronary calcium."""
    dense = slabs.voxels >= CALCIUM_HU
    numbered = ndimage.label(_large_enough(dense, scene), np.ones((3, 3, 3), bool))
    labels: NDArray[np.int32] = numbered[0]
    count: int = numbered[1]
    if not count:
        return labels
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    inside = np.bincount(labels[slabs.region], minlength=count + 1)
    peaks = np.concatenate([[0], ndimage.maximum(slabs.voxels, labels, np.arange(1, count + 1))])
    volumes = sizes * scene.orientation.voxel_mm3 * slabs.factor
    kept = (inside >= SHARE_INSIDE * sizes) & (peaks >= least_peak_hu) & (volumes <= LARGEST_MM3)
    kept[0] = False
    return np.where(kept[labels], labels, 0).astype(np.int32)


def _large_enough(dense: NDArray[np.bool_], scene: Scene) -> NDArray[np.bool_]:
    """Per slice, connected pixels of at least SMALLEST_MM2."""
    within = np.zeros((3, 3, 3), bool)
    within[1] = True
    labels, count = ndimage.label(dense, within)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    _, row_mm, column_mm = scene.orientation.spacing_mm
    large = sizes * row_mm * column_mm >= SMALLEST_MM2
    large[0] = False
    kept: NDArray[np.bool_] = large[labels]
    return kept


def _score(slabs: Slabs, lesions: NDArray[np.int32], scene: Scene) -> float:
    """Area times weight of each lesion in each slab, summed, for a slab of AGATSTON_MM."""
    _, row_mm, column_mm = scene.orientation.spacing_mm
    total = 0.0
    for plane, numbers in zip(slabs.voxels, lesions, strict=True):
        parts, count = ndimage.label(numbers > 0, np.ones((3, 3), bool))
        if count:
            areas = np.bincount(parts.ravel(), minlength=count + 1)[1:] * row_mm * column_mm
            peaks = ndimage.maximum(plane, parts, np.arange(1, count + 1))
            total += float(areas @ np.searchsorted(WEIGHTS_HU, peaks, side="right"))
    return total * scene.orientation.spacing_mm[0] * slabs.factor / AGATSTON_MM
