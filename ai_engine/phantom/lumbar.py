"""The phantom from the diaphragm to the fifth lumbar vertebra, and the truth about its tissues.

Axes and units as in `anatomy`. Each slice is painted from the outside inwards.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ai_engine.phantom import anatomy
from ai_engine.phantom.anatomy import Build, Mask, Plane, ellipse

MUSCLE, SUBCUTANEOUS_FAT, VISCERAL_FAT = 1, 2, 3  # in `Phantom.truth_tissue`
TOP_Z = -118.0  # the chest is drawn down to here
DISC_MM = 10.0
SKIN_MM = 2.0
KIDNEY_HU, BOWEL_HU = 32, 28


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop of bowel: an ellipsoid, with gas in the front half of some."""

    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    gas: bool


@dataclass(frozen=True, slots=True)
class Lumbar:
    """What makes one abdomen differ from another."""

    top_z: float  # of the first lumbar vertebra
    period_mm: float  # vertebra and disc
    ribs_end_z: float  # behind; further up in front
    crest_z: float  # top of the iliac crests
    wall_mm: float  # thickness of the abdominal wall's muscle
    loops: tuple[Loop, ...]

    @property
    def l3_z(self) -> float:
        """Middle of the third lumbar vertebra's body."""
        return self.top_z - 2 * self.period_mm - (self.period_mm - DISC_MM) / 2

    def in_disc(self, z: float) -> bool:
        """Whether this height lies between two vertebrae."""
        return (self.top_z - z) % self.period_mm > self.period_mm - DISC_MM


def lumbar(rng: np.random.Generator) -> Lumbar:
    """A random one."""
    top, period = rng.uniform(-112, -96), rng.uniform(33, 39)
    return Lumbar(
        top_z=float(top),
        period_mm=float(period),
        ribs_end_z=float(top - 1.5 * period + rng.uniform(-10, 10)),
        crest_z=float(top - 3.6 * period + rng.uniform(-9, 9)),
        wall_mm=float(rng.uniform(10, 16)),
        loops=tuple(_loop(rng) for _ in range(26)),
    )


def _loop(rng: np.random.Generator) -> Loop:
    centre = (rng.uniform(-95, 95), rng.uniform(-80, 12), rng.uniform(-310, -150))
    radii = (rng.uniform(12, 22), rng.uniform(11, 18), rng.uniform(14, 30))
    return Loop(centre, radii, bool(rng.random() < 0.35))


@dataclass(frozen=True, slots=True, eq=False)
class _Canvas:
    """A slice that is being painted."""

    x: Plane
    y: Plane
    z: float
    depth: Plane  # below the skin
    hu: NDArray[np.float32]
    tissue: NDArray[np.uint8]

    def paint(self, where: Mask, value: float, kind: int = 0) -> None:
        """Put a material on everything below."""
        self.hu[where], self.tissue[where] = value, kind

    def ellipse(self, centre: tuple[float, float], radii: tuple[float, float]) -> Plane:
        """Less than 1 inside."""
        return ellipse(self.x, self.y, centre, radii)


def draw(
    x: Plane, y: Plane, z: float, build: Build, spine: Lumbar
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """HU and tissues of one slice below TOP_Z; HU are NaN outside the body."""
    depth = anatomy.trunk(x, y, z, build)
    canvas = _Canvas(
        x, y, z, depth, np.full(depth.shape, np.nan, np.float32), np.zeros(depth.shape, np.uint8)
    )
    canvas.paint(depth > 0, anatomy.SKIN_HU)
    canvas.paint(depth > SKIN_MM, anatomy.FAT_HU, SUBCUTANEOUS_FAT)
    canvas.paint(depth > build.fat_mm, anatomy.MUSCLE_HU, MUSCLE)
    cavity = depth > build.fat_mm + spine.wall_mm
    canvas.paint(cavity, anatomy.FAT_HU - 5, VISCERAL_FAT)
    for loop in spine.loops:
        _paint_loop(canvas, loop, cavity)
    _paint_organs(canvas, cavity, build.scale)
    _paint_back(canvas, cavity)
    _paint_spine(canvas, spine)
    _paint_ribs(canvas, build, spine)
    _paint_crests(canvas, spine.crest_z - z, depth - build.fat_mm - spine.wall_mm / 2)
    return canvas.hu, canvas.tissue


def _paint_loop(canvas: _Canvas, loop: Loop, cavity: Mask) -> None:
    (cx, cy, cz), (rx, ry, rz) = loop.centre_mm, loop.radii_mm
    if abs(canvas.z - cz) >= rz:
        return
    inside = canvas.ellipse((cx, cy), (rx, ry)) + ((canvas.z - cz) / rz) ** 2
    canvas.paint((inside < 1) & cavity, BOWEL_HU)
    if loop.gas:
        canvas.paint((inside < 0.6) & (canvas.y < cy) & cavity, anatomy.AIR_HU)


def _paint_organs(canvas: _Canvas, cavity: Mask, scale: float) -> None:
    """Liver and spleen as they taper off downwards, kidneys, aorta and vena cava."""
    taper = 1 - ((canvas.z - TOP_Z) / 70) ** 2
    if taper > 0:
        liver = canvas.ellipse((-58 * scale, -2), (82 * scale * taper, 84 * scale * taper))
        canvas.paint((liver < 1) & (canvas.x < 30) & cavity, anatomy.LIVER_HU)
        spleen = canvas.ellipse((92 * scale, 42), (38 * scale * taper, 36 * scale * taper))
        canvas.paint((spleen < 1) & cavity, anatomy.SPLEEN_HU)
    for side in (-1, 1):
        kidney = canvas.ellipse((side * 66 * scale, 34), (24, 27)) + ((canvas.z + 152 - 6 * side) / 48) ** 2
        canvas.paint((kidney < 1) & cavity, KIDNEY_HU)
    canvas.paint((canvas.ellipse((9, 38), (9, 9)) < 1) & cavity, anatomy.BLOOD_HU)
    canvas.paint((canvas.ellipse((-14, 40), (11, 9)) < 1) & cavity, anatomy.BLOOD_HU)


def _paint_back(canvas: _Canvas, cavity: Mask) -> None:
    """Psoas, quadratus lumborum and the erectors of the spine."""
    size = float(np.clip((-canvas.z - 110) / 120, 0.15, 1))
    for side in (-1, 1):
        psoas = canvas.ellipse((side * (24 + 15 * size), 60), (17 * size, 19 * size))
        canvas.paint(psoas < 1, anatomy.MUSCLE_HU, MUSCLE)
        quadratus = canvas.ellipse((side * 64, 72), (19, 9))
        canvas.paint((quadratus < 1) & cavity, anatomy.MUSCLE_HU, MUSCLE)
        erectors = canvas.ellipse((side * 33, 88), (30, 16))
        canvas.paint((erectors < 1) & (canvas.y < 100), anatomy.MUSCLE_HU, MUSCLE)


def _paint_spine(canvas: _Canvas, spine: Lumbar) -> None:
    """Vertebra or disc, and the arch with the cord in it."""
    body = canvas.ellipse((0, 66), (23, 17))
    if spine.in_disc(canvas.z):
        canvas.paint(body < 1, anatomy.CARTILAGE_HU)
    else:
        canvas.paint(body < 1, anatomy.CORTICAL_HU)
        canvas.paint(body < 0.8, anatomy.SPONGY_HU)
    process = (np.abs(canvas.x) < 3.5) & (canvas.y > 88) & (canvas.y < 108)
    canvas.paint((canvas.ellipse((0, 90), (15, 9)) < 1) | process, anatomy.CORTICAL_HU * 0.6)
    canvas.paint(canvas.ellipse((0, 87), (8, 6)) < 1, anatomy.CORD_HU)


def _paint_ribs(canvas: _Canvas, build: Build, spine: Lumbar) -> None:
    """The lowest ribs; they end further up in front."""
    if canvas.z <= spine.ribs_end_z:
        return
    ends = canvas.z > spine.ribs_end_z + np.maximum(0, 30 - canvas.y) * 0.8
    rib = anatomy.ribs(canvas.x, canvas.y, canvas.z, canvas.depth, build)
    canvas.paint((rib > 0) & ends, anatomy.CORTICAL_HU)
    canvas.paint((rib > 1.6) & ends, anatomy.SPONGY_HU)


def _paint_crests(canvas: _Canvas, below_mm: float, from_middle: Plane) -> None:
    """Plates in the wall's muscle that grow along it, the further the slice lies below their top."""
    if below_mm <= 0:
        return
    along = np.abs(canvas.y - 38) - min(34.0, 7 + 0.9 * below_mm)
    plate = (along < 0) & (np.abs(canvas.x) > 60)
    canvas.paint(plate & (np.abs(from_middle) < 4.5), anatomy.CORTICAL_HU)
    canvas.paint(plate & (np.abs(from_middle) < 2.5), anatomy.SPONGY_HU)
