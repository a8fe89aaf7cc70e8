"""Calcified plaques of the phantom's coronary arteries, and calcium elsewhere that is none of theirs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ai_engine.phantom.anatomy import HEART_CENTRE, HEART_RADII, heart_axis_x

WEIGHTS = ((400, 4), (300, 3), (200, 2), (130, 1))  # Agatston 1990: by the peak of a lesion in a slice, HU
AGATSTON_SLICE_MM = 3.0
THRESHOLD_HU = 130
AORTA = ((22.0, 46.0), 12.0)  # centre and radius of the descending aorta


@dataclass(frozen=True, slots=True)
class Plaque:
    """An ellipsoid of calcium."""

    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    hu: float
    coronary: bool  # False: a lure elsewhere

    @property
    def volume_mm3(self) -> float:
        """Of the ellipsoid."""
        return float(4 / 3 * np.pi * np.prod(self.radii_mm))

    @property
    def agatston(self) -> float:
        """The score of its true shape: the integral of its cross-section over z, weighted, over 3 mm."""
        weight = next((weight for least, weight in WEIGHTS if self.hu >= least), 0)
        return self.volume_mm3 * weight / AGATSTON_SLICE_MM


def plaques(rng: np.random.Generator, count: int) -> tuple[Plaque, ...]:
    """So many plaques on the heart's front and sides, and two in the wall of the descending aorta."""
    if not count:
        return ()
    found = [_coronary(rng) for _ in range(count)]
    (x, y), radius = AORTA
    for z in (-20.0, -45.0):
        angle = rng.uniform(0, 2 * np.pi)
        centre = (x + (radius - 1) * float(np.cos(angle)), y + (radius - 1) * float(np.sin(angle)), z)
        found.append(Plaque(centre, (2.5, 2.5, 4.0), 500.0, coronary=False))
    return tuple(found)


def _coronary(rng: np.random.Generator) -> Plaque:
    """Just inside the heart's surface, in front of its middle, where the coronary arteries run."""
    height = rng.uniform(-0.45, 0.65)
    angle = rng.uniform(-0.95, 0.05) * np.pi  # towards the front, from the left side to the right
    z = HEART_CENTRE[1] + height * HEART_RADII[2]
    shrunk = 0.96 * float(np.sqrt(1 - height**2))
    x = heart_axis_x(z) + shrunk * HEART_RADII[0] * float(np.cos(angle))
    y = HEART_CENTRE[0] + shrunk * HEART_RADII[1] * float(np.sin(angle))
    radii = (rng.uniform(1.3, 3.0), rng.uniform(1.3, 3.0), rng.uniform(2.0, 6.0))
    return Plaque((x, y, float(z)), radii, float(rng.uniform(220, 800)), coronary=True)


def plaque_hu(
    found: tuple[Plaque, ...], x: NDArray[np.float32], y: NDArray[np.float32], z: float
) -> NDArray[np.float32] | None:
    """HU of the plaques that this slice cuts, NaN elsewhere; None when it cuts none."""
    cut = [plaque for plaque in found if abs(z - plaque.centre_mm[2]) < plaque.radii_mm[2]]
    if not cut:
        return None
    hu = np.full(np.broadcast_shapes(x.shape, y.shape), np.nan, np.float32)
    for plaque in cut:
        (cx, cy, cz), (rx, ry, rz) = plaque.centre_mm, plaque.radii_mm
        hu[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2 < 1] = plaque.hu
    return hu
