"""Emphysema by zone: thirds of each lung's height. Fissures, which bound the lobes, are not looked for."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .measure import Report, laa_percent, parenchyma_voxels
from .orientation import Orientation
from .refine import Refined

SIDES, ZONES = ("right", "left"), ("lower", "middle", "upper")
LEAST_AREA_MM2 = 100.0  # of lung on a slice that counts for its height


def measure_zones(
    refined: Refined, orientation: Orientation, sides: tuple[bool, bool], report: Report
) -> None:
    """Report volume and LAA-950 of the thirds of each side that was measured."""
    for side in (each for each in (0, 1) if sides[each]):
        for zone, slices in zip(ZONES, thirds(refined.pixels[side], orientation), strict=False):
            name = f"{SIDES[side]}_{zone}"
            volume = float(refined.pixels[side, slices].sum() * orientation.voxel_mm3 / 1000)
            histogram = refined.histograms[side, slices].sum(axis=0)
            report.measured(f"zone_volume_{name}", volume)
            if parenchyma_voxels(histogram):
                report.measured(f"zone_laa950_{name}", laa_percent(histogram))


def thirds(pixels: NDArray[np.int64], orientation: Orientation) -> Iterator[slice]:
    """The canonical slices of each third, from the base up; what lies beyond belongs to the outer ones."""
    area = pixels * orientation.spacing_mm[1] * orientation.spacing_mm[2]
    occupied = np.flatnonzero(area >= LEAST_AREA_MM2)
    if not occupied.size:
        return
    bounds = np.rint(np.linspace(occupied[0], occupied[-1] + 1, len(ZONES) + 1)).astype(int)
    bounds[0], bounds[-1] = 0, len(pixels)
    for low, high in pairwise(bounds):
        yield slice(int(low), int(high))
