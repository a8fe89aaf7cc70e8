"""A scan: what a scanner with its kernel, slice thickness and noise makes of a chest, and the truth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ai_engine.geometry import Geometry
from ai_engine.phantom.nodule_scans.nodules import Nodule, draw_nodules
from ai_engine.phantom.nodule_scans.population import Population, Scanner, draw
from ai_engine.phantom.nodule_scans.scene import Contents, Grid, draw_scene
from ai_engine.phantom.nodule_scans.thorax import Field, make_thorax
from ai_engine.phantom.nodule_scans.vessels import vessels_of

SCENE_STEP_MM = 1.0  # at most, between the planes that a slice is the mean of
MARGIN_MM = 12.0  # of the field of view around the trunk
SHARPENED_SIGMA = 2.2  # of the unsharp mask, in blurs


@dataclass(frozen=True, slots=True)
class Sampling:
    """What one scanner did to one scan."""

    pixel_mm: float
    slice_spacing_mm: float
    thickness_mm: float
    blur_mm: float
    sharpening: float
    noise_hu: float
    grain_px: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, scanner: Scanner) -> "Sampling":
        """One of a population."""
        spacing = draw(rng, scanner.slice_spacing_mm)
        return cls(
            pixel_mm=draw(rng, scanner.pixel_mm),
            slice_spacing_mm=spacing,
            thickness_mm=spacing * draw(rng, scanner.thickness),
            blur_mm=draw(rng, scanner.blur_mm),
            sharpening=draw(rng, scanner.sharpening),
            noise_hu=draw(rng, scanner.noise_hu),
            grain_px=draw(rng, scanner.grain_px),
        )


@dataclass(frozen=True, slots=True, eq=False)
class NoduleScan:
    """`voxels` is int16 HU, `nodule_numbers` uint8 with n at nodule n - 1; axes (slice, row, column)."""

    voxels: NDArray[np.int16]
    nodule_numbers: NDArray[np.uint8]
    nodules: tuple[Nodule, ...]
    sampling: Sampling
    geometry: Geometry


def make_scan(population: Population, seed: int, frame_of_reference_uid: str = "1.2") -> NoduleScan:
    """Generate one scan, in about three seconds of one core."""
    rng = np.random.default_rng([seed, len(population.name)])
    sampling = Sampling.drawn(rng, population.scanner)
    thorax = make_thorax(rng, population.anatomy)
    vessels = vessels_of(rng, thorax, population.anatomy)
    nodules = draw_nodules(rng, thorax, vessels, population.nodules)
    z = np.arange(thorax.build.base_z - 8, thorax.build.top_z + 10, sampling.slice_spacing_mm)
    half = np.array([116 * thorax.build.depth, 172]) * thorax.build.scale + MARGIN_MM
    y, x = (_centred(2 * extent, sampling.pixel_mm) for extent in half)
    contents = Contents(thorax, vessels, nodules, population.anatomy, int(rng.integers(1 << 31)))
    voxels = _scanned(contents, sampling, Grid(z.astype(np.float32), y, x), rng)
    numbers = _numbers(contents, Grid(z.astype(np.float32), y, x))
    geometry = Geometry(voxels.shape, _affine(z, y, x, sampling), frame_of_reference_uid)
    return NoduleScan(voxels, numbers, tuple(nodules), sampling, geometry)


def _centred(extent_mm: float, spacing_mm: float) -> Field:
    count = int(extent_mm / spacing_mm)
    return ((np.arange(count) - (count - 1) / 2) * spacing_mm).astype(np.float32)


def _affine(z: NDArray[np.float64], y: Field, x: Field, sampling: Sampling) -> NDArray[np.float64]:
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = sampling.slice_spacing_mm, sampling.pixel_mm, sampling.pixel_mm
    affine[:, 3] = x[0], y[0], z[0], 1
    return affine


def _scanned(
    contents: Contents, sampling: Sampling, slices: Grid, rng: np.random.Generator
) -> NDArray[np.int16]:
    """Each slice the mean over its thickness, blurred, with noise."""
    per_slice = int(np.ceil(sampling.slice_spacing_mm / SCENE_STEP_MM))
    step = sampling.slice_spacing_mm / per_slice
    around = int(np.ceil(sampling.thickness_mm / 2 / step))
    fine = slices.z[0] + step * (np.arange((len(slices.z) - 1) * per_slice + 2 * around + 1) - around)
    scene = draw_scene(contents, Grid(fine.astype(np.float32), slices.y, slices.x))
    offsets = np.arange(-around, around + 1)
    profile = np.clip((sampling.thickness_mm / 2 - np.abs(offsets) * step) / step + 0.5, 0, 1)
    profile = (profile / profile.sum()).astype(np.float32)
    voxels = np.empty((len(slices.z), *scene.shape[1:]), np.int16)
    for at in range(len(voxels)):
        planes = scene[at * per_slice : at * per_slice + len(profile)]
        voxels[at] = _as_read(np.tensordot(profile, planes, 1), sampling, rng)
    return voxels


def _as_read(plane: Field, sampling: Sampling, rng: np.random.Generator) -> NDArray[np.int16]:
    """One slice after kernel and noise."""
    sigma = sampling.blur_mm / sampling.pixel_mm
    read = ndimage.gaussian_filter(plane, sigma, truncate=3)
    grain = ndimage.gaussian_filter(
        rng.standard_normal(plane.shape, np.float32), sampling.grain_px, truncate=3
    )
    if sampling.sharpening:
        wide = ndimage.gaussian_filter(plane, SHARPENED_SIGMA * sigma, truncate=3)
        read += np.float32(sampling.sharpening) * (read - wide)
    read += grain * np.float32(sampling.noise_hu / grain.std())
    return np.asarray(np.clip(np.rint(read), -1024, 3071), np.int16)


def _numbers(contents: Contents, grid: Grid) -> NDArray[np.uint8]:
    """Which nodule each voxel's centre lies in."""
    numbers = np.zeros((len(grid.z), len(grid.y), len(grid.x)), np.uint8)
    for number, nodule in enumerate(contents.nodules, 1):
        box = grid.box(nodule.centre_mm - nodule.reach_mm, nodule.centre_mm + nodule.reach_mm)
        points = grid.points(box)
        inside = (nodule.surface(points) < 0) & (contents.thorax.lung_distance(points) < 0)
        numbers[box][inside] = number
    return numbers
