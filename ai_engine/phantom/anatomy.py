"""The shapes of the phantom's chest, in millimetres, and their Hounsfield units.

Axes: x to the patient's left, y to the back, z to the head; the origin is in the middle of the chest. Every
function takes the x and y of the pixels of one slice (arrays that broadcast) and that slice's z.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]

AIR_HU, FOAM_HU, TABLE_HU = -1000, -930, 60
SKIN_HU, FAT_HU, MUSCLE_HU = 20, -100, 55
BLOOD_HU, HEART_HU, LIVER_HU, SPLEEN_HU = 42, 45, 60, 50
SPONGY_HU, CORTICAL_HU, CARTILAGE_HU, CORD_HU = 180, 620, 90, 30
LUNG_HU, EMPHYSEMA_HU, NODULE_HU = -862, -985, 35

CARINA_Z, LUNG_BASE_Z, LUNG_TOP_Z = 35.0, -112.0, 128.0
TRACHEA_Y = 18.0
WALL_MM = 1.6
BRONCHI_LOWEST_Z = -14.0
HEART_CENTRE, HEART_RADII = (-26.0, -52.0), (56.0, 45.0, 58.0)  # y and z; x, y, z
HILA = ((-48.0, 12.0, 5.0), (50.0, 14.0, -2.0))  # ends of the main bronchi; right, left


@dataclass(frozen=True, slots=True)
class Build:
    """What makes one phantom differ from another."""

    scale: float  # of the trunk in x and y
    fat_mm: float  # under the skin
    lung_scale: float
    dome_mm: float  # height of the diaphragm's domes
    contrast_hu: float = 0.0  # added to the blood in heart and great vessels


def ellipse(x: Plane, y: Plane, centre: tuple[float, float], radii: tuple[float, float]) -> Plane:
    """Less than 1 inside the ellipse."""
    inside: Plane = ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2
    return inside


def trunk(x: Plane, y: Plane, z: float, build: Build) -> Plane:
    """Depth below the skin in mm, roughly; negative outside."""
    narrowing = 1 - 0.34 * np.clip((z - 95) / 60, 0, 1) ** 1.5
    radii = (172 * build.scale * narrowing, 116 * build.scale * (0.35 + 0.65 * narrowing))
    radius = (np.abs(x / radii[0]) ** 2.6 + np.abs(y / radii[1]) ** 2.6) ** (1 / 2.6)
    depth: Plane = (1 - radius) * min(radii)
    return depth


def diaphragm(x: Plane, y: Plane, side: int, build: Build) -> Plane:
    """The z of the dome under one lung; the right one is higher."""
    dome = build.dome_mm * (1 + 0.25 * (side < 0))
    inside = 1 - ellipse(x, y, (side * 74, -8), (66, 84))
    height = LUNG_BASE_Z + dome * np.maximum(inside, 0)
    return height.astype(np.float32, copy=False)


def lung(x: Plane, y: Plane, z: float, side: int, build: Build) -> Mask:
    """One lung (side -1 is the right, +1 the left) before mediastinum and heart are taken from it."""
    height = (z - LUNG_BASE_Z) / (LUNG_TOP_Z - LUNG_BASE_Z)
    if height >= 1:
        return np.zeros(np.broadcast_shapes(x.shape, y.shape), np.bool_)
    taper = np.sqrt(max(0.0, 1 - max(0.0, height) ** 3.2))
    radii = (66 * build.lung_scale * build.scale * taper, 88 * build.lung_scale * build.scale * taper)
    centre = (side * (80 - 22 * max(0.0, height) ** 2) * build.scale, 4.0)
    inside: Mask = (ellipse(x, y, centre, radii) < 1) & (z > diaphragm(x, y, side, build))
    return inside


def mediastinum(x: Plane, y: Plane, z: float) -> Mask:
    """What lies between the lungs: a column around vessels, airways and spine, and the heart."""
    half_width = 21 + 9 * np.clip(1 - abs(z - 20) / 60, 0, 1)
    column = (np.abs(x - 2) < half_width + 6 * np.sin(y / 30)) & (np.abs(x) < 60)
    junction = (y < -20) & (
        np.abs(x - 3) < 4 + 0.12 * np.abs(y + 20)
    )  # thin in front, where lungs nearly meet
    behind = column & (y >= -20)
    vertebra = ellipse(x, y, (0, 72), (27, 32)) < 1
    all_of_it: Mask = behind | junction | vertebra | (heart(x, y, z) < 1.06)
    return all_of_it


def heart(x: Plane, y: Plane, z: float) -> Plane:
    """Less than 1 inside the heart."""
    centre = (heart_axis_x(z), HEART_CENTRE[0])
    return ellipse(x, y, centre, HEART_RADII[:2]) + ((z - HEART_CENTRE[1]) / HEART_RADII[2]) ** 2


def heart_axis_x(z: float) -> float:
    """The x of the heart's middle, which lies further to the left the lower the slice."""
    return 20 - 0.12 * (z + 55)


def airway_radius(x: Plane, y: Plane, z: float) -> Plane:
    """Distance from the axis of trachea or main bronchus over its radius; less than 1 in the lumen."""
    if z >= CARINA_Z:
        trachea: Plane = np.hypot(x - 1, (y - TRACHEA_Y) * 1.05) / 8.6
        return trachea
    best = np.full(np.broadcast_shapes(x.shape, y.shape), np.inf, np.float32)
    if z < BRONCHI_LOWEST_Z:
        return best
    for end, radius in zip(HILA, (6.6, 5.8), strict=True):
        best = np.minimum(best, segment_distance(x, y, z, (1.0, TRACHEA_Y, CARINA_Z + 3), end) / radius)
    return best


def ribs(x: Plane, y: Plane, z: float, depth: Plane, build: Build) -> Plane:
    """Depth within a rib in mm; positive inside. Ribs slope downwards to the front, 25 mm apart."""
    phase = (z + 0.42 * y) % 25.0
    across = 4.6 - np.abs(phase - 12.5)
    through = 4.2 - np.abs(depth - build.fat_mm - 15.0)
    inside = np.minimum(across, through)
    return np.where((np.abs(x) > 24) & (z < 122), inside, -1).astype(np.float32)


def spine(x: Plane, y: Plane, z: float) -> Plane:
    """HU of the vertebral column, NaN outside it."""
    hu = np.full(np.broadcast_shapes(x.shape, y.shape), np.nan, np.float32)
    body = ellipse(x, y, (0, 66), (18, 15))
    between = z % 26.0 < 5.0
    hu[body < 1] = CARTILAGE_HU if between else SPONGY_HU
    if not between:
        hu[(body < 1) & (body > 0.78)] = CORTICAL_HU
    arch = (ellipse(x, y, (0, 90), (16, 10)) < 1) | ((np.abs(x) < 3.5) & (y > 88) & (y < 112))
    wings = (np.abs(y - 86) < 4) & (np.abs(x) < 30) & (z % 26.0 > 12)
    hu[arch | wings] = CORTICAL_HU * 0.6
    hu[ellipse(x, y, (0, 86), (8, 7)) < 1] = CORD_HU
    return hu


def abdomen(x: Plane, y: Plane, z: float, build: Build) -> Plane:
    """HU of the organs under the diaphragm, NaN where there is only fat."""
    hu = np.full(np.broadcast_shapes(x.shape, y.shape), np.nan, np.float32)
    s = build.scale
    hu[(ellipse(x, y, (-58 * s, -2), (82 * s, 84 * s)) < 1) & (x < 30)] = LIVER_HU
    hu[ellipse(x, y, (92 * s, 42), (38 * s, 36 * s)) < 1] = SPLEEN_HU
    stomach = ellipse(x, y, (66 * s, -26), (44 * s, 38 * s)) + ((z + 118) / 46) ** 2
    below_diaphragm = diaphragm(x, y, 1, build) - z
    hu[(stomach < 1) & (below_diaphragm > 4)] = 25
    hu[(stomach < 0.75) & (below_diaphragm > 9) & (y < -34)] = AIR_HU  # in front: a lure for lung masks
    return hu


def table(x: Plane, y: Plane, build: Build) -> Plane:
    """HU of mattress and table under the back, NaN elsewhere."""
    hu = np.full(np.broadcast_shapes(x.shape, y.shape), np.nan, np.float32)
    depth = y - (118 * build.scale + 3) + (x / 60) ** 2
    width = np.abs(x) < 185
    hu[(depth > 0) & (depth < 12) & width] = FOAM_HU
    for top in (14.0, 40.0):
        hu[(depth > top) & (depth < top + 2.2) & width] = TABLE_HU
    return hu


def segment_distance(
    x: Plane, y: Plane, z: float, begin: tuple[float, float, float], end: tuple[float, float, float]
) -> Plane:
    """Distance of points to the stretch between two points, in mm."""
    axis = [to - at for to, at in zip(end, begin, strict=True)]
    length_squared = sum(part * part for part in axis)
    dx, dy, dz = x - begin[0], y - begin[1], z - begin[2]
    along = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / length_squared, 0, 1)
    distance: Plane = np.sqrt(
        (dx - along * axis[0]) ** 2 + (dy - along * axis[1]) ** 2 + (dz - along * axis[2]) ** 2
    )
    return distance
