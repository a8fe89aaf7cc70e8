"""The chest around the vessels, on a coarse grid: tissue, and the signed distance to the lungs' surface.

Axes and origin as in `ai_engine.phantom.anatomy`: x to the left, y to the back, z to the head, millimetres;
arrays (z, y, x). Distances are approximate, negative inside a lung.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ai_engine.phantom.nodule_scans.population import Anatomy, draw

Field = NDArray[np.float32]
COARSE_MM = 3.0
HALF_WIDTH_MM, HALF_DEPTH_MM = 186.0, 138.0  # of the coarse grid
AIR_HU, FAT_HU, MUSCLE_HU, BLOOD_HU, ORGAN_HU, BONE_HU = -1000.0, -95.0, 55.0, 42.0, 58.0, 320.0
CARINA_Z = 35.0
RIB_PERIOD_MM = 25.0


@dataclass(frozen=True, slots=True)
class Build:
    """The measures of one chest."""

    scale: float
    depth: float
    fat_mm: float
    dome_mm: float
    base_z: float
    top_z: float
    heart: float
    shift: float  # of the heart to the left
    rib_phase: float
    rib_relief_mm: float  # by which ribs and the flesh between them shape the pleura

    @classmethod
    def drawn(cls, rng: np.random.Generator, anatomy: Anatomy) -> "Build":
        """One of a population."""
        return cls(
            scale=draw(rng, anatomy.scale),
            depth=draw(rng, anatomy.depth),
            fat_mm=draw(rng, anatomy.fat_mm),
            dome_mm=draw(rng, anatomy.dome_mm),
            base_z=draw(rng, anatomy.base_z_mm),
            top_z=draw(rng, anatomy.top_z_mm),
            heart=draw(rng, anatomy.heart),
            shift=draw(rng, (-8.0, 8.0)),
            rib_phase=draw(rng, (0.0, RIB_PERIOD_MM)),
            rib_relief_mm=draw(rng, (0.4, 1.6)),
        )

    def hilum(self, side: int) -> NDArray[np.float64]:
        """Where the vessels of a side (-1 right, 1 left) begin."""
        return np.array([side * 50 * self.scale, 12 * self.depth, 2.0 + 4 * side])


@dataclass(frozen=True, slots=True, eq=False)
class Thorax:
    """Coarse fields of one chest. `origin_mm` is the (z, y, x) of the first voxel."""

    build: Build
    tissue_hu: Field  # as if there were no lungs
    lung_mm: Field
    origin_mm: NDArray[np.float64]

    def lung_distance(self, points_zyx_mm: NDArray[np.floating]) -> Field:
        """Signed distance to the lungs' surface at points of shape (3, …)."""
        at = (points_zyx_mm - self.origin_mm.reshape(3, *[1] * (points_zyx_mm.ndim - 1))) / COARSE_MM
        distance: Field = ndimage.map_coordinates(self.lung_mm, at, order=1, mode="nearest")
        return distance


def make_thorax(rng: np.random.Generator, anatomy: Anatomy) -> Thorax:
    """Draw a chest."""
    build = Build.drawn(rng, anatomy)
    z = np.arange(build.base_z - 14, build.top_z + 16, COARSE_MM, dtype=np.float32)[:, None, None]
    y = np.arange(-HALF_DEPTH_MM, HALF_DEPTH_MM + 1, COARSE_MM, dtype=np.float32)[None, :, None]
    x = np.arange(-HALF_WIDTH_MM, HALF_WIDTH_MM + 1, COARSE_MM, dtype=np.float32)[None, None, :]
    depth = _trunk_depth(x, y, z, build)
    lung = _lungs(rng, (x, y, z), depth, build)
    lung = np.maximum(lung, -_plaques(rng, (x, y, z), lung, anatomy.plaques))
    tissue = _tissue(x, y, z, depth, build)
    return Thorax(build, tissue, lung, np.array([z[0, 0, 0], y[0, 0, 0], x[0, 0, 0]], np.float64))


def heart_mm(x: Field, y: Field, z: Field, build: Build) -> Field:
    """Depth inside heart and great vessels."""
    size = build.heart * build.scale
    radius = np.sqrt(
        ((x - build.shift - 20 * build.scale + 0.12 * (z + 55)) / (54 * size)) ** 2
        + ((y + 26 * build.depth) / (45 * size)) ** 2
        + ((z + 48) / (60 * size)) ** 2
    )
    return np.asarray((1 - radius) * 46 * size, np.float32)


def _trunk_depth(x: Field, y: Field, z: Field, build: Build) -> Field:
    """Depth below the skin."""
    narrowing = 1 - 0.30 * np.clip((z - 95) / 60, 0, 1) ** 1.5
    wide = 172 * build.scale * narrowing
    deep = 116 * build.scale * build.depth * (0.35 + 0.65 * narrowing)
    radius = (np.abs(x / wide) ** 2.6 + np.abs(y / deep) ** 2.6) ** (1 / 2.6)
    return np.asarray((1 - radius) * np.minimum(wide, deep), np.float32)


def _lungs(rng: np.random.Generator, at: tuple[Field, Field, Field], depth: Field, build: Build) -> Field:
    """Signed distance to both lungs' surface."""
    x, y, z = at
    height = np.clip((z - build.base_z) / (build.top_z - build.base_z), 0, 1)
    taper = np.maximum(np.sqrt(1 - height**3.2), 0.04)
    both = np.full(depth.shape, np.inf, np.float32)
    for side in (-1, 1):
        wide = (64 + draw(rng, (-3, 3))) * build.scale * taper
        deep = (86 + draw(rng, (-3, 3))) * build.scale * build.depth * taper
        centre = side * (79 - 22 * height**2) * build.scale
        radius = np.sqrt(((x - centre) / wide) ** 2 + ((y - 4) / deep) ** 2)
        one = np.maximum((radius - 1) * np.minimum(wide, deep), z - build.top_z + 1.5)
        dome = build.dome_mm * (1 + 0.25 * (side < 0)) + draw(rng, (-4, 4))
        floor = (
            1
            - ((x - side * 74 * build.scale) / (66 * build.scale)) ** 2
            - ((y + 8) / (84 * build.scale)) ** 2
        )
        one = np.maximum(one, (build.base_z + dome * np.maximum(floor, 0) - z) * 0.8)
        both = np.minimum(both, one)
    relief = build.rib_relief_mm * np.cos((z + 0.42 * y + build.rib_phase) * (2 * np.pi / RIB_PERIOD_MM))
    wall = build.fat_mm + 19 - depth + relief
    between = np.maximum(_mediastinum_mm(x, y, z, build), heart_mm(x, y, z, build) + 1.5)
    return np.asarray(np.maximum(np.maximum(both, wall), between), np.float32)


def _mediastinum_mm(x: Field, y: Field, z: Field, build: Build) -> Field:
    """Depth inside what lies between the lungs, the heart left out."""
    s = build.scale
    half = (20 + 10 * np.clip(1 - np.abs(z - 20) / 60, 0, 1)) * s
    column = np.minimum(half + 5 * np.sin(y / 30) - np.abs(x - 2), y + 20)
    junction = np.minimum((4 + 0.12 * np.abs(y + 20)) * s - np.abs(x - 3), -18 - y)
    vertebra = (1 - np.hypot(x / (26 * s), (y - 74 * s * build.depth) / (32 * s))) * 26
    return np.asarray(np.maximum(np.maximum(column, junction), vertebra), np.float32)


def _plaques(rng: np.random.Generator, at: tuple[Field, Field, Field], lung: Field, most: int) -> Field:
    """Signed distance to flat thickenings of the pleura; negative where there is none."""
    x, y, z = at
    drawn = np.full(lung.shape, -9.0, np.float32)
    near = np.argwhere(np.abs(lung) < 1.5)
    for _ in range(int(rng.integers(0, most + 1))):
        cz, cy, cx = near[rng.integers(len(near))]
        wide = draw(rng, (9.0, 20.0))
        thick = draw(rng, (1.0, 2.4))
        away = np.sqrt((x - x[0, 0, cx]) ** 2 + (y - y[0, cy, 0]) ** 2 + (z - z[cz, 0, 0]) ** 2)
        drawn = np.maximum(drawn, np.minimum(thick * (1 - (away / wide) ** 2), 9.0).astype(np.float32))
    return np.where(drawn > 0, -(lung + drawn), np.float32(9.0)).astype(np.float32)


def _tissue(x: Field, y: Field, z: Field, depth: Field, build: Build) -> Field:
    """HU of the chest as if there were no lungs."""
    s, d = build.scale, build.scale * build.depth
    hu = np.full(depth.shape, AIR_HU, np.float32)
    hu[depth > 0] = FAT_HU
    hu[depth > build.fat_mm] = MUSCLE_HU
    rib = np.abs((z + 0.42 * y + build.rib_phase) % RIB_PERIOD_MM - RIB_PERIOD_MM / 2) < 4.6
    hu[rib & (np.abs(depth - build.fat_mm - 13) < 4.2) & (np.abs(x) > 24) & (z < build.top_z - 4)] = BONE_HU
    inner = depth > build.fat_mm + 19
    hu[inner] = FAT_HU + 25
    hu[(heart_mm(x, y, z, build) > 0) & inner] = BLOOD_HU
    hu[(np.hypot(x - 22 * s, y - 46 * d) < 12 * s) & inner] = BLOOD_HU  # aorta
    hu[(np.hypot((x - 6) / 1.3, y + 8) < 13 * s) & (z > 0) & inner] = BLOOD_HU
    dome = build.base_z + 1.3 * build.dome_mm
    organs = (np.abs(x) > 4) & (np.hypot(x / (140 * s), y / (86 * d)) < 1) & (z < dome) & inner
    hu[organs & (heart_mm(x, y, z, build) <= 0) & (y < 50 * d)] = ORGAN_HU
    hu[np.broadcast_to(np.hypot(x / 18, (y - 68 * d) / 16) < s, hu.shape)] = BONE_HU * 0.6
    hu[np.broadcast_to(np.hypot(x / 30, (y - 92 * d) / 8) < s, hu.shape)] = BONE_HU
    hu[np.broadcast_to(np.hypot(x / 18, (y + 94 * d) / 6) < s, hu.shape) & (z > -60) & (z < 90)] = (
        BONE_HU * 0.6
    )
    return _with_airways(hu, x, y, z, build)


def _with_airways(hu: Field, x: Field, y: Field, z: Field, build: Build) -> Field:
    """Trachea and main bronchi painted into `hu`."""
    distance = np.where(z >= CARINA_Z, np.hypot(x - 1, y - 18), np.inf)
    begin = np.array([1.0, 18.0, CARINA_Z + 3])
    for side in (-1, 1):
        axis = build.hilum(side) - begin
        dx, dy, dz = x - begin[0], y - begin[1], z - begin[2]
        along = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / (axis @ axis), 0, 1)
        away = np.sqrt(
            (dx - along * axis[0]) ** 2 + (dy - along * axis[1]) ** 2 + (dz - along * axis[2]) ** 2
        )
        distance = np.minimum(distance, away + 2.4)
    hu[distance < 10.2] = MUSCLE_HU - 20
    hu[distance < 8.4] = AIR_HU
    return hu
